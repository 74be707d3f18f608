"""The benchmarks that need no server: what the models cost."""

from pathlib import Path

import pytest

from benchmarks import cost, ort_vs_eager, three_tasks
from benchmarks.workbench import Workbench
from polytask.errors import DataError


def test_one_model_costs_less_than_one_for_each_task(bench: Workbench) -> None:
    [figure] = three_tasks.measure(bench, rounds=1)
    assert (figure.name, figure.bar_is, figure.bar) == ("three_tasks_vs_three_models", "at most", 0.4)
    assert list(figure.parts) == ["batch 1", "batch 16"]
    alone = three_tasks.of_one_task(bench.contract.scenario, "user")
    assert [task.name for task in alone.tasks] == ["user"]


def test_torch_is_asked_the_same_as_onnx_runtime(
    small_bundle: Path, small_store: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    with Workbench(small_bundle, small_store, tmp_path, checkpoint=small_checkpoint, scale=0.01) as bench:
        [figure] = ort_vs_eager.measure(bench, rounds=1)
    assert list(figure.parts) == ["as served", "float32"]
    assert figure.details["text_encoder_as_served"] == "fp32"
    with Workbench(small_bundle, small_store, tmp_path) as bench, pytest.raises(DataError, match="trained model"):
        ort_vs_eager.measure(bench, rounds=1)


def test_cost_grows_with_items_and_events(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "ITEM_COUNTS", (10_000, 3_000_000))
    monkeypatch.setattr(cost, "HISTORY_LENGTHS", (10, 20))
    catalogue, history = cost.measure(bench, rounds=1)
    assert list(catalogue.parts) == ["100 items", "30,000 items"]
    assert catalogue.parts["100 items"] == [1.0] and catalogue.parts["30,000 items"][0] > 1.5
    assert list(history.parts) == ["10 events", "20 events"]
    plot = (bench.out / "cost.svg").read_text()
    assert "<svg" in plot


def test_history_may_be_longer_than_what_is_seen(bench: Workbench) -> None:
    longer = cost.with_history(bench.contract.scenario, 60)
    assert (longer.features.history_length, longer.features.exclude_length) == (60, 60)
