"""New items, really new: a tenth of the catalogue is held out with all its events, and must be found by its texts.

Another model is trained without these events; histories and seen items do not show them either. Everything is chosen
without them: what new items start with and how strong they may be, see `polytask.updates`. Reported are requests whose
target is held out, and what the competition costs the test requests of the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from polytask.contract.tensors import HISTORY, SEEN
from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.evaluation.served import listed_scores
from polytask.metrics.ranking import hit_rate, ranks_of
from polytask.model.cold_start import WARM_FIRST, ColdStart, next_item_task
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.names import EVENT_ID, ITEMS, USERS
from polytask.updates.cold_calibration import LIST_LENGTH, WARM_LOSS, calibrated, logits_with_new, measured

IntArray = NDArray[np.int64]

SHARE = 0.1
# Only the last part of each user's events is evaluated: the model was trained on events before and after the others.
LATEST = 0.2
CURVE = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)
RESAMPLES = 1000
RANDOM_ITEMS = 100  # added to the seed, so that the held-out items are not drawn with the numbers of training


@dataclass(frozen=True)
class HeldOut:
    """A data set without the events of the item `rows` (n,), and the requests whose target is one of these."""

    dataset: Dataset
    rows: IntArray
    requests: Requests
    share_of_events: float


def hold_out(dataset: Dataset, encode: Callable[[list[str]], NDArray[np.float32]], seed: int) -> HeldOut:
    """Hold out a tenth of the items of a data set; `encode` gives text vectors."""
    scenario, catalogues = dataset.scenario, dataset.catalogues
    items, users = catalogues[ITEMS], catalogues[USERS]
    random = np.random.default_rng(seed + RANDOM_ITEMS)
    rows = np.sort(random.choice(np.arange(1, len(items) + 1), int(SHARE * len(items)), replace=False))
    frame = dataset.events
    is_held = np.isin(dataset.item_rows, rows)
    hidden = {items.external(int(row)) for row in rows}

    def still_shown(seen: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.array([item for item in seen if item not in hidden])

    shown = frame.assign(**{name: frame[name].map(still_shown) for name in (HISTORY, SEEN)})
    place = frame.groupby(users.key)[EVENT_ID].cumcount()
    late = (place >= (1 - LATEST) * frame.groupby(users.key)[EVENT_ID].transform("size")).to_numpy()
    requested = is_held & late & (shown[HISTORY].map(len) > 0).to_numpy()
    without = Dataset(scenario, shown[~is_held].reset_index(drop=True), catalogues, encode)
    wanted = Dataset(scenario, shown[requested].reset_index(drop=True), catalogues, encode)
    events = np.arange(len(wanted.events))
    inputs = wanted.request_encoder().rows(wanted.requests(events))
    requests = Requests(wanted, events, inputs[HISTORY], inputs[SEEN])
    return HeldOut(without, rows, requests, float(is_held.mean()))


def cold_report(
    dataset: Dataset,
    encode: Callable[[list[str]], NDArray[np.float32]],
    trained: Callable[[Dataset], MultiTaskModel],
    seed: int,
) -> dict[str, Any]:
    """Recall@10 of held-out items and its cost; empty for a scenario without a list that new items could join.

    `trained` trains a model on a data set, or returns the one it has. `interval` is a 95% bootstrap over users.
    `uncalibrated` are items known by their projected texts alone, with the mean bias; `text_knn` ranks by the mean
    cosine to the texts of the history. `warm_loss` is the share of NDCG@10 that the test requests of other items lose.
    """
    if next_item_task(dataset.scenario) is None:
        return {}
    held = hold_out(dataset, encode, seed)
    if not len(held.requests):
        return {}
    model = trained(held.dataset)
    cold, chosen = calibrated(model, held.dataset)
    target = held.requests.dataset.item_rows
    of_held, warm = (_Scores(model, cold, held, requests) for requests in (held.requests, _test(held)))
    plain = _plain(model, held)
    plain_held, plain_warm = (_Scores(model, plain, held, requests) for requests in (held.requests, _test(held)))
    recall = hit_rate(ranks_of(listed_scores(of_held.logits, held.rows), target), LIST_LENGTH)
    without = measured(plain_warm.logits, plain_warm.target, held.rows, capped=False)
    found = measured(warm.logits, warm.target, held.rows)
    return {
        f"recall@{LIST_LENGTH}": {
            "mean": float(recall.mean()),
            "seeds": [float(recall.mean())],
            "interval": _interval(recall, held.requests.user_rows, seed),
        },
        "uncalibrated": measured(plain_held.logits, target, held.rows, capped=False).recall,
        "uncalibrated_warm_loss": without.warm_loss,
        "uncalibrated_share_of_lists": without.share,
        "text_knn": float(hit_rate(ranks_of(_text_knn(model, held), target), LIST_LENGTH).mean()),
        f"warm_ndcg@{LIST_LENGTH}": found.warm_ndcg,
        f"ndcg@{LIST_LENGTH}_without_new_items": found.ndcg_alone,
        "warm_loss": found.warm_loss,
        "share_of_lists": found.share,
        "share_of_events": held.share_of_events,
        # The trade-off around the offset that was chosen.
        f"recall@{LIST_LENGTH}_by_offset": {
            f"{offset:+}": measured(of_held.logits, target, held.rows, offset).recall for offset in CURVE
        },
        "warm_loss_by_offset": {
            f"{offset:+}": measured(warm.logits, warm.target, held.rows, offset).warm_loss for offset in CURVE
        },
        "settings": {
            "items": len(held.rows),
            "requests": len(held.requests),
            "warm_requests": len(warm.target),
            "offset": float(cold.offset),
            "first_place": WARM_FIRST + 1,
            "warm_loss_aimed_at": WARM_LOSS,
            "warm_loss_when_chosen": chosen.warm_loss,
            "seed": seed,
        },
    }


class _Scores:
    """Logits and targets of some requests with the held-out items as new ones."""

    def __init__(self, model: MultiTaskModel, cold: ColdStart, held: HeldOut, requests: Requests) -> None:
        self.logits = logits_with_new(model, cold, requests, held.rows)
        self.target = requests.dataset.item_rows[requests.events]


def _test(held: HeldOut) -> Requests:
    return split_requests(held.dataset, "test")


def _plain(model: MultiTaskModel, held: HeldOut) -> ColdStart:
    task = next_item_task(held.dataset.scenario)
    assert task is not None
    plain = ColdStart(model.item_table.text_vectors.shape[1], held.dataset.scenario.model.dim).eval()
    bias: torch.Tensor = model.heads[task.name].bias  # type: ignore[assignment]
    known = np.setdiff1d(np.unique(held.dataset.item_rows[held.dataset.train]), [PADDING_ROW])
    plain.offset.copy_(bias.detach()[torch.from_numpy(known)].mean())
    return plain


def _text_knn(model: MultiTaskModel, held: HeldOut) -> NDArray[np.float32]:
    vectors = model.item_table.text_vectors.numpy().copy()
    vectors[PADDING_ROW] = 0.0
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    scores: NDArray[np.float32] = vectors[held.requests.history].sum(axis=1) @ vectors.T
    scores[:, PADDING_ROW] = -np.inf
    np.put_along_axis(scores, held.requests.seen, -np.inf, axis=1)
    return scores


def _interval(hits: NDArray[np.float64], users: IntArray, seed: int) -> list[float]:
    sums = pd.DataFrame({"user": users, "hits": hits}).groupby("user")["hits"].agg(["sum", "count"]).to_numpy()
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn, 0].sum(axis=1) / sums[drawn, 1].sum(axis=1)
    return [float(bound) for bound in np.quantile(means, (0.025, 0.975))]
