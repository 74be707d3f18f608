"""OpenTelemetry traces, off until `start_traces`: one span per call and one per stage. Needs the extra `traces`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from polytask.errors import ServingError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Tracer

SERVICE = "polytask-transformer"

_tracer: "Tracer | None" = None


def start_traces(processor: "SpanProcessor | None" = None) -> "TracerProvider":
    """Send spans over OTLP, configured by the standard OTEL_* environment; `processor` takes them instead in tests.

    Raises ServingError where the extra is not installed. The provider's `shutdown` sends what is left.
    """
    global _tracer
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ServingError("--traces needs the extra `traces`; run: pip install 'polytask[serve,traces]'") from error
    # The environment's own name wins, as the standard has it.
    resource = Resource.create({SERVICE_NAME: SERVICE}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer(SERVICE)
    return provider


def stop_traces(provider: "TracerProvider") -> None:
    """Make no more spans, and send those that wait."""
    global _tracer
    _tracer = None
    provider.shutdown()


def tracing() -> bool:
    """Whether spans are made."""
    return _tracer is not None


@contextmanager
def span(name: str, attributes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """A span around the block, below the one around it. Free while traces are off.

    An error leaves its type alone: its message may quote what a caller sent.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    with _tracer.start_as_current_span(
        name, attributes=dict(attributes or {}), record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


@contextmanager
def call_span(headers: Mapping[str, str], model_version: str) -> Iterator[None]:
    """The span of a whole call, below the caller's own where its headers name one (W3C `traceparent`)."""
    if _tracer is None:
        yield
        return
    from opentelemetry.context import attach, detach
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    token = attach(TraceContextTextMapPropagator().extract(headers))
    try:
        with span("recommend", {"polytask.model_version": model_version}):
            yield
    finally:
        detach(token)
