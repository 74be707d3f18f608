"""The alerts of an overlay, evaluated by Prometheus' own tool, and the page that each of them names."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.serving.manifests.conftest import ROOT, Overlays, find

CASES = [Path(__file__).with_name(name) for name in ("alerts.yaml", "alerts_of_days.yaml")]
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool; Debian's package prometheus has it")


def rules(overlays: Overlays, name: str = "gpu") -> dict[str, Any]:
    spec: dict[str, Any] = find(overlays[name], "PrometheusRule/recommender")["spec"]
    return spec


def alerts(overlays: Overlays) -> list[dict[str, Any]]:
    return [rule for group in rules(overlays)["groups"] for rule in group["rules"] if "alert" in rule]


def promtool(folder: Path, *command: str) -> str:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *command], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
@pytest.mark.parametrize("name", ["gpu", "staging"])
def test_prometheus_accepts_the_rules(overlays: Overlays, name: str, tmp_path: Path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules(overlays, name)), encoding="utf-8")
    assert "SUCCESS" in promtool(tmp_path, "check", "rules", "rules.yaml")


@needs_promtool
@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(overlays: Overlays, cases: Path, tmp_path: Path):
    spec = rules(overlays)
    for group in spec["groups"]:
        for rule in group["rules"]:
            # promtool compares whole annotations; the cases here are about labels.
            rule.pop("annotations", None)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    content = {"rule_files": ["rules.yaml"], **yaml.safe_load(cases.read_text(encoding="utf-8"))}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    promtool(tmp_path, "test", "rules", "cases.yaml")


def test_every_alert_fires_in_a_test_and_stays_silent_in_another(overlays: Overlays):
    tests = [test for path in CASES for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    known = {rule["alert"] for rule in alerts(overlays)}
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == known
    assert {check["alertname"] for check in checks if not check.get("exp_alerts")} == known


def test_the_page_of_every_alert_is_there(overlays: Overlays):
    page = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    headings = {heading.lower() for heading in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    for rule in alerts(overlays):
        address, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert address.endswith("/docs/operate.md")
        assert anchor in headings, rule["alert"]
        assert "{{ $labels.namespace }}" in rule["annotations"]["summary"]


def test_each_environment_names_its_own_namespace(overlays: Overlays):
    for name in ("gpu", "staging"):
        namespace = find(overlays[name], "InferenceService/recommender")["metadata"]["namespace"]
        down = [
            rule["expr"]
            for group in rules(overlays, name)["groups"]
            for rule in group["rules"]
            if "absent" in rule["expr"]
        ]
        assert len(down) == 2
        assert all(f'namespace="{namespace}"' in query for query in down)
