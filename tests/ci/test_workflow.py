"""The CI workflow runs `.ci/run` on every supported Python; pre-commit runs the tools of `make check`."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from polytask.contract.triton_image import STUB_PYTHONS

ROOT = Path(__file__).resolve().parents[2]


def test_the_workflow_runs_what_ci_runs_on_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["run"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = [found[1] for line in project["classifiers"] if (found := re.search(r":: (3\.\d+)$", line))]
    assert job["strategy"]["matrix"]["python"] == [*STUB_PYTHONS]
    (named,) = (given["python-version"] for step in job["steps"] if "python-version" in (given := step.get("with", {})))
    assert named.split() == [*supported, "${{", "matrix.python", "}}"]
    assert job["steps"][-1] == {"run": ".ci/run"}


def test_the_workflow_measures_the_coverage_where_it_costs_little():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["coverage"]["steps"]
    assert [step["with"]["python-version"] for step in steps if "python-version" in step.get("with", {})] == ["3.12"]
    assert {"run": "make coverage"} in steps
    assert steps[-1]["run"] == 'grep ^TOTAL build/coverage/report.txt >>"$GITHUB_STEP_SUMMARY"'


@pytest.mark.parametrize(("length", "code"), [(72, 0), (73, 1)])
def test_a_subject_has_at_most_72_characters(tmp_path: Path, length: int, code: int):
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text("\u00e4" * length + "\n\n" + "a line of the body " * 9, encoding="utf-8")
    done = subprocess.run([ROOT / ".ci" / "subjects", message], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "subject of more than 72 characters" in done.stdout) == (code, bool(code))


def test_the_subjects_of_a_range_are_checked():
    assert subprocess.run([ROOT / ".ci" / "subjects", "HEAD..HEAD"], cwd=ROOT, timeout=60, check=False).returncode == 0
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["stages"] for hook in hooks if hook["entry"] == ".ci/subjects"] == [["commit-msg"]]


def test_pre_commit_runs_the_tools_of_make_check():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.split("\nlint:")[1].split("\n\n")[0]
    tools = re.findall(r"@\$\(BIN\)/(?:python )?(\.?[a-z][a-z/-]+(?: [a-z]+)?)", lint)
    assert tools == ["ruff check", "ruff format", "mypy", "lint-imports", ".ci/words"]
    for tool in (*tools, "secrets"):
        assert any(tool in entry for entry in hooks), tool
