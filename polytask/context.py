"""The moment of a request in words. Training and serving both call this module, so both say the same words."""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

CONTEXT_WORDS = ("daypart", "weekpart")
DAYPARTS = ("night", "morning", "afternoon", "evening")


def time_context(moment: datetime, timezone: str) -> Mapping[str, str]:
    """Words for an aware `moment`: `daypart` (quarter of the local day), `weekpart` (weekday or weekend)."""
    local = moment.astimezone(ZoneInfo(timezone))
    return {
        "daypart": DAYPARTS[local.hour // 6],
        "weekpart": "weekend" if local.weekday() >= 5 else "weekday",
    }
