"""How strong new items may be: the offset of their scores, chosen on items and requests they were not learned from."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polytask.contract.tensors import MASKED_SCORE
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.evaluation.served import listed_scores, masked_scores
from polytask.metrics.ranking import ndcg_of_rank, ranks_of, top_rows
from polytask.model.cold_start import ColdStart, next_item_task, started_logits
from polytask.model.multitask import MultiTaskModel
from polytask.updates.learn_cold_start import learn_cold_start

LIST_LENGTH = 10
# What the lists of known items may lose in NDCG@10 when new ones compete.
WARM_LOSS = 0.03
# Really new items cost about twice what those cost that play them: the encoder was trained with the latter, and what it
# makes of their texts is less noisy. Measured on MovieLens with a tenth held out: 6.4% against 2.9%.
OPTIMISM = 2.0
OFFSETS = np.arange(-3.0, 2.01, 0.05)
BATCH = 256


@dataclass(frozen=True)
class Measured:
    """Requests whose target is new (`recall`) and whose target is not, by NDCG@10 with and without new competitors.

    `warm_loss` is 1 - warm_ndcg / ndcg_alone; `share` that of new items among the first ten of the warm requests.
    """

    recall: float
    warm_ndcg: float
    ndcg_alone: float
    warm_loss: float
    share: float


def calibrated(model: MultiTaskModel, dataset: Dataset, steps: int | None = None) -> tuple[ColdStart, Measured]:
    """A learned `ColdStart` with the largest offset that should cost the others at most `WARM_LOSS`.

    On validation, the items that play new ones may cost `WARM_LOSS / OPTIMISM`; they were kept from its learning.
    Returns also what was measured with that offset.
    """
    cold, kept = learn_cold_start(model, dataset) if steps is None else learn_cold_start(model, dataset, steps)
    requests = split_requests(dataset, "validation")
    target = dataset.item_rows[requests.events]
    logits = logits_with_new(model, cold, requests, kept)
    found = measured(logits, target, kept, OFFSETS[0])
    chosen = float(OFFSETS[0])
    for offset in OFFSETS[1:]:
        now = measured(logits, target, kept, float(offset))
        if now.warm_loss > WARM_LOSS / OPTIMISM:
            break
        chosen, found = float(offset), now
    cold.offset.fill_(chosen)
    return cold, found


@torch.no_grad()
def logits_with_new(
    model: MultiTaskModel, cold: ColdStart, requests: Requests, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits (m, N + 1) of the next-item task with the items `rows` (n,) as new ones; seen ones and padding masked."""
    dataset = requests.dataset
    task = next_item_task(dataset.scenario)
    assert task is not None
    catalogues = model.eval().catalogues()
    parts = []
    for start in range(0, len(requests), BATCH):
        events = requests.events[start : start + BATCH]
        text = torch.from_numpy(dataset.text_vectors[dataset.texts[events]])
        history = torch.from_numpy(requests.history[start : start + BATCH])
        histories = model.newest(history, catalogues)
        logits = started_logits(model, cold, torch.from_numpy(rows), histories, text, catalogues, task)
        parts.append(masked_scores(logits.numpy(), requests.seen[start : start + BATCH]))
    return np.concatenate(parts)


def measured(
    logits: NDArray[np.float32],
    target: NDArray[np.int64],
    rows: NDArray[np.int64],
    offset: float = 0.0,
    capped: bool = True,
) -> Measured:
    """Measure lists over logits (m, N + 1), see `logits_with_new`, for the target rows (m,), some of them in `rows`."""
    is_new = np.isin(target, rows)
    scores = listed_scores(logits, rows, offset, capped)
    alone = logits.copy()
    alone[:, rows] = MASKED_SCORE
    warm, ranks = ~is_new, ranks_of(scores, target)
    with_new = float(ndcg_of_rank(ranks[warm], LIST_LENGTH).mean()) if warm.any() else float("nan")
    without = float(ndcg_of_rank(ranks_of(alone[warm], target[warm]), LIST_LENGTH).mean()) if warm.any() else np.nan
    return Measured(
        recall=float((ranks[is_new] <= LIST_LENGTH).mean()) if is_new.any() else float("nan"),
        warm_ndcg=with_new,
        ndcg_alone=without,
        warm_loss=1.0 - with_new / without if without > 0 else 0.0,
        share=float(np.isin(top_rows(scores[warm], LIST_LENGTH), rows).mean()) if warm.any() else float("nan"),
    )
