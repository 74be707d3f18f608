"""`polytask submit` against a server that behaves like Kubeflow Pipelines' API."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipelines.commands.submit import SubmitError, submit
from pipelines.endpoint.arguments import ArgumentError, typed_arguments
from pipelines.endpoint.endpoint import Endpoint, EndpointError
from pipelines.endpoint.follow import RunError, step_titles
from tests.pipelines.kfp_server import State, serving

COMPILED = Path(__file__).resolve().parents[3] / "pipelines" / "compiled" / "train_and_deploy.yaml"


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> State:
    from kfp import Client

    # A file of the user's home, which another Kubeflow may have been used through.
    monkeypatch.setattr(Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    monkeypatch.delenv("POLYTASK_KFP_TOKEN", raising=False)
    return State()


@pytest.fixture
def url(state: State) -> Iterator[str]:
    with serving(state) as address:
        yield address


def run(url: str, *arguments: object, pipeline: object = COMPILED) -> str:
    app = typer.Typer()
    app.command()(submit)
    options = ["--endpoint", url, "--pipeline", pipeline, "--poll-seconds", 0.01, *arguments]
    result = CliRunner().invoke(app, [str(option) for option in options])
    if result.exception is not None:
        raise result.exception
    return result.output


def step(name: str, state: str) -> dict[str, Any]:
    times = {"start_time": "2026-11-01T10:00:00Z", "end_time": "2026-11-01T10:00:42Z"}
    return {"display_name": name, "state": state, **times}


def test_a_run_is_started_and_followed(url: str, state: State) -> None:
    begun, done = step("train", "RUNNING"), step("train", "SUCCEEDED")
    state.states = [
        {"state": "PENDING"},
        {"state": "RUNNING", "run_details": {"task_details": [begun, step("root", "RUNNING")]}},
        {"state": "RUNNING", "run_details": {"task_details": [done, step("root", "RUNNING")]}},
        {"state": "SUCCEEDED", "run_details": {"task_details": [done, step("root", "SUCCEEDED")]}},
    ]
    state.busy = [503, 503]  # it is restarted meanwhile
    output = run(url, "--param", "storage_uri=s3://models/a=b", "--param", "gpu=true", "--experiment", "nightly")
    assert f"started {url}/#/runs/details/run_id-1" in output.splitlines()[0]
    assert output.count("✓ Train: succeeded in 42 s") == 1
    assert "root" not in output and "the run succeeded" in output
    assert "Run details" not in output and "Experiment details" not in output  # the client's own words
    (started,) = state.runs
    assert started["runtime_config"]["parameters"] == {"storage_uri": "s3://models/a=b", "gpu": True}
    reference = started["pipeline_version_reference"]
    assert reference == {"pipeline_id": "pipeline_id-1", "pipeline_version_id": "pipeline_version_id-1"}
    assert started["experiment_id"] == "experiment_id-1"
    assert state.experiments[0]["display_name"] == "nightly"
    assert COMPILED.read_bytes() in state.uploads[0].replace(b"\r\n", b"\n")


def test_the_same_content_is_uploaded_once(url: str, state: State, tmp_path: Path) -> None:
    run(url, "--no-wait")
    run(url, "--no-wait")
    assert (len(state.pipelines), len(state.versions), len(state.experiments), len(state.runs)) == (1, 1, 1, 2)
    other = tmp_path / "other.yaml"
    other.write_text(COMPILED.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    run(url, "--no-wait", pipeline=other)
    assert (len(state.pipelines), len(state.versions)) == (1, 2)
    assert state.runs[2]["pipeline_version_reference"]["pipeline_version_id"] == "pipeline_version_id-2"
    assert not any(call.startswith("GET /runs") for call in state.calls)


def test_a_run_that_fails_or_is_cancelled_or_lasts(url: str, state: State) -> None:
    failed = {"run_details": {"task_details": [step("gate", "FAILED")]}, "error": {"message": "gate:\n refused"}}
    state.states = [{"state": "FAILED", **failed}]
    with pytest.raises(RunError, match=r"run run_id-1 ended FAILED at Gate: gate: refused$"):
        run(url)
    state.states = [{"state": "CANCELED"}]
    with pytest.raises(RunError, match="ended CANCELED"):
        run(url)
    state.states = [{"state": "RUNNING"}]
    with pytest.raises(RunError, match="has not ended after 1 s; it goes on: http"):
        run(url, "--timeout", 1)


def test_the_token(url: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.token = "secret"
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:\d+: 401 Unauthorized: Unauthenticated: no valid token$"):
        run(url, "--no-wait")
    assert len(state.calls) == 1  # refused once, not five times
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    run(url, "--no-wait", "--token-file", tmp_path / "token")
    monkeypatch.setenv("POLYTASK_KFP_TOKEN", "secret")
    run(url, "--no-wait", "--namespace", "team")
    assert [experiment.get("namespace") for experiment in state.experiments] == ["", "team"]
    with pytest.raises(EndpointError, match=r"--token-file: .*nothing cannot be read"):
        run(url, "--token-file", tmp_path / "nothing")


def test_wrong_parameters_are_refused_before_anything_is_sent(url: str, state: State) -> None:
    with pytest.raises(ArgumentError, match=r"--param storge: unknown parameter; expected one of .*storage_uri"):
        run(url, "--param", "storge=s3://models")
    with pytest.raises(ArgumentError, match="--param gpu: invalid value 'yes'; expected true or false"):
        run(url, "--param", "gpu=yes")
    assert state.calls == []


def test_types_of_parameters() -> None:
    kinds = {"n": "NUMBER_INTEGER", "x": "NUMBER_DOUBLE", "l": "LIST", "s": "STRUCT", "t": "STRING"}
    parameters: dict[str, Any] = {name: {"parameterType": kind, "isOptional": True} for name, kind in kinds.items()}
    spec = {"root": {"inputDefinitions": {"parameters": parameters}}}
    given = ["n=3", "x=1e-3", "l=[1]", 's={"a": 2}', "t="]
    assert typed_arguments(given, spec) == {"n": 3, "x": 0.001, "l": [1], "s": {"a": 2}, "t": ""}
    for entry, words in {
        "n=3.5": "a whole number",
        "x=much": "a number",
        "l={}": "a JSON list",
        "s=[]": "a JSON object",
        "n": "name=value",
    }.items():
        with pytest.raises(ArgumentError, match=words):
            typed_arguments([entry], spec)
    with pytest.raises(ArgumentError, match="--param n: given twice"):
        typed_arguments(["n=1", "n=2"], spec)
    del parameters["n"]["isOptional"]
    with pytest.raises(ArgumentError, match="--param n: missing; it has no default"):
        typed_arguments([], spec)


def test_a_pipeline_by_its_name_is_compiled(url: str, state: State) -> None:
    run(url, "--no-wait", pipeline="train_and_deploy")
    run(url, "--no-wait")
    assert len(state.versions) == 1  # what is compiled now is what was committed


def test_what_cannot_be_submitted(url: str, state: State, tmp_path: Path) -> None:
    with pytest.raises(SubmitError, match="--pipeline 'train'; allowed: train_and_deploy"):
        run(url, pipeline="train")
    with pytest.raises(SubmitError, match=r"cannot be read: .*No such file"):
        run(url, pipeline=tmp_path / "none.yaml")
    (tmp_path / "other.yaml").write_text("a: 1", encoding="utf-8")
    with pytest.raises(SubmitError, match="is no compiled pipeline"):
        run(url, pipeline=tmp_path / "other.yaml")
    assert state.calls == []


def test_an_endpoint_that_is_away_is_named_in_one_line(
    state: State, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("urllib3.connectionpool").setLevel(logging.NOTSET)  # as in a program that starts
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            EndpointError, match=r"http://127\.0\.0\.1:1: Kubeflow Pipelines cannot be reached: "
        ) as raised:
            run("http://127.0.0.1:1")
    assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""
    assert caplog.records == []
    with pytest.raises(EndpointError, match="allowed: an address that starts with http"):
        run("localhost:8888")


def test_every_call_has_a_deadline(url: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib3

    seen: list[Any] = []
    request = urllib3.PoolManager.request

    def noted(self: Any, *arguments: Any, timeout: Any = None, **named: Any) -> Any:
        seen.append(timeout)
        return request(self, *arguments, timeout=timeout, **named)

    monkeypatch.setattr(urllib3.PoolManager, "request", noted)
    Endpoint(url).run("1")
    assert [timeout and timeout.total for timeout in seen] == [30, 30]


def test_titles_are_those_of_the_steps() -> None:
    import yaml

    titles = step_titles(next(yaml.safe_load_all(COMPILED.read_text(encoding="utf-8"))))
    assert titles["train"] == "Train" and titles["report"] == "Report"
    assert not any("exit-handler" in name for name in titles)
