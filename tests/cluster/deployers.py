"""Deployers in processes of their own, which can be killed: after any of their writes, or at any moment."""

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from kubernetes.client import Configuration

from serving.kubernetes.client import Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from tests.cluster.control_plane import ControlPlane
from tests.cluster.rollouts import DEPLOYER

# A process that is forked from one with everything imported starts in milliseconds.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
REFUSED = 1
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Access:
    """How a deployer reaches the API server."""

    url: str
    authority: Path
    token: str
    namespace: str

    @classmethod
    def of(cls, plane: ControlPlane, namespace: str) -> "Access":
        """With the rights of the deploy step."""
        return cls(plane.url, plane.authority, plane.token(DEPLOYER, namespace), namespace)

    def configuration(self) -> Configuration:
        """For Kubernetes' client."""
        configuration = Configuration(host=self.url)
        configuration.ssl_ca_cert = str(self.authority)
        configuration.api_key = {"authorization": f"Bearer {self.token}"}
        return configuration


class KilledCluster(Cluster):
    """Sends `number` to this process when the rollout has made `writes` calls that change something."""

    def __init__(self, access: Access, writes: int, number: signal.Signals, signalled_at: Path) -> None:
        super().__init__(access.configuration(), access.namespace, retry_seconds=0.1)
        self._signalled_at = signalled_at
        self._writes = writes
        self._number = number

    def _send(self, method, path, query, body):  # type: ignore[no-untyped-def]
        response = super()._send(method, path, query, body)
        if method != "GET" and threading.current_thread() is threading.main_thread():
            self._writes -= 1
            if self._writes == 0:
                self._signalled_at.write_text(str(time.time()), encoding="utf-8")
                os.kill(os.getpid(), self._number)
        return response


def start_deployer(
    access: Access,
    release: RolloutRelease,
    settings: Settings,
    writes: int = 0,
    number: signal.Signals = signal.SIGKILL,
    signalled_at: Path = Path(os.devnull),
) -> BaseProcess:
    """A rollout in its own process, which gets a signal after `writes` writes, if that is above 0.

    On the signal it writes the time to the file `signalled_at`.
    """
    process = CONTEXT.Process(
        target=_deploy, args=(access, release, settings, writes, number, signalled_at), daemon=True
    )
    process.start()
    return process


def _deploy(
    access: Access, release: RolloutRelease, settings: Settings, writes: int, number: signal.Signals, signalled_at: Path
) -> None:
    logging.basicConfig(level=logging.INFO, format=f"{access.namespace} {release.version}: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    cluster = KilledCluster(access, writes, number, signalled_at)
    try:
        LOGGER.info("%s", roll_out(cluster, release, settings))
    except RolloutError as error:
        LOGGER.info("%s", error)
        sys.exit(REFUSED)
    finally:
        cluster.close()
