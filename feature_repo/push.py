"""Fresh events: append one to a user's online history. Any number of writers may do so at once."""

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from numbers import Integral
from typing import Any

from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Int64List, StringList, Value

from feature_repo.history_writers import NAMES, UserHistory, change_history, remembered
from feature_repo.sources import USER_HISTORY
from polytask.contract.tensors import HISTORY, SEEN
from polytask.data.history import AFTER_EVENT
from polytask.errors import DataError
from polytask.scenario.schema import Scenario, Table

# A stamp is later than the one before it, which Feast's Redis store insists on when the batch is written. An event that
# is older than the newest by more than LATE is an error.
NEXT = timedelta(microseconds=1)
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


def push_event(
    store: FeatureStore,
    scenario: Scenario,
    user: Hashable,
    item: Hashable,
    moment: datetime,
    event_id: Hashable | None = None,
) -> datetime:
    """Append an event to the user's online `history` and `seen`; returns the stamp of the row (UTC).

    Only where the scenario has items. Writers in several processes, and on several machines where the online store is
    Redis, lose nothing: see `feature_repo.history_writers`. An event that was pushed before, as streams deliver some
    twice, changes nothing. It is known by `event_id`, or by user, item and moment without one, as long as it is one of
    the user's last 128 pushed events (SQLite and Redis alone).

    Args:
        store: The feature store.
        scenario: Its scenario.
        user: Key of the user.
        item: Key of the item.
        moment: When it happened; aware.
        event_id: Identifies this event among all events of the user.

    Raises:
        DataError: A late event, a naive moment, keys of another type, or a store that other writers keep busy.
    """
    if moment.tzinfo is None:
        raise DataError(f"moment: {moment.isoformat()} has no time zone; allowed: an aware datetime")
    if not scenario.has_items:
        raise DataError(f"item {item!r}: scenario {scenario.name!r} has no `entities.items`, and so no histories")
    keys = _Keys(scenario, user, item)
    happened = moment.astimezone(UTC)
    event = remembered((item, happened.isoformat()) if event_id is None else event_id)

    def with_event(before: UserHistory) -> UserHistory | None:
        stamp = happened + AFTER_EVENT.to_pytimedelta()
        arrays = {name: keys.items_in(before.values.get(name)) for name in NAMES}
        # Redis has a time for users without a history, too: that of nothing.
        newest = before.stamp if arrays[HISTORY] else None
        if event in before.events or (stamp == newest and arrays[HISTORY][-1] == item):
            return None
        if newest is not None:
            if newest - stamp > LATE:
                raise DataError(
                    f"moment: {moment.isoformat()} is more than {LATE.seconds} s before the newest "
                    f"event, stamped {newest.isoformat()}"
                )
            stamp = max(stamp, newest + NEXT)
        lengths = {HISTORY: scenario.features.history_length, SEEN: scenario.features.exclude_length}
        values = {name: keys.value([*arrays[name], item][-length:]) for name, length in lengths.items()}
        return UserHistory(values, stamp, (*before.events, event))

    after = change_history(store, store.get_feature_view(USER_HISTORY), keys.user, with_event)
    assert after.stamp is not None
    return after.stamp


class _Keys:
    """Keys of a user and an item as Feast stores them. Raises DataError for one of another type."""

    def __init__(self, scenario: Scenario, user: Hashable, item: Hashable) -> None:
        users, items = scenario.entities.users, scenario.items
        _check("user", user, users)
        _check("item", item, items)
        key: Any = user  # `_check` has validated its type
        value = Value(int64_val=int(key)) if users.key_type == "integer" else Value(string_val=key)
        self.user = EntityKey(join_keys=[users.key], entity_values=[value])
        self._integers = items.key_type == "integer"

    def value(self, items: list[Any]) -> Any:
        """A list of items as a value of Feast."""
        return (
            Value(int64_list_val=Int64List(val=items))
            if self._integers
            else Value(string_list_val=StringList(val=items))
        )

    def items_in(self, value: Any) -> list[Hashable]:
        """The items of such a value; none where it is missing."""
        if value is None:
            return []
        return list((value.int64_list_val if self._integers else value.string_list_val).val)


def _check(what: str, key: Hashable, table: Table) -> None:
    expected: type = Integral if table.key_type == "integer" else str
    if not isinstance(key, expected) or isinstance(key, bool):
        # Without the key: a user's is personal.
        raise DataError(f"{what}: is of type {type(key).__name__}; allowed: {table.key_type} ({table.key})")
