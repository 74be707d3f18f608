"""A moment that a request may carry has words in every time zone."""

from datetime import UTC, datetime
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polytask.scenario.names import CONTEXT_WORDS
from polytask.text.time_context import time_context
from serving.transformer.api.parse import LATEST

ZONES = sorted(available_timezones())


@settings(max_examples=500, deadline=None)
@given(moment=st.one_of(st.integers(0, LATEST), st.sampled_from([0, LATEST])), zone=st.sampled_from(ZONES))
def test_any_moment_has_words_in_any_zone(moment: int, zone: str):
    assert set(time_context(datetime.fromtimestamp(moment, UTC), zone)) == set(CONTEXT_WORDS)


@pytest.mark.parametrize("moment", [0, LATEST])
def test_the_bounds_have_words_in_every_zone(moment: int):
    for zone in ZONES:
        assert time_context(datetime.fromtimestamp(moment, UTC), zone)["daypart"]
