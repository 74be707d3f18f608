"""The features of a call, or none of them: a response can do without the feature store, and is then flagged."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from polytask.scenario.schema import Scenario
from serving.transformer.concurrency.batching import Batcher
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.features.lookup import STORE, FeatureLookup, Features
from serving.transformer.features.outage import FeatureOutage
from serving.transformer.features.reader import OnlineFeatures, no_features
from serving.transformer.observability.metrics import STORE_READ, Metrics

# Of the time that a call has left. A read takes 1 to 10 ms; the rest is for the models.
FEATURE_SHARE = 0.25


class FeatureRequest(Protocol):
    """What a read needs of a request."""

    @property
    def user_id(self) -> int | str:
        """Key of the user."""

    @property
    def timestamp(self) -> int:
        """The moment in Unix seconds."""


@dataclass(frozen=True)
class FeaturePolicy:
    """How long a call waits for the feature store, and what follows from an outage.

    `share` (0 to 1) of the time that a call has left is the budget of its read. `strict`: a read may take all the time,
    and a call without features fails, as does readiness.
    """

    share: float = FEATURE_SHARE
    strict: bool = False


class OptionalFeatures:
    """Reads the features of calls in batches. `seconds` is the deadline of the server. Belongs to one event loop."""

    def __init__(
        self, features: Features, scenario: Scenario, metrics: Metrics, policy: FeaturePolicy, seconds: float
    ) -> None:
        self._look_up = FeatureLookup(features)
        self._scenario = scenario
        self._metrics = metrics
        self._policy = policy
        self._probe_seconds = seconds * (1 if policy.strict else policy.share)
        self._outage = FeatureOutage()
        self._reads: Batcher[Sequence[FeatureRequest], list[OnlineFeatures]] = Batcher(
            self._read_all, STORE, rerun=metrics.batches_rerun.labels(STORE_READ).inc
        )

    async def __call__(
        self, requests: Sequence[FeatureRequest], deadline: Deadline
    ) -> tuple[list[OnlineFeatures], bool]:
        """The features of each request, and whether they are missing because the store is unavailable or slow.

        Raises Unavailable instead where the policy is strict.
        """
        if self._outage.known:
            return self._without(requests), True
        budget = deadline if self._policy.strict else deadline.share(self._policy.share)
        try:
            rows = await self._reads(requests, len(requests), budget)
        except Unavailable as error:
            # What a caller in a hurry cannot wait for is no outage.
            failed = not deadline.cut_short(error)
            if failed:
                self._metrics.feature_errors.inc()
            if self._policy.strict:
                raise
            if failed:
                self._outage.read_failed(error)
            return self._without(requests), True
        self._outage.read_succeeded()
        return rows, False

    async def probe(self, deadline: Deadline) -> None:
        """Read the features of a user that does not exist, as calls read them. Begins or ends an outage.

        Raises Unavailable where the policy is strict: the pod is then not ready.
        """
        user: int | str = 0 if self._scenario.entities.users.key_type == "integer" else ""
        try:
            await self._look_up([user], [0], Deadline(min(deadline.remaining(STORE), self._probe_seconds)))
        except Unavailable as error:
            if self._policy.strict:
                raise
            self._outage.begin(error)
        else:
            self._outage.end()

    def close(self) -> None:
        """Take no more work."""
        self._look_up.close()

    def _without(self, requests: Sequence[FeatureRequest]) -> list[OnlineFeatures]:
        return no_features(self._scenario, [request.timestamp for request in requests])

    async def _read_all(
        self, calls: Sequence[Sequence[FeatureRequest]], deadline: Deadline
    ) -> list[list[OnlineFeatures]]:
        """The features of the requests of several calls, from one look-up."""
        requests = [request for call in calls for request in call]
        users, moments = [request.user_id for request in requests], [request.timestamp for request in requests]
        rows = iter(await self._look_up(users, moments, deadline))
        return [list(islice(rows, len(call))) for call in calls]
