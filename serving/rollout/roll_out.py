"""Puts a release into service by one of four strategies, and takes it back when it does not answer.

    recreate   the old pods end, then the new ones start
    rolling    new pods first; requests that an old transformer gets while Triton is new are refused (503) until it goes
    canary     a second InferenceService gets a growing share of the requests; the judges decide about each step
    shadow     a second InferenceService gets a copy of every request, and nobody sees its answers

`recreate` and `rolling` change one InferenceService in place. A transformer answers only with the Triton of its own
contract, so while both change some requests are refused; `canary` is the strategy without that gap, because each of two
InferenceServices is a pair of its own.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import yaml

from serving.rollout import routes
from serving.rollout.cluster import INFERENCE_SERVICE, KUBECTL, Cluster, Object
from serving.rollout.errors import RolloutError
from serving.rollout.first_model import FIRST, is_stopped, stopped
from serving.rollout.readiness import is_ready
from serving.rollout.release import Release
from serving.rollout.revision import MODE, Replacement, Revision, second_service
from serving.rollout.settings import Action, Outcome, Settings
from serving.rollout.steps import Steps

LOGGER = logging.getLogger(__name__)
STANDARD = "Standard"


class Rollout:
    """One rollout of one release."""

    def __init__(self, cluster: Cluster, release: Release, settings: Settings) -> None:
        self._cluster = cluster
        self._release = release
        self._settings = settings
        self._steps = Steps(cluster, release, settings)

    def run(self) -> Outcome:
        """Do it. Raises RolloutError with the reason, and with what was done about it."""
        started = time.monotonic()
        action = self._run()
        return Outcome(action, self._release.version, time.monotonic() - started)

    def _run(self) -> Action:
        settings = self._settings
        live = self._cluster.get(INFERENCE_SERVICE, settings.name) or self._create()
        mode = (live["metadata"].get("annotations") or {}).get(MODE)
        if mode != STANDARD:
            raise RolloutError(f"{settings.name}: annotation {MODE}: {mode!r}; expected {STANDARD}: see ADR 0044")
        previous = Revision.of_live(live)
        in_place: Replacement = "recreate" if settings.strategy == "recreate" else "rolling"
        explainer = bool(live["spec"].get("explainer"))
        wanted = Revision.of_release(self._release, in_place, explainer)
        if settings.strategy == "shadow":
            return self._shadow(live, previous, wanted)
        routed = settings.strategy == "canary"
        if routed:
            routes.require_routes(self._cluster, settings.name)
        if previous is not None and previous.serves_the_same_as(wanted) and is_ready(live):
            self._steps.answers(settings.name, wanted, rounds=1)
            LOGGER.info("%s serves model %s already", settings.name, wanted.model_version)
            return "unchanged"
        # A model that is there and not ready is no model to go back to, nor to compare with.
        earlier = None if previous is None or previous.serves_the_same_as(wanted) else previous
        if previous is None and is_stopped(live):
            self._steps.start(wanted)
        action: Action = "deployed"
        if routed and earlier is not None:
            action = self._canary(live, earlier, wanted)
        else:
            self._replace(earlier, wanted)
            if routed:
                routes.share(self._cluster, settings.name, {settings.name: 100})
        if self._cluster.get(INFERENCE_SERVICE, self._shadow_name) is not None:
            self._end_second(self._shadow_name)
        return action

    @property
    def _shadow_name(self) -> str:
        return f"{self._settings.name}-shadow"

    def _create(self) -> Object:
        """The InferenceService of the manifest, stopped, with kubectl as the owner of its fields."""
        settings = self._settings
        place = f"InferenceService {settings.name} in {self._cluster.namespace}"
        if settings.manifest is None:
            raise RolloutError(f"{place} is missing; apply an overlay of manifests/, or name a rendered one")
        with settings.manifest.open(encoding="utf-8") as file:
            documents = [document for document in yaml.safe_load_all(file) if document]
        for document in documents:
            if document.get("kind") == INFERENCE_SERVICE.kind and document["metadata"]["name"] == settings.name:
                document["metadata"]["namespace"] = self._cluster.namespace
                LOGGER.info("creating %s", place)
                self._cluster.apply(INFERENCE_SERVICE, stopped(document), manager=FIRST)
                return self._cluster.apply(INFERENCE_SERVICE, document, manager=KUBECTL)
        raise RolloutError(f"{settings.manifest}: holds no InferenceService called {settings.name}")

    def _replace(self, previous: Revision | None, wanted: Revision) -> None:
        """Change the InferenceService in place; go back to `previous` when the new model does not answer."""
        name = self._settings.name
        LOGGER.info("%s: model %s from %s", name, wanted.model_version, wanted.repository_uri)
        live = self._steps.apply(wanted)
        try:
            live = self._steps.wait(name, live)
            self._steps.answers(name, wanted)
        except RolloutError as error:
            self._roll_back(live, previous, wanted, str(error))
        self._steps.record(live, "ModelDeployed", f"serves model {wanted.model_version} from {wanted.repository_uri}")

    def _roll_back(self, live: Object, previous: Revision | None, wanted: Revision, reason: str) -> None:
        """Serve `previous` again and raise RolloutError with everything that happened."""
        what = f"model {wanted.model_version} was not brought into service: {reason}"
        if previous is None:
            self._steps.record(live, "ModelFailed", what, warning=True)
            raise RolloutError(f"{what}; there is no earlier model to go back to")
        LOGGER.warning("%s; going back to model %s", what, previous.model_version)
        try:
            live = self._steps.apply(previous)
            live = self._steps.wait(self._settings.name, live)
            self._steps.answers(self._settings.name, previous)
        except RolloutError as error:
            message = f"{what}; going back to model {previous.model_version} failed too: {error}"
            self._steps.record(live, "RollbackFailed", message, warning=True)
            raise RolloutError(message) from error
        message = f"{what}; serves model {previous.model_version} from {previous.repository_uri} again"
        self._steps.record(live, "RolledBack", message, warning=True)
        raise RolloutError(message)

    def _canary(self, live: Object, earlier: Revision, wanted: Revision) -> Action:
        """Give a second InferenceService more and more of the requests, then its model to the first one."""
        name, canary = self._settings.name, f"{self._settings.name}-canary"
        with self._or_give_up(live, canary, "CanaryAborted", f"canary of model {wanted.model_version} was stopped"):
            self._start_second(live, canary, wanted)
            for weight in self._settings.weights:
                routes.share(self._cluster, name, {name: 100 - weight, canary: weight})
                self._steps.record(live, "CanaryStep", f"model {wanted.model_version} gets {weight}% of the requests")
                self._steps.judge(name, canary)
            routes.share(self._cluster, name, {canary: 100})
        # Nobody asks the first service now, so it may change in place.
        try:
            self._replace(earlier, wanted)
        finally:
            self._end_second(canary)
        self._steps.record(live, "CanaryPromoted", f"model {wanted.model_version} gets all requests")
        return "promoted"

    def _shadow(self, live: Object, previous: Revision | None, wanted: Revision) -> Action:
        """Let a second InferenceService see every request. It stays until another strategy ends it."""
        name, shadow = self._settings.name, self._shadow_name
        wanted = replace(wanted, explainer=False)  # a second service has none
        routes.require_routes(self._cluster, name)
        if previous is None:
            raise RolloutError(f"{name} serves no model yet: there is nothing to be the shadow of")
        second = self._cluster.get(INFERENCE_SERVICE, shadow)
        running = Revision.of_live(second) if second is not None else None
        if second is not None and running is not None and running.serves_the_same_as(wanted) and is_ready(second):
            self._steps.answers(shadow, wanted, rounds=1)
            return "unchanged"
        with self._or_give_up(live, shadow, "ShadowAborted", f"shadow of model {wanted.model_version} was stopped"):
            self._start_second(live, shadow, wanted)
            routes.mirror(self._cluster, name, shadow)
        self._steps.record(
            live, "ShadowStarted", f"{shadow} serves model {wanted.model_version} a copy of every request"
        )
        return "shadowing"

    def _start_second(self, live: Object, name: str, wanted: Revision) -> None:
        LOGGER.info("%s: model %s from %s", name, wanted.model_version, wanted.repository_uri)
        second = self._cluster.apply(INFERENCE_SERVICE, second_service(live, name, wanted), force=True)
        self._steps.wait(name, second)
        self._steps.answers(name, wanted)

    def _end_second(self, name: str) -> None:
        """All requests to the first service, and the second one away. Raises RolloutError where that fails."""
        routes.share(self._cluster, self._settings.name, {self._settings.name: 100})
        self._cluster.delete(INFERENCE_SERVICE, name)

    @contextmanager
    def _or_give_up(self, live: Object, second: str, reason: str, what: str) -> Iterator[None]:
        """When the block fails, end the second service and raise why, with what was done about it."""
        try:
            yield
        except RolloutError as error:
            message = f"{what}: {error}"
            try:
                self._end_second(second)
                message += "; all requests go to the model before"
            except RolloutError as failed:
                message += f"; ending {second} failed too: {failed}"
            self._steps.record(live, reason, message, warning=True)
            raise RolloutError(message) from error
        except BaseException:  # a step that is stopped from outside ends it too
            self._end_second(second)
            raise


def roll_out(cluster: Cluster, release: Release, settings: Settings) -> Outcome:
    """Put `release` into service. Twice the same release changes nothing the second time."""
    return Rollout(cluster, release, settings).run()
