"""Spans in memory: one per call, one per stage below it, none while traces are off."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.traces import call_span, start_traces, stop_traces

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = start_traces(SimpleSpanProcessor(exporter))
    yield exporter
    stop_traces(provider)


def test_stages_are_spans_below_the_call_and_the_call_below_its_caller(exporter: InMemorySpanExporter):
    record = CallRecord()
    with call_span({"traceparent": f"00-{TRACE}-{CALLER}-01"}, "77"):
        for stage in ("features", "text"):
            with record.stage(stage):
                pass
    features, text, call = exporter.get_finished_spans()
    assert [span.name for span in (features, text, call)] == ["features", "text", "recommend"]
    assert call.attributes == {"polytask.model_version": "77"}
    assert (f"{call.context.trace_id:032x}", f"{call.parent.span_id:016x}") == (TRACE, CALLER)
    assert features.parent.span_id == text.parent.span_id == call.context.span_id
    assert call.resource.attributes["service.name"] == "polytask-transformer"


def test_an_error_marks_its_spans_without_its_message(exporter: InMemorySpanExporter):
    with pytest.raises(ValueError), call_span({}, "77"), CallRecord().stage("post"):
        raise ValueError("text of a caller")
    for span in exporter.get_finished_spans():
        assert not span.status.is_ok
        assert span.events == ()
        assert span.status.description == "ValueError"


def test_no_span_is_made_while_traces_are_off():
    exporter = InMemorySpanExporter()
    stop_traces(start_traces(SimpleSpanProcessor(exporter)))
    with call_span({}, "77"), CallRecord().stage("post"):
        pass
    assert exporter.get_finished_spans() == ()
