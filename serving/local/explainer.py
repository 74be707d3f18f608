"""The explainer of a running stack on this machine, in a process of its own."""

from pathlib import Path

from serving.local.model_process import ModelProcess
from serving.local.triton import HOST, choose_ports


class ExplainerProcess(ModelProcess):
    """Explains what the Triton at `predictor` (host:port, gRPC) serves. `url` is its REST address.

    `release` is the file that names what `load` is to open.
    """

    name = "the explainer"
    module = "serving.explainer"
    stop_seconds = 15.0

    def __init__(
        self,
        predictor: str,
        bundle: Path,
        feature_store: Path,
        log: Path,
        port: int | None = None,
        *,
        release: Path | None = None,
    ) -> None:
        super().__init__(log, choose_ports(port)[0])
        self._options: dict[str, object] = {
            "--predictor_host": predictor,
            "--bundle": bundle,
            "--feature_store": feature_store,
            "--host": HOST,
            "--http_port": self.port,
            **({} if release is None else {"--release": release}),
        }

    @property
    def url(self) -> str:
        """Where `/v1/models/recommender:explain` is."""
        return f"http://{HOST}:{self.port}"

    def options(self) -> dict[str, object]:
        """The arguments of `python -m serving.explainer`."""
        return self._options
