"""The team's own tables, and the unpacked copy of a packaged data set: rows are counted.

They are removed only from the team's tables, and only if that is requested.
"""

from pathlib import Path

from pipelines.forgetting.target import ForgetResult, Handler, Target, counted, nothing_to_remove
from polytask.ingest.run import SOURCES
from polytask.ingest.widedeep import unpacked_data
from polytask.personal.places import PACKAGED_DATA, SOURCE_TABLES
from polytask.personal.user_rows import count_in_table, count_source_rows, remove_source_rows
from polytask.scenario.names import INTERACTIONS, USERS


def _files(target: Target) -> dict[Path, int]:
    """The files of the source that have rows of the user, and how many; none for a packaged data set."""
    folder = target.scenario.source.path
    if folder is None:
        return {}
    files = [Path(folder) / f"{table}.{kind}" for table in (USERS, INTERACTIONS) for kind in ("parquet", "csv")]
    counts = {path: count_source_rows(path, target.key, target.user) for path in files if path.is_file()}
    return {path: count for path, count in counts.items() if count}


def _find(target: Target) -> list[ForgetResult]:
    rows = {path: counted(count, "row") for path, count in _files(target).items()}
    if target.rewrite_sources:
        return [ForgetResult(SOURCE_TABLES, str(path), f"{number} removed") for path, number in rows.items()]
    why = "kept: the tables are yours (--sources removes the rows); the next run leaves the user out"
    return [ForgetResult(SOURCE_TABLES, str(path), f"{number} {why}", "yours") for path, number in rows.items()]


def _remove(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    if target.rewrite_sources:
        for path in _files(target):
            remove_source_rows(path, target.key, target.user)
    return findings


def _find_packaged(target: Target) -> list[ForgetResult]:
    """Rows of a packaged data set that is unpacked already; nothing is downloaded or unpacked to look for them."""
    source = SOURCES[target.scenario.source.kind]
    folder = None if source.folder is None else unpacked_data(source.folder)
    if folder is None:
        return []
    tables = source.read(target.scenario, None)
    count = sum(count_in_table(table, target.key, target.user) for table in (tables.users, tables.interactions))
    what = "kept: a copy of a published data set, which no run reads the user from; delete the folder to remove it"
    return [ForgetResult(PACKAGED_DATA, str(folder), f"{counted(count, 'row')} {what}", "yours")] if count else []


HANDLER = Handler(_find, _remove)
PACKAGED = Handler(_find_packaged, nothing_to_remove)
