"""What a feature store was last filled with: a marker in its folder, so that equal inputs need not fill it again.

The step that fills the store is never taken from a cache, as its effect is outside of its outputs. The marker is
removed before the store is changed and written last: a store that was left half filled has none.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from polytask.scenario.schema import Scenario
from polytask.storage.atomic import sha256_folder, write_text

MARKER = "filled.json"
REGISTRY_FILE, ONLINE_FILE = "registry.db", "online.db"
SOURCES = "sources"


def inputs_checksum(scenario: Scenario, tables: Path, code_version: str, settings: Path | None = None) -> str:
    """A checksum of all that a store is filled from: scenario, ingested tables, code and the settings of its stores."""
    parts = [scenario.model_dump_json(), sha256_folder(tables), code_version]
    parts += [] if settings is None else [settings.read_text(encoding="utf-8")]
    return sha256("\n".join(parts).encode()).hexdigest()


def is_filled(folder: Path, inputs: str, views: Sequence[str], project: str) -> bool:
    """Whether the store in `folder`, whose registry and online store are files of it, holds what `inputs` gave.

    Its sources and its online rows are looked for too: the marker alone would outlive them.
    """
    path = folder / MARKER
    if not path.is_file() or not (folder / REGISTRY_FILE).is_file():
        return False
    expected = {"inputs": inputs, "sources": _sources(folder)}
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == expected) and _has_rows(folder, views, project)
    except ValueError:
        return False


def mark_filled(folder: Path, inputs: str) -> None:
    """Note that the store now holds what `inputs` gave."""
    write_text(folder / MARKER, json.dumps({"inputs": inputs, "sources": _sources(folder)}, indent=2) + "\n")


def unmark(folder: Path) -> None:
    """The store is about to be changed."""
    (folder / MARKER).unlink(missing_ok=True)


def _sources(folder: Path) -> dict[str, Any]:
    """Size (bytes) and modification time (ns) of the sources by name."""
    files = sorted((folder / SOURCES).glob("*.parquet"))
    return {path.name: [(found := path.stat()).st_size, found.st_mtime_ns] for path in files}


def _has_rows(folder: Path, views: Sequence[str], project: str) -> bool:
    path = folder / ONLINE_FILE
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)) as database:
            # Names of scenarios and views are identifiers.
            queries = [f'SELECT 1 FROM "{project}_{view}" LIMIT 1' for view in views]  # noqa: S608
            return all(database.execute(query).fetchone() for query in queries)
    except sqlite3.Error:
        return False
