"""Fresh events: append one to a user's online history through the push source."""

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta

import pandas as pd
from feast import FeatureStore
from feast.data_source import PushMode

from feature_repo.definitions import PUSH_SOURCE
from feature_repo.sources import STAMP, USER_HISTORY
from polytask.errors import DataError
from polytask.history import AFTER_EVENT
from polytask.scenario.schema import Scenario
from polytask.tensors import HISTORY, SEEN

# A stamp is read back in whole seconds, and Redis silently refuses a row that is not later than the stored one. So an
# event that is not a second past the newest gets the next second; one that is older by more than LATE is an error.
ONE_SECOND = timedelta(seconds=1)
LATE = timedelta(seconds=60)


def online_history(
    store: FeatureStore, scenario: Scenario, user: Hashable
) -> tuple[dict[str, list[Hashable]], datetime | None]:
    """A user's `history` and `seen` in the online store, oldest first, and their stamp (UTC, whole seconds).

    Empty lists and None for a user without events.
    """
    features = [f"{USER_HISTORY}:{name}" for name in (HISTORY, SEEN)]
    response = store.get_online_features(features=features, entity_rows=[{scenario.entities.users.key: user}])
    values = response.to_dict()
    names = list(response.proto.metadata.feature_names.val)
    stamp = response.proto.results[names.index(HISTORY)].event_timestamps[0]
    arrays = {name: list(values[name][0] or []) for name in (HISTORY, SEEN)}
    if not arrays[HISTORY]:
        return arrays, None
    return arrays, datetime.fromtimestamp(stamp.seconds, UTC)


def push_event(store: FeatureStore, scenario: Scenario, user: Hashable, item: Hashable, moment: datetime) -> datetime:
    """Append an event to the user's online `history` and `seen`; returns the stamp of the new row (UTC).

    Only where the scenario has items. `moment` is aware. Events of one user must come in order and from one writer:
    this reads, appends and writes, and an online store lets an older row replace a newer one. Raises DataError for a
    late event or a naive moment.
    """
    if moment.tzinfo is None:
        raise DataError(f"moment: {moment.isoformat()} has no time zone; allowed: an aware datetime")
    if not scenario.has_items:
        raise DataError(f"item {item!r}: scenario {scenario.name!r} has no `entities.items`, and so no histories")
    arrays, newest = online_history(store, scenario, user)
    stamp = moment.astimezone(UTC) + AFTER_EVENT.to_pytimedelta()
    if newest is not None:
        if newest - stamp > LATE:
            raise DataError(
                f"moment: {moment.isoformat()} of user {user!r} lies more than {LATE.seconds} s before the newest "
                f"event, stamped {newest.isoformat()}"
            )
        stamp = max(stamp, newest + ONE_SECOND)
    lengths = {HISTORY: scenario.features.history_length, SEEN: scenario.features.seen_length}
    row = {name: [[*arrays[name], item][-length:]] for name, length in lengths.items()}
    frame = pd.DataFrame({scenario.entities.users.key: [user], STAMP: [pd.Timestamp(stamp)], **row})
    store.push(PUSH_SOURCE, frame, to=PushMode.ONLINE)
    return stamp
