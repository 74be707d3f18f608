"""Baselines for lists, over sparse matrices of the training events: Markov, ItemKNN, EASE, iALS, and users like one.

Each scores a request by its past items, the newest weighing most: H M, with H (m, N + 1) the request's items and M
(N + 1, N + 1) how much one item speaks for another.
"""

import os
import warnings
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from polytask.baselines.candidate import Candidate, Scores, Settings
from polytask.baselines.simple import item_counts
from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Task

IntArray = NDArray[np.int64]

MARKOV_LAGS = (5, 10, 20)
MARKOV_DECAYS = (0.6, 0.8, 0.9)
# How much less the next older item weighs; 1.0 is the textbook form, without time.
DECAYS = (0.7, 0.9, 0.95, 1.0)
NEIGHBOURS = (20, 100)
EASE_PENALTIES = (100.0, 300.0, 1000.0)
ALS_FACTORS = (32, 64)
ALS_CONFIDENCES = (1.0, 10.0)
ALS_DECAYS = (0.9, 1.0)
ALS_PENALTY = 0.1
# The power of a user's number of items that the overlap with it is divided by: 0.5 is the cosine, 0 the mere overlap.
ACTIVITY_POWERS = (0.5, 0.25, 0.0)
ALS_SEED = 7
# Matrices of N x N numbers are for catalogues of this size at most.
DENSE_ROWS = 10_000


