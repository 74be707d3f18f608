"""The metrics of the kind `retrieval`."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from polytask.baselines import item_lists, simple
from polytask.baselines.candidate import Baseline
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests
from polytask.metrics import ranking
from polytask.metrics.weighted import Statistic, mean_of
from polytask.scenario.schema import Task
from polytask.tasks.lists import LIST_LENGTH, ListMetrics, allowed_scores, list_statistics
from polytask.tasks.metrics import OF_ONE, OF_REQUESTS, Scores


class RetrievalMetrics(ListMetrics):
    """The rank of the item that followed."""

    primary = f"ndcg@{LIST_LENGTH}"
    follow = f"hr@{LIST_LENGTH}"
    units: ClassVar[Mapping[str, str]] = {
        f"ndcg@{LIST_LENGTH}": OF_ONE,
        f"mrr@{LIST_LENGTH}": OF_ONE,
        "mrr": OF_ONE,
        f"hr@{LIST_LENGTH}": OF_REQUESTS,
        **ListMetrics.units,
    }

    def statistics(self, requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
        """Return NDCG, hit rate and reciprocal rank, and what describes the lists."""
        allowed = allowed_scores(requests, task, scores, requests.labelled(task))
        # A target that the user has seen before could never be listed: it stays ranked, last.
        ranks = ranking.ranks_of(allowed, requests.labels(task).astype(np.int64))
        dataset = requests.dataset
        return {
            f"ndcg@{LIST_LENGTH}": mean_of(ranking.ndcg_of_rank(ranks, LIST_LENGTH)),
            f"hr@{LIST_LENGTH}": mean_of(ranking.hit_rate(ranks, LIST_LENGTH)),
            f"mrr@{LIST_LENGTH}": mean_of(ranking.reciprocal_rank(ranks, LIST_LENGTH)),
            "mrr": mean_of(ranking.reciprocal_rank(ranks)),
            **list_statistics(allowed, dataset.item_rows[dataset.train]),
        }

    def baselines(self, dataset: Dataset, task: Task) -> dict[str, Baseline]:
        """Return popularity, a Markov chain and the item models that the size of the catalogue permits."""
        found: dict[str, Baseline] = {"popularity": simple.popularity, "markov": item_lists.markov}
        if item_lists.is_dense_enough(dataset):
            found |= {"item_knn": item_lists.item_knn, "ease": item_lists.ease}
        return {**found, "ials": item_lists.ials}
