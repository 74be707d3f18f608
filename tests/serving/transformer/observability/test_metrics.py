"""The metrics of a call, and that labels stay bounded."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from polytask.contract.tensors import MASKED_SCORE
from serving.transformer.api.answers import ResponseTensor
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.metrics import Metrics


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_an_answered_call_is_counted_by_rows_flags_and_stages(registry: CollectorRegistry):
    record = CallRecord(batch=3, flags={"cold_start": 2, "truncated": 0, "stale_features": 1})
    record.seconds["text"] = 0.03
    Metrics(registry).called(record)
    value = registry.get_sample_value
    assert value("polytask_requests_total", {"code": "OK"}) == 1
    assert value("polytask_rows_total") == 3
    names = ("cold_starts", "truncated_texts", "stale_features")
    assert [value(f"polytask_{name}_total") for name in names] == [2, 0, 1]
    assert value("polytask_stage_duration_seconds_sum", {"stage": "text"}) == pytest.approx(0.03)
    assert value("polytask_stage_duration_seconds_count", {"stage": "post"}) == 1


def test_a_refused_call_counts_by_its_status_alone(registry: CollectorRegistry):
    Metrics(registry).called(CallRecord(code="INVALID_ARGUMENT", batch=3, flags={"cold_start": 2}))
    value = registry.get_sample_value
    assert value("polytask_requests_total", {"code": "INVALID_ARGUMENT"}) == 1
    assert value("polytask_request_duration_seconds_count") == 1
    assert value("polytask_rows_total") == value("polytask_cold_starts_total") == 0


def test_the_best_scores_of_a_list_are_observed_and_an_empty_list_is_not(registry: CollectorRegistry):
    scores = np.array([[3.0, 1.0], [0.3, 0.2], [MASKED_SCORE, MASKED_SCORE]], dtype=np.float32)
    Metrics(registry).answered("item", {"item_scores": ResponseTensor("item_scores", "FP32", scores)})
    value = registry.get_sample_value
    assert value("polytask_task_predictions_total", {"task": "item"}) == 3
    assert value("polytask_top_score_count", {"task": "item"}) == 2
    assert value("polytask_top_score_bucket", {"task": "item", "le": "0.5"}) == 1


def test_the_numbers_of_a_regression_are_observed(registry: CollectorRegistry):
    values = np.array([[3.0], [4.0]], dtype=np.float32)
    Metrics(registry).answered("rating", {"rating_values": ResponseTensor("rating_values", "FP32", values)})
    buckets = [
        registry.get_sample_value("polytask_top_score_bucket", {"task": "rating", "le": le}) for le in ("2.0", "5.0")
    ]
    assert buckets == [0, 2]


def test_one_contract_is_named_at_a_time(registry: CollectorRegistry):
    class Served:
        def __init__(self, version: int) -> None:
            self.model_version, self.checksum = version, str(version) * 64

    metrics = Metrics(registry)
    metrics.serve(Served(1))  # type: ignore[arg-type]
    metrics.serve(Served(2))  # type: ignore[arg-type]
    (family,) = [family for family in registry.collect() if family.name == "polytask_bundle_info"]
    assert [sample.labels["model_version"] for sample in family.samples] == ["2"]
