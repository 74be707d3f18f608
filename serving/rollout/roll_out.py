"""Rolls out a release by one of four strategies; rolls back if smoke tests fail.

    recreate   the old pods end, then the new ones start
    rolling    new pods first, in two phases, so that no request is refused in between
    canary     a second InferenceService gets an increasing share of the requests; canary analysis decides each step
    shadow     a second InferenceService gets a copy of every request; its responses are discarded

`recreate` and `rolling` change one InferenceService in place. A rollout holds the Lease of the InferenceService, and
reconciles first what an interrupted one left (ADR 0048).
"""

import logging
import signal
import time

import yaml

from serving.kubernetes.client import INFERENCE_SERVICE, KUBECTL, Cluster, Object
from serving.rollout.errors import RolloutError, RolloutStopped
from serving.rollout.release import RolloutRelease
from serving.rollout.service import routes
from serving.rollout.service.lease import Lease
from serving.rollout.service.readiness import is_ready
from serving.rollout.service.revision import MODE, Replacement, Revision
from serving.rollout.service.stopping import StopRequested, stop_requests
from serving.rollout.settings import Action, Outcome, Settings
from serving.rollout.strategies.first_model import FIRST, is_stopped, stopped
from serving.rollout.strategies.in_place import InPlace
from serving.rollout.strategies.reconcile import Reconciliation
from serving.rollout.strategies.second import Second, shadow_name
from serving.rollout.strategies.steps import Steps

LOGGER = logging.getLogger(__name__)
STANDARD = "Standard"


class Rollout:
    """One rollout of one release."""

    def __init__(self, cluster: Cluster, release: RolloutRelease, settings: Settings) -> None:
        self._cluster = cluster
        self._release = release
        self._settings = settings
        self._lease = Lease(cluster, settings.name, settings.lease_seconds)
        self._steps = Steps(cluster, release, settings, self._lease)
        self._in_place = InPlace(self._steps)
        self._second = Second(self._steps, self._in_place)

    def run(self) -> Outcome:
        """Do it. Raises RolloutError with the reason, and with what was done about it."""
        started = time.monotonic()
        try:
            with stop_requests(), self._lease.held(self._settings.lease_timeout):
                action = self._run()
        except StopRequested as stop:
            message = f"the rollout of model {self._release.version} was stopped by {stop}"
            message += "; where anything had been changed, the log reports what was restored"
            raise RolloutStopped(message, signal.Signals[str(stop)]) from stop
        return Outcome(action, self._release.version, time.monotonic() - started)

    def _run(self) -> Action:
        settings = self._settings
        live = self._cluster.get(INFERENCE_SERVICE, settings.name) or self._create()
        mode = (live["metadata"].get("annotations") or {}).get(MODE)
        if mode != STANDARD:
            raise RolloutError(f"{settings.name}: annotation {MODE}: {mode!r}; expected {STANDARD}: see ADR 0044")
        in_place: Replacement = "recreate" if settings.strategy == "recreate" else "rolling"
        explainer = bool(live["spec"].get("explainer"))
        wanted = Revision.of_release(self._release, in_place, explainer)
        earlier = Reconciliation(self._steps, self._in_place, self._second).run(live, wanted)
        live = self._steps.live()
        if settings.strategy == "shadow":
            return self._second.shadow(live, earlier, wanted)
        if settings.strategy == "canary":
            routes.require_routes(self._cluster, settings.name)
        if earlier is not None and earlier.serves_the_same_as(wanted):
            if wanted.is_whole_in(live) and is_ready(self._cluster, live, wanted.fields(settings.name)):
                self._steps.answers(settings.name, wanted, rounds=1)
                self._end_others()
                if self._lease.record is not None:
                    self._lease.note(None)
                LOGGER.info("%s serves model %s already", settings.name, wanted.model_version)
                return "unchanged"
            # A model that is there and not ready is no model to go back to, nor to compare with.
            earlier = None
        if settings.strategy == "canary" and earlier is not None:
            action = self._second.canary(live, earlier, wanted)
        else:
            action = self._change(live, earlier, wanted)
        self._end_others()
        return action

    def _change(self, live: Object, earlier: Revision | None, wanted: Revision) -> Action:
        """In place."""
        self._steps.begin(earlier, wanted)
        # It may have its model already, from a first rollout that died before it started it.
        if is_stopped(live) and (earlier is None or Revision.of_live(live) is None):
            self._steps.start(wanted)
        self._in_place.replace(earlier, wanted)
        return "deployed"

    def _end_others(self) -> None:
        """Delete the shadow of an earlier model, and a canary that had to serve until this model was ready."""
        name = self._settings.name
        others = routes.others(self._cluster, name)
        for second in (shadow_name(name), f"{name}-canary"):
            if second in others or self._cluster.get(INFERENCE_SERVICE, second) is not None:
                self._second.end(second)
        if routes.lead_nowhere(self._cluster, name):
            routes.share(self._cluster, name, {name: 100})

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


def roll_out(cluster: Cluster, release: RolloutRelease, settings: Settings) -> Outcome:
    """Put `release` into service. Twice the same release changes nothing the second time."""
    return Rollout(cluster, release, settings).run()
