"""Filters over more items than one message of Triton takes for a whole batch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from polytask.data.tables import Tables
from polytask.scenario import Scenario
from serving.local.install import TritonInstallation
from serving.local.server_process import server_environment
from serving.local.triton import TritonServer
from tests.serving.bundle import base_scores, write_bundle

ITEMS = 140_000  # 128 rows of masks are more than 16 MiB
SCRIPT = Path(__file__).with_name("filtered_at_scale.py")


def many_items(tables: Tables) -> Tables:
    """The small tables with `ITEMS` items; the users are the same."""
    times = -(-ITEMS // len(tables.items))
    items = pd.concat([tables.items] * times, ignore_index=True).head(ITEMS)
    items["item_id"] = np.arange(1, ITEMS + 1)
    return Tables(tables.users, items, tables.interactions)


@pytest.fixture(scope="module")
def report(
    small_scenario: Scenario,
    tables: Tables,
    triton_installation: TritonInstallation,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """The results of the script."""
    folder = tmp_path_factory.mktemp("scale")
    write_bundle(folder / "bundle", small_scenario, many_items(tables))
    out = folder / "report.json"
    environment = server_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3]), environment["PYTHONPATH"]])
    with TritonServer(folder / "bundle" / "repository", triton_installation, folder / "triton.log") as triton:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(folder / "bundle"), triton.grpc_address, str(out)],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_a_filtered_batch_of_128_rows_is_answered_with_what_the_filters_allow(report: dict[str, Any], tables: Tables):
    items = many_items(tables).items
    passes = items["year"].between(1960, 1969).fillna(False) & items["genres"].map(lambda names: "Horror" in names)
    rows = np.flatnonzero(passes.to_numpy(dtype=bool)) + 1
    best = rows[np.argsort(-base_scores(ITEMS)[rows], kind="stable")][:10]
    assert np.array(report["ids"]).shape == (2, 128, 10)
    for row in [row for answer in report["ids"] for row in answer]:
        # Of equal scores any may be listed.
        assert sorted(base_scores(ITEMS)[row]) == sorted(base_scores(ITEMS)[best])
        assert set(row) <= set(rows.tolist())
