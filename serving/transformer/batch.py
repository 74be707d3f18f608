"""Recommendations for all users in one Parquet table, through the bundle's ONNX files in this process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from polytask.contract.contract import load_contract
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, MASKED_SCORE
from polytask.errors import DataError
from polytask.scenario.names import USERS
from polytask.scenario.schema import Scenario, Task
from polytask.storage.atomic import atomic_file
from serving.transformer.api.answers import ResponseWriter, model_outputs
from serving.transformer.bundle import load_bundle
from serving.transformer.features.reader import FeatureReader, online_tensors

USERS_AT_ONCE = 256


@dataclass(frozen=True)
class Recommended:
    """The numbers of users requested and of rows written, and the model."""

    users: int
    rows: int
    model_version: int
    contract_sha256: str


def recommend_to_all(
    bundle: Path,
    feature_store: Path,
    output: Path,
    *,
    tasks: Sequence[str] = (),
    k: int = 10,
    moment: datetime | None = None,
    users_at_once: int = USERS_AT_ONCE,
) -> Recommended:
    """Write `output` with at most `k` rows for each user of the bundle's catalogue and task, `tasks` or all of them.

    Columns: `user` (its key), `task`, `rank` (from 1), `id` (of an item or a user, or the name of a class; missing
    where the prediction is one number), `score`, `title` (missing where there is none). The features are those that the
    online store has, read and encoded as in the transformer, with the time features of `moment`
    (aware; by default now). The file's metadata name the model. Memory is bounded by `users_at_once`, not by
    the number of users. Raises DataError for an unknown task; `output` is replaced as a whole, or stays as it is.
    """
    from polytask.export.in_process import BundleModels

    contract = load_contract(bundle)
    loaded, scenario = load_bundle(bundle), contract.scenario
    chosen = _chosen(scenario, tasks)
    if k < 1 or users_at_once < 1:
        raise DataError(f"k {k}, users at once {users_at_once}; allowed: 1 or more")
    names = model_outputs(scenario, [task.name for task in chosen])
    reader, models = FeatureReader(feature_store, scenario), BundleModels(bundle, contract)
    writer = ResponseWriter(scenario, loaded.catalogues)
    when = moment or datetime.now(UTC)
    users: list[Any] = loaded.catalogues[USERS].ids
    stamps = {
        "scenario": scenario.name,
        "model_version": str(contract.model_version),
        "contract_sha256": contract.checksum,
        "feature_service": contract.feature_service,
        "moment": when.isoformat(),
    }
    schema = table_schema(scenario).with_metadata({f"polytask.{name}": value for name, value in stamps.items()})
    rows = 0
    with atomic_file(output) as temporary, pq.ParquetWriter(temporary, schema) as file:
        for start in range(0, len(users), users_at_once):
            requested = users[start : start + users_at_once]
            moments = [int(when.timestamp())] * len(requested)
            _, tensors = online_tensors(reader, loaded.encoder, loaded.tokenizer, requested, moments)
            input_ids, attention_mask = tensors.pop(INPUT_IDS), tensors.pop(ATTENTION_MASK)
            answers = models.answer(input_ids, attention_mask, tensors, names)
            columns: dict[str, list[Any]] = {name: [] for name in schema.names}
            for task in chosen:
                for row in _rows(task, requested, writer, answers, k):
                    for name, value in zip(schema.names, row, strict=True):
                        columns[name].append(value)
            table = pa.table(columns, schema=schema)
            file.write_table(table)
            rows += len(table)
    return Recommended(len(users), rows, contract.model_version, contract.checksum)


def table_schema(scenario: Scenario) -> pa.Schema:
    """The columns of the table; keys of users keep their type, ids of several tasks are all texts."""
    user = pa.int64() if scenario.entities.users.key_type == "integer" else pa.string()
    return pa.schema(
        {
            "user": user,
            "task": pa.dictionary(pa.int32(), pa.string()),
            "rank": pa.int32(),
            "id": pa.string(),
            "score": pa.float32(),
            "title": pa.string(),
        }
    )


def _chosen(scenario: Scenario, names: Sequence[str]) -> list[Task]:
    known = {task.name: task for task in scenario.tasks}
    for name in names:
        if name not in known:
            raise DataError(f"tasks: {name!r} is not known; allowed: {', '.join(known)}")
    return [known[name] for name in names] or list(scenario.tasks)


def _rows(
    task: Task, users: Sequence[Any], writer: ResponseWriter, answers: dict[str, NDArray[Any]], k: int
) -> Iterator[tuple[Any, ...]]:
    """The rows of one task, in the order of the columns."""
    width = min(k, task.top_k)
    written = {tensor.name: tensor.values for tensor in writer.task(task, answers, [width] * len(users))}
    scores = written.get(f"{task.name}_scores", written.get(f"{task.name}_values"))
    assert scores is not None, "every task has scores or values"
    ids = written.get(f"{task.name}_ids", written.get(f"{task.name}_labels"))
    titles = written.get(f"{task.name}_titles")
    for position, user in enumerate(users):
        for place in np.flatnonzero(scores[position, :width] > MASKED_SCORE / 2).tolist():
            name = None if ids is None else str(ids[position, place])
            title = None if titles is None else titles[position, place] or None
            yield user, task.name, place + 1, name, float(scores[position, place]), title
