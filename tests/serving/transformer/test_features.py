"""The TTL, and what counts as known. The reader over a real Feast store is tested in tests/e2e/test_serving.py."""

from pathlib import Path

import pytest

from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.transformer.features import FeatureColumn, assemble, open_online_store, request_features

DAY = 86_400
TTL = {"history": 10.0 * DAY, "seen": 10.0 * DAY, "age": 100.0 * DAY, "occupation": 100.0 * DAY}


def columns(age: int | None, history: list[int] | None, stamped: int) -> dict[str, FeatureColumn]:
    job = None if age is None else "writer"
    values = {"age": age, "occupation": job, "history": history, "seen": history}
    stored = {name: FeatureColumn([value], [stamped]) for name, value in values.items()}
    return {**stored, "daypart": FeatureColumn(["night"], [0]), "weekpart": FeatureColumn(["weekday"], [0])}


def test_fresh_features_are_taken(small_scenario: Scenario):
    (row,) = assemble(small_scenario, columns(30, [7, 14], stamped=1000), TTL, [1000 + 10 * DAY])
    assert (row.known, row.stale) == (True, False)
    assert (row.history, row.seen, row.profile) == ((7, 14), (7, 14), {"age": 30, "occupation": "writer"})
    assert row.context == {"daypart": "night", "weekpart": "weekday"}


def test_what_is_older_than_its_view_allows_is_missing_and_flagged(small_scenario: Scenario):
    (row,) = assemble(small_scenario, columns(30, [7, 14], stamped=1000), TTL, [1001 + 10 * DAY])
    assert (row.history, row.seen, row.stale, row.known) == ((), (), True, True)
    assert row.profile["age"] == 30
    (row,) = assemble(small_scenario, columns(30, [7], stamped=1000), TTL, [1001 + 100 * DAY])
    assert (row.profile["age"], row.stale, row.known) == (None, True, False)


def test_context_does_not_age(small_scenario: Scenario):
    (row,) = assemble(small_scenario, columns(30, [7], stamped=1000), TTL, [10**9])
    assert row.context["daypart"] == "night"


def test_an_unknown_user_is_not_known_and_not_stale(small_scenario: Scenario):
    (row,) = assemble(small_scenario, columns(None, None, stamped=0), TTL, [10**9])
    assert (row.known, row.stale, row.history) == (False, False, ())


def test_recent_items_join_history_and_seen_while_excluded_ones_are_seen_only(small_scenario: Scenario):
    (row,) = assemble(small_scenario, columns(30, [7], stamped=1000), TTL, [1000])
    features = request_features(10, row, None, [21], [28], [35])
    assert (tuple(features.history), tuple(features.seen)) == ((7, 21), (7, 21, 28))
    assert tuple(features.negative) == (35,)


def test_the_offline_store_is_not_opened_and_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONLINE_STORE", str(tmp_path / "online.db"))
    (tmp_path / "feature_store.yaml").write_text(
        "project: small\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: nowhere.NotInstalled}\nonline_store: {type: sqlite, path: '${ONLINE_STORE}'}\n",
        encoding="utf-8",
    )
    store = open_online_store(tmp_path)
    assert store.config.online_store.path == str(tmp_path / "online.db")
    assert store.list_feature_services() == []
    assert (tmp_path / "registry.db").is_file(), "a relative path counts from the folder"


@pytest.mark.parametrize("text", [None, "[", "5", "project: 5 5\nregistry: [x"])
def test_a_missing_or_broken_feature_store_is_told(text: str | None, tmp_path: Path):
    if text is not None:
        (tmp_path / "feature_store.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ContractError, match=r"feature_store\.yaml"):
        open_online_store(tmp_path)
