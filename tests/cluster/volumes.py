"""Plays the provisioner of the default storage class: a volume for each claim, which Kubernetes' controller binds."""

import logging
import threading

import httpx

from tests.cluster.api import Api, ApiError, Object

LOGGER = logging.getLogger(__name__)
CLASS = "standard"
POLL_SECONDS = 0.3


class Provisioner:
    """A thread that looks for claims without a volume until it is stopped."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="volumes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                for claim in self._api.items("v1", "PersistentVolumeClaim"):
                    if claim["spec"].get("storageClassName") == CLASS and not claim["spec"].get("volumeName"):
                        self._api.apply(volume_of(claim), "volumes")
                for volume in self._api.items("v1", "PersistentVolume"):
                    if (volume.get("status") or {}).get("phase") == "Released":
                        self._api.delete(volume)
            except (ApiError, httpx.HTTPError) as error:
                LOGGER.warning("volumes: %s; trying again", error)


def volume_of(claim: Object) -> Object:
    """A volume for this claim alone."""
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{metadata['uid']}"},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "csi": {"driver": "tests.polytask.dev", "volumeHandle": metadata["uid"]},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
        },
    }
