"""Whether the servers and the loop of this process rank the same: the share of their lists that is equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calls import UserCall
from benchmarks.workbench import Workbench
from polytask.contract.tensors import MASKED_SCORE
from polytask.errors import ContractError

LEAST_OVERLAP = 0.98


@dataclass(frozen=True)
class Overlap:
    """The mean share of a list that both sides have, and the first entry that differs; None where all are equal."""

    share: float
    first_difference: str | None


def overlap_of(bench: Workbench, answered: Sequence[tuple[UserCall, Mapping[str, NDArray[Any]]]]) -> Overlap:
    """Compare what the servers rank with what the loop ranks, over calls and the loop's outputs for each.

    Raises ContractError where less than `LEAST_OVERLAP` is the same: then both do not do the same work. Two versions of
    ONNX Runtime may order entries of nearly equal score differently.
    """
    from polytask.client import Question, Ranked, RecommenderClient

    shares: list[float] = []
    difference = None
    with RecommenderClient(bench.stack.grpc_url) as client:
        for call, alone in answered:
            pairs = zip(call.users, call.queries, strict=True)
            answers = client.recommend_many([Question(user, query, call.timestamp) for user, query in pairs])
            for task in bench.contract.scenario.tasks:
                if task.catalogue is None:
                    continue
                catalogue = bench.bundle.catalogues[task.catalogue]
                for row, answer in enumerate(answers):
                    served = [entry.id for entry in answer.tasks[task.name] if isinstance(entry, Ranked)]
                    rows, scores = alone[f"{task.name}_ids"][row], alone[f"{task.name}_scores"][row]
                    listed = rows[np.asarray(scores) > MASKED_SCORE / 2][: len(served)]
                    ranked = [catalogue.external(int(number)) for number in listed]
                    shares.append(len(set(served) & set(ranked)) / max(1, len(served), len(ranked)))
                    difference = difference or _first_difference(task.name, call.users[row], served, ranked)
    overlap = Overlap(float(np.mean(shares)) if shares else 1.0, difference)
    if overlap.share < LEAST_OVERLAP:
        share = f"{overlap.share:.4f} of the entries are in both lists, expected {LEAST_OVERLAP}"
        raise ContractError(f"{overlap.first_difference}; {share}")
    return overlap


def _first_difference(task: str, user: object, served: Sequence[object], ranked: Sequence[object]) -> str | None:
    for place, (one, other) in enumerate(zip_longest(served, ranked), start=1):
        if one != other:
            return f"{task} of user {user}, place {place}: the servers rank {one}, the loop ranks {other}"
    return None
