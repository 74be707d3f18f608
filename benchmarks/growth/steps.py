"""The steps that are measured, each in a process of its own: `python -m benchmarks.growth.steps <step> <folder>`."""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from feature_repo.apply import build_store
from feature_repo.point_in_time import PointInTimeJoin
from feature_repo.sources import USER_HISTORY, USER_PROFILE, source_file
from feature_repo.training_set import ROWS_PER_JOIN, build_training_set
from polytask.data.catalogue import catalogues_of
from polytask.data.tables import read_tables, table_file
from polytask.ingest import ingest
from polytask.scenario import Scenario
from polytask.scenario.names import EVENT_ID, ITEMS

SCENARIO_FILE = "scenario.json"
TEXT_DIM = 384
# An epoch's batches are alike: the time of all is estimated from some of them.
BATCHES = 5
MIB = 1024


def measured(step: str, folder: Path) -> dict[str, Any]:
    """Run a step; returns its seconds, CPU seconds, the process's peak memory in GiB, and the step's own values."""
    began, cpu = time.monotonic(), time.process_time()
    details = STEPS[step](folder, Scenario.model_validate_json((folder / SCENARIO_FILE).read_text(encoding="utf-8")))
    return {
        "seconds": round(time.monotonic() - began, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB**2, 3),
        **details,
    }


def _ingest(folder: Path, scenario: Scenario) -> dict[str, Any]:
    return {"rows": ingest(scenario, folder / "tables").tables["interactions"].rows_out}


def _features(folder: Path, scenario: Scenario) -> dict[str, Any]:
    build_store(scenario, folder / "tables", folder / "store")
    return {}


def _training_set(folder: Path, scenario: Scenario) -> dict[str, Any]:
    interactions = read_tables(folder / "tables").interactions
    target = build_training_set(folder / "store", scenario, interactions, folder / "rows.parquet")
    return {"bytes": target.stat().st_size}


def _join(folder: Path, scenario: Scenario) -> dict[str, Any]:
    """The point-in-time join of the training set, into memory part by part."""
    users, time_column = scenario.entities.users.key, scenario.entities.interactions.timestamp
    events = read_tables(folder / "tables").interactions.sort_values([users, time_column, EVENT_ID])
    join = PointInTimeJoin(folder / "store", scenario)
    parts = range(0, len(events), ROWS_PER_JOIN)
    return {"rows": sum(len(join(events.iloc[start : start + ROWS_PER_JOIN])) for start in parts)}


def _plain_asof(folder: Path, scenario: Scenario) -> dict[str, Any]:
    """DuckDB's ASOF join of the same files, into memory part by part."""
    user, moment = scenario.entities.users.key, scenario.entities.interactions.timestamp
    profile, history = (source_file(folder / "store", view) for view in (USER_PROFILE, USER_HISTORY))
    columns = ", ".join(f"p.{name}" for name in scenario.features.profile)
    query = f"""
        SELECT e.*, {columns}, h.history, h.seen FROM '{table_file(folder / "tables", "interactions")}' e
        ASOF LEFT JOIN '{profile}' p ON e.{user} = p.{user} AND e.{moment} >= p.event_timestamp
        ASOF LEFT JOIN '{history}' h ON e.{user} = h.{user} AND e.{moment} >= h.event_timestamp
    """  # noqa: S608 - the names come from the scenario file
    with duckdb.connect() as connection:
        return {"rows": sum(len(batch) for batch in connection.sql(query).to_arrow_reader(ROWS_PER_JOIN))}


def _epoch(folder: Path, scenario: Scenario) -> dict[str, Any]:
    """Some batches of an epoch, over text vectors drawn at random: what the language model adds is no matter here."""
    import torch

    from polytask.data.dataset import Dataset
    from polytask.data.training_set import read_training_set
    from polytask.training.loop import build_model, set_seed
    from polytask.training.task_losses import TaskLosses
    from polytask.training.windows import WindowSampler

    random = np.random.default_rng(0)
    catalogues = catalogues_of(scenario, read_tables(folder / "tables"))
    set_seed(scenario.training.seed, scenario.training.threads)
    dataset = Dataset(
        scenario,
        read_training_set(scenario, folder / "rows.parquet"),
        catalogues,
        lambda texts: random.normal(size=(len(texts), TEXT_DIM)).astype(np.float32),
    )
    model = build_model(dataset, torch.randn(len(catalogues[ITEMS]), TEXT_DIM)).train()
    losses, plan = TaskLosses(dataset), WindowSampler(dataset, 1, random)
    optimizer = torch.optim.AdamW(model.parameters())
    times = []
    for _, windows in zip(range(BATCHES), plan.epoch(0, random), strict=False):
        began = time.monotonic()
        optimizer.zero_grad(set_to_none=True)
        loss = torch.stack(list(losses(model, windows).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        optimizer.step()
        times.append(time.monotonic() - began)
    batch = float(np.median(times))
    return {
        "request_texts": dataset.request_texts,
        "batches": plan.batches[0],
        "batch_seconds": round(batch, 3),
        "epoch_seconds": round(batch * plan.batches[0], 1),
    }


STEPS: dict[str, Callable[[Path, Scenario], dict[str, Any]]] = {
    "ingest": _ingest,
    "features": _features,
    "training_set": _training_set,
    "join": _join,
    "plain_asof": _plain_asof,
    "epoch": _epoch,
}

if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(measured(sys.argv[1], Path(sys.argv[2]))) + "\n")
