"""What a cached step depends on beside its inputs: the code, the scenario's file and the files of its source."""

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from polytask.atomic import sha256_file
from polytask.errors import DataError
from polytask.ingest.forgotten import forgotten_file
from polytask.lineage import REVISION
from polytask.samples.write import SAMPLES
from polytask.scenario.load import load_scenario, scenario_path
from polytask.scenario.schema import Scenario


def fingerprint(scenario: str, code_version: str) -> str:
    """A checksum of `code_version`, the commit of the image, the scenario's file and the files that it reads.

    Raises ScenarioError or DataError where one of them is not there.
    """
    files = [scenario_path(scenario), *source_files(load_scenario(scenario))]
    return _joined([code_version, os.environ.get(REVISION, ""), *(sha256_file(path) for path in files)])


def source_files(scenario: Scenario) -> list[Path]:
    """The files of a source that may change; packaged data sets are pinned by checksum.

    Raises DataError where the folder is not there.
    """
    folder = scenario.source.path
    if folder is None:
        # A packaged data set does not change, but who was forgotten does.
        forgotten = forgotten_file(scenario)
        return [forgotten] if forgotten.is_file() else []
    if not Path(folder).is_dir():
        fix = f"; made-up tables: polytask sample-data {scenario.name}" if scenario.name in SAMPLES else ""
        raise DataError(f"source.path: there is no folder {folder}{fix}")
    return sorted(path for path in Path(folder).iterdir() if path.is_file())


def _joined(parts: Iterable[str]) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:16]
