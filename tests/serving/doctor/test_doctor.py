"""Each fault is faked, found, and comes with what to do."""

import io
import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from polytask.contract.triton_image import ONNX_RUNTIME
from polytask.errors import ScenarioError, ServingError
from polytask.scenario import Scenario
from serving.doctor import cluster, machine, project
from serving.doctor.cli import doctor, show
from serving.doctor.finding import CheckResult, fault, note, ok
from serving.local.install import TritonInstallation
from serving.manifests import builtin_kinds
from serving.transformer.concurrency.deadline import Unavailable
from serving.triton.onnxruntime_backend import VARIABLE, OnnxRuntimeBackend

ROOT = Path(__file__).resolve().parents[3]
STATE = {"grpc": "127.0.0.1:1", "rest": "http://127.0.0.1:1", "logs": ["a.log", "b.log"]}


def is_fault(finding: CheckResult, *words: str) -> bool:
    assert finding.status == "fault", finding
    assert finding.advice
    assert all(word in finding.found + finding.advice for word in words), finding
    return True


@pytest.mark.parametrize(
    ("system", "architecture", "libc"),
    [
        ("Linux", "riscv64", ("glibc", "2.36")),
        ("Darwin", "x86_64", ("", "")),
        ("Linux", "x86_64", ("glibc", "2.31")),
        ("Linux", "x86_64", ("musl", "1.2")),
    ],
)
def test_another_system(system: str, architecture: str, libc: tuple[str, str]):
    assert is_fault(machine.check_system(system, architecture, libc), architecture, "2.35")
    assert machine.check_system("Linux", "x86_64", ("glibc", "2.35")).status == "ok"


def test_another_python():
    def lacks() -> Path:
        raise ServingError("libpython3.12.so.1.0: not found; install it, with: apt install libpython3.12")

    found = Path("/usr/lib/libpython3.11.so.1.0")
    assert is_fault(machine.check_python((3, 13, 0), lambda: found), "3.13.0", "make setup PYTHON=python3.11")
    assert is_fault(machine.check_python((3, 10, 4), lambda: found), "3.10.4")
    assert is_fault(machine.check_python((3, 12, 1), lacks), "apt install libpython3.12")
    assert machine.check_python((3, 11, 2), lambda: found).status == "ok"


