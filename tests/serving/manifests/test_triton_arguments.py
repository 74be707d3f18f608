"""The real Triton with the arguments of the manifests, over a repository as it is exported."""

from pathlib import Path

import pytest

from polytask.contract.contract import REPOSITORY_FOLDER
from polytask.errors import ServingError
from serving.local.install import TritonInstallation
from serving.local.triton import HOST, TritonServer
from tests.serving.manifests.conftest import Overlays, find


class ServerOfAManifest(TritonServer):
    """Takes `arguments` in place of its own, as KServe adds them to those of the runtime."""

    arguments: list[str]

    def command(self) -> list[str]:
        mine = super().command()
        # Where it listens, its backends and its repositories differ from machine to machine.
        local = ("address", "port", "backend-", "--model-repository", "--allow-gpu-metrics")
        kept = [word for word in mine if any(part in word for part in local) or not word.startswith("--")]
        given = [word for word in self.arguments if not word.startswith("--metrics-port")]
        return [*kept, "--load-model=known_response", *given]


def server(
    overlays: Overlays, name: str, bundle: Path, installation: TritonInstallation, folder: Path
) -> ServerOfAManifest:
    model = find(overlays[name], "InferenceService/recommender")["spec"]["predictor"]["model"]
    made = ServerOfAManifest(bundle / REPOSITORY_FOLDER, installation, folder / "triton.log")
    made.arguments = model["args"]
    return made


@pytest.mark.parametrize("overlay", ["local", "staging"])
def test_every_model_is_ready(
    overlay: str, overlays: Overlays, ruled_bundle: Path, triton_installation: TritonInstallation, tmp_path: Path
):
    with server(overlays, overlay, ruled_bundle, triton_installation, tmp_path) as running:
        log = running.log.read_text(encoding="utf-8")
        assert f"Started HTTPService at {HOST}:{running.http_port}" in log
        for model in ("text_encoder", "multitask", "recommender"):
            assert f"successfully loaded '{model}'" in log


def test_the_gpu_overlay_does_not_serve_without_a_gpu(
    overlays: Overlays, ruled_bundle: Path, triton_installation: TritonInstallation, tmp_path: Path
):
    with pytest.raises(ServingError, match="kind KIND_GPU but no GPUs are available"):
        server(overlays, "gpu", ruled_bundle, triton_installation, tmp_path).start()
