"""The output of the commands."""

import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from polytask.client import Ranked, Recommendations, ScoredLabel, SlateEntry, Value
from polytask.errors import RequestError, ServingError
from serving.commands.recommend import _context, _weights, recommend
from serving.commands.response_tables import render_responses, task_titles
from serving.commands.serve import _start_explainer, serve
from serving.console.cli import console as console_command
from tests.polytask.client.fake_server import running

app = typer.Typer()
app.command()(recommend)

ANSWER = Recommendations(
    user=42,
    tasks={
        "item": (Ranked(7, "Alien [1979]", 2.5), Ranked(8, "Heat", 1.25)),
        "scene": (ScoredLabel("Horror", 0.75),),
        "stars": (Value(3.5),),
    },
    cold_start=True,
    truncated=False,
    stale_features=False,
    degraded=False,
    model_version="1",
    contract_checksum="0" * 64,
    query="a [scary] story",
)


def rendered(limit: int = 5) -> str:
    console = Console(file=io.StringIO(), width=100)
    render_responses(console, ANSWER, {"item": "Films to watch next"}, limit)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_one_block_per_task_with_titles_as_they_are():
    text = rendered()
    for part in ("User 42", 'query "a [scary] story"', "Films to watch next (item)", "Alien [1979] (7)", "3.50"):
        assert part in text
    assert "cold start" in text
    assert "too old" not in text
    assert "Heat" not in rendered(limit=1)


def test_the_slate_is_a_table_of_its_own():
    slate = (SlateEntry("item", "7", "Alien [1979]", 0.625), SlateEntry("scene", "Horror", "Horror", 0.375))
    console = Console(file=io.StringIO(), width=100)
    render_responses(console, replace(ANSWER, tasks={}, slate=slate, priority={"item": 0.625, "scene": 0.375}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "item 0.62, scene 0.38" in text
    assert [line.split("│")[2:4] for line in text.splitlines() if "│" in line] == [
        [" item  ", f" {'Alien [1979] (7)':48} "],
        [" scene ", f" {'Horror':48} "],
    ]
    assert "priority" not in rendered()


@pytest.mark.parametrize("text", ["item", "item=two", "=2"])
def test_a_weight_that_is_none_is_refused(text: str):
    with pytest.raises(RequestError, match="allowed: task=number"):
        _weights([text])
    assert _weights(["item=2", "scene=0.5"]) == {"item": 2.0, "scene": 0.5}


def test_titles_of_a_bundle_that_is_gone_are_none(tmp_path: Path):
    assert task_titles(tmp_path) is None


def test_no_running_stack_is_an_error_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServingError, match="start one with `make serve`"):
        recommend("42")
    with pytest.raises(ServingError, match="run `make demo` first"):
        serve()


def test_a_console_without_its_bundle_says_which_option_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServingError, match=r"current: holds no exported model; name .* with --bundle"):
        console_command(url="127.0.0.1:1")


def test_what_is_served_is_the_demo_of_the_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for scenario in ("reviews", "scenarios/reviews.yaml"):
        with pytest.raises(ServingError, match=r"^build/demo/reviews/published/current: holds no exported model"):
            serve(scenario)


def test_every_option_reaches_the_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", " s3cret\n")
    with running() as server:
        words = "--user 5 --recent-item 8 --recent-item 9 --exclude-item 7 --disliked-item 6"
        words += " --filter year=1990..1999 --json --token-env SECRET"
        shown = CliRunner().invoke(app, [*words.split(), "--url", server.url])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["tasks"] == {"stars": [{"value": 4.5}]}
    assert server.headers[0]["authorization"] == "Bearer s3cret"
    # The fake server has no metadata of these inputs, so they are sent as strings.
    assert server.inputs[0] == {
        "user_id": ("INT64", [1, 1]),
        "recent_items": ("BYTES", [1, 2]),
        "exclude_items": ("BYTES", [1, 1]),
        "disliked_items": ("BYTES", [1, 1]),
        "filters": ("BYTES", [1]),
        "k": ("INT64", [1]),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--token-env", "NOT_SET"], "--token-env: the environment variable NOT_SET is not set"),
        (["--tls-ca", "nowhere.pem"], r"tls: nowhere\.pem is no file"),
        (["--tls-cert", "pyproject.toml"], "tls: has one of certificate and key"),
        (["--token-env", "SECRET"], r"token: would go to far\.example\.com:1 in plain text; use TLS"),
    ],
)
def test_what_cannot_be_asked_safely_is_one_line(words: list[str], message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "s3cret")
    result = CliRunner().invoke(app, ["--user", "5", "--url", "far.example.com:1", *words])
    assert isinstance(result.exception, RequestError)
    assert re.match(message, str(result.exception))


class SlowExplainer:
    """An explainer that starts and never becomes ready."""

    url = "http://127.0.0.1:9"

    def start(self) -> None: ...

    def wait_until_ready(self) -> None:
        raise ServingError("the explainer did not become ready within 60 s (log: explainer.log)")


def test_answers_do_without_an_explainer_that_is_slow():
    reported = io.StringIO()
    _start_explainer(Console(file=reported, width=200), SlowExplainer())
    assert reported.getvalue() == (
        "No explanations yet, recommendations work without: "
        "the explainer did not become ready within 60 s (log: explainer.log)\n"
    )


def test_a_second_stack_stands_beside_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build/serve.json").write_text(json.dumps({"pid": os.getpid(), "grpc": "127.0.0.1:9"}))
    with pytest.raises(ServingError, match=r"a recommender runs already: 127\.0\.0\.1:9 .* or start one --beside"):
        serve()
    with pytest.raises(ServingError, match="run `make demo` first"):  # it goes on to the bundle, which is missing
        serve(beside=True)


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port", "--console-port"])
@pytest.mark.parametrize("port", ["0", "70000"])
def test_a_port_that_cannot_be_one_is_refused_before_anything_starts(option: str, port: str):
    serving = typer.Typer()
    serving.command()(serve)
    refused = CliRunner().invoke(serving, [option, port])
    assert (refused.exit_code, type(refused.exception)) == (2, SystemExit)


def test_a_single_number_is_one_line():
    tasks = {"rating": (Value(4.256),), "liked": (ScoredLabel("liked", 0.87),), "scene": (ScoredLabel("Comedy", 1.0),)}
    console = Console(record=True, width=100, file=io.StringIO())
    render_responses(console, replace(ANSWER, tasks=tasks), {"liked": "Likes it"})
    lines = console.export_text().splitlines()
    assert "rating: 4.26" in lines
    assert "Likes it (liked): 0.87" in lines
    assert any("Comedy" in line and "1.00" in line for line in lines)  # one class is a list of classes


def test_context_is_read_from_name_and_text():
    assert _context(["weather=light rain", "place=park"]) == {"weather": "light rain", "place": "park"}
    with pytest.raises(RequestError, match="--context: 'rain', allowed: name=text"):
        _context(["rain"])
