"""The command `polytask forget`: afterwards no file below the workspace has the user, and what is live still serves."""

import fcntl
import os
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.push import online_history
from feature_repo.store import open_store
from pipelines.forgetting.run import HANDLERS, ForgetError
from polytask.contract.contract import load_contract
from polytask.data.catalogue import load_catalogue
from polytask.data.tables import read_tables
from polytask.errors import PolytaskError
from polytask.ingest import ingest
from polytask.personal.places import FORGOTTEN, PLACES
from polytask.scenario import load_scenario
from polytask.scenario.names import USERS
from polytask.text.vector_store import VectorShards
from serving.triton.checksums import check_sums
from tests.pipelines.forgotten_workspace import OTHER, USER, WORD, registry, run, traces_of_user, vectors


def cached_text(place: Path) -> list[bool]:
    """Whether the vectors of another's text and of the user's are in the cache, which has both at first."""
    (age,) = pd.read_csv(place / "data" / "users.csv").set_index("user_id")["age"][[USER]]
    texts = ("30 year old writer, weekday morning", f"{age} year old {WORD}, weekday morning")
    keys = [sha256(text.encode()).hexdigest() for text in texts]
    shards = VectorShards(place.parent / "cache" / "text-vectors" / "model", 4)
    if not (place.parent / "cache").is_dir():
        shards.add(keys, np.ones((2, 4), dtype=np.float32))
    return shards.read(keys, np.zeros((2, 4), dtype=np.float32)).tolist()


@pytest.mark.timeout(1200)  # four exports, two of them in the fixture
def test_nothing_of_the_user_is_left(place: Path) -> None:
    (place / "eval").mkdir()
    (place / "eval" / "metrics.json").write_text(f'{{"user": {USER}}}')
    rows = vectors(place)
    before = traces_of_user(place / "workspace", rows)
    for name in ("online.db", "user_history.parquet", "training_set", "priorities.parquet", "report", "summary.json"):
        assert any(name in line for line in before), f"the search does not see what is in {name}"
    assert any("model.onnx: vector" in line for line in before)
    old = registry(place).versions()
    assert [version.promoted is not None for version in old] == [True, True]

    assert cached_text(place) == [True, True]
    output = run(place)
    assert traces_of_user(place / "workspace", rows) == []
    assert cached_text(place) == [True, False]
    assert output.count("equal in every bit: item_ids, item_scores, scene_scores, encoded_text") == 2
    assert not (place / "eval").exists()
    live, versions = registry(place).live(), registry(place).versions()
    assert live is not None and len(versions) == 2
    assert {version.version for version in versions}.isdisjoint(version.version for version in old)
    assert [version.tags["replaces"] for version in versions] == [str(version.version) for version in old]
    assert [version.promoted for version in versions] == [version.promoted for version in old]
    for version in old:
        assert f"version {version.version}" in output
    replaced = f"version {live.version} is live in place of {old[1].version}: "
    assert f"{replaced}a running `polytask serve` loads it by itself; on a cluster, roll it out" in output
    assert "start the servers again" not in output

    # What is left is whole: contract, checksums, catalogues, the other users' features.
    for version in versions:
        contract = load_contract(Path(version.bundle))
        check_sums(Path(version.bundle) / "repository")
        users = load_catalogue(contract.scenario, USERS, Path(version.bundle) / contract.catalogues[USERS].path)
        assert len(users) == contract.catalogues[USERS].rows == 29
        assert users.row(USER) == 0 and users.row(OTHER) > 0
    scenario = load_scenario(place / "data" / "small.yaml")
    store = open_store(place / "workspace" / "small" / "feature_store")
    assert online_history(store, scenario, USER) == ({"history": [], "seen": []}, None)
    assert len(online_history(store, scenario, OTHER)[0]["history"]) == 10
    assert registry(place).roll_back("still possible").version == versions[0].version

    # The tables are the team's: reported, and left out by the next run.
    assert str(USER) in (place / "data" / "users.csv").read_text(encoding="utf-8")
    assert "1 row kept: the tables are yours" in output
    ingest(scenario, place / "again")
    assert USER not in set(read_tables(place / "again").users["user_id"])
    assert "1 row kept" in run(place), "a second time there is only what is the team's"
    assert registry(place).versions() == sorted(registry(place).versions(), key=lambda one: one.created)


def test_a_dry_run_changes_nothing(place: Path) -> None:
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    output = run(place, "--dry-run")
    assert "would be done" in output and "exported again without the user" in output
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_second_run_at_the_same_time_is_refused(place: Path) -> None:
    handle = os.open(place / "workspace" / "small", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(ForgetError, match=r"small: another `polytask forget` is running"):
            run(place)
    finally:
        os.close(handle)


def test_an_unknown_user_is_no_error(place: Path) -> None:
    before = sorted(place.rglob("*"))
    assert "nothing is stored of user 31337" in run(place, user=31337)
    assert sorted(place.rglob("*")) == before
    for user in ("me", "1_0", "7.5", "9" * 19, "1" * 30, ""):
        with pytest.raises(PolytaskError, match=r"--user: '.*'; allowed: an integer of 64 bits, see entities\.users"):
            run(place, user=user)
    assert "would be done" in run(place, "--dry-run", user=f"0{USER}.0")


@pytest.mark.parametrize("option", ["--workspace", "--feature-store", "--registry-dir"])
def test_a_folder_that_is_not_there_is_no_place_without_the_user(place: Path, option: str) -> None:
    with pytest.raises(PolytaskError, match=f"{option}: .*/typo is no folder"):
        run(place, option, str(place / "typo"))


@pytest.mark.usefixtures("quick_export")
def test_the_tables_are_rewritten_where_that_is_asked_for(place: Path) -> None:
    lines = (place / "data" / "users.csv").read_text(encoding="utf-8").splitlines()
    output = run(place, "--sources")
    assert "1 row removed" in output
    left = (place / "data" / "users.csv").read_text(encoding="utf-8").splitlines()
    assert left == [line for line in lines if WORD not in line]
    assert USER not in set(pd.read_csv(place / "data" / "interactions.csv")["user_id"])
    assert traces_of_user(place, []) == []
    assert "nothing is stored" in run(place)


def test_the_live_version_never_goes_without_a_replacement(place: Path) -> None:
    live = registry(place).live()
    assert live is not None
    shutil.rmtree(registry(place).folder / "checkpoints" / str(live.version))
    # The models that the runs left are no replacement: they may be another version's.
    assert list((place / "workspace" / "small" / "pipeline").glob("*/train-2/model"))
    before = sorted(place.rglob("*"))
    with pytest.raises(PolytaskError, match=f"version {live.version} is live and holds the user, and .* no checkpoint"):
        run(place)
    assert sorted(place.rglob("*")) == before


def test_every_place_that_is_reached_has_a_handler() -> None:
    assert {place.name for place in PLACES if place.reached} == {*HANDLERS, FORGOTTEN}