def markov(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Decayed item-to-item transitions: sum over lags of decay^(lag - 1) * P(item | item `lag` steps back).

    Transitions are counted at the same lags with the same weights. Tuned: decay and number of lags.
    """
    size = len(dataset.catalogues[ITEMS]) + 1
    train = np.flatnonzero(dataset.train)
    items, users = dataset.item_rows[train], dataset.user_rows[train]
    # Popularity, far below any transition, orders what was never seen to follow.
    rest = item_counts(dataset) * np.float32(1e-6 / len(train))

    def candidate(decay: float, lags: int, counts: sparse.csr_matrix) -> Candidate:
        total = np.asarray(counts.sum(axis=1)).reshape(-1)
        transitions = sparse.diags(1.0 / np.maximum(total, 1e-9)) @ counts

        def score(requests: Requests) -> Scores:
            return _dense(_newest(requests.history, decay, size, lags) @ transitions) + rest

        return Candidate({"decay": decay, "lags": lags}, score)

    for decay in MARKOV_DECAYS:
        counts = sparse.csr_matrix((size, size), dtype=np.float64)
        for lag in range(1, max(MARKOV_LAGS) + 1):
            same = users[lag:] == users[:-lag]
            weights = np.full(int(same.sum()), decay ** (lag - 1))
            counts = (
                counts + sparse.coo_matrix((weights, (items[:-lag][same], items[lag:][same])), (size, size)).tocsr()
            )
            if lag in MARKOV_LAGS:
                yield candidate(decay, lag, counts)


def item_knn(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Cosine of two items' users, each item keeping its nearest (Sarwar et al., 2001). Tuned: neighbours, decay."""
    matrix = _interactions(dataset)
    norms = np.sqrt(np.asarray(matrix.sum(axis=0)).reshape(-1))
    scaled = matrix @ sparse.diags(1.0 / np.maximum(norms, 1e-9))
    similarity = np.asarray((scaled.T @ scaled).todense(), dtype=np.float32)
    np.fill_diagonal(similarity, 0.0)
    for neighbours in NEIGHBOURS:
        kept = similarity.copy()
        if neighbours < len(kept):
            threshold = -np.partition(-similarity, neighbours - 1, axis=1)[:, neighbours - 1]
            kept[kept < threshold[:, None]] = 0.0
        # Row: the item that speaks; column: the item whose nearest it is among.
        yield from _item_candidates(kept.T, {"neighbours": neighbours})


def ease(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """The closed-form linear autoencoder without self-similarity (Steck, 2019). Tuned: penalty, decay."""
    matrix = _interactions(dataset)
    gram = np.asarray((matrix.T @ matrix).todense(), dtype=np.float64)
    diagonal = np.arange(len(gram))
    for penalty in EASE_PENALTIES:
        penalised = gram.copy()
        penalised[diagonal, diagonal] += penalty
        inverse = np.linalg.inv(penalised)
        weights = inverse / -np.diag(inverse)
        weights[diagonal, diagonal] = 0.0
        yield from _item_candidates(weights.astype(np.float32), {"penalty": penalty})


def ials(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Implicit-feedback factorisation (Hu et al., 2008); the user's factor is solved from the request's items.

    Tuned: factors, confidence of an event, decay.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the library warns of oversubscribed cores otherwise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from implicit.cpu.als import AlternatingLeastSquares

    matrix = _interactions(dataset)
    for factors in ALS_FACTORS:
        for confidence in ALS_CONFIDENCES:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = AlternatingLeastSquares(
                    factors=factors,
                    regularization=ALS_PENALTY,
                    alpha=confidence,
                    random_state=ALS_SEED,
                    num_threads=1,
                )
            model.fit(matrix, show_progress=False)

            def score(requests: Requests, model: AlternatingLeastSquares, decay: float) -> Scores:
                past = _newest(requests.seen, decay, matrix.shape[1]).astype(np.float32)
                users = model.recalculate_user(np.arange(len(requests)), past)
                return np.asarray(users @ model.item_factors.T, dtype=np.float32)

            for decay in ALS_DECAYS:
                settings: Settings = {"factors": factors, "confidence": confidence, "decay": decay}
                yield Candidate(settings, partial(score, model=model, decay=decay))


def user_knn(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """Overlap of a request's items with each user's training items, over a power of the latter's number, (m, U + 1).

    Tuned: the power, from the cosine to the mere overlap, which favours the active; decay.
    """
    matrix = _interactions(dataset)
    activity = np.maximum(np.asarray(matrix.sum(axis=1)).reshape(-1), 1.0)

    def score(requests: Requests, scaled: sparse.csr_matrix, decay: float) -> Scores:
        return _dense(_newest(requests.seen, decay, matrix.shape[1]) @ scaled)

    for power in ACTIVITY_POWERS:
        scaled = (sparse.diags(activity**-power) @ matrix).T.tocsr()
        for decay in DECAYS:
            yield Candidate({"power": power, "decay": decay}, partial(score, scaled=scaled, decay=decay))


def is_dense_enough(dataset: Dataset) -> bool:
    """Whether the catalogue of items is small enough for the matrices of N x N numbers."""
    return len(dataset.catalogues[ITEMS]) <= DENSE_ROWS


def _item_candidates(weights: NDArray[np.float32], settings: Settings) -> Iterator[Candidate]:
    """A candidate per decay for one matrix of item-to-item weights (N + 1, N + 1)."""

    def score(requests: Requests, decay: float) -> Scores:
        return np.asarray(_newest(requests.seen, decay, len(weights)) @ weights, dtype=np.float32)

    yield from (Candidate({**settings, "decay": decay}, partial(score, decay=decay)) for decay in DECAYS)


def _dense(matrix: sparse.csr_matrix) -> Scores:
    return np.asarray(matrix.toarray(), dtype=np.float32)


def _interactions(dataset: Dataset) -> sparse.csr_matrix:
    """Which user acted on which item in training: (U + 1, N + 1) of 0 and 1."""
    users, items = dataset.user_rows[dataset.train], dataset.item_rows[dataset.train]
    real = items != PADDING_ROW
    shape = (len(dataset.catalogues[USERS]) + 1, len(dataset.catalogues[ITEMS]) + 1)
    matrix = sparse.csr_matrix((np.ones(int(real.sum()), dtype=np.float32), (users[real], items[real])), shape)
    matrix.data[:] = 1.0  # what was done twice is summed up
    return matrix


def _newest(rows: IntArray, decay: float, size: int, limit: int | None = None) -> sparse.csr_matrix:
    """Past items as weights (m, size): decay^0 for the newest, decay^1 for the one before it, `limit` items at most.

    `rows` (m, L) run from oldest to newest, with padding on either side.
    """
    real = rows != PADDING_ROW
    age = real[:, ::-1].cumsum(axis=1)[:, ::-1] - 1
    chosen = real if limit is None else real & (age < limit)
    requests, places = np.nonzero(chosen)
    weights = decay ** age[requests, places].astype(np.float64)
    return sparse.csr_matrix((weights, (requests, rows[requests, places])), (len(rows), size))
