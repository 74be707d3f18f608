"""The alerts of an overlay, evaluated by Prometheus' own tool, and the page that each of them names."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.serving.manifests.conftest import ROOT, Overlays, find

CASES = Path(__file__).with_name("alerts.yaml")
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
def test_alerts_fire_when_they_should_and_only_then(overlays: Overlays, tmp_path: Path):
    spec = rules(overlays)
    for group in spec["groups"]:
        for rule in group["rules"]:
            # promtool compares whole annotations; the cases here are about labels.
            rule.pop("annotations", None)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], **cases}), encoding="utf-8")
    promtool(tmp_path, "test", "rules", "cases.yaml")


def test_every_alert_is_tested_or_needs_two_days_of_data(overlays: Overlays):
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    fired = {test["alertname"] for case in cases for test in case.get("alert_rule_test", ()) if test.get("exp_alerts")}
    days = {name for name in (rule["alert"] for rule in alerts(overlays)) if name.endswith("SlowBurn")}
    days |= {rule["alert"] for rule in alerts(overlays) if "offset 1d" in rule["expr"]}
    assert fired | days == {rule["alert"] for rule in alerts(overlays)}


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
