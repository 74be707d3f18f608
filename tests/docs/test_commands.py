"""Every command of the pages: run by a test, or marked as needing a cluster; its options exist."""

import re
import shlex
import subprocess
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from polytask.cli import COMMANDS as COMMANDS_GROUP
from polytask.cli import build_app

ROOT = Path(__file__).resolve().parents[2]
# tests/cluster/test_pages.py runs those that need a cluster, of docs/deploy.md and of manifests/.
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
        *(path for folder in ("docs", "manifests") for path in (ROOT / folder).rglob("*.md")),
    ]
)
NEEDS_A_CLUSTER = "<!-- needs a cluster -->"
BLOCK = re.compile(r"(?P<before>[^\n]*\n)?(?P<indent> *)```sh\n(?P<body>.*?)\n *```", re.DOTALL)

# What runs each command: the file of tests, and words in it that show it. A `make` target is what its recipe runs.
RUN_BY = {
    "grpcurl -plaintext": ("tests/e2e/test_protocol_manners.py", "ServerReflectionInfo"),
    "polytask add-task": ("tests/pipelines/commands/test_update_base.py", "add_task"),
    "polytask check": ("tests/polytask/ingest/test_preview.py", "app.command()(check)"),
    "polytask doctor": ("tests/serving/doctor/test_doctor.py", "doctor"),
    "polytask evaluate": ("tests/pipelines/commands/test_evaluate.py", "app.command()(evaluate)"),
    "polytask explain": ("tests/e2e/test_explainer.py", "app.command()(explain)"),
    "polytask fine-tune": ("tests/pipelines/commands/test_update_base.py", "fine_tune"),
    "polytask forget": ("tests/pipelines/commands/test_forget.py", "run(place"),
    "polytask models": ("tests/pipelines/commands/test_models.py", "models"),
    "polytask recommend": ("tests/serving/commands/test_recommend.py", "recommend("),
    "polytask refresh-catalogue": ("tests/pipelines/commands/test_update_base.py", "refresh_catalogue"),
    "polytask rollout": ("tests/serving/rollout/test_cli.py", "rollout"),
    "polytask compile": ("tests/pipelines/commands/test_compile.py", "compile_pipelines"),
    "polytask run": ("tests/pipelines/commands/test_run.py", "app.command()(run)"),
    "polytask sample-data": ("tests/polytask/samples/test_samples.py", "sample_data"),
    "polytask submit": ("tests/pipelines/commands/test_submit.py", "submit"),
    "make compile": ("tests/pipelines/commands/test_compile.py", "compile_pipelines"),
    "make demo": ("tests/e2e/test_demo.py", "polytask"),
    "make evaluate": ("tests/pipelines/commands/test_evaluate.py", "app.command()(evaluate)"),
    "make render": ("tests/serving/manifests/test_components.py", "render"),
    "make serve": ("tests/e2e/test_local_stack.py", "LocalStack"),
}
# What a test cannot run: it would run itself, or change the environment that it runs in.
BY_HAND = {
    "make bench": "measures for minutes; tests/benchmarks runs its frame",
    "make check": "what CI runs in addition to the tests",
    "make format": "rewrites the code",
    "make setup": "made the environment of the tests",
    "make test": "runs the tests",
    "make test-spark": "runs a test that needs what it fetches",
    ".venv/bin/python -m": "runs the tests",
    "export POLYTASK_ONNXRUNTIME_BACKEND=/opt/tritonserver/backends/onnxruntime": "names a build that is not ours",
    "source .venv/bin/activate": "a shell's own",
}


class Command(NamedTuple):
    page: str
    line: str
    words: tuple[str, ...]
    needs_a_cluster: bool

    @property
    def name(self) -> str:
        return " ".join(self.words[:2])


