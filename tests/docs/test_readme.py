"""The README is short: what does not fit on a few screens is a page of docs/."""

import re
from pathlib import Path

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_at_most_1500_words():
    assert len(README.split()) <= 1500


def test_the_demo_output_in_it_is_that_of_the_page():
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    page = (Path(__file__).resolve().parents[2] / "docs" / "demo-output.md").read_text(encoding="utf-8")
    assert set(shown.splitlines()) <= {line.rstrip() for line in page.splitlines()}
