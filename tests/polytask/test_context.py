"""The moment in words, in the scenario's time zone."""

from datetime import UTC, datetime

import pytest

from polytask.context import time_context


@pytest.mark.parametrize(
    ("hour", "daypart"),
    [(0, "night"), (5, "night"), (6, "morning"), (11, "morning"), (12, "afternoon"), (18, "evening"), (23, "evening")],
)
def test_quarters_of_the_day(hour, daypart):
    moment = datetime(2024, 3, 1, hour, 59, tzinfo=UTC)
    assert time_context(moment, "UTC") == {"daypart": daypart, "weekpart": "weekday"}


def test_local_time_decides():
    friday_night = datetime(2024, 3, 1, 23, 30, tzinfo=UTC)
    assert time_context(friday_night, "Europe/Berlin") == {"daypart": "night", "weekpart": "weekend"}
    summer = datetime(2024, 7, 5, 22, 30, tzinfo=UTC)  # two hours ahead, one in winter
    assert time_context(summer, "Europe/Berlin")["weekpart"] == "weekend"
    assert time_context(summer.replace(month=1), "Europe/Berlin")["weekpart"] == "weekday"


def test_sunday_ends_the_weekend():
    assert time_context(datetime(2024, 3, 3, 23, tzinfo=UTC), "UTC")["weekpart"] == "weekend"
    assert time_context(datetime(2024, 3, 4, 0, tzinfo=UTC), "UTC")["weekpart"] == "weekday"
