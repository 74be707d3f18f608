"""The changelog lists every option and pipeline parameter that the command line reports as renamed."""

from pathlib import Path

from polytask.renamed import OPTIONS, PARAMETERS

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