def commands_of(page: Path, text: str) -> list[Command]:
    """The commands of all shell blocks of a page, lines that end in a backslash joined, comments left out."""
    found = []
    for block in BLOCK.finditer(text):
        marked = NEEDS_A_CLUSTER in (block["before"] or "")
        for line in block["body"].replace("\\\n", " ").splitlines():
            # A placeholder such as <folder> is one word, and no redirection.
            words = shlex.split(re.sub(r"<[^<>]*>", "placeholder", line), comments=True)
            if words:
                found.append(Command(str(page.relative_to(ROOT)), line.strip(), tuple(words), marked))
    return found


COMMANDS = [command for page in PAGES for command in commands_of(page, page.read_text(encoding="utf-8"))]
OURS = [command for command in COMMANDS if command.words[0] == "polytask"]
MAKE = [command for command in COMMANDS if command.words[0] == "make"]


def targets(command: Command) -> list[str]:
    return [word for word in command.words[1:] if "=" not in word]


def names_of(command: Command) -> list[str]:
    """`make check test` are two commands."""
    return [f"make {target}" for target in targets(command)] if command.words[0] == "make" else [command.name]


def test_the_pages_hold_commands() -> None:
    pages = {command.page for command in COMMANDS}
    assert {"README.md", "docs/quick-start.md", "docs/deploy.md", "docs/scenarios/smart-city.md"} <= pages
    assert sum(command.needs_a_cluster for command in COMMANDS) > 5


def test_every_command_is_run_by_a_test_or_marked() -> None:
    unknown = [
        f"{command.page}: {name}"
        for command in COMMANDS
        if not command.needs_a_cluster
        for name in names_of(command)
        if name not in RUN_BY and name not in BY_HAND
    ]
    assert unknown == []


def test_only_what_reaches_a_cluster_or_builds_images_is_marked() -> None:
    """A mark is no way around a test."""
    allowed = (
        "kubectl",
        "until kubectl",
        "kind",
        "minikube",
        "make image",
        "polytask rollout",
        "polytask submit",
        "polytask recommend",
    )
    assert [c.line for c in COMMANDS if c.needs_a_cluster and not c.line.startswith(allowed)] == []


@pytest.mark.parametrize(("file", "words"), sorted(set(RUN_BY.values())))
def test_the_tests_that_run_them_are_there(file: str, words: str) -> None:
    assert words in (ROOT / file).read_text(encoding="utf-8")


def test_no_entry_of_the_tables_is_out_of_use() -> None:
    used = {name for command in COMMANDS for name in names_of(command)}
    assert {*RUN_BY} - used == set()


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    """The command line as pyproject.toml puts it together: the installed one may be older."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["polytask.commands"]
    app = build_app([EntryPoint(name, place, COMMANDS_GROUP) for name, place in points.items()])
    return typer.main.get_command(app).commands


@pytest.mark.parametrize("command", OURS, ids=[f"{command.page}: {command.line}" for command in OURS])
def test_its_options_are_known(command: Command, commands: dict[str, Any]) -> None:
    """Parsed as the command line would, without running it: unknown options and values of a wrong type are errors."""
    name, *arguments = command.words[1:]
    assert commands[name].make_context(name, arguments).info_name == name


@pytest.mark.parametrize("command", MAKE, ids=[f"{command.page}: {command.line}" for command in MAKE])
def test_make_knows_its_targets(command: Command) -> None:
    # The environment is there: nothing is to be made for it. An assignment is one word, as the shell hands it over.
    ran = subprocess.run(
        ["make", "--dry-run", "-o", "setup", *command.words[1:]], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 0, ran.stderr


def test_every_scenario_of_a_command_is_there() -> None:
    named = {word.removeprefix("SCENARIO=") for c in COMMANDS for word in c.words if word.startswith("SCENARIO=")}
    assert named >= {"ecommerce", "online_education", "reviews", "smart_city", "social_media"}
    assert [name for name in named - {"placeholder"} if not (ROOT / "scenarios" / f"{name}.yaml").is_file()] == []
