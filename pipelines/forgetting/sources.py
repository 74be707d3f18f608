"""The team's own tables: rows are counted, and removed only where that is asked for."""

from pathlib import Path

from pipelines.forgetting.target import Finding, Handler, Target
from polytask.personal.places import SOURCE_TABLES
from polytask.personal.user_rows import count_source_rows, remove_source_rows
from polytask.scenario.names import INTERACTIONS, USERS


def _files(target: Target) -> dict[Path, int]:
    """The files of the source that have rows of the user, and how many; none for a packaged data set."""
    folder = target.scenario.source.path
    if folder is None:
        return {}
    files = [Path(folder) / f"{table}.{kind}" for table in (USERS, INTERACTIONS) for kind in ("parquet", "csv")]
    counts = {path: count_source_rows(path, target.key, target.user) for path in files if path.is_file()}
    return {path: count for path, count in counts.items() if count}


def _find(target: Target) -> list[Finding]:
    if target.rewrite_sources:
        return [Finding(SOURCE_TABLES, str(path), f"{count} rows removed") for path, count in _files(target).items()]
    why = "rows stay: the tables are yours (--sources removes them); the next run leaves them out"
    return [Finding(SOURCE_TABLES, str(path), f"{count} {why}", "yours") for path, count in _files(target).items()]


def _remove(target: Target, findings: list[Finding]) -> list[Finding]:
    if target.rewrite_sources:
        for path in _files(target):
            remove_source_rows(path, target.key, target.user)
    return findings


HANDLER = Handler(_find, _remove)