def test_packages_that_are_missing_or_wrong():
    versions = {"numpy": "1.26.0", "rich": "13.9"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    wanted = ["numpy>=2.1", "rich>=13.9", "kserve==0.21.0; extra == 'serve'", "torch==2; extra == 'train'"]
    finding = machine.check_packages(lambda: wanted, version)
    assert is_fault(finding, "numpy 1.26.0, allowed: >=2.1", "kserve is missing", "make setup")
    assert "torch" not in finding.found  # serving needs none
    versions.update(numpy="2.2", kserve="0.21.0")
    assert machine.check_packages(lambda: wanted, version).found.startswith("3 ")

    def away() -> list[str]:
        raise metadata.PackageNotFoundError("polytask")

    assert is_fault(machine.check_packages(away), "not installed", "source .venv/bin/activate")


def test_too_little_room():
    assert is_fault(machine.check_disk(Path("/data"), lambda path: 900_000_000), "0.9 GB free in /data")
    assert machine.check_disk(Path("/data"), lambda path: 1_100_000_000).status == "ok"
    assert is_fault(machine.check_memory(lambda: "MemTotal: 9 kB\nMemAvailable:  1000000 kB\n"), "1.0 GB")
    assert machine.check_memory(lambda: "MemAvailable: 2000000 kB\n").status == "ok"
    assert machine.check_memory(lambda: "nothing").status == "note"
    assert machine.check_cores(1).status == "note"


def test_ports_that_are_taken():
    def taken(*ports: int | None) -> list[int]:
        if ports[0] is not None:
            raise ServingError(f"port {ports[0]} on 127.0.0.1 cannot be taken")
        return [1]

    def forbidden(*ports: int | None) -> list[int]:
        raise PermissionError("not allowed")

    assert machine.check_ports(taken).status == "note"
    assert is_fault(machine.check_ports(forbidden), "not allowed")
    assert machine.check_ports(lambda *ports: [1]).status == "ok"


def test_triton(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def broken():
        raise ServingError("tritonserver cannot run here; the dynamic linker does not find: libre2.so.9")

    assert project.check_triton(lambda: False, broken).status == "note"
    monkeypatch.delenv(VARIABLE, raising=False)
    assert is_fault(project.check_triton(lambda: True, broken), "libre2.so.9", "remove")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert is_fault(project.check_triton(lambda: True, broken), "libre2.so.9", f"set {VARIABLE} to another folder")


def test_the_backend_that_runs_the_models(tmp_path: Path):
    def installed(kind: str, version: str) -> TritonInstallation:
        backend = OnnxRuntimeBackend(kind, tmp_path, version)
        return TritonInstallation(tmp_path, backend, (), tmp_path)

    found = project.check_triton(lambda: True, lambda: installed("python-based", ONNX_RUNTIME))
    assert found.status == "ok"
    assert found.found.endswith(f"; ONNX Runtime {ONNX_RUNTIME}, python-based backend")
    other = project.check_triton(lambda: True, lambda: installed("C++", "1.19.2"))
    assert other.status == "note"
    assert "ONNX Runtime 1.19.2, C++ backend" in other.found
    assert f"checked with ONNX Runtime {ONNX_RUNTIME}" in other.advice


def test_the_model(ruled_bundle: Path, tmp_path: Path):
    assert project.check_bundle(tmp_path / "none")[0].status == "note"
    finding, scenario = project.check_bundle(ruled_bundle)
    assert (finding.status, scenario.name) == ("ok", "small")
    assert "version 77 of small: item, user, scene" in finding.found
    copy = shutil.copytree(ruled_bundle, tmp_path / "copy")
    (copy / "tokenizer.json").write_text("{}")
    assert is_fault(project.check_bundle(copy)[0], "tokenizer.json: checksum", "publish it again")
    (tmp_path / "contract.json").write_text(json.dumps({"format": 1}))
    assert is_fault(project.check_bundle(tmp_path)[0], "contract.json")


def test_the_language_model(small_scenario: Scenario):
    assert project.check_language_model(small_scenario).status == "ok"
    assert project.check_language_model(None).status == "note"

    def of(model: str) -> CheckResult:
        encoder = small_scenario.encoder.model_copy(update={"model": model})
        return project.check_language_model(small_scenario.model_copy(update={"encoder": encoder}))

    assert is_fault(of("package:no_such_package/model"), "no_such_package", "make setup")
    assert of("someone/some-model").status == "note"


def test_the_feature_store(small_scenario: Scenario, small_store: Path, tmp_path: Path):
    class Down:
        def __init__(self, folder: Path, scenario: Scenario) -> None: ...

        def read(self, users: list, moments: list) -> list:
            raise Unavailable("feature store: ConnectionError: refused")

    assert project.check_features(tmp_path, small_scenario).status == "note"
    assert project.check_features(small_store, None).status == "note"
    assert is_fault(project.check_features(small_store, small_scenario, Down), "refused", "make demo")
    assert "small_v1 is readable" in project.check_features(small_store, small_scenario).found
    other = small_scenario.model_copy(update={"name": "other"})
    assert is_fault(project.check_features(small_store, other), "has feature services small_v1")


def test_a_recommender_that_hangs():
    assert project.check_running(None).status == "note"
    assert is_fault(project.check_running(STATE), "127.0.0.1:1 is not ready", "a.log, b.log")
    assert is_fault(project.check_running(STATE, lambda rest: "Triton is not there"), "Triton is not there")
    assert project.check_running(STATE, lambda rest: "").status == "ok"
    running = "Triton 2.51.0, ONNX Runtime 1.28.0, C++ backend"
    assert project.check_running({**STATE, "triton": running}, lambda rest: "").found.endswith(f"; {running}")


def test_the_oldest_supported_server_is_that_of_the_tests_on_a_control_plane():
    built = re.search(r"k8s.io/kubernetes v(\d+\.\d+)", (ROOT / "tests/cluster/go.mod").read_text(encoding="utf-8"))
    assert built is not None and builtin_kinds.SUPPORTED[0] == built[1]
    assert tuple(f"{major}.{minor}" for major, minor in cluster.SUPPORTED) == builtin_kinds.SUPPORTED


def test_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = tmp_path / "config"
    every = {cluster.NEEDED, *cluster.USEFUL}
    assert cluster.check_cluster(None).status == "note"
    assert cluster.check_cluster(config, lambda path: ("v1.37", every)).status == "ok"
    assert is_fault(cluster.check_cluster(config, lambda path: ("v1.37", set())), "v1.37", "install KServe")
    assert cluster.check_cluster(config, lambda path: ("v1.37", {cluster.NEEDED})).status == "note"
    assert cluster.check_cluster(config, lambda path: ("v1.35.4-gke.1", every)).status == "ok"
    for version in ("v1.34.9", "v1.38.0", "unknown"):
        finding = cluster.check_cluster(config, lambda path, version=version: (version, every))
        assert (finding.status, "1.35 to 1.37" in finding.advice) == ("note", True)
    config.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
        "contexts: [{name: here, context: {cluster: here, user: me}}]\n"
        "users: [{name: me, user: {}}]\nclusters: [{name: here, cluster: {server: 'http://127.0.0.1:1'}}]\n"
    )
    assert is_fault(cluster.check_cluster(config), "kubectl cluster-info")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'none'}:{config}")
    assert cluster.kubeconfig() == config
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert cluster.kubeconfig() is None


