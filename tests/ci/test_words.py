"""The check of words reads prose and no code, and finds each word of its list."""

import importlib.machinery
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def words() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("words", str(ROOT / ".ci/words"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("words", loader))
    loader.exec_module(module)
    return module


def found(words: ModuleType, name: str, text: str) -> list[str]:
    """The listed words in the prose of a file."""
    patterns = [re.compile(pattern, re.IGNORECASE) for pattern, _ in words.rows("words.tsv")]
    return [hit.group() for _, line in words.prose(name, text) for one in patterns if (hit := one.search(line))]


def test_comments_docstrings_and_strings_are_read_and_names_are_not(words):
    code = '"""Encode anew."""\ntold = f"{told} beside"  # asks\n'
    assert sorted(found(words, "a.py", code)) == ["anew", "asks", "beside"]
    assert found(words, "a.md", "told = 1") == ["told"]
    assert found(words, "a.py", "anew = told\n") == []


def test_each_word_has_a_replacement_and_is_found(words):
    for pattern, instead in words.rows("words.tsv"):
        assert instead and re.compile(pattern)
    for word in (
        "anew",
        "once more",
        "beside",
        "tells",
        "says",
        "stands there",
        "lies in",
        "is away",
        "mended",
        "answers",
    ):
        assert word in found(words, "a.md", f"It {word} here."), word


def test_an_allowed_line_is_exact_about_its_file(words):
    rows = [row for row in words.rows("words-allowed.tsv") if row[1] == ""]
    assert {path for path, _ in rows} == {
        ".ci/words*",
        "polytask/scenario/renamed.py",
        "tests/polytask/scenario/test_renamed.py",
        "tests/ci/test_words.py",
    }
