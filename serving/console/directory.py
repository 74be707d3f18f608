"""Users and items to pick from, and their attributes: the bundle's catalogues and the online feature store.

The page reads both with the transformer's own code; the recommender's responses contain neither.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, count, islice
from math import gcd
from typing import Any, Protocol

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.errors import RequestError
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Scenario, Table
from polytask.text.templates import value_words
from serving.transformer.api.answers import title_of
from serving.transformer.api.filters import ItemFilters, filterable
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.features.reader import OnlineFeatures

SUGGESTIONS = 12
# An attribute with more values than these is no choice to make from a list.
MOST_CHOICES = 60


class UserColumns(Protocol):
    """Where the features of users come from."""

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        """Features of `users` at `moments`, in their order."""


@dataclass(frozen=True)
class Thing:
    """A user or an item: its key, its title, and its other catalogue columns."""

    id: str
    title: str
    about: str = ""


@dataclass(frozen=True)
class Person:
    """A user as the feature store knows it; `history` runs from newest to oldest. `trouble`: why nothing is known."""

    user: Thing
    profile: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Thing, ...] = ()
    known: bool = False
    stale: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Choice:
    """An attribute that items can be filtered by: one of `values`, or where these are None a range of numbers."""

    name: str
    values: tuple[str, ...] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the form fields and query parameters that hold the choice."""
        return (f"filter.{self.name}",) if self.values is not None else (f"from.{self.name}", f"to.{self.name}")

    def text(self, logged: Mapping[str, str]) -> str | None:
        """The filter as the recommender reads it; None where its fields are empty."""
        words = [logged.get(name, "") for name in self.fields]
        return f"{self.name}={'..'.join(words)}" if any(words) else None


class Directory:
    """Looks up users and items. `features` None: only the catalogues are known, no profile and no history."""

    def __init__(self, scenario: Scenario, catalogues: Mapping[str, Catalogue], features: UserColumns | None) -> None:
        self.scenario = scenario
        self._catalogues = catalogues
        self._features = features

    def user_key(self, text: str) -> int | str:
        """The key that a text stands for; nothing typed is the first user there is. Raises RequestError."""
        if not text:
            return self._catalogues[USERS].external(1)  # type: ignore[return-value]
        return _key("user", self.scenario.entities.users, text)

    def item_key(self, field_name: str, text: str) -> int | str:
        """The key of an item, from its key or its title. Raises RequestError where the catalogue has no such item."""
        items = self._catalogues.get(ITEMS)
        if items is not None:
            for row in (items.row(_parsed(self.scenario.items, text)), self._item_titles.get(text.casefold())):
                if row:
                    return items.external(row)  # type: ignore[return-value]
        raise RequestError(field_name, f"{text!r}, allowed: the key or the full title of an item in the catalogue")

    def user(self, key: int | str) -> Thing:
        """A user by its key; one that no catalogue knows has no title."""
        return self._thing(USERS, key)

    def item(self, key: int | str) -> Thing:
        """An item by its key."""
        return self._thing(ITEMS, key)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """What the page's user can filter items by."""
        items = self._catalogues.get(ITEMS)
        if items is None:
            return ()
        filters = ItemFilters(self.scenario, items)
        found = {name: filters.values(name) for name in filterable(self.scenario)}
        return tuple(
            Choice(name, None if values is None else tuple(values))
            for name, values in found.items()
            if values is None or 1 < len(values) <= MOST_CHOICES
        )

    def filters(self, logged: Mapping[str, str]) -> list[str]:
        """The filters that the fields of the page hold, as the recommender reads them."""
        return [text for text in (choice.text(logged) for choice in self.choices) if text is not None]

    def suggest(self, name: str, text: str) -> list[Thing]:
        """Entities whose key starts with a text, and items whose title holds it, in catalogue order; keys first."""
        catalogue = self._catalogues.get(name)
        if catalogue is None:
            return []
        wanted = text.strip().casefold()
        by_key = (row for row, key in enumerate(catalogue.ids, start=1) if str(key).casefold().startswith(wanted))
        titles = self._item_titles if name == ITEMS else {}
        by_title = (row for title, row in titles.items() if wanted in title)
        rows = islice(dict.fromkeys(islice(chain(by_key, by_title), 2 * SUGGESTIONS)), SUGGESTIONS)
        return [self._thing(name, catalogue.external(row)) for row in rows]

    def another_user(self, key: int | str) -> str:
        """The key of some other user, always the same one for the same user, so that links can be shared."""
        users = self._catalogues[USERS]
        # A step that shares no factor with their number passes all of them before it comes back.
        step = next(step for step in count(int(len(users) * 0.38) + 1) if gcd(step, len(users)) == 1)
        return str(users.external((max(users.row(key), 1) - 1 + step) % len(users) + 1))

    def person(self, key: int | str) -> Person:
        """The stored features of a user now. A failing store is not raised but reported in `trouble`."""
        user = self.user(key)
        if self._features is None:
            return Person(user, trouble="no feature store is named; start the console with --feature-store")
        try:
            online = self._features.read([key], [int(time.time())])[0]
        except Unavailable as error:
            return Person(user, trouble=str(error))
        text = self.scenario.text
        profile = {name: value_words(text, name, value) for name, value in online.profile.items() if value is not None}
        history = tuple(self.item(item) for item in reversed(online.history))
        return Person(user, profile, history, online.known, online.stale)

    def _thing(self, name: str, key: Any) -> Thing:
        catalogue = self._catalogues.get(name)
        row = PADDING_ROW if catalogue is None else catalogue.row(key)
        if catalogue is None or row == PADDING_ROW:
            return Thing(str(key), "")
        title = title_of(self.scenario, catalogue, row)
        return Thing(str(key), title or str(key), "" if name == USERS else self._about(catalogue, row))

    def _about(self, catalogue: Catalogue, row: int) -> str:
        """The values of an item's columns, without its title."""
        logged = {catalogue.key, self.scenario.items.title_column}
        record = catalogue.record(row)
        words = [value_words(self.scenario.text, name, value) for name, value in record.items() if name not in logged]
        return " · ".join(word for word in words if word)

    @cached_property
    def _item_titles(self) -> dict[str, int]:
        """Title in lower case -> row; of equal titles the first. Empty where items have no title."""
        items, column = self._catalogues.get(ITEMS), self.scenario.items.title_column
        rows: dict[str, int] = {}
        if items is not None and column is not None:
            for row, title in enumerate(items.table[column].fillna("").str.casefold(), start=1):
                rows.setdefault(title, row)
        return rows


def _key(field_name: str, table: Table, text: str) -> int | str:
    key = _parsed(table, text)
    if key is None:
        raise RequestError(field_name, f"{text!r}, allowed: a whole number, as in the tables")
    return key


def _parsed(table: Table, text: str) -> int | str | None:
    """A text as a key of the table's type, None where it cannot be one."""
    if table.key_type != "integer":
        return text
    try:
        number = int(text)
    except ValueError:
        return None
    return number if -(2**63) <= number < 2**63 else None
