"""Online features of users from Feast: one look-up per batch, features by name, and the TTL enforced here.

Feast returns values of any age from the online store. The event time that comes with each value is compared with the
request's moment; what is older than its view's TTL counts as missing and is flagged.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from polytask.contract.tensors import ATTENTION_MASK, HISTORY, INPUT_IDS, SEEN
from polytask.data.request import RequestEncoder, RequestFeatures
from polytask.errors import ContractError
from polytask.scenario.schema import Scenario
from polytask.text.templates import TextTokenizer
from polytask.text.time_context import time_context
from serving.transformer.concurrency.blocking import within
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.features.dependency_errors import is_unavailable, reason
from serving.transformer.features.redis import RedisViews, ViewRows
from serving.transformer.features.views import ViewRead, open_online_store, resolve

if TYPE_CHECKING:  # feast takes seconds to import
    from feast import FeatureStore, RepoConfig
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

LOGGER = logging.getLogger(__name__)

REGISTRY = "feature registry"
# Feast's remote registry has no time-outs; one that is read over a slow network takes a few seconds.
REGISTRY_SECONDS = 30.0


@dataclass(frozen=True)
class OnlineFeatures:
    """What the feature store knows about a user at a moment. `known`: anything at all; `stale`: something too old.

    `ages` has the seconds between the moment and each view's values, those too old included.
    """

    profile: Mapping[str, object] = field(default_factory=dict)
    context: Mapping[str, object] = field(default_factory=dict)
    history: tuple[Any, ...] = ()
    seen: tuple[Any, ...] = ()
    known: bool = False
    stale: bool = False
    ages: Mapping[str, float] = field(default_factory=dict)


class UserFeatures:
    """What the online store has of one user at a moment, filled view by view. Short: a call makes one for each user."""

    __slots__ = ("_ages", "_context", "_moment", "_stale", "_values")

    def __init__(self, moment: int, context: Mapping[str, str]) -> None:
        self._moment = moment
        self._context = context
        self._values: dict[str, Any] = {}
        self._ages: dict[str, float] = {}
        self._stale = False

    def add(
        self, view: str, names: Sequence[str], stamp: datetime | None, values: Mapping[str, Any], ttl: float
    ) -> None:
        """Take a view's values (Feast's, by name), or what they were where they are missing or older than `ttl`."""
        if stamp is None:
            return
        found = {}
        for name in names:
            if name in values and (value := _python(values[name])) is not None:
                found[name] = value
        if not found:
            return  # Redis reports a missing value as present
        age = self._moment - stamp.timestamp()
        self._ages[view] = max(0.0, age)
        if age > ttl:
            self._stale = True
        else:
            self._values |= found

    def features(self, columns: Sequence[str]) -> OnlineFeatures:
        """All of it, `columns` as the profile; what is missing is None, or empty."""
        values = self._values
        profile = {name: values.get(name) for name in columns}
        history, seen = values.get(HISTORY, ()), values.get(SEEN, ())
        known = bool(history or seen) or not values.keys().isdisjoint(profile)
        return OnlineFeatures(profile, self._context, history, seen, known, self._stale, self._ages)


class FeatureReader:
    """Reads the features of one feature service. Safe to call from several threads.

    It reads only the wanted features from the online store, one read a view for the whole batch,
    and with Redis one read for all views.
    Feast's `get_online_features` does the same reads and then as much again around them: ADR 0028. The time
    features come from the function that the registered on-demand view calls. Raises Unavailable where the registry is,
    ContractError where it does not have what the scenario names.
    """

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        os.environ.setdefault("FEAST_USAGE", "False")
        from feast.infra.online_stores.helpers import get_online_store_from_config
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        self._folder = folder
        self._scenario = scenario
        with _failures(REGISTRY):
            self._store, self.reads = within(Deadline(REGISTRY_SECONDS), REGISTRY, self._open)
        self._online = get_online_store_from_config(self._store.config.online_store)
        self._key, self._value = EntityKey, Value
        self._kind = "int64_val" if scenario.entities.users.key_type == "integer" else "string_val"
        self._stop = threading.Event()
        joint = RedisViews.fits(self._online)
        self._joint = RedisViews(self._store.config, self._online, self._entity_key) if joint else None
        # `read` for an event loop, None where the store can only be read by who blocks.
        self.in_loop = None if self._joint is None else self._read_in_loop

    @property
    def config(self) -> "RepoConfig":
        """The settings of the store, as Feast has read them."""
        return self._store.config

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        """Features of `users` at `moments` (unix seconds). Raises Unavailable when the online store fails."""
        reads = self.reads  # for the whole call, whatever is refreshed meanwhile
        with _failures():
            found = self._joint(reads, users) if self._joint else self._read_one_by_one(reads, users)
        return self._features(reads, found, moments)

    async def _read_in_loop(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        assert self._joint is not None
        reads = self.reads
        with _failures():
            found = await self._joint.in_loop(reads, users)
        return self._features(reads, found, moments)

    def _features(
        self, reads: tuple[ViewRead, ...], found: Sequence[ViewRows], moments: Sequence[int]
    ) -> list[OnlineFeatures]:
        stored = _empty(self._scenario, moments)
        for read, rows in zip(reads, found, strict=True):
            for row, (stamp, values) in zip(stored, rows, strict=True):
                row.add(read.view.name, read.features, stamp, values or {}, read.ttl)
        columns = self._scenario.features.profile
        return [row.features(columns) for row in stored]

    def _entity_key(self, user: int | str) -> "EntityKey":
        name = self._scenario.entities.users.key
        value: dict[str, Any] = {self._kind: user}
        return self._key(join_keys=[name], entity_values=[self._value(**value)])

    def _read_one_by_one(self, reads: tuple[ViewRead, ...], users: Sequence[int | str]) -> list[ViewRows]:
        """By the interface that all online stores have."""
        config = self._store.config
        keys = [self._entity_key(user) for user in users]
        try:
            return [self._online.online_read(config, read.view, keys, list(read.features)) for read in reads]
        except sqlite3.Error:
            # Feast keeps the file open: one that was replaced since is found by the next read alone.
            vars(self._online).pop("_conn", None)
            raise

    def _open(self) -> "tuple[FeatureStore, tuple[ViewRead, ...]]":
        store = open_online_store(self._folder)
        return store, resolve(store, self._scenario, self._folder)

    def refresh(self) -> bool:
        """Read the registry again, so that changed views and TTLs count. Returns whether that changed anything.

        Raises ContractError where it no longer fits the contract; the reads then stay as they are.
        """
        self._store.refresh_registry()
        reads = resolve(self._store, self._scenario, self._folder)
        changed = [(r.view, r.features, r.ttl) for r in reads] != [(r.view, r.features, r.ttl) for r in self.reads]
        self.reads = reads
        return changed

    def keep_fresh(self, seconds: float, reported: Callable[[str], None]) -> None:
        """`refresh` each `seconds` in the background until `close`; the callback gets `ok`, `mismatch` or `error`."""

        def run() -> None:
            while not self._stop.wait(seconds):
                try:
                    changed = self.refresh()
                except ContractError as error:
                    LOGGER.warning("features: the registry no longer fits, going on as before: %s", error)
                    reported("mismatch")
                except Exception as error:  # noqa: BLE001 - each kind of registry raises errors of its own
                    LOGGER.warning("features: the registry cannot be read, going on as before: %s", error)
                    reported("error")
                else:
                    if changed:
                        LOGGER.info("features: the registry has changed")
                    reported("ok")

        threading.Thread(target=run, name="feature-registry", daemon=True).start()

    async def close(self) -> None:
        """End the background refresh, and close the event loop's connection."""
        self._stop.set()
        if self._joint is not None:
            await self._joint.close()


