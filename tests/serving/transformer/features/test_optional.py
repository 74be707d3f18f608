"""Responses without the feature store: bounded waits, flags, metrics, one log line, and a breaker that probes close."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from polytask.scenario import Scenario
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.features.optional import FeaturePolicy, OptionalFeatures
from serving.transformer.features.outage import FAILURES
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.metrics import Metrics

GONE = Unavailable("feature store: ConnectionError: refused")


@dataclass(frozen=True)
class Asked:
    user_id: int | str = 10
    timestamp: int = 0


class Store:
    """Reads in the event loop: returns, fails with `error`, or never returns if it `hangs`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.reads = 0

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        raise AssertionError("the event loop reads")

    async def in_loop(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        self.reads += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return [OnlineFeatures(known=True, history=(7,)) for _ in users]


class Case:
    """Optional features over a fake store, with a deadline of the server of `seconds`."""

    def __init__(self, scenario: Scenario, policy: FeaturePolicy | None = None, seconds: float = 2.0) -> None:
        self.registry = CollectorRegistry()
        self.store = Store()
        self.seconds = seconds
        self.features = OptionalFeatures(
            self.store, scenario, Metrics(self.registry), policy or FeaturePolicy(), seconds
        )

    async def send_request(self, deadline: Deadline | None = None) -> tuple[list[OnlineFeatures], bool]:
        return await self.features([Asked()], deadline or Deadline(self.seconds))

    def errors(self) -> float:
        return self.registry.get_sample_value("polytask_feature_store_errors_total") or 0.0


def test_what_the_store_has_is_used(small_scenario: Scenario):
    case = Case(small_scenario)
    rows, degraded = asyncio.run(case.send_request())
    assert (rows[0].history, degraded) == ((7,), False)


def test_without_the_store_the_words_of_the_time_are_left(small_scenario: Scenario):
    case = Case(small_scenario)
    case.store.error = GONE
    (row,), degraded = asyncio.run(case.send_request())
    assert degraded
    assert (row.known, row.history, row.context["daypart"]) == (False, (), "night")
    assert row.profile == {"age": None, "occupation": None}
    assert case.errors() == 1


def test_a_store_that_hangs_takes_its_share_of_the_deadline_and_then_nothing(small_scenario: Scenario):
    case = Case(small_scenario, FeaturePolicy(share=0.1), seconds=2.0)
    case.store.hangs = True

    async def run() -> list[float]:
        waits = []
        for _ in range(FAILURES + 2):
            deadline = Deadline(2.0)
            assert (await case.send_request(deadline))[1]
            waits.append(deadline.left())
        return waits

    left = asyncio.run(run())
    # A call that waited had a tenth less, and at least half of its time for the models on any machine.
    assert all(1.0 < one <= 1.85 for one in left[:FAILURES])
    assert all(one > 1.85 for one in left[FAILURES:])
    assert case.store.reads == FAILURES


def test_a_probe_ends_an_outage_and_the_log_has_one_line_for_each_end(
    small_scenario: Scenario, caplog: pytest.LogCaptureFixture
):
    case = Case(small_scenario)

    async def run() -> None:
        case.store.error = GONE
        await case.features.probe(Deadline(1))
        for _ in range(5):
            assert (await case.send_request())[1]
            await case.features.probe(Deadline(1))
        assert case.store.reads == 6, "requests read a store that is known to be unavailable"
        case.store.error = None
        assert (await case.send_request())[1], "only a probe ends an outage"
        await case.features.probe(Deadline(1))
        assert not (await case.send_request())[1]

    with caplog.at_level(logging.INFO):
        asyncio.run(run())
    logged = [(record.levelname, record.getMessage().partition(":")[2]) for record in caplog.records]
    assert [level for level, _ in logged] == ["ERROR", "WARNING"]
    assert "refused" in logged[0][1]
    assert "available again" in logged[1][1]


def test_failures_with_successes_between_them_are_no_outage(small_scenario: Scenario):
    case = Case(small_scenario)

    async def run() -> None:
        for _ in range(FAILURES):
            case.store.error = GONE
            assert (await case.send_request())[1]
            case.store.error = None
            assert not (await case.send_request())[1]

    asyncio.run(run())


def test_callers_in_a_hurry_cause_no_outage(small_scenario: Scenario):
    case = Case(small_scenario)

    async def run() -> None:
        case.store.hangs = True
        for _ in range(FAILURES + 1):
            assert (await case.send_request(Deadline(0.02, by_caller=True)))[1]
        assert case.errors() == 0, "an alert counts them"
        case.store.hangs = False
        assert not (await case.send_request())[1]

    asyncio.run(run())


def test_strict_calls_and_probes_fail_and_may_take_the_whole_deadline(small_scenario: Scenario):
    case = Case(small_scenario, FeaturePolicy(share=0.01, strict=True), seconds=0.3)

    async def run() -> None:
        case.store.error = GONE
        for _ in range(FAILURES + 1):
            with pytest.raises(Unavailable, match="refused"):
                await case.send_request()
            with pytest.raises(Unavailable, match="refused"):
                await case.features.probe(Deadline(1))
        assert case.store.reads == 2 * (FAILURES + 1), "a strict call reads the store whatever is known"
        case.store.error, case.store.hangs = None, True
        start = time.monotonic()
        with pytest.raises(Unavailable, match=r"no response within the deadline of 0\.3 s"):
            await case.send_request()
        assert time.monotonic() - start > 0.2

    asyncio.run(run())


def test_an_error_about_a_value_is_no_outage(small_scenario: Scenario):
    case = Case(small_scenario)
    case.store.error = UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "surrogates not allowed")
    with pytest.raises(UnicodeEncodeError):
        asyncio.run(case.send_request())
    assert case.errors() == 0
