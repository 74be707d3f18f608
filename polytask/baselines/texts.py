"""Baselines that read the request's text as a bag of words: what a language model has to beat."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.baselines.candidate import Candidate, Scores
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.scenario.schema import Task

INVERSE_PENALTIES = (3.0, 10.0)
RIDGE_PENALTIES = (0.3, 1.0, 10.0)
MAX_WORDS = 20_000
MAX_ITERATIONS = 300
# A class without a training text gets this logit: far below any other.
ABSENT = -30.0


def tfidf_logistic(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """TF-IDF of words and word pairs, then logistic regression: logits (m, C), binary (m, 1). Tuned: the penalty."""
    from sklearn.linear_model import LogisticRegression

    vectorizer, matrix, values = _fitted(dataset, task)
    label = values.astype(np.int64)
    if len(np.unique(label)) < 2:
        return
    columns = 1 if task.classes is None else len(task.classes)

    def score(requests: Requests, model: Any) -> Scores:
        logits = np.asarray(model.decision_function(vectorizer.transform(requests.texts)), dtype=np.float32)
        if task.classes is None:
            return logits[:, None]
        scores = np.full((len(requests), columns), ABSENT, dtype=np.float32)
        # For two classes there is one logit, for the second.
        scores[:, model.classes_] = logits if logits.ndim == 2 else np.stack([np.zeros_like(logits), logits], axis=1)
        return scores

    for inverse_penalty in INVERSE_PENALTIES:
        model = LogisticRegression(C=inverse_penalty, max_iter=MAX_ITERATIONS).fit(matrix, label)
        yield Candidate({"inverse_penalty": inverse_penalty}, partial(score, model=model))


def tfidf_ridge(dataset: Dataset, task: Task) -> Iterator[Candidate]:
    """TF-IDF of words and pairs of words, then ridge regression: values (m, 1). Tuned: the penalty."""
    from sklearn.linear_model import Ridge

    vectorizer, matrix, values = _fitted(dataset, task)

    def score(requests: Requests, model: Any) -> Scores:
        return np.asarray(model.predict(vectorizer.transform(requests.texts)), dtype=np.float32)[:, None]

    for penalty in RIDGE_PENALTIES:
        model = Ridge(alpha=penalty, solver="lsqr").fit(matrix, values)
        yield Candidate({"penalty": penalty}, partial(score, model=model))


def _fitted(dataset: Dataset, task: Task) -> tuple[Any, Any, NDArray[np.float32]]:
    """The vectorizer, the training texts as a sparse matrix, and their labels."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    labels = dataset.labels[task.name]
    train = np.flatnonzero(dataset.train & labels.mask)
    texts = [dataset.distinct_texts[number] for number in dataset.texts[train]]
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, max_features=MAX_WORDS, sublinear_tf=True, dtype=np.float32
    )
    return vectorizer, vectorizer.fit_transform(texts), labels.of(train, dataset.item_rows).astype(np.float32)
