"""A minute of mixed load with disturbances. `python -m benchmarks.mixed_load` runs it for as long as one likes."""

from benchmarks.mixed_load import mixed_load


def test_a_minute_of_mixed_load(ruled_bundle, small_store, triton_installation, tmp_path):
    outcome = mixed_load(ruled_bundle, small_store, 60, tmp_path / "logs", callers=4)
    assert outcome.failures() == []
    assert outcome.outages == ["Triton was killed", "Redis was restarted"]
    assert set(outcome.memory_growth) == {"transformer", "triton"}
    # Both were unavailable for a second, and clients sent requests meanwhile.
    assert outcome.counts["valid"]["UNAVAILABLE"] > 0
    assert min(outcome.answered.values()) > 100, outcome.answered
    assert outcome.counts["malformed"]["INVALID_ARGUMENT"] > 0
    assert outcome.counts["cancelled"]["CANCELLED"] > 0
