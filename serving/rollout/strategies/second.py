"""Strategies with a second InferenceService: a canary replaces the first one, a shadow receives copies of requests."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from serving.kubernetes.client import INFERENCE_SERVICE, Object
from serving.rollout.errors import NotServing, RolloutError
from serving.rollout.service import routes
from serving.rollout.service.readiness import is_ready
from serving.rollout.service.revision import Revision, second_service
from serving.rollout.service.stopping import StopRequested, undisturbed
from serving.rollout.settings import Action
from serving.rollout.strategies.in_place import InPlace, RollbackFailed
from serving.rollout.strategies.steps import Steps

LOGGER = logging.getLogger(__name__)


class Second:
    """A second InferenceService next to the one of `steps`."""

    def __init__(self, steps: Steps, in_place: InPlace) -> None:
        self._steps = steps
        self._in_place = in_place
        self._name = steps.settings.name
        self._cluster = steps.cluster

    def canary(self, live: Object, earlier: Revision, wanted: Revision) -> Action:
        """Give a second InferenceService more and more of the requests, then its model to the first one."""
        steps, name, canary = self._steps, self._name, f"{self._name}-canary"
        steps.begin(earlier, wanted)
        with self._or_give_up(live, canary, "CanaryAborted", f"canary of model {wanted.model_version} was stopped"):
            self._start(live, canary, wanted)
            for weight in steps.settings.weights:
                routes.share(self._cluster, name, {name: 100 - weight, canary: weight})
                steps.record(live, "CanaryStep", f"model {wanted.model_version} gets {weight}% of the requests")
                steps.judge(name, earlier, canary, wanted)
            routes.share(self._cluster, name, {canary: 100})
            time.sleep(steps.settings.route_seconds)
        # The first service receives no requests now, so its model is replaced in place.
        try:
            self._in_place.replace(earlier, wanted, in_use=False)
        except RollbackFailed:
            raise  # the canary is the only one that serves: it stays until the next rollout
        except RolloutError:
            self.end(canary)
            steps.lease.note(None)
            raise
        except StopRequested as stop:
            self._abort_promotion(live, earlier, wanted, str(stop))
            raise
        with undisturbed():  # the model is in service: a signal must not undo it
            self.end(canary)
            steps.record(live, "CanaryPromoted", f"model {wanted.model_version} gets all requests")
            steps.lease.note(None)
        return "promoted"

    def shadow(self, live: Object, previous: Revision | None, wanted: Revision) -> Action:
        """Let a second InferenceService see every request. It stays until another strategy ends it."""
        steps, name, shadow = self._steps, self._name, shadow_name(self._name)
        wanted = replace(wanted, explainer=False, replacement=None)  # a second service has none
        routes.require_routes(self._cluster, name)
        if previous is None:
            raise RolloutError(f"{name} serves no model yet: there is nothing to be the shadow of")
        second = self._cluster.get(INFERENCE_SERVICE, shadow)
        mirrored = routes.others(self._cluster, name) == {shadow}
        if (
            mirrored
            and second is not None
            and wanted.is_whole_in(second)
            and is_ready(self._cluster, second, wanted.fields(shadow))
        ):
            steps.answers(shadow, wanted, rounds=1)
            if steps.lease.record is not None:
                steps.lease.note(None)
            return "unchanged"
        steps.begin(previous, wanted)
        with self._or_give_up(live, shadow, "ShadowAborted", f"shadow of model {wanted.model_version} was stopped"):
            self._start(live, shadow, wanted)
            with undisturbed():
                routes.mirror(self._cluster, name, shadow)
                message = f"{shadow} serves model {wanted.model_version} a copy of every request"
                steps.record(live, "ShadowStarted", message)
        steps.lease.note(None)
        return "shadowing"

    def end(self, name: str) -> None:
        """Route all requests to the first service and delete the second. Raises RolloutError where that fails."""
        with undisturbed():
            if routes.others(self._cluster, self._name):
                routes.share(self._cluster, self._name, {self._name: 100})
                time.sleep(self._steps.settings.route_seconds)  # gateways still send some to the second one
            self._cluster.delete(INFERENCE_SERVICE, name)

    def _start(self, live: Object, name: str, wanted: Revision) -> None:
        LOGGER.info("%s: model %s from %s", name, wanted.model_version, wanted.repository_uri)
        self._wait_until_gone(name)
        document = second_service(live, name, wanted)
        self._cluster.apply(INFERENCE_SERVICE, document, force=True)
        self._steps.wait(name, document)
        self._steps.answers(name, wanted)

    def _wait_until_gone(self, name: str) -> None:
        """Wait while an earlier one is being deleted: fields applied to it would be deleted with it."""
        settings = self._steps.settings
        end = time.monotonic() + settings.ready_timeout
        while "deletionTimestamp" in (self._cluster.get(INFERENCE_SERVICE, name) or {"metadata": {}})["metadata"]:
            if time.monotonic() > end:
                raise NotServing(f"{name}: an earlier one is still being deleted after {settings.ready_timeout:g} s")
            time.sleep(settings.poll_seconds)

    def _abort_promotion(self, live: Object, earlier: Revision, wanted: Revision, signal: str) -> None:
        """Restore the first service; until then the canary, which all judges accepted, serves all requests."""
        steps, canary = self._steps, f"{self._name}-canary"
        what = f"the rollout of model {wanted.model_version} was stopped by {signal}"
        try:
            with steps.hurried():
                self._in_place.bring(None, earlier)
        except RolloutError as error:
            message = f"{what}; {canary} serves it until the next rollout, since {self._name} was not restored: {error}"
        else:
            self.end(canary)
            steps.lease.note(None)
            message = f"{what}; all requests go to model {earlier.model_version}"
        steps.record(live, "RolloutStopped", message, warning=True)

    @contextmanager
    def _or_give_up(self, live: Object, second: str, reason: str, what: str) -> Iterator[None]:
        """When the block fails, end the second service and raise why, with what was done about it."""
        try:
            yield
        except RolloutError as error:
            message = f"{what}: {error}"
            try:
                self.end(second)
                self._steps.lease.note(None)
                message += "; all requests go to the model before"
            except RolloutError as failed:
                message += f"; ending {second} failed too: {failed}"
            self._steps.record(live, reason, message, warning=True)
            raise RolloutError(message) from error
        except BaseException as stop:  # a signal ends it too
            self.end(second)
            self._steps.lease.note(None)
            message = f"{what} by {stop}; all requests go to the model before"
            self._steps.record(live, "RolloutStopped", message, warning=True)
            raise


def shadow_name(name: str) -> str:
    """The shadow of an InferenceService."""
    return f"{name}-shadow"