def test_the_storage_containers_of_the_cluster(tmp_path: Path):
    config = tmp_path / "config"
    restricted = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }

    def found(**container: object):
        named = {"metadata": {"name": "default"}, "spec": {"container": container}}
        return cluster.check_storage_containers(config, lambda path: [named])

    assert cluster.check_storage_containers(None).status == "note"
    assert found(securityContext=restricted).status == "ok"
    assert is_fault(found(), "default lacks allowPrivilegeEscalation: false, runAsNonRoot", "-k manifests/components/")
    for name in restricted:
        assert is_fault(found(securityContext={**restricted, name: None}), name)
    assert cluster.check_storage_containers(config, lambda path: []).status == "note"
    config.write_text("apiVersion: v1\nkind: Config\n")
    assert cluster.check_storage_containers(config).status == "note"  # check_cluster reports the fault


@pytest.mark.parametrize(("findings", "code"), [([ok("a", "b"), note("c", "d", "e")], 0), ([fault("a", "b", "c")], 1)])
def test_the_exit_code_follows_the_faults(monkeypatch: pytest.MonkeyPatch, findings: list[CheckResult], code: int):
    monkeypatch.setattr("serving.doctor.cli.examine", lambda demo: findings)
    app = typer.Typer()
    app.command()(doctor)
    assert CliRunner().invoke(app, []).exit_code == code


def test_a_scenario_that_is_not_there_is_refused():
    app = typer.Typer()
    app.command()(doctor)
    refused = CliRunner().invoke(app, ["--scenario", "nosuch"])
    assert isinstance(refused.exception, ScenarioError)
    assert "'nosuch' is not known; allowed: " in str(refused.exception)


def test_all_checks_run_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    app = typer.Typer()
    app.command()(doctor)
    shown = CliRunner().invoke(app, [], env={"COLUMNS": "200"})
    assert shown.exit_code in (0, 1), shown.exception
    for name in ("python", "memory", "disk", "ports", "triton", "feast", "model", "cluster", "make demo"):
        assert name in shown.output


def test_the_table_shows_brackets_as_they_are():
    console = Console(file=io.StringIO(), width=100)
    show(console, [fault("disk", "[red] 1 GB", "free some")])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red] 1 GB" in text
    assert "to be fixed: disk" in text
