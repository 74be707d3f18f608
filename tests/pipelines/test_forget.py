"""The command `polytask forget`: afterwards no file below the workspace has the user, and what is live still serves."""

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from feature_repo.push import online_history
from feature_repo.store import open_store
from pipelines.forget import forget
from pipelines.forgetting.run import HANDLERS, ForgetError
from pipelines.forgetting.target import Finding, Handler, Target
from polytask.contract.contract import CatalogueSpec, Contract, FileSum, load_contract
from polytask.data.catalogue import catalogue_of, load_catalogue
from polytask.data.tables import read_tables
from polytask.errors import PolytaskError
from polytask.ingest import ingest
from polytask.ingest.rejected import write_rejected
from polytask.ingest.run import clean, read_source
from polytask.personal.places import FORGOTTEN, PLACES
from polytask.registry.folder import FolderRegistry
from polytask.registry.trained import Version
from polytask.scenario import load_scenario
from polytask.scenario.data import Validation
from polytask.scenario.names import USERS
from polytask.storage.atomic import sha256_file
from polytask.storage.temporary_names import machine
from polytask.text.vector_store import VectorShards
from serving.triton.checksums import check_sums, write_sums
from tests.pipelines.forgotten_workspace import (
    OTHER,
    USER,
    WORD,
    build_workspace,
    traces_of_user,
    user_vectors,
    write_scenario,
)


class Stopped(Exception):
    """In place of a signal."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables in `data`, what the commands made of them in `workspace`. Read only."""
    folder = tmp_path_factory.mktemp("built")
    build_workspace(write_scenario(folder / "data"), folder / "workspace")
    return folder


