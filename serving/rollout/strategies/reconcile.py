"""Removes what an interrupted rollout left: a partly replaced model, shared routes, a second InferenceService.

Every rollout reconciles first. The record in the Lease holds strategy, previous model and new model.
"""

import logging
from typing import Any

from serving.kubernetes.client import INFERENCE_SERVICE, Object
from serving.rollout.errors import NotServing, RolloutError
from serving.rollout.service import routes
from serving.rollout.service.readiness import is_ready
from serving.rollout.service.revision import Revision
from serving.rollout.service.stopping import StopRequested
from serving.rollout.strategies.in_place import InPlace
from serving.rollout.strategies.second import Second, shadow_name
from serving.rollout.strategies.steps import Steps

LOGGER = logging.getLogger(__name__)


class Reconciliation:
    """Reconciles the InferenceService of `steps`."""

    def __init__(self, steps: Steps, in_place: InPlace, second: Second) -> None:
        self._steps = steps
        self._in_place = in_place
        self._second = second
        self._name = steps.settings.name

    def run(self, live: Object, wanted: Revision) -> Revision | None:
        """Reconcile; returns the model that is served or was served before, None where there is none to go back to.

        An interrupted rollout of the same model in place is resumed; any other one is rolled back. Raises RolloutError
        where the API server refuses a change.
        """
        steps, cluster = self._steps, self._steps.cluster
        record = steps.lease.record
        current = Revision.of_live(live)
        canary = f"{self._name}-canary"
        left = [name for name in (canary,) if self._is_there(name)]
        # A shadow that was finished is no remainder: it stays until another strategy ends it.
        allowed = set() if _strategy(record) == "shadow" else {shadow_name(self._name)}
        others = routes.others(cluster, self._name) - allowed
        if _strategy(record) == "shadow" and self._is_there(shadow_name(self._name)):
            left.append(shadow_name(self._name))
        if record is None and not left and not others:
            return current
        origin, target = (_revision(record, key) for key in ("from", "to"))
        unfinished = f"an unfinished rollout of model {target.model_version}" if target is not None else ""
        found = [*filter(None, [unfinished]), *left, *(f"requests for {one}" for one in sorted(others))]
        steps.record(live, "Reconciling", f"found {', '.join(found)}", warning=True)
        earlier = origin
        if record is None or not _is_one_of(current, origin, target):
            earlier = current
        elif origin is None:
            # A first model that was given up, or whose rollout died, may have come up since.
            earlier = current if current is not None and self._serves(live, current) else None
        elif not origin.is_whole_in(live):
            again = steps.settings.strategy in ("rolling", "recreate") and not others
            if not (again and target is not None and target.serves_the_same_as(wanted)):
                earlier = self._go_back(live, origin, target)
        if not left and not others:
            return earlier
        # The second service may be the only one that serves: it is deleted once this rollout's model responds.
        if earlier is None and others:
            LOGGER.warning("%s has no model to go back to; %s stay for now", self._name, ", ".join(found))
            return None
        try:
            if earlier is not None:
                steps.answers(self._name, earlier, rounds=1)
        except NotServing as error:
            LOGGER.warning("%s does not respond: %s; %s stay for now", self._name, error, ", ".join(found))
            return None
        for name in left or [canary]:
            self._second.end(name)
        return earlier

    def _is_there(self, name: str) -> bool:
        """Whether there is such an InferenceService that is not being deleted already."""
        found = self._steps.cluster.get(INFERENCE_SERVICE, name)
        return found is not None and "deletionTimestamp" not in found["metadata"]

    def _go_back(self, live: Object, origin: Revision, target: Revision | None) -> Revision | None:
        """To the model that was served before; None where that fails, and the model of this rollout has to do."""
        try:
            self._in_place.bring(target, origin)
        except RolloutError as error:
            message = f"model {origin.model_version}, which was served before, does not come back: {error}"
            self._steps.record(live, "ReconcileFailed", message, warning=True)
            return None
        except StopRequested as stop:
            self._steps.apply(origin.fields(self._name))
            message = f"going back to model {origin.model_version} was stopped by {stop}; its pods are not waited for"
            self._steps.record(live, "RolloutStopped", message, warning=True)
            raise
        return origin

    def _serves(self, live: Object, current: Revision) -> bool:
        """Whether all pods are of `current`, and respond."""
        steps = self._steps
        if not current.is_whole_in(live) or not is_ready(steps.cluster, live, current.fields(self._name)):
            return False
        try:
            steps.answers(self._name, current, rounds=1)
        except NotServing as error:
            LOGGER.warning("%s: model %s does not respond: %s", self._name, current.model_version, error)
            return False
        return True


def _is_one_of(current: Revision | None, *known: Revision | None) -> bool:
    """Whether an InferenceService has one of these models, or none. Otherwise another manager changed it."""
    return current is None or any(one is not None and current.serves_the_same_as(one) for one in known)


def _strategy(record: dict[str, Any] | None) -> str:
    return str((record or {}).get("strategy", ""))


def _revision(record: dict[str, Any] | None, key: str) -> Revision | None:
    """A revision in the record of a Lease. Raises RolloutError where the record is none of this program's."""
    content = (record or {}).get(key)
    try:
        return None if content is None else Revision.of_record(content)
    except TypeError as error:
        raise RolloutError(f"the Lease holds a record of another program: {error}; remove its annotation") from error
