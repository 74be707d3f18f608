"""The compiled pipelines are what a cluster accepts, the committed ones are current, and what is broken is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.image import IMAGE
from pipelines.all_pipelines import PIPELINES
from pipelines.commands.compile import CompileError, compile_pipelines
from pipelines.steps.compiled_checks import problems_of
from polytask.scenario import load_scenario
from tests.pipelines.steps import CLUSTER_STEPS, LOOP, NEVER_CACHED, STEPS

COMMITTED = Path(__file__).resolve().parents[3] / "pipelines" / "compiled"
BODY = "comp-exit-handler-1"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled") / "pipelines"
    compile_pipelines(folder)
    return folder


def documents(folder: Path, name: str = "train_and_deploy") -> tuple[dict[str, Any], dict[str, Any]]:
    pipeline, platform = yaml.safe_load_all((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_every_pipeline_is_compiled_and_without_a_problem(compiled: Path) -> None:
    assert {path.stem for path in compiled.iterdir()} == set(PIPELINES)
    assert {name: problems_of((compiled / f"{name}.yaml").read_text()) for name in PIPELINES} == {
        name: [] for name in PIPELINES
    }


def test_the_steps_are_those_that_are_expected(compiled: Path) -> None:
    pipeline, _ = documents(compiled)
    assert set(pipeline["components"][BODY]["dag"]["tasks"]) == {*STEPS, LOOP}
    executors = pipeline["deploymentSpec"]["executors"]
    assert {name.removeprefix("exec-") for name in executors} == STEPS | CLUSTER_STEPS
    assert {executor["container"]["image"] for executor in executors.values()} == {IMAGE}


def test_two_compiles_are_equal(compiled: Path, tmp_path: Path) -> None:
    compile_pipelines(tmp_path / "again")
    for name in PIPELINES:
        assert (tmp_path / "again" / f"{name}.yaml").read_bytes() == (compiled / f"{name}.yaml").read_bytes()


def test_the_committed_pipelines_are_current(compiled: Path) -> None:
    assert {path.stem for path in COMMITTED.iterdir()} == set(PIPELINES)
    stale = [name for name in PIPELINES if _bytes(COMMITTED, name) != _bytes(compiled, name)]
    assert stale == [], "run: polytask compile --output pipelines/compiled"


def _bytes(folder: Path, name: str) -> bytes:
    return (folder / f"{name}.yaml").read_bytes()


def test_what_looks_outside_its_inputs_is_never_taken_from_the_cache(compiled: Path) -> None:
    pipeline, _ = documents(compiled)
    tasks = pipeline["components"][BODY]["dag"]["tasks"]
    loop = tasks.pop(LOOP)["componentRef"]["name"]
    assert pipeline["components"][loop]["dag"]["tasks"]["show-task"]["cachingOptions"]["enableCache"]
    assert {name for name, task in tasks.items() if task["cachingOptions"].get("enableCache")} == STEPS - NEVER_CACHED
    assert pipeline["root"]["dag"]["tasks"]["report"]["cachingOptions"] == {}


@pytest.mark.parametrize("name", PIPELINES)
def test_parameters_have_a_default_a_type_and_a_description(compiled: Path, name: str) -> None:
    pipeline, _ = documents(compiled, name)
    for parameter, found in pipeline["root"]["inputDefinitions"]["parameters"].items():
        assert found["description"], parameter
        assert "parameterType" in found
    assert pipeline["pipelineInfo"]["displayName"]
    assert pipeline["pipelineInfo"]["description"]
    for task in pipeline["components"][BODY]["dag"]["tasks"].values():
        assert task["taskInfo"]["name"][0].isupper()


def test_what_reads_and_writes_elsewhere_is_tried_again_after_a_while(compiled: Path) -> None:
    pipeline, _ = documents(compiled)
    tasks = pipeline["components"][BODY]["dag"]["tasks"]
    tried = {name: task["retryPolicy"] for name, task in tasks.items() if "retryPolicy" in task}
    # A rollout that failed has been rolled back; a gate that refused refuses again.
    assert set(tried) == {"fingerprint", "ingest", "build-features", "build-training-set", "smoke"}
    assert tried["ingest"] == {
        "backoffDuration": "30s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "600s",
        "maxRetryCount": 3,
    }


def test_steps_get_what_the_scenario_asks_for(small_scenario_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    wanted = "resources: {training: {cpu: '3', cpu_limit: '6', memory: 30Gi, accelerators: 2, timeout_hours: 1.5}}\n"
    file.write_text(small_scenario_file.read_text(encoding="utf-8") + wanted, encoding="utf-8")
    compile_pipelines(tmp_path / "compiled", str(file))
    pipeline, platform = documents(tmp_path / "compiled")
    executors = pipeline["deploymentSpec"]["executors"]
    found = executors["exec-train"]["container"]["resources"]
    assert (found["resourceCpuRequest"], found["resourceCpuLimit"]) == ("3", "6")
    assert (found["resourceMemoryRequest"], found["resourceMemoryLimit"]) == ("30Gi", "30Gi")
    assert found["accelerator"]["resourceCount"] == "2"
    assert found["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert platform["exec-train"]["activeDeadlineSeconds"] == "5400"
    others = load_scenario("movielens").resources
    assert executors["exec-ingest"]["container"]["resources"]["resourceMemoryLimit"] == others.data.memory
    assert "accelerator" not in executors["exec-ingest"]["container"]["resources"]
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert parameters["scenario"]["defaultValue"] == str(file)
    assert parameters["registry_dir"]["defaultValue"] == "/mnt/models/small"


def test_the_report_comes_whatever_happens_and_its_address_from_a_secret(compiled: Path) -> None:
    pipeline, platform = documents(compiled)
    report = pipeline["root"]["dag"]["tasks"]["report"]
    assert report["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    [secret] = platform["exec-report"]["secretAsEnv"]
    assert secret["secretName"] == "polytask-report"
    assert secret["optional"] is True


Change = Callable[[dict[str, Any], dict[str, Any]], None]


def container(pipeline: dict[str, Any], step: str = "exec-train") -> dict[str, Any]:
    return pipeline["deploymentSpec"]["executors"][step]["container"]


def variable(name: str, value: str) -> Change:
    return lambda pipeline, _: container(pipeline).update(env=[{"name": name, "value": value}])


BROKEN: dict[str, tuple[Change, str]] = {
    "a field of the pipeline that is not known": (
        lambda pipeline, _: pipeline["root"].update(dags={}),
        "is no pipeline: .*dags",
    ),
    "a field of a step that is not known": (
        lambda pipeline, _: container(pipeline).update(imagePullPolicy="Always"),
        "is no pipeline: .*imagePullPolicy",
    ),
    "a field of the Kubernetes settings that is not known": (
        lambda _, platform: platform["exec-train"].update(activeDeadline="60"),
        "kubernetes: exec-train: .*activeDeadline",
    ),
    "settings of a step that is not there": (
        lambda _, platform: platform.update({"exec-trian": {"activeDeadlineSeconds": "60"}}),
        "settings of 'exec-trian', which is no step",
    ),
    "an image without a tag": (
        lambda pipeline, _: container(pipeline).update(image="ghcr.io/polytask/polytask-python"),
        "exec-train: image 'ghcr.io/polytask/polytask-python'; allowed",
    ),
    "the latest image": (lambda pipeline, _: container(pipeline).update(image="a/b:latest"), "image 'a/b:latest'"),
    "another image": (lambda pipeline, _: container(pipeline).update(image="a/b:1.2"), "images a/b:1.2, .*the same"),
    "no limit": (
        lambda pipeline, _: container(pipeline)["resources"].pop("resourceMemoryLimit"),
        "exec-train: no memory_limit",
    ),
    "no resources": (lambda pipeline, _: container(pipeline).pop("resources"), "exec-train: no cpu_request, cpu_limit"),
    "a request above its limit": (
        lambda pipeline, _: container(pipeline)["resources"].update(resourceCpuRequest="2001m"),
        "requests 2001m of cpu, more than its limit 2",
    ),
    "no time-out": (lambda _, platform: platform.pop("exec-train"), "exec-train: no time-out"),
    "a password in a variable": (variable("REDIS_PASSWORD", "hunter2"), "REDIS_PASSWORD has its value in the file"),
    "a token in a variable of any name": (variable("A", "ghp_" + "a1B2" * 9), "a token of GitHub"),
    "an access key": (variable("A", "AKIA" + "A1B2" * 4), "an AWS access key"),
    "a private key": (variable("A", "-----BEGIN RSA PRIVATE KEY-----"), "a private key"),
    "an address with a password": (variable("A", "redis://me:hunter2@redis:6379"), "a password in an address"),
    "a web hook": (variable("A", "https://hooks.slack.com/services/T0/B0"), "a token of Slack"),
    "a web token": (variable("A", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.abc"), "a JSON web token"),
    "a password in the code": (
        lambda pipeline, _: container(pipeline)["command"].append('connect(password="hunter22")'),
        "looks like a password",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused(compiled: Path, name: str) -> None:
    change, words = BROKEN[name]
    pipeline, platform = documents(compiled)
    change(pipeline, platform)
    kubernetes = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": platform}}}}
    problems = problems_of(yaml.safe_dump_all([pipeline, kubernetes]))
    assert len(problems) == 1, problems
    with pytest.raises(CompileError, match=words):
        raise CompileError(problems[0])


def test_a_file_without_its_second_document_is_refused(compiled: Path) -> None:
    pipeline, _ = documents(compiled)
    assert problems_of(yaml.safe_dump(pipeline)) == [
        "holds 1 documents; allowed: the pipeline and its platform settings"
    ]


def test_nothing_is_written_where_a_pipeline_has_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.steps.compiled_checks.problems_of", lambda text: ["is broken"])
    with pytest.raises(CompileError, match=r"^train_and_deploy: is broken$"):
        compile_pipelines(tmp_path / "compiled")
    assert not (tmp_path / "compiled").exists()