@pytest.fixture
def place(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `built` that a test may change; its text vectors are its own."""
    shutil.copytree(built, tmp_path / "copy", symlinks=True)
    file = tmp_path / "copy" / "data" / "small.yaml"
    file.write_text(file.read_text().replace(str(built), str(tmp_path / "copy")), encoding="utf-8")
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "copy"


def run(place: Path, *arguments: str, user: object = USER) -> str:
    app = typer.Typer()
    app.command()(forget)
    options = ["--user", user, "--scenario", place / "data" / "small.yaml", "--workspace", place / "workspace"]
    options += ["--evaluation", place / "eval"]
    result = CliRunner(env={"COLUMNS": "240"}).invoke(app, [str(word) for word in (*options, *arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def registry(place: Path) -> FolderRegistry:
    return FolderRegistry(place / "workspace" / "small" / "published")


def vectors(place: Path) -> list[bytes]:
    bundle = registry(place).folder / "current"
    users = load_catalogue(load_scenario(place / "data" / "small.yaml"), USERS, bundle / "catalogues" / "users.parquet")
    return user_vectors(registry(place).folder, users.row(USER))


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
    assert f"version {live.version} is live in place of {old[1].version}" in output

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
    assert "1 rows stay: the tables are yours" in output
    ingest(scenario, place / "again")
    assert USER not in set(read_tables(place / "again").users["user_id"])
    assert "1 rows stay" in run(place), "a second time there is only what is the team's"
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


@pytest.mark.parametrize("option", ["--workspace", "--feature-store", "--published"])
def test_a_folder_that_is_not_there_is_no_place_without_the_user(place: Path, option: str) -> None:
    with pytest.raises(PolytaskError, match=f"{option}: .*/typo is no folder"):
        run(place, option, str(place / "typo"))


@pytest.mark.usefixtures("quick_export")
def test_the_tables_are_rewritten_where_that_is_asked_for(place: Path) -> None:
    lines = (place / "data" / "users.csv").read_text(encoding="utf-8").splitlines()
    output = run(place, "--sources")
    assert "1 rows removed" in output
    left = (place / "data" / "users.csv").read_text(encoding="utf-8").splitlines()
    assert left == [line for line in lines if WORD not in line]
    assert USER not in set(pd.read_csv(place / "data" / "interactions.csv")["user_id"])
    assert traces_of_user(place, []) == []
    assert "nothing is stored" in run(place)


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of an export, which takes most of the time: the old bundle with another catalogue and version."""

    def job(previous: Version, user: int, target: Path, say, finish) -> Contract:
        old = load_contract(previous.bundle)
        users = previous.catalogues()[USERS]
        catalogue = catalogue_of(old.scenario, USERS, users.table[users.table["user_id"] != user])
        bundle, file = target / "bundle", old.catalogues[USERS].path
        shutil.copytree(previous.bundle, bundle)
        shutil.copytree(previous.checkpoint, target / "model")
        for path in (bundle / "priorities.parquet", bundle / file, target / "model" / "model.safetensors"):
            path.unlink()
        for model in old.models.values():
            made = onnx.ModelProto(doc_string=f"without the user, from {old.model_version}")
            onnx.save(made, bundle / model.path)
        catalogue.save(bundle / file)
        spec = CatalogueSpec(path=file, sha256=sha256_file(bundle / file), rows=len(catalogue))
        models = {
            name: FileSum(path=model.path, sha256=sha256_file(bundle / model.path))
            for name, model in old.models.items()
        }
        contract = old.model_copy(
            update={
                "model_version": old.model_version // 2,
                "catalogues": {**old.catalogues, USERS: spec},
                "models": models,
                "priorities": None,
            }
        )
        contract.save(bundle)
        write_sums(bundle / "repository")
        return contract

    monkeypatch.setattr("polytask.jobs.forget_user.forget_job", job)


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize("stop_at", list(HANDLERS))
def test_an_interrupted_run_is_finished_by_the_next(place: Path, monkeypatch: pytest.MonkeyPatch, stop_at: str) -> None:
    rows = vectors(place)
    handler = HANDLERS[stop_at]
    (place / "eval").mkdir()

    def stopped(target: Target, found: list[Finding]) -> list[Finding]:
        handler.remove(target, found)
        raise Stopped

    monkeypatch.setitem(HANDLERS, stop_at, Handler(handler.find, stopped))
    with suppress(Stopped):  # a place without the user is not handled
        run(place)
    assert registry(place).live() is not None
    monkeypatch.setitem(HANDLERS, stop_at, handler)
    run(place)
    assert traces_of_user(place / "workspace", rows) == []
    assert not (place / "eval").exists()
    assert len(registry(place).versions()) == 2


@pytest.mark.usefixtures("quick_export")
def test_a_rewrite_that_is_interrupted_between_its_steps(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version takes the place of another in three steps; after each of them the next run goes on."""
    rows = vectors(place)
    for step in ("_write", "_remove"):
        with monkeypatch.context() as patch:
            patch.setattr(FolderRegistry, step, interrupted)
            with pytest.raises(Stopped):
                run(place)
        live = registry(place).live()
        assert live is not None
        load_contract(Path(live.bundle))
    run(place)
    assert traces_of_user(place / "workspace", rows) == []
    assert len(registry(place).versions()) == 2


@pytest.mark.usefixtures("quick_export")
def test_folders_that_a_killed_process_left_go_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version whose last folder was moved aside is on no list, and what a dead writer wrote is under no name."""
    rows = vectors(place)
    folder = registry(place).folder
    removed: list[Path] = []

    def rmtree(path: Path) -> None:
        removed.append(path)
        if len(removed) == 4:  # checkpoint and bundle of two versions
            raise Stopped
        shutil.rmtree(path)

    with monkeypatch.context() as patch:
        patch.setattr("polytask.storage.removal.shutil", SimpleNamespace(rmtree=rmtree))
        with pytest.raises(Stopped):
            run(place)
    assert list(folder.glob(".*.removed"))
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=30)
    for target in (folder / "7", folder.parent / "update", folder.parent / "feature_store" / "sources" / "a.parquet"):
        half = target.with_name(f".{target.name}.{machine()}-{process.pid}-0123abcd.tmp")
        half.mkdir()
        (half / "users.csv").write_text(f"{USER},{WORD}", encoding="utf-8")
    run(place)
    assert traces_of_user(place / "workspace", rows) == []
    assert not list(folder.glob(".*"))


def test_a_user_of_rejected_rows_alone_is_found(place: Path) -> None:
    """Ingest drops the row of users.csv, whose age is above 120, and all events of the user."""
    scenario = load_scenario(place / "data" / "small.yaml")
    raw = read_source(scenario).tables
    users = raw.users[raw.users["user_id"] == str(OTHER)].assign(user_id="31337", age="999")
    scenario = scenario.model_copy(update={"validation": Validation(max_bad_share=0.5)})
    rejected = clean(scenario, raw._replace(users=pd.concat([raw.users, users], ignore_index=True))).rejected
    folder = place / "workspace" / "small" / "pipeline" / "run" / "ingest" / "tables" / "rejected"
    (path,) = write_rejected(rejected, folder)
    assert "31337" in path.read_text(encoding="utf-8")
    assert "pipeline runs" in run(place, user=31337)
    assert not path.exists()


def interrupted(*_: object) -> None:
    raise Stopped


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
