"""The benchmark of growth: every step on few events, in this process."""

import json

import pytest

from benchmarks.growth import steps
from benchmarks.growth.__main__ import grow


def test_every_step_is_measured_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "BATCHES", 1)
    monkeypatch.setattr(steps, "ROWS_PER_JOIN", 1500)
    said: list[str] = []
    found = grow([2000], 2, tmp_path / "growth.json", said.append, steps.measured)
    size = found["sizes"]["2000"]
    assert json.loads((tmp_path / "growth.json").read_text())["sizes"] == found["sizes"]
    assert "<svg" in (tmp_path / "growth.svg").read_text()
    assert size["ingest"]["rows"] > 1900
    for step in ("join", "plain_asof"):
        assert [one["rows"] for one in size[step]] == [size["ingest"]["rows"]] * 2
    assert size["epoch"]["epoch_seconds"] == pytest.approx(
        size["epoch"]["batch_seconds"] * size["epoch"]["batches"], rel=0.1, abs=0.1
    )
    assert "join" in said[-1] and "times a plain ASOF join" in said[-1]
