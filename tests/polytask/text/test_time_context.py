"""The moment in words, in the scenario's time zone."""

from datetime import UTC, datetime, timedelta

import pytest

from polytask.scenario.names import CONTEXT_WORDS
from polytask.text.time_context import time_context, time_contexts


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


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"])
def test_many_moments_have_the_words_of_each(zone):
    """A year in steps of 1,801 s, the seconds around a change of the clocks, and one before 1970."""
    year = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=1801 * step) for step in range(17_600)]
    changes = [datetime(2024, month, day, 1, tzinfo=UTC) for month, day in ((3, 31), (10, 27))]
    moments = [*year, *(moment + timedelta(seconds=step) for moment in changes for step in (-1, 0, 1))]
    moments.append(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC))
    words = time_contexts([int(moment.timestamp()) for moment in moments], zone)
    each = [time_context(moment, zone) for moment in moments]
    assert words == {name: [one[name] for one in each] for name in CONTEXT_WORDS}


def test_no_moment_has_no_words():
    assert time_contexts([], "UTC") == {"daypart": [], "weekpart": []}
