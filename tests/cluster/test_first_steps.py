"""The commands of manifests/README.md and docs/deploy.md in the order given, on a cluster with KServe as installed."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.manifests.render import find_kubectl, overlay_names
from serving.rollout.release import Release
from serving.rollout.roll_out import roll_out
from tests.cluster import storage
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import MANIFESTS, available, namespace_of, overlay, secrets
from tests.cluster.rollouts import CLAIM, S3, Live, deployer, quick_settings

pytestmark = pytest.mark.cluster
ROOT = MANIFESTS.parent
COMMAND_SECONDS = 120
# They need a kubelet, images or servers that answer.
LEFT_OUT = ("kind ", "minikube ", "make image", "polytask recommend")


def commands(page: str, heading: str) -> list[str]:
    """The lines of the shell blocks under a heading, as far as a control plane can run them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    section = re.split(r"\n## ", text.partition(f"\n## {heading}\n")[2])[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert blocks, f"{page} has no commands under {heading!r}"
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith(LEFT_OUT) and "port-forward" not in line]


def run(line: str, plane: ControlPlane, check: bool = True) -> str:
    """Run one command of a page as administrator; returns what it printed."""
    first, *rest = shlex.split(line, comments=True)
    ours = [sys.executable, "-m", "polytask"]
    program = {"kubectl": [find_kubectl()], "polytask": ours, "make": ours}[first]
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig), "COLUMNS": "400"}
    done = subprocess.run(
        [*program, *rest], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    assert not check or done.returncode == 0, f"{line}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("name", overlay_names(MANIFESTS / "overlays"))
def test_the_first_steps_lead_to_running_pods(
    name: str, plane: ControlPlane, clean: Callable[[str], str], address: str, release: Callable[..., Release]
):
    found = available(overlay(name))
    live = Live(plane, clean(namespace_of(found)))
    storage.restore(plane)
    for line in commands("manifests/README.md", "First steps"):
        # The doctor looks at this machine too, of which nothing is tested here.
        printed = run(re.sub(r"\blocal\b", name, line), plane, check=not line.startswith("polytask doctor"))
        if line.startswith("polytask doctor"):
            assert "admitted in restricted namespaces" in printed
    assert not live.pods("predictor") and not live.pods("transformer")  # no model, no pods
    secrets(plane, found, live.namespace)
    cluster = deployer(plane, live.namespace)
    roll_out(cluster, release(1, CLAIM if name == "local" else S3), quick_settings(address))
    cluster.close()
    live.check_serves_alone("1")


def test_the_deployment_guide_leads_to_a_served_model(
    plane: ControlPlane, clean: Callable[[str], str], address: str, ruled_bundle: Path
):
    live = Live(plane, clean("polytask-local"))
    storage.restore(plane)
    run("make render", plane)
    lines = commands("docs/deploy.md", "3. kind or minikube")
    assert any(line.startswith("polytask rollout") for line in lines)
    for line in lines:
        line = re.sub(r"--bundle \S+", f"--bundle {ruled_bundle}", line)
        line = re.sub(r"--url \S+", f"--url {address}/services/{{namespace}}/{{name}}", line)
        run(line, plane)
    assert len(live.versions("predictor")) == 1
