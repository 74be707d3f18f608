"""Shards of text vectors: what was kept is found bit for bit, in bounded files, whatever ends a run or a file."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from polytask.scenario import Scenario
from polytask.text import vector_store
from polytask.text.language_model import LanguageModel
from polytask.text.vector_store import VectorShards

DIM = 4


def keys_of(*numbers: int) -> list[str]:
    return [sha256(str(number).encode()).hexdigest() for number in numbers]


def vectors_of(*numbers: int) -> np.ndarray:
    return np.array([np.random.default_rng(number).standard_normal(DIM) for number in numbers], dtype=np.float32)


def found(folder: Path, *numbers: int) -> list[bool]:
    """Which numbers are found; those that are have their own vector, the others' rows stay as they were."""
    into = np.full((len(numbers), DIM), 7, dtype=np.float32)
    there = VectorShards(folder, DIM).read(keys_of(*numbers), into)
    np.testing.assert_array_equal(into[there], vectors_of(*numbers)[there])
    assert (into[~there] == 7).all()
    return there.tolist()


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VectorShards:
    """Of at most 100 vectors each: a file of 50 or fewer is a small one."""
    monkeypatch.setattr(vector_store, "SHARD_BYTES", 100 * 4 * DIM)
    made = VectorShards(tmp_path, DIM)
    assert made.rows == 100
    return made


def test_what_was_added_is_found_and_nothing_else(shards: VectorShards, tmp_path: Path):
    assert found(tmp_path, 1, 2) == [False, False]
    shards.add(keys_of(2, 1), vectors_of(2, 1))
    assert found(tmp_path, 3, 1, 2) == [False, True, True]


def test_full_shards_are_left_alone_and_small_ones_become_one(shards: VectorShards, tmp_path: Path):
    shards.add(keys_of(*range(100)), vectors_of(*range(100)))
    [full] = tmp_path.iterdir()
    for number in range(100, 110):
        shards.add(keys_of(number), vectors_of(number))
    small = set(tmp_path.iterdir()) - {full}
    assert len(small) == 1
    shards.add(keys_of(*range(110, 209)), vectors_of(*range(110, 209)))
    assert {full, *small} < set(tmp_path.iterdir())  # together they would be more than a shard
    assert len(list(tmp_path.iterdir())) == 3
    assert all(found(tmp_path, *range(209)))


def test_a_text_of_two_shards_is_kept_once(shards: VectorShards, tmp_path: Path):
    shards.add(keys_of(1, 2), vectors_of(1, 2))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    shards.add(keys_of(2, 1), vectors_of(2, 1))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == size
    assert found(tmp_path, 1, 2) == [True, True]


@pytest.mark.parametrize("damage", [lambda content: content[:-3], lambda content: content[:-1] + b"?", lambda _: b""])
def test_a_damaged_shard_goes_and_says_so(damage, shards, tmp_path, caplog):
    shards.add(keys_of(1), vectors_of(1))
    [path] = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert found(tmp_path, 1) == [False]
    assert f"{path}: is damaged" in caplog.text
    assert not path.exists()


def test_a_shard_that_another_run_has_taken_away_is_no_fault(shards, tmp_path, monkeypatch, caplog):
    shards.add(keys_of(1), vectors_of(1))
    gone = tmp_path / f"{'0' * 32}.safetensors"
    monkeypatch.setattr(VectorShards, "_paths", lambda self: [gone, *sorted(tmp_path.iterdir())])
    assert found(tmp_path, 1) == [True]
    assert not caplog.records


def test_an_interrupted_run_goes_on_and_what_was_kept_changes_no_bit(
    small_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    texts = [f"film number {number}" for number in range(40)]
    whole, _ = LanguageModel(small_scenario, cache=tmp_path / "whole").vectors(texts)
    monkeypatch.setattr(vector_store, "SHARD_BYTES", 16 * 4 * whole.shape[1])
    stopped = LanguageModel(small_scenario, cache=tmp_path / "shards")
    requested: list[tuple[int, int]] = []

    def interrupt(done: int, total: int) -> None:
        requested.append((done, total))
        if done > 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.vectors(texts, interrupt)
    assert requested == [(16, 40), (32, 40), (40, 40)]
    vectors, reused = LanguageModel(small_scenario, cache=tmp_path / "shards").vectors(texts)
    assert reused == 32
    np.testing.assert_allclose(vectors, whole, rtol=0, atol=1e-5)
    again, reused = LanguageModel(small_scenario, cache=tmp_path / "shards").vectors(texts)
    assert reused == 40
    np.testing.assert_array_equal(again, vectors)
