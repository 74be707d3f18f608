"""Order events in time and move apart those of one user that share a moment."""

import numpy as np
import pandas as pd

from polytask.scenario.names import EVENT_ID

# Two, so that the moment just after an event (+1), at which its history is stamped, lies before the next event.
TIE_STEP_MICROSECONDS = 2


def order_events(interactions: pd.DataFrame, user: str, timestamp: str) -> tuple[pd.DataFrame, int]:
    """Events sorted by (timestamp, event_id), timestamps at least two microseconds apart per user; events moved.

    The k-th of a user's events at one moment (k from 0, in file order) is moved by 2k microseconds. Events that are
    nearer than that already are pushed on in the same way, so order never changes.
    """
    codes, _ = pd.factorize(interactions[user])
    moments = interactions[timestamp].astype("datetime64[us, UTC]").to_numpy("datetime64[us]").astype("int64")
    order = np.lexsort((interactions[EVENT_ID].to_numpy(), moments, codes))
    codes, moments = codes[order], moments[order]
    step = TIE_STEP_MICROSECONDS * (np.arange(len(codes)) - np.searchsorted(codes, codes))
    # t'[i] = max(t[i], t'[i-1] + 2) within a user, as a running maximum of t[i] - 2i.
    spread = pd.Series(moments - step).groupby(codes, sort=False).cummax().to_numpy() + step
    moved = np.empty_like(spread)
    moved[order] = spread
    out = interactions.assign(**{timestamp: pd.to_datetime(moved, unit="us", utc=True).astype("datetime64[us, UTC]")})
    out = out.sort_values([timestamp, EVENT_ID], ignore_index=True)
    return out, int((spread != moments).sum())
