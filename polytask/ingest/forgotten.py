"""The users who were forgotten, so that the next run does not read them again from the team's tables.

The list has a salted hash of each key, since a list of keys would itself be personal data. Keys are guessable, and with
the salt in the same file a guess can be checked: the hash keeps a key from being read, not from being tested.
"""

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polytask.data.tables import Tables
from polytask.errors import DataError
from polytask.ingest.conversion import convert
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import write_text
from polytask.storage.wheels import cache_folder

FILE = "forgotten.json"
SALT_BYTES = 32
Hex = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Forgotten(BaseModel):
    """The salt and the hashes (HMAC-SHA-256, hexadecimal digits) of the users' keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    salt: Hex
    users: frozenset[Hex] = frozenset()

    def holds(self, key: Hashable) -> bool:
        """Whether a user's key is on the list."""
        return self._hash(key) in self.users

    def with_user(self, key: Hashable) -> "Forgotten":
        """The list with one more user."""
        return self.model_copy(update={"users": self.users | {self._hash(key)}})

    def _hash(self, key: Hashable) -> str:
        return hmac.new(bytes.fromhex(self.salt), str(key).encode(), hashlib.sha256).hexdigest()


class Remaining(NamedTuple):
    """The tables without the rows of forgotten users, and how many of the users' rows were left out."""

    tables: Tables
    users: int


def forgotten_file(scenario: Scenario, cache: Path | None = None) -> Path:
    """The file with the list of a scenario: in the folder of its tables, for a packaged data set in the cache.

    `cache` as in `ingest`.
    """
    if scenario.source.path is not None:
        return Path(scenario.source.path) / FILE
    return (cache or cache_folder()) / "forgotten" / f"{scenario.name}.json"


def read_forgotten(scenario: Scenario, cache: Path | None = None) -> Forgotten:
    """The list of a scenario; an empty one with a fresh salt where there is no file.

    Raises DataError for a file that cannot be read: a run must not continue as if no user was removed.
    """
    path = forgotten_file(scenario, cache)
    try:
        return Forgotten.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Forgotten(salt=secrets.token_hex(SALT_BYTES))
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: the list of forgotten users cannot be read: {error}") from error


def add_forgotten(scenario: Scenario, user: Hashable, cache: Path | None = None) -> bool:
    """Put a user on the list; whether it was not there before. Raises DataError where the file cannot be written."""
    path = forgotten_file(scenario, cache)
    try:
        with _alone_in(path.parent):
            listed = read_forgotten(scenario, cache)
            if listed.holds(user):
                return False
            content = listed.with_user(user)
            written = {"salt": content.salt, "users": sorted(content.users)}
            write_text(path, json.dumps(written, indent=2) + "\n")
    except OSError as error:
        raise DataError(f"{path}: the list of forgotten users cannot be written: {error}") from error
    return True


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder: of two commands at once, none writes a list without the other's user."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # for one small file; the system frees the lock of a dead process
        yield
    finally:
        os.close(handle)


def without_forgotten(scenario: Scenario, raw: Tables, cache: Path | None = None) -> Remaining:
    """The raw tables of a source without the users on the list and their events.

    Keys are compared in the type of the scenario. The index of the tables stays as it is, so that a row is still known
    by its position in the source. A table without the key's column is left for validation to report.
    """
    listed = read_forgotten(scenario, cache)
    if not listed.users:
        return Remaining(raw, 0)
    entity = scenario.entities.users

    def kept(table: pd.DataFrame) -> pd.DataFrame:
        if entity.key not in table:
            return table
        keys, _ = convert(table[entity.key], entity.key_type)
        gone = {key for key in keys.dropna().unique() if listed.holds(key)}
        return table[~keys.isin(gone)] if gone else table

    users = kept(raw.users)
    return Remaining(raw._replace(users=users, interactions=kept(raw.interactions)), len(raw.users) - len(users))
