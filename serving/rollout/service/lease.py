"""One rollout at a time for each InferenceService: a Lease that its deployer holds, and what it is doing, kept in it.

The holder renews the Lease while it works. When it dies, the Lease stops changing; after `seconds` without a change
another deployer takes it, and finds in the annotation `polytask.dev/rollout` what the dead one had begun.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from serving.kubernetes.client import LEASE, Cluster, Object
from serving.rollout.errors import Conflicting, RolloutError
from serving.rollout.service.stopping import undisturbed

LOGGER = logging.getLogger(__name__)
SECONDS = 30.0
RECORD = "polytask.dev/rollout"


class Lease:
    """The Lease of the InferenceService `name`. `record` is what its last holder left unfinished, None if nothing.

    Times are measured by this machine's clock alone: a holder counts from before its last renewal, everybody else from
    when they saw it, so that clocks that differ never give two holders. A holder writes nothing more in the last third
    of its time, in which a call that is under way may still arrive.
    """

    def __init__(self, cluster: Cluster, name: str, seconds: float = SECONDS) -> None:
        self.name = f"{name}-rollout"
        self.record: dict[str, Any] | None = None
        self._cluster = cluster
        self._seconds = seconds
        self._identity = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._live: Object | None = None
        self._until = 0.0
        self._lock = threading.Lock()
        self._ended = threading.Event()

    @contextmanager
    def held(self, wait_seconds: float) -> Iterator[None]:
        """Wait for it, hold it during the block, give it back at the end.

        Raises RolloutError where another deployer still holds it after `wait_seconds`.
        """
        self._acquire(wait_seconds)
        renewing = threading.Thread(target=self._renew, name="lease", daemon=True)
        renewing.start()
        self._cluster.may_write = self.check
        try:
            yield
        finally:
            with undisturbed():
                self._ended.set()
                renewing.join()
                self._cluster.may_write = None
                self._give_back()

    def check(self) -> None:
        """Raises RolloutError where the Lease may be another's: nothing must be written then."""
        if time.monotonic() > self._until:
            raise RolloutError(f"the Lease {self.name} was lost: another rollout may go on; nothing more is changed")

    def note(self, record: dict[str, Any] | None) -> None:
        """Store the record for the next holder; None once there is nothing to reconcile."""
        with undisturbed(), self._lock:
            self.check()
            self._write_ours(record, self._identity)
            self.record = record

    def _acquire(self, wait_seconds: float) -> None:
        end = time.monotonic() + wait_seconds
        seen, since, logged = "", time.monotonic(), ""
        while True:
            live = self._cluster.get(LEASE, self.name)
            if live is None:
                self._live = None
                holder = ""
            else:
                self._live = live
                spec = live.get("spec") or {}
                holder = spec.get("holderIdentity") or ""
                if live["metadata"]["resourceVersion"] != seen:
                    seen, since = live["metadata"]["resourceVersion"], time.monotonic()
                if holder == self._identity:  # an earlier attempt of a retried request succeeded
                    holder = ""
                if holder and time.monotonic() - since > float(spec.get("leaseDurationSeconds") or self._seconds):
                    LOGGER.warning("%s: %s has not renewed it in time; taking it over", self.name, holder)
                    holder = ""
            if not holder:
                try:
                    self.record = _record(live)
                    with undisturbed(), self._lock:
                        self._write(self.record, self._identity)
                    return
                except Conflicting:  # another deployer was faster
                    continue
            if holder != logged:
                LOGGER.info("%s: waiting for the rollout of %s", self.name, holder)
                logged = holder
            if time.monotonic() > end:
                raise RolloutError(f"the Lease {self.name}: {holder} is still rolling out after {wait_seconds:g} s")
            time.sleep(min(2.0, self._seconds / 10))

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / 6):
            try:
                with self._lock:
                    self._write_ours(self.record, self._identity)
            except Conflicting:
                self._until = 0.0
                return
            except RolloutError as error:  # tried again while there is time
                LOGGER.warning("%s: not renewed: %s", self.name, error)

    def _give_back(self) -> None:
        try:
            with self._lock:
                self.check()
                self._write_ours(self.record, "")
        except RolloutError as error:  # it expires
            LOGGER.warning("%s: not given back: %s", self.name, error)

    def _write_ours(self, record: dict[str, Any] | None, holder: str) -> None:
        """Replace it; read it again where it has changed. Raises Conflicting where another deployer holds it."""
        try:
            self._write(record, holder)
        except Conflicting:
            live = self._cluster.get(LEASE, self.name)
            if live is None or (live.get("spec") or {}).get("holderIdentity") != self._identity:
                raise
            self._live = live
            self._write(record, holder)

    def _write(self, record: dict[str, Any] | None, holder: str) -> None:
        """Create or replace it, if nobody changed it since it was read. Raises Conflicting."""
        before = time.monotonic()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        document: Object = deepcopy(self._live) if self._live is not None else {"metadata": {"name": self.name}}
        document |= {"apiVersion": LEASE.api_version, "kind": LEASE.kind}
        annotations = {**(document["metadata"].get("annotations") or {}), RECORD: json.dumps(record)}
        if record is None:
            del annotations[RECORD]
        document["metadata"]["annotations"] = annotations
        spec = document.setdefault("spec", {})
        if holder and spec.get("holderIdentity") != holder:
            spec |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        # Whole seconds, as the API wants them.
        spec |= {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": max(1, round(self._seconds))}
        if self._live is None:
            self._live = self._cluster.create(LEASE, document)
        else:
            self._live = self._cluster.replace(LEASE, document)
        self._until = before + self._seconds * 2 / 3


def _record(live: Object | None) -> dict[str, Any] | None:
    text = ((live or {}).get("metadata", {}).get("annotations") or {}).get(RECORD)
    if text is None:
        return None
    try:
        read = json.loads(text)
    except ValueError as error:
        raise RolloutError(f"the annotation {RECORD} of the Lease is no JSON: {error}; remove it") from error
    return read if isinstance(read, dict) else None
