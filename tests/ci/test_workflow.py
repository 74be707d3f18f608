"""The CI workflow runs `.ci/run` on every supported Python; pre-commit runs the tools of `make check`."""

import re
import tomllib
from pathlib import Path

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


def test_pre_commit_runs_the_tools_of_make_check():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lint = makefile.split("\nlint:")[1].split("\n\n")[0]
    tools = re.findall(r"@\$\(BIN\)/([a-z-]+(?: [a-z]+)?)", lint)
    assert len(tools) == 4
    for tool in (*tools, "secrets"):
        assert any(tool in entry for entry in hooks), tool
