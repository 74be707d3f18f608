"""The time of a request as text. Training and serving both call this module, so both produce the same text."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from polytask.scenario.names import CONTEXT_WORDS

DAYPARTS = ("night", "morning", "afternoon", "evening")
WEEKPARTS = ("weekday", "weekend")
HOUR, DAY = 3600, 86_400  # seconds
THURSDAY = 3  # the first of January 1970, counted from Monday


def time_context(moment: datetime, timezone: str) -> Mapping[str, str]:
    """Words for an aware `moment`: `daypart` (quarter of the local day), `weekpart` (weekday or weekend)."""
    local = moment.astimezone(ZoneInfo(timezone))
    return _words(local.hour, local.weekday())


def time_contexts(seconds: Sequence[int], timezone: str) -> Mapping[str, list[str]]:
    """The context features of `time_context` for many timestamps, Unix seconds (n,): n strings by name."""
    zone = ZoneInfo(timezone)

    def offset(moment: int) -> int:
        distance = datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()
        assert distance is not None, "a zone's own time has a distance from UTC"
        return int(distance.total_seconds())

    moments = np.asarray(seconds, dtype=np.int64)
    days, place = np.unique(moments // DAY, return_inverse=True)
    first = np.array([offset(day * DAY) for day in days.tolist()], dtype=np.int64)
    last = np.array([offset(day * DAY + DAY - 1) for day in days.tolist()], dtype=np.int64)
    local = moments + first[place]
    # The clocks changed on these days: each moment is looked up by itself.
    for row in np.flatnonzero((first != last)[place]).tolist():
        local[row] = moments[row] + offset(int(moments[row]))
    of_week = (local // HOUR + THURSDAY * 24) % (7 * 24)
    words = [_words(hour % 24, hour // 24) for hour in range(7 * 24)]
    return {name: np.array([each[name] for each in words], dtype=object)[of_week].tolist() for name in CONTEXT_WORDS}


def _words(hour: int, weekday: int) -> Mapping[str, str]:
    return {"daypart": DAYPARTS[hour // 6], "weekpart": WEEKPARTS[weekday >= 5]}
