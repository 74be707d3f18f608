"""The pages of docs/ as a site: it builds without a warning, requests nothing from other hosts, has no dead link."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import polytask.client
import polytask.scenario
from polytask.scenario import load_scenario

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def build(configuration: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", configuration, "--site-dir", target],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    ran = build(ROOT / "mkdocs.yml", target)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    return target


def test_every_page_is_built_and_linked_from_the_first(site: Path) -> None:
    pages = {
        str(path.relative_to(DOCS).with_suffix(".html")).replace("README.html", "index.html")
        for path in DOCS.rglob("*.md")
        if "examples" not in path.parts
    }
    first = (site / "index.html").read_text(encoding="utf-8")
    assert [page for page in pages if not (site / page).is_file()] == []
    assert [page for page in pages if f'href="{page}"' not in first] == []


def test_the_api_reference_has_every_public_name_with_its_sections(site: Path) -> None:
    for module in (polytask.client, polytask.scenario):
        page = (site / "api" / f"{module.__name__.rpartition('.')[2]}.html").read_text(encoding="utf-8")
        shown = set(re.findall(rf'id="{module.__name__}\.(?:explain\.)?(\w+)"', page))
        # A union of three classes, and models whose fields are a page of their own (scenario-file.md).
        assert set(module.__all__) - shown <= {"Entry", "Scenario", "Task"}
    registry = (site / "api" / "registry.html").read_text(encoding="utf-8")
    for name in ("register", "promote", "roll_back", "remove"):
        assert f'id="polytask.registry.version.ModelRegistry.{name}"' in registry
    for section in ("Parameters:", "Returns:", "Raises:", "Examples:"):
        assert section in registry


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((ROOT / "manifests/components/monitoring/alerts.yaml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule}
    explained = re.findall(r"^### (Recommender\w+)$", (DOCS / "operate.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(explained) == sorted(alerts)


def test_nothing_is_fetched_from_another_host(site: Path) -> None:
    fetched = re.compile(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?(https?:)?//""")
    assert [path.name for path in site.rglob("*.html") if fetched.search(path.read_text(encoding="utf-8"))] == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert styles
    assert not any(re.search(r"""(@import|url\()\s*["']?(https?:)?//""", style) for style in styles)


def test_a_link_to_nowhere_stops_the_build(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "docs/index.md").write_text("[gone](gone.md)", encoding="utf-8")
    ran = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert ran.returncode != 0
    assert "gone.md" in ran.stderr


@pytest.mark.parametrize(
    "page",
    [page for page in sorted((DOCS / "scenarios").glob("*.md")) if page.stem != "index"],
    ids=lambda page: page.stem,
)
def test_a_guide_says_what_its_scenario_says(page: Path) -> None:
    """The templates are those of the scenario file; the tables have every column and task."""
    text = page.read_text(encoding="utf-8")
    scenario = load_scenario(page.stem.replace("-", "_"))
    templates = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL).group(1))
    assert {name: templates[name] for name in templates} == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in scenario.text.model_dump().items()
        if name in templates
    }
    tables, tasks = (text.partition(f"## {title}\n")[2].partition("\n## ")[0] for title in ("Tables", "Tasks"))
    entities = scenario.entities
    columns = [*entities.users.columns, *scenario.items.columns, *entities.interactions.columns]
    assert [column for column in columns if f"`{column}`" not in tables] == []
    named = re.findall(r"^\| `(\w+)` \| (\w+)", tasks, re.MULTILINE)
    assert named == [(task.name, task.kind) for task in scenario.tasks]
