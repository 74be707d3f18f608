"""Refuse to be ready where none of the bundle's users is in the online store: it is likely another store.

Another database number, project or entity key serialization in feature_store.yaml is no error of any store: all users
look like new ones, and get recommendations by popularity.
"""

import argparse
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from polytask.errors import ContractError
from polytask.scenario.names import USERS
from serving.transformer.bundle import Bundle

if TYPE_CHECKING:  # both import this module's callers, or feast
    from serving.transformer.features.reader import FeatureReader

LOGGER = logging.getLogger(__name__)
# So many that a store of a few active users in a hundred is not refused; one read of a few milliseconds.
USERS_READ = 256
# What may be shown of an online store's settings: no passwords.
SHOWN = ("connection_string", "path", "host", "port", "database", "db_schema")
SECRET = ("password", "username")


class KnownUsersCheck(Protocol):
    """A release that may have a check."""

    bundle: Bundle
    known_users: "KnownUsers | None"


class KnownUsers:
    """The check of one bundle. It is repeated until one of the users was found, and then never again."""

    def __init__(self, bundle: Bundle) -> None:
        catalogue = bundle.catalogues[USERS]
        step = max(1, len(catalogue) // USERS_READ)
        self._users: list[int | str] = [user for user in catalogue.ids[::step] if isinstance(user, int | str)]
        self._users = self._users[:USERS_READ]
        self._found = not self._users
        self._logged = False

    def check(self, features: "FeatureReader") -> None:
        """Raises ContractError where the online store has none of the users, Unavailable where it cannot be read."""
        if self._found:
            return
        # Values that are too old count: their user is in this store.
        self._found = any(row.ages for row in features.read(self._users, [0] * len(self._users)))
        if self._found:
            return
        text = (
            f"feature store: none of {len(self._users)} users of the bundle is in the online store "
            f"({described(features)}); compare project, online_store and entity_key_serialization_version of "
            "feature_store.yaml with those of the pipeline that fills it, or fill it; a store that is empty on purpose "
            "is served with --allow_unknown_users"
        )
        if not self._logged:
            LOGGER.error("%s", text)
            self._logged = True
        raise ContractError(text)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that switches the check off."""
    parser.add_argument(
        "--allow_unknown_users",
        action="store_true",
        help="Be ready although the online store has no user of the bundle, as before it is first filled.",
    )


def check_known_users(releases: Sequence[KnownUsersCheck], arguments: argparse.Namespace) -> None:
    """Make the first releases check their users. Later ones read the same store, and must not stop the service."""
    for release in releases:
        release.known_users = None if arguments.allow_unknown_users else KnownUsers(release.bundle)


def described(features: "FeatureReader") -> str:
    """Project, kind, address and key format of the online store that is read, without secrets."""
    config = features.config
    online = config.online_store
    parts = [f"project {config.project}", str(getattr(online, "type", type(online).__name__))]
    for name in SHOWN:
        value = getattr(online, name, None)
        if value is not None:
            words = [word for word in str(value).split(",") if not word.strip().startswith(SECRET)]
            parts.append(f"{name} {','.join(words)}")
    parts.append(f"entity_key_serialization_version {config.entity_key_serialization_version}")
    return ", ".join(parts)
