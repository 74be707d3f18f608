"""The cache of text vectors: those of the texts that the user's requests have.

A vector is kept under the SHA-256 of its text, for all users with the same text. After it is deleted, the text is
encoded again when it is needed.
"""

from hashlib import sha256
from itertools import product
from pathlib import Path

import pandas as pd

from pipelines.forgetting.files import ingested_tables
from pipelines.forgetting.target import ForgetResult, Handler, Target, counted
from pipelines.forgetting.versions import profiles
from polytask.data.tables import table_file
from polytask.personal.places import TEXT_VECTORS
from polytask.scenario.names import CONTEXT_WORDS, INTERACTIONS, USERS
from polytask.storage.wheels import cache_folder
from polytask.text.templates import request_text
from polytask.text.time_context import DAYPARTS, WEEKPARTS


def _texts(target: Target) -> set[str]:
    """The texts of the user's requests at any time of the week, without a query."""
    scenario = target.scenario
    users, contexts = profiles(target), [dict[str, object]()]
    for folder in ingested_tables(target):
        table = pd.read_parquet(table_file(folder, USERS))
        users = pd.concat([users, table.loc[table[target.key] == target.user, users.columns]], ignore_index=True)
        events = pd.read_parquet(table_file(folder, INTERACTIONS))
        own = events.loc[events[target.key] == target.user, list(scenario.features.context)]
        contexts += [{str(name): value for name, value in row.items()} for row in own.to_dict("records")]
    times = [dict(zip(CONTEXT_WORDS, words, strict=True)) for words in product(DAYPARTS, WEEKPARTS)]
    missing = dict.fromkeys(scenario.features.context)
    return {
        request_text(
            scenario.text, {str(name): value for name, value in profile.items()}, {**missing, **context, **time}
        )
        for profile in users.to_dict("records")
        for context in {str(context): context for context in contexts}.values()
        for time in times
    }


def _folders(cache: Path) -> list[Path]:
    """One folder per language model and its settings."""
    return sorted(path for path in cache.glob("*") if path.is_dir())


def _find(target: Target) -> list[ForgetResult]:
    from polytask.text.vector_store import VectorShards

    keys = _keys(target)
    if not keys:
        return []
    counts = {folder: VectorShards(folder, 1).holds(keys) for folder in _folders(cache_folder() / "text-vectors")}
    found = {path: counted(count, "vector") for path, count in counts.items() if count}
    return [ForgetResult(TEXT_VECTORS, str(path), f"{number} deleted") for path, number in found.items()]


def _remove(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    from polytask.text.vector_store import VectorShards

    keys = _keys(target)
    for finding in findings:
        VectorShards(Path(finding.where), 1).remove(keys)
    return findings


def _keys(target: Target) -> list[str]:
    return [sha256(text.encode()).hexdigest() for text in sorted(_texts(target))]


HANDLER = Handler(_find, _remove)
