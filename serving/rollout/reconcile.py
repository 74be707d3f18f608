"""What a rollout that died has left: a model half in place, requests that are shared, a second InferenceService.

Every rollout puts that right before it begins. The Lease says what the dead one was doing, and from which model.
"""

import logging
from typing import Any

from serving.rollout import routes
from serving.rollout.cluster import INFERENCE_SERVICE, Object
from serving.rollout.errors import NotServing, RolloutError
from serving.rollout.in_place import InPlace
from serving.rollout.revision import Revision
from serving.rollout.second import Second, shadow_name
from serving.rollout.steps import Steps

LOGGER = logging.getLogger(__name__)


class Reconciliation:
    """Puts the InferenceService of `steps` right."""

    def __init__(self, steps: Steps, in_place: InPlace, second: Second) -> None:
        self._steps = steps
        self._in_place = in_place
        self._second = second
        self._name = steps.settings.name

    def run(self, live: Object, wanted: Revision) -> Revision | None:
        """Put everything right; returns the model that is served or was before, None where there is none to go back to.

        What the dead rollout wanted is taken up again where this one wants the same in place; else its model is taken
        back. Raises RolloutError where the API server does not do what it is told.
        """
        steps, cluster = self._steps, self._steps.cluster
        record = steps.lease.record
        current = Revision.of_live(live)
        canary = f"{self._name}-canary"
        left = [name for name in (canary,) if cluster.get(INFERENCE_SERVICE, name) is not None]
        # A shadow that was finished is no remainder: it stays until another strategy ends it.
        allowed = set() if _strategy(record) == "shadow" else {shadow_name(self._name)}
        others = routes.others(cluster, self._name) - allowed
        if _strategy(record) == "shadow" and cluster.get(INFERENCE_SERVICE, shadow_name(self._name)) is not None:
            left.append(shadow_name(self._name))
        if record is None and not left and not others:
            return current
        origin, target = (_revision(record, key) for key in ("from", "to"))
        unfinished = f"an unfinished rollout of model {target.model_version}" if target is not None else ""
        found = [*filter(None, [unfinished]), *left, *(f"requests for {one}" for one in sorted(others))]
        steps.record(live, "Reconciling", f"found {', '.join(found)}", warning=True)
        earlier = current if record is None else origin
        if origin is not None and not origin.is_whole_in(live):
            again = steps.settings.strategy in ("rolling", "recreate") and not others
            if not (again and target is not None and target.serves_the_same_as(wanted)):
                earlier = self._go_back(live, origin, target)
        if not left and not others:
            return earlier
        try:
            if earlier is not None:
                steps.answers(self._name, earlier, rounds=1, seconds=0)
        except NotServing as error:
            # Whoever is asked now may be the only one that serves: it goes when this rollout's model answers.
            LOGGER.warning("%s does not answer: %s; %s stay for now", self._name, error, ", ".join(found))
            return None
        for name in left or [canary]:
            self._second.end(name)
        return earlier

    def _go_back(self, live: Object, origin: Revision, target: Revision | None) -> Revision | None:
        """To the model that was served before; None where that fails, and the model of this rollout has to do."""
        try:
            self._in_place.bring(target, origin)
        except RolloutError as error:
            message = f"model {origin.model_version}, which was served before, does not come back: {error}"
            self._steps.record(live, "ReconcileFailed", message, warning=True)
            return None
        return origin


def _strategy(record: dict[str, Any] | None) -> str:
    return str((record or {}).get("strategy", ""))


def _revision(record: dict[str, Any] | None, key: str) -> Revision | None:
    """A revision in the record of a Lease. Raises RolloutError where the record is none of this program's."""
    content = (record or {}).get(key)
    try:
        return None if content is None else Revision.of_record(content)
    except TypeError as error:
        raise RolloutError(f"the Lease holds a record of another program: {error}; remove its annotation") from error
