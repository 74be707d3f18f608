"""What every rollout is made of: apply a revision, wait for it, ask it, judge it, and say what was done."""

import logging
import time
from collections.abc import Sequence

from serving.rollout import first_model
from serving.rollout.cluster import INFERENCE_SERVICE, Cluster, Object
from serving.rollout.errors import RolloutError
from serving.rollout.judges import Candidate
from serving.rollout.readiness import wait_ready
from serving.rollout.release import Release
from serving.rollout.revision import Revision
from serving.rollout.settings import Settings
from serving.rollout.smoke import Endpoint, Expected, wait_for_answers

LOGGER = logging.getLogger(__name__)


class Steps:
    """The steps of the rollout of one release. All raise RolloutError with the reason."""

    def __init__(self, cluster: Cluster, release: Release, settings: Settings) -> None:
        self.cluster = cluster
        self.release = release
        self.settings = settings
        self.tasks = [task.name for task in release.contract.scenario.tasks]

    def apply(self, revision: Revision) -> Object:
        """Give the InferenceService the fields of a revision."""
        document = revision.fields(self.settings.name)
        return self.cluster.apply(INFERENCE_SERVICE, document, force=self.settings.take_over)

    def start(self, revision: Revision) -> None:
        """Give a stopped InferenceService its first model, and only then let KServe make pods of it."""
        document = revision.fields(self.settings.name)
        del document["metadata"]["annotations"]
        self.cluster.apply(INFERENCE_SERVICE, document, force=self.settings.take_over)
        first_model.start(self.cluster, self.settings.name, self.settings.take_over)

    def wait(self, name: str, applied: Object) -> Object:
        """The InferenceService once what was applied is ready."""
        settings = self.settings
        return wait_ready(
            self.cluster,
            name,
            applied["metadata"]["generation"],
            seconds=settings.ready_seconds,
            poll_seconds=settings.poll_seconds,
            failing_seconds=settings.failing_seconds,
        )

    def endpoint(self, name: str) -> Endpoint:
        """The transformer of an InferenceService."""
        return Endpoint(self.settings.url.format(name=name, namespace=self.cluster.namespace))

    def answers(self, name: str, revision: Revision, rounds: int = 3) -> None:
        """Wait until `name` answers with the revision's model: every task of a release, any of an earlier one."""
        ours = revision.contract_sha256 == self.release.contract.checksum
        tasks: Sequence[str] = self.tasks if ours else ()
        endpoint = self.endpoint(name)
        try:
            wait_for_answers(
                endpoint,
                Expected(revision.model_version, revision.contract_sha256, tasks),
                seconds=self.settings.answer_seconds,
                poll_seconds=self.settings.poll_seconds,
                rounds=rounds,
            )
        finally:
            endpoint.close()

    def judge(self, stable: str, canary: str) -> None:
        """Let the judges look for as long as a step lasts."""
        settings = self.settings
        until = time.monotonic() + settings.step_seconds
        with_stable, with_canary = self.endpoint(stable), self.endpoint(canary)
        try:
            candidate = Candidate(stable, canary, self.cluster.namespace, with_stable, with_canary, self.tasks)
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

    def record(self, about: Object, reason: str, message: str, warning: bool = False) -> None:
        """To the log, and as an Event, without which a rollout is none the worse."""
        LOGGER.log(logging.WARNING if warning else logging.INFO, "%s: %s", reason, message)
        try:
            self.cluster.record(about, reason, message, warning)
        except RolloutError as error:
            LOGGER.warning("the event %s was not written: %s", reason, error)
