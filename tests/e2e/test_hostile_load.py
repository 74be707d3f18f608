"""A minute of hostile callers. `python -m benchmarks.mixed_load --hostile` runs it for as long as one likes."""

from pathlib import Path

from benchmarks.hostile_load import hostile_load
from feature_repo.apply import build_store
from polytask.data.tables import Tables, write_tables
from polytask.scenario import Scenario
from serving.local.install import TritonInstallation
from tests.serving.bundle import write_bundle
from tests.small import with_string_keys


def test_a_minute_of_hostile_callers(
    small_scenario: Scenario, tables: Tables, triton_installation: TritonInstallation, tmp_path: Path
):
    eastern, named = with_string_keys(small_scenario, tables)
    # A zone where the last seconds of the year 9999 are beyond it.
    features = eastern.features.model_copy(update={"timezone": "Pacific/Auckland"})
    eastern = eastern.model_copy(update={"features": features})
    write_tables(named, tmp_path / "ingested")
    store = build_store(eastern, tmp_path / "ingested", tmp_path / "store")
    write_bundle(tmp_path / "bundle", eastern, named)
    outcome = hostile_load(tmp_path / "bundle", store, 60, tmp_path / "logs")
    assert outcome.failures() == [], outcome
    assert min(outcome.calls.values()) > 100, outcome.calls
    assert set(outcome.memory_growth) == {"transformer", "triton"}
    # Both protocols were attacked, and Triton itself.
    for server in ("transformer over REST: 400", "transformer over gRPC: INVALID_ARGUMENT", "triton over gRPC: OK"):
        assert outcome.hostile.get(server, 0) > 0, outcome.hostile
