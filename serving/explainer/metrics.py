"""The explainer's metrics, under names of their own: its calls are not the transformer's."""

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from serving.transformer.observability.server_metrics import ServerMetrics

if TYPE_CHECKING:
    from serving.transformer.observability.call_record import CallRecord


class ExplainerMetrics(ServerMetrics):
    """All metrics of the explainer. One per process and registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__("polytask_explainer_", registry)
        self.explanations = self.counter("explanations", "Requests explained.")

    def succeeded(self, record: "CallRecord") -> None:
        """Count the explained requests of a call."""
        self.explanations.inc(record.batch)
