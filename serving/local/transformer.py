"""The transformer in a process of its own on this machine, as the local stack runs it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from serving.local.model_process import MODEL_NAME, ModelProcess
from serving.local.triton import HOST


class TransformerProcess(ModelProcess):
    """`python -m serving.transformer` with what `options` returns at each start; its output goes to `log`.

    A stop waits for the calls in flight, which take `deadline_seconds` at most.
    """

    name = "the transformer"
    module = "serving.transformer"

    def __init__(
        self, options: Callable[[], Mapping[str, object]], log: Path, http_port: int, deadline_seconds: float
    ) -> None:
        super().__init__(log, http_port)
        self._options = options
        self.stop_seconds = deadline_seconds + 10
        self.readiness_seconds = deadline_seconds + 5

    def options(self) -> dict[str, object]:
        """The arguments, with those that are the same for every local transformer."""
        fixed = {"--model_name": MODEL_NAME, "--predictor_protocol": "grpc-v2", "--host": HOST}
        return {**fixed, **self._options()}

    def not_ready(self) -> str | None:
        """The reason of the server, with what to look at where it is the feature store."""
        reason = super().not_ready()
        if reason is not None and "feature store" in reason:
            return f"{reason}; is the online store up that feature_store.yaml names?"
        return reason
