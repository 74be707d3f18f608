"""The wheel in empty environments, on every version of Python that the library supports and this machine has."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from polytask import PACKAGES, __version__
from polytask.contract.triton_image import STUB_PYTHONS
from polytask.missing_package import MODULES
from polytask.storage.wheels import cache_folder

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SUPPORTED = [found[1] for line in PROJECT["classifiers"] if (found := re.search(r":: (3\.\d+)$", line))]
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
SECONDS = 600
MAX_IMPORT_SECONDS = 0.5
# What a program that only sends requests neither installs nor loads.
ABSENT = ("pandas", "pyarrow", "tokenizers", "feast", "kserve", "kfp", "torch", "transformers")
# What is imported at the first request.
LATE = ("numpy", "pydantic", "grpc", "tritonclient", "httpx")


def run(*command: str | Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command outside of the repository, without its environment."""
    foreign = {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    clean = {key: value for key, value in os.environ.items() if key not in foreign}
    return subprocess.run(
        command,
        cwd="/",
        env={**clean, "COLUMNS": "200", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def interpreter(version: str) -> Path | None:
    """The interpreter of a version that is on the path, or that pyenv has installed."""
    if version == RUNNING:
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in (f"python{version}", *sorted(pyenv.glob(f"{version}.*/bin/python"))):
        try:
            shown = run(found, "-c", "import sys; print(sys.executable)")
        except OSError:
            continue
        if shown.returncode == 0:
            return Path(shown.stdout.strip())
    return None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tracked and new files of this checkout."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    )
    names = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-", "--ignore-failed-read"],
        cwd=ROOT,
        input=listed.stdout,
        capture_output=True,
        timeout=60,
        check=True,
    )
    subprocess.run(["tar", "--extract"], cwd=source, input=names.stdout, timeout=60, check=True)
    built = run(UV, "build", "--quiet", "--out-dir", target, source)
    assert built.returncode == 0, built.stderr
    (file,) = target.glob("*.whl")
    return file


@pytest.fixture(scope="module", params=SUPPORTED)
def python(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and its base dependencies, at the locked versions."""
    found = interpreter(request.param)
    if found is None:
        pytest.skip(f"no Python {request.param} on this machine")
    folder = tmp_path_factory.mktemp("environment") / request.param
    made = run(UV, "venv", "--quiet", "--python", found, folder)
    assert made.returncode == 0, made.stderr
    install(folder / "bin" / "python", str(wheel))
    return folder / "bin" / "python"


def install(python: Path, requirement: str) -> None:
    """Install the wheel; uv does not read pip's settings."""
    links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if "PIP_FIND_LINKS" in os.environ else []
    lock = ("--constraint", ROOT / "locks" / "all.txt")
    done = run(UV, "pip", "install", "--quiet", "--python", python, requirement, *lock, *links)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_library_alone_with_its_scenarios_and_locks(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"polytask", f"polytask-{__version__}.dist-info"}
    scenarios = {f"polytask/scenarios/{path.name}" for path in (ROOT / "scenarios").iterdir()}
    assert scenarios | {"polytask/locks/all.txt", "polytask/py.typed"} <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "polytask").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}


def test_the_base_is_the_client_the_contract_and_the_schema(python: Path):
    shown = run(python.parent / "polytask", "--version")
    assert (shown.returncode, shown.stdout.split()) == (0, ["polytask", __version__])
    code = f"""
import json, sys
from importlib.util import find_spec
import polytask.client
loaded = [name for name in {ABSENT + LATE} if name in sys.modules]
import polytask.contract.contract
from polytask.scenario import load_scenario
print(json.dumps([loaded, [name for name in {ABSENT} if find_spec(name)], load_scenario("movielens").name]))
"""
    done = run(python, "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [], "movielens"]


def test_the_client_is_imported_in_half_a_second(python: Path):
    def seconds() -> float:
        last = run(python, "-X", "importtime", "-c", "import polytask.client").stderr.splitlines()[-1]
        assert last.endswith(" polytask.client")
        return int(last.split("|")[1]) / 1e6

    assert min(seconds() for _ in range(3)) < MAX_IMPORT_SECONDS


def test_the_client_of_the_wheel_sends_requests(python: Path):
    code = """
from polytask.client import RecommenderClient, ServiceUnavailable, explain
for send in (lambda: RecommenderClient("127.0.0.1:1", attempts=1).recommend(1),
             lambda: explain("http://127.0.0.1:1", 1, attempts=1)):
    try:
        send()
    except ServiceUnavailable as error:
        print(error)
"""
    done = run(python, "-c", code)
    assert done.returncode == 0, done.stderr
    recommender, explainer = done.stdout.splitlines()
    assert recommender.startswith("recommender at 127.0.0.1:1: ")
    assert explainer.startswith("explainer at http://127.0.0.1:1: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["check", "--scenario", "x"],
            "needs pandas, which is not installed; run: pip install 'polytask[data]'",
        ),
        (
            ["serve", "--unknown"],
            "needs the package 'serving', which is not in the wheel; run it from the repository",
        ),
        (
            ["compile"],
            "needs the package 'pipelines', which is not in the wheel; run it from the repository",
        ),
    ],
)
def test_a_command_whose_packages_are_missing_is_one_line(python: Path, words: list[str], message: str):
    done = run(python.parent / "polytask", *words)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: polytask {words[0]} {message}")


def test_the_help_shows_every_command_and_what_it_needs(python: Path):
    done = run(python.parent / "polytask", "--help")
    assert done.returncode == 0, done.stderr
    for name in PROJECT["entry-points"]["polytask.commands"]:
        assert re.search(rf"│ {name} +Not installed: needs (the repository|the extra `data`)\.", done.stdout), name


def test_with_data_a_scenario_is_checked(python: Path):
    wheel_of = run(python, "-c", "import polytask; print(polytask.__file__)").stdout.strip()
    assert wheel_of.startswith(str(python.parents[1]))
    install(python, f"polytask[data]=={__version__}")
    done = run(python.parent / "polytask", "check", "--scenario", "movielens", environment=cache())
    assert done.returncode == 0, done.stderr
    assert "interactions: 100,000 of 100,000 rows kept" in done.stdout


def cache() -> dict[str, str]:
    """The folder with the downloads of this checkout."""
    return {"POLYTASK_CACHE": str(ROOT / "build" / "cache" if "POLYTASK_CACHE" not in os.environ else cache_folder())}


def test_the_advice_names_the_extra_that_has_the_package():
    assert set(MODULES) <= set(PROJECT["optional-dependencies"])
    distributions = {
        "sklearn": "scikit-learn",
        "grpc_health": "grpcio-health",
        "grpc_reflection": "grpcio-reflection",
    }
    for extra, modules in MODULES.items():
        listed = {Requirement(line).name for line in PROJECT["optional-dependencies"][extra]}
        for module in modules:
            name = distributions.get(module, module).replace("_", "-")
            assert any(one == name or one.startswith(f"{name}-") for one in listed), (extra, module)


def test_the_supported_versions_of_python_are_the_same_everywhere():
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [version for version in (f"3.{minor}" for minor in range(9, 20)) if version in allowed] == SUPPORTED
    assert set(STUB_PYTHONS) < set(SUPPORTED)
    assert interpreter(RUNNING) is not None and RUNNING in SUPPORTED
    assert not [line for line in requires("polytask") or [] if Requirement(line).name in PACKAGES[1:]]
