"""The steps of every rollout: apply a revision, wait for it, smoke-test it, analyse it, and record what was done."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from serving.kubernetes.client import INFERENCE_SERVICE, Cluster, Object
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.service.lease import Lease
from serving.rollout.service.readiness import wait_ready
from serving.rollout.service.revision import Revision
from serving.rollout.settings import Settings
from serving.rollout.smoke_service import Expected, ServiceEndpoint, wait_for_responses
from serving.rollout.strategies import first_model
from serving.rollout.strategies.canary_analysis import CanaryEndpoint

LOGGER = logging.getLogger(__name__)


class Steps:
    """The steps of the rollout of one release, under the Lease. All raise RolloutError with the reason."""

    def __init__(self, cluster: Cluster, release: RolloutRelease, settings: Settings, lease: Lease) -> None:
        self.cluster = cluster
        self.release = release
        self.settings = settings
        self.lease = lease
        self.tasks = [task.name for task in release.contract.scenario.tasks]

    def begin(self, earlier: Revision | None, wanted: Revision) -> None:
        """Record in the Lease what is about to change, for the next rollout if this process dies."""
        before = None if earlier is None else earlier.as_record()
        self.lease.note({"strategy": self.settings.strategy, "from": before, "to": wanted.as_record()})

    def live(self) -> Object:
        """The InferenceService as it is."""
        live = self.cluster.get(INFERENCE_SERVICE, self.settings.name)
        if live is None:
            raise RolloutError(f"{self.settings.name}: was deleted meanwhile")
        return live

    def apply(self, document: Mapping[str, Any], dry_run: bool = False) -> Object:
        """Give the InferenceService the fields of a revision, or only see whether it would take them."""
        return self.cluster.apply(INFERENCE_SERVICE, document, force=self.settings.force_conflicts, dry_run=dry_run)

    def start(self, revision: Revision) -> None:
        """Give a stopped InferenceService its first model, and only then let KServe make pods of it."""
        document = revision.fields(self.settings.name)
        del document["metadata"]["annotations"]
        self.cluster.apply(INFERENCE_SERVICE, document, force=self.settings.force_conflicts)
        first_model.start(self.cluster, self.settings.name, self.settings.force_conflicts)

    def wait(self, name: str, document: Mapping[str, Any]) -> Object:
        """The InferenceService once it is ready, by pods of `document` alone."""
        settings = self.settings
        return wait_ready(
            self.cluster,
            name,
            document,
            seconds=settings.ready_timeout,
            poll_seconds=settings.poll_seconds,
            failing_seconds=settings.failing_seconds,
        )

    def endpoint(self, name: str) -> ServiceEndpoint:
        """The transformer of an InferenceService."""
        return ServiceEndpoint(self.settings.url.format(name=name, namespace=self.cluster.namespace))

    def answers(self, name: str, revision: Revision, rounds: int = 3, seconds: float | None = None) -> None:
        """Wait until `name` serves the revision's model: every task of a release, any of an earlier one.

        For `response_timeout` of the settings, or for `seconds`.
        """
        ours = revision.contract_sha256 == self.release.contract.checksum
        tasks: Sequence[str] = self.tasks if ours else ()
        endpoint = self.endpoint(name)
        try:
            wait_for_responses(
                endpoint,
                Expected(revision.model_version, revision.contract_sha256, tasks),
                seconds=self.settings.response_timeout if seconds is None else seconds,
                poll_seconds=self.settings.poll_seconds,
                rounds=rounds,
            )
        finally:
            endpoint.close()

    def judge(self, stable: str, earlier: Revision, canary: str, wanted: Revision) -> None:
        """Let the judges look for as long as a step lasts."""
        settings = self.settings
        until = time.monotonic() + settings.step_seconds
        with_stable, with_canary = self.endpoint(stable), self.endpoint(canary)
        try:
            candidate = CanaryEndpoint(
                stable=stable,
                canary=canary,
                namespace=self.cluster.namespace,
                stable_endpoint=with_stable,
                canary_endpoint=with_canary,
                tasks=self.tasks,
                stable_contract=earlier.contract_sha256,
                canary_contract=wanted.contract_sha256,
            )
            while True:
                objections = [text for judge in settings.judges for text in judge.objections(candidate)]
                if objections:
                    raise RolloutError("; ".join(objections))
                if time.monotonic() >= until:
                    return
                time.sleep(min(settings.step_seconds / 5, max(0.0, until - time.monotonic())))
        finally:
            with_stable.close()
            with_canary.close()

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Wait no longer than `stop_seconds` for anything in the block."""
        before = self.settings
        self.settings = replace(before, ready_timeout=before.stop_seconds, response_timeout=before.stop_seconds)
        try:
            yield
        finally:
            self.settings = before

    def record(self, about: Object, reason: str, message: str, warning: bool = False) -> None:
        """To the log, and as an Event, without which a rollout is none the worse."""
        LOGGER.log(logging.WARNING if warning else logging.INFO, "%s: %s", reason, message)
        try:
            self.cluster.record(about, reason, message, warning)
        except RolloutError as error:
            LOGGER.warning("the event %s was not written: %s", reason, error)
