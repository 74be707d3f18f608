"""Which configurations Triton loads: the backend that runs here against verdicts that were measured on the C++ one."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from polytask.errors import ServingError
from polytask.scenario import Scenario
from serving.local.install import TritonInstallation
from serving.local.known_response import call
from serving.local.triton import TritonServer
from tests.serving.triton.verdict_graphs import verdict_graphs

VERDICTS = yaml.safe_load((Path(__file__).parent / "verdicts.yaml").read_text(encoding="utf-8"))


class ServerOfAllVariants(TritonServer):
    """Up when it has tried to load every model, whatever came of it."""

    def command(self) -> list[str]:
        return [*super().command(), "--exit-on-error=false"]

    def not_ready(self) -> str | None:
        try:
            status, _ = call(self.http_port, "GET", "/v2/health/live", None, timeout=2.0)
        except ServingError:
            return ""
        return None if status == 200 else ""


@pytest.fixture(scope="module")
def states(
    small_scenario: Scenario, triton_installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, str]]:
    """Model -> its state and, where it did not load, the reason."""
    folder = tmp_path_factory.mktemp("verdicts")
    graphs = verdict_graphs(small_scenario, folder / "scratch")
    for number, verdict in enumerate(VERDICTS):
        graph, config = graphs[verdict["graph"]]
        before, after = verdict.get("replace", ("", ""))
        assert before in config, f"{verdict['change']}: nothing is replaced"
        content = f'name: "{name(number)}"\n{config.replace(before, after, 1)}\n{verdict.get("add", "")}\n'
        place = folder / "repository" / name(number) / "1" / "model.onnx"
        place.parent.mkdir(parents=True)
        place.write_bytes(graph)
        (place.parents[1] / "config.pbtxt").write_text(content, encoding="utf-8")
    server = ServerOfAllVariants(
        folder / "repository", triton_installation, folder / "triton.log", ready_seconds=240, threads=1
    )
    with server:
        status, index = call(server.http_port, "POST", "/v2/repository/index", {}, timeout=20)
        assert status == 200
    return {model["name"]: (model.get("state", "?"), model.get("reason", "")) for model in json.loads(index)}


def name(number: int) -> str:
    return f"variant_{number}"


@pytest.mark.parametrize("number", range(len(VERDICTS)), ids=[verdict["change"] for verdict in VERDICTS])
def test_verdict(number: int, states: dict[str, tuple[str, str]]) -> None:
    verdict = VERDICTS[number]
    state, reason = states[name(number)]
    assert state == {"loads": "READY", "refuses": "UNAVAILABLE"}[verdict["verdict"]], reason
    if verdict["verdict"] == "refuses":
        assert verdict.get("reason", "") in reason


def test_the_verdicts_are_of_both_kinds_and_each_is_of_another_change() -> None:
    kinds = Counter(verdict["verdict"] for verdict in VERDICTS)
    assert set(kinds) == {"loads", "refuses"}
    assert min(kinds.values()) >= 20
    assert max(Counter(verdict["change"] for verdict in VERDICTS).values()) == 1
