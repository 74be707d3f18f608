"""What a cached step depends on besides its inputs: code, scenario file, files of the source and language model."""

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from polytask.errors import DataError
from polytask.ingest.forgotten import forgotten_file
from polytask.registry.lineage import REVISION
from polytask.samples.write import SAMPLES
from polytask.scenario.load import load_scenario, scenario_path
from polytask.scenario.names import INTERACTIONS, ITEMS, USERS
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import sha256_file
from polytask.text.language_model_files import language_model_version

TABLES = (USERS, ITEMS, INTERACTIONS)


def fingerprint(scenario: str, code_version: str) -> str:
    """Compute a checksum of all inputs of a pipeline run that may change.

    Args:
        scenario: Name or path of the scenario.
        code_version: Commit of the image.

    Returns:
        16 hex digits over commit, scenario file, source files and language model.

    Raises:
        ScenarioError: The scenario is missing or invalid.
        DataError: The source or the language model is missing.
    """
    loaded = load_scenario(scenario)
    files = [scenario_path(scenario), *source_files(loaded)]
    parts = [code_version, os.environ.get(REVISION, ""), *(sha256_file(path) for path in files)]
    return _joined([*parts, language_model_version(loaded.encoder.model)])


def source_files(scenario: Scenario) -> list[Path]:
    """List the files of a source that may change; packaged data sets are pinned by checksum.

    Args:
        scenario: The scenario.

    Returns:
        Sorted paths.

    Raises:
        DataError: The folder of the source is missing.
    """
    folder = scenario.source.path
    if folder is None:
        # A packaged data set does not change, but who was forgotten does.
        forgotten = forgotten_file(scenario)
        return [forgotten] if forgotten.is_file() else []
    if not Path(folder).is_dir():
        fix = f"; made-up tables: polytask sample-data {scenario.name}" if scenario.name in SAMPLES else ""
        raise DataError(f"source.path: there is no folder {folder}{fix}")
    entries = list(Path(folder).iterdir())
    # A table may be a folder of parts.
    parts = [path for entry in entries if entry.is_dir() and entry.stem in TABLES for path in entry.rglob("*")]
    return sorted(path for path in [*entries, *parts] if path.is_file())


def _joined(parts: Iterable[str]) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:16]
