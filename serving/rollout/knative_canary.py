"""A canary inside one InferenceService of Knative mode, by canaryTrafficPercent. ADR 0038.

Knative shares requests among the revisions of the transformer and, on its own, among those of Triton; a transformer
answers only with the Triton of its contract. So only the transformer's revisions share requests, and each is bound to
its Triton: the old one asks the predictor's main address, which stays with the old Triton (0%), the new one asks the
tag `latest`.
"""

from dataclasses import replace

from serving.rollout.cluster import Object
from serving.rollout.errors import RolloutError
from serving.rollout.revision import TAG_ROUTING, Revision, Traffic, predictor_host
from serving.rollout.steps import Steps

LATEST, PREVIOUS = "latest-", "prev-"  # KServe's tags, as they stand before a name


class KnativeCanary:
    """Gives the revision `wanted` more and more of the requests, then all; goes back to `earlier` when it fails."""

    def __init__(self, steps: Steps, live: Object, earlier: Revision, wanted: Revision) -> None:
        self._steps, self._live = steps, live
        self._earlier, self._wanted = earlier, wanted
        self._name = steps.settings.name
        namespace = steps.cluster.namespace
        self._main = predictor_host(self._name, namespace)
        self._tagged = predictor_host(LATEST + self._name, namespace)
        metadata = live["metadata"].get("annotations") or {}
        if metadata.get(TAG_ROUTING) != "true":
            raise RolloutError(
                f'{self._name}: the annotation {TAG_ROUTING} is not "true"; apply the component `knative`'
            )
        if live["spec"].get("explainer"):
            raise RolloutError(
                f"{self._name}: a canary in Knative mode takes no explainer, which would ask the other Triton; "
                "allowed: recreate, rolling"
            )

    def run(self) -> None:
        """Do it. Raises RolloutError with the reason, and with what was done about it."""
        steps, version = self._steps, self._wanted.model_version
        try:
            live = self._to(Traffic(self._tagged, 0, 0))
            steps.answers(LATEST + self._name, self._wanted)
            for weight in steps.settings.weights:
                live = self._to(Traffic(self._tagged, 0, weight))
                steps.record(live, "CanaryStep", f"model {version} gets {weight}% of the requests")
                steps.judge(PREVIOUS + self._name, LATEST + self._name, _revisions(live))
        except RolloutError as error:
            self._give_up(error)
        except BaseException:  # a step that is stopped from outside leaves all requests to the old revisions
            steps.apply(replace(self._earlier, traffic=Traffic(self._main, 0, 0)))
            raise
        # First all requests go to the new transformer, then Triton's main address to the new Triton: only then may a
        # transformer ask that address again.
        self._to(Traffic(self._tagged, 0, 100))
        self._to(Traffic(self._tagged, None, 100))
        live = self._to(Traffic(self._main))
        steps.answers(self._name, self._wanted)
        steps.record(live, "CanaryPromoted", f"model {version} gets all requests")

    def _to(self, traffic: Traffic) -> Object:
        return self._steps.wait(self._name, self._steps.apply(replace(self._wanted, traffic=traffic)))

    def _give_up(self, error: RolloutError) -> None:
        """Serve `earlier` from new revisions, once these are ready; until then by the old ones, which still run."""
        steps, earlier = self._steps, self._earlier
        message = f"canary of model {self._wanted.model_version} was stopped: {error}"
        try:
            for traffic in (Traffic(self._main, 0, 0), Traffic(self._main)):
                steps.wait(self._name, steps.apply(replace(earlier, traffic=traffic)))
            steps.answers(self._name, earlier)
            message += "; all requests go to the model before"
        except RolloutError as failed:
            message += f"; going back to model {earlier.model_version} failed too: {failed}"
        steps.record(self._live, "CanaryAborted", message, warning=True)
        raise RolloutError(message) from error


def _revisions(live: Object) -> tuple[str, str] | None:
    """Names of the transformer's revisions, the old and the new, as the names of pods begin; None where not told."""
    told = ((live.get("status") or {}).get("components") or {}).get("transformer") or {}
    names = told.get("latestRolledoutRevision"), told.get("latestCreatedRevision")
    return (str(names[0]), str(names[1])) if all(names) else None
