"""The list of forgotten users: no key can be read in it, and no run reads their rows again."""

import json
import re
import threading

import pandas as pd
import pytest

from polytask.data.tables import read_tables
from polytask.errors import DataError
from polytask.ingest import ingest
from polytask.ingest.forgotten import FILE, add_forgotten, forgotten_file, read_forgotten
from polytask.registry.fingerprint import fingerprint
from polytask.scenario import load_scenario
from polytask.storage.atomic import write_text
from tests.small import write_small_scenario


@pytest.fixture
def scenario(tmp_path):
    (tmp_path / "data").mkdir()
    return load_scenario(write_small_scenario(tmp_path / "data"))


def test_the_next_run_leaves_the_user_out(scenario, tmp_path):
    before = ingest(scenario, tmp_path / "before")
    assert add_forgotten(scenario, 40)
    report = ingest(scenario, tmp_path / "after")
    tables = read_tables(tmp_path / "after")
    assert 40 not in set(tables.users["user_id"]) | set(tables.interactions["user_id"])
    assert len(tables.users) == before.tables["users"].rows_out - 1
    assert report.notes == ("forgotten users left out: 1",)


def test_the_other_events_keep_their_numbers(scenario, tmp_path):
    ingest(scenario, tmp_path / "before")
    add_forgotten(scenario, 40)
    ingest(scenario, tmp_path / "after")
    (before, after) = (read_tables(tmp_path / name).interactions for name in ("before", "after"))
    expected = before[before["user_id"] != 40].reset_index(drop=True)
    pd.testing.assert_frame_equal(after, expected)


def test_an_error_names_the_row_of_the_source(scenario, tmp_path):
    users = tmp_path / "data" / "users.csv"
    lines = users.read_text(encoding="utf-8").splitlines()
    users.write_text("\n".join([*lines[:-1], lines[-1].split(",")[0] + ",999,writer"]) + "\n", encoding="utf-8")
    add_forgotten(scenario, 40)
    with pytest.raises(DataError, match=re.escape("age: above 120 (1 rows)")) as error:
        ingest(scenario, tmp_path / "out")
    assert "row 29: " in str(error.value)


def test_the_list_has_no_key_and_is_salted(scenario, tmp_path):
    add_forgotten(scenario, 424242)
    path = forgotten_file(scenario)
    assert path == tmp_path / "data" / FILE
    text = path.read_text(encoding="utf-8")
    assert "424242" not in text
    content = json.loads(text)
    path.unlink()
    add_forgotten(scenario, 424242)
    assert json.loads(path.read_text(encoding="utf-8"))["users"] != content["users"]


def test_a_user_is_listed_once(scenario):
    assert add_forgotten(scenario, 10)
    assert not add_forgotten(scenario, 10)
    assert add_forgotten(scenario, 20)
    listed = read_forgotten(scenario)
    assert (len(listed.users), listed.holds(10), listed.holds(20), listed.holds(30)) == (2, True, True, False)


def test_a_list_that_cannot_be_read_stops_the_run(scenario, tmp_path):
    forgotten_file(scenario).write_text('{"salt": "no"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"forgotten\.json: the list of forgotten users cannot be read"):
        ingest(scenario, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cached_step_depends_on_the_list(scenario, tmp_path):
    before = fingerprint(str(tmp_path / "data" / "small.yaml"), "code")
    add_forgotten(scenario, 10)
    assert fingerprint(str(tmp_path / "data" / "small.yaml"), "code") != before


def test_a_packaged_data_set_has_its_list_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path))
    movielens = load_scenario("movielens")
    before = fingerprint("movielens", "code")
    add_forgotten(movielens, 1)
    assert forgotten_file(movielens) == tmp_path / "forgotten" / "movielens.json"
    assert fingerprint("movielens", "code") != before


def test_two_commands_at_once_lose_no_user(scenario, monkeypatch):
    """The second one comes between the first one's reading and writing."""
    second = threading.Thread(target=add_forgotten, args=(scenario, 20))

    def write(path, text):
        if second.ident is None:
            second.start()
            second.join(timeout=0.5)  # it waits for the first
        write_text(path, text)

    monkeypatch.setattr("polytask.ingest.forgotten.write_text", write)
    assert add_forgotten(scenario, 40)
    second.join(timeout=30)
    listed = read_forgotten(scenario)
    assert listed.holds(20)
    assert listed.holds(40)
