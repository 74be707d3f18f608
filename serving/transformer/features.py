"""Online features of users from Feast: one look-up per batch, features by name, and the TTL enforced here.

Feast returns values of any age from the online store. The event time that comes with each value is compared with the
request's moment; what is older than its view's TTL counts as missing and is flagged.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from polytask.context import CONTEXT_WORDS
from polytask.errors import ContractError
from polytask.request import RequestEncoder, RequestFeatures
from polytask.scenario.schema import Scenario
from polytask.tensors import ATTENTION_MASK, HISTORY, INPUT_IDS, SEEN
from polytask.text import TextTokenizer
from serving.transformer.deadline import Unavailable

if TYPE_CHECKING:  # feast takes seconds to import
    from feast import FeatureStore

REQUEST_TIME = "request_time"


@dataclass(frozen=True)
class FeatureColumn:
    """One feature of a batch: values (None is missing) and their event times in unix seconds, in row order."""

    values: Sequence[Any]
    seconds: Sequence[float]


@dataclass(frozen=True)
class OnlineFeatures:
    """What the feature store knows about a user at a moment. `known`: anything at all; `stale`: something too old."""

    profile: Mapping[str, object] = field(default_factory=dict)
    context: Mapping[str, object] = field(default_factory=dict)
    history: tuple[Any, ...] = ()
    seen: tuple[Any, ...] = ()
    known: bool = False
    stale: bool = False


def assemble(
    scenario: Scenario, columns: Mapping[str, FeatureColumn], ttl: Mapping[str, float], moments: Sequence[int]
) -> list[OnlineFeatures]:
    """Features of each row. `ttl` holds the seconds a feature lives; one that is not there lives for ever."""
    rows = []
    for position, moment in enumerate(moments):
        row: dict[str, Any] = {}
        stale = False
        for name, column in columns.items():
            value = column.values[position]
            if value is not None and moment - column.seconds[position] > ttl.get(name, float("inf")):
                value, stale = None, True
            row[name] = value
        profile = {name: row[name] for name in scenario.features.profile}
        history, seen = tuple(row.get(HISTORY) or ()), tuple(row.get(SEEN) or ())
        known = bool(history or seen) or any(value is not None for value in profile.values())
        context = {word: row[word] for word in CONTEXT_WORDS}
        rows.append(OnlineFeatures(profile, context, history, seen, known, stale))
    return rows


class FeatureReader:
    """Reads the features of one feature service. Safe to call from several threads."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        os.environ.setdefault("FEAST_USAGE", "False")
        from feast.errors import FeastObjectNotFoundException

        self._scenario = scenario
        self._store = open_online_store(folder)
        try:
            # Held: a look-up by name would cost milliseconds in each request.
            self._service = self._store.get_feature_service(scenario.feature_service)
        except FeastObjectNotFoundException as error:
            known = ", ".join(sorted(service.name for service in self._store.list_feature_services()))
            raise ContractError(
                f"{folder}: has feature services {known or 'none'}; the contract says {scenario.feature_service}"
            ) from error
        lifetimes = {view.name: view.ttl for view in self._store.list_feature_views()}
        self._ttl: dict[str, float] = {}
        names = set()
        for projection in self._service.feature_view_projections:
            lifetime = lifetimes.get(projection.name)
            for feature in projection.features:
                names.add(feature.name)
                if lifetime:  # none, or zero, means for ever, in Feast's own joins too
                    self._ttl[feature.name] = lifetime.total_seconds()
        expected = {*scenario.features.profile, *((HISTORY, SEEN) if scenario.has_items else ()), *CONTEXT_WORDS}
        if names != expected:
            raise ContractError(
                f"feature service {scenario.feature_service}: has {', '.join(sorted(names))}; "
                f"the contract says {', '.join(sorted(expected))}"
            )

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        """Features of `users` at `moments` (unix seconds). Raises Unavailable when Feast fails."""
        key = self._scenario.entities.users.key
        try:
            response = self._store.get_online_features(
                features=self._service, entity_rows={key: list(users), REQUEST_TIME: list(moments)}
            ).proto
        except Exception as error:  # each kind of online store raises errors of its own
            raise Unavailable(f"feature store: {type(error).__name__}: {error}") from error
        columns = {
            name: FeatureColumn(
                [_python(value) for value in vector.values],
                [stamp.seconds + stamp.nanos / 1e9 for stamp in vector.event_timestamps],
            )
            for name, vector in zip(response.metadata.feature_names.val, response.results, strict=True)
            if name != key
        }
        return assemble(self._scenario, columns, self._ttl, moments)


def open_online_store(folder: Path) -> "FeatureStore":
    """The feature store of `folder` without the offline store that its feature_store.yaml names: serving never reads
    that one and may lack its packages. Raises ContractError where the file is missing or wrong.
    """
    from feast import FeatureStore, RepoConfig
    from pydantic import ValidationError

    path = folder / "feature_store.yaml"
    if not path.is_file():
        raise ContractError(f"{folder}: holds no feature_store.yaml")
    try:
        # As Feast reads it: secrets may be named as ${VARIABLE}.
        settings = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
        settings.pop("offline_store", None)
        config = RepoConfig(**settings)
    except (yaml.YAMLError, AttributeError, TypeError, ValidationError) as error:
        raise ContractError(f"{path}: {error}") from error
    config.repo_path = folder
    return FeatureStore(repo_path=str(folder), config=config)


def _python(value: Any) -> Any:
    """A Feast value as a Python value; a missing one, which some stores call present, as None."""
    kind = value.WhichOneof("val")
    if kind is None or kind == "null_val":
        return None
    content = getattr(value, kind)
    return list(content.val) if kind.endswith("_list_val") else content


def request_features(
    user: int | str,
    online: OnlineFeatures,
    query: str | None = None,
    recent_items: Sequence[int | str] = (),
    exclude_items: Sequence[int | str] = (),
    negative_items: Sequence[int | str] = (),
    context: Mapping[str, str] | None = None,
) -> RequestFeatures:
    """A request's features. Recent items follow the stored history; items to leave out count as seen only.
    `context` joins the words of the time.

    Negative items stand for themselves: what the user liked of them once may be in the history all the same.
    """
    return RequestFeatures(
        user_id=user,
        profile=online.profile,
        context={**online.context, **(context or {})},
        history=(*online.history, *recent_items),
        seen=(*online.seen, *recent_items, *exclude_items),
        negative=negative_items,
        query=query,
    )


def online_tensors(
    reader: FeatureReader,
    encoder: RequestEncoder,
    tokenizer: TextTokenizer,
    users: Sequence[int | str],
    moments: Sequence[int],
) -> tuple[list[RequestFeatures], dict[str, NDArray[np.int64]]]:
    """The online path from user ids to the model's integer tensors, to be compared with the offline path."""
    online = reader.read(users, moments)
    features = [request_features(user, row) for user, row in zip(users, online, strict=True)]
    input_ids, attention_mask = tokenizer([encoder.text(row) for row in features])
    return features, {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask, **encoder.rows(features)}
