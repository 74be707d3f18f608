"""The changelog lists every option, pipeline parameter and scenario field that an error reports as renamed."""

from pathlib import Path

from polytask import __version__
from polytask.renamed import OPTIONS, PARAMETERS
from polytask.scenario.renamed import FIELDS, VALUES

CHANGELOG = Path(__file__).resolve().parents[2] / "CHANGELOG.md"


def table(text: str, heading: str) -> dict[str, str]:
    """Old name -> new name of the table below a heading."""
    below = text.partition(f"#### {heading}\n")[2].partition("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in below.splitlines() if line.startswith("| `")]
    return {old.strip("`"): new.strip("`") for old, new in rows}


def test_every_renamed_option_and_parameter_is_listed() -> None:
    text = CHANGELOG.read_text(encoding="utf-8")
    options = {f"{command} {old}": new for command, names in OPTIONS.items() for old, new in names.items()}
    listed = table(text, "Options")
    assert set(listed) == {option for option in options if " --no-" not in option}
    for option, new in listed.items():
        assert options[option].partition(",")[0] in new
    assert table(text, "Pipeline parameters") == PARAMETERS


def test_every_renamed_scenario_field_is_listed() -> None:
    listed = table(CHANGELOG.read_text(encoding="utf-8"), "Scenario fields")
    values = {f"{path}: {old}": f"{path}: {new}" for path, names in VALUES.items() for old, new in names.items()}
    assert {old: new for old, new in listed.items() if not old.startswith("kind: ")} == FIELDS | values


def test_the_version_has_a_section() -> None:
    assert f"\n## {__version__} (" in CHANGELOG.read_text(encoding="utf-8")