def no_features(scenario: Scenario, moments: Sequence[int]) -> list[OnlineFeatures]:
    """What is known about users at `moments` (Unix seconds) without the feature store: the time features."""
    return [row.features(scenario.features.profile) for row in _empty(scenario, moments)]


def _empty(scenario: Scenario, moments: Sequence[int]) -> list[UserFeatures]:
    zone = scenario.features.timezone
    words = {moment: time_context(datetime.fromtimestamp(moment, UTC), zone) for moment in set(moments)}
    return [UserFeatures(moment, words[moment]) for moment in moments]


@contextmanager
def _failures(what: str = "feature store") -> Iterator[None]:
    """Errors of a store that is unavailable as Unavailable; any other is about a requested value."""
    try:
        yield
    except Exception as error:
        if not is_unavailable(error):
            raise
        raise Unavailable(f"{what}: {reason(error)}") from error


def _python(value: Any) -> Any:
    """A Feast value as a Python value; a missing one, which some stores call present, as None."""
    kind = value.WhichOneof("val")
    if kind is None or kind == "null_val":
        return None
    content = getattr(value, kind)
    # By slice: element by element takes twice the time.
    return tuple(content.val[:]) if kind.endswith("_list_val") else content


def request_features(
    user: int | str,
    online: OnlineFeatures,
    query: str | None = None,
    recent_items: Sequence[int | str] = (),
    exclude_items: Sequence[int | str] = (),
    disliked_items: Sequence[int | str] = (),
    context: Mapping[str, str] | None = None,
) -> RequestFeatures:
    """A request's features. Recent items follow the stored history; items to leave out count as seen only.
    `context` is merged with the time features.

    Disliked items are kept as they are: what the user liked of them once may be in the history all the same.
    """
    return RequestFeatures(
        user_id=user,
        profile=online.profile,
        context={**online.context, **context} if context else online.context,
        history=(*online.history, *recent_items) if recent_items else online.history,
        seen=(*online.seen, *recent_items, *exclude_items) if recent_items or exclude_items else online.seen,
        disliked=disliked_items,
        query=query,
    )


def online_tensors(
    reader: FeatureReader,
    encoder: RequestEncoder,
    tokenizer: TextTokenizer,
    users: Sequence[int | str],
    moments: Sequence[int],
) -> tuple[list[RequestFeatures], dict[str, NDArray[Any]]]:
    """The online path from user ids to the model's input tensors, to be compared with the offline path."""
    online = reader.read(users, moments)
    features = [request_features(user, row) for user, row in zip(users, online, strict=True)]
    input_ids, attention_mask = tokenizer([encoder.text(row) for row in features])
    return features, {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask, **encoder.rows(features)}
