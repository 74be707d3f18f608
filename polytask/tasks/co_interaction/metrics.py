"""The metrics of the kind `co_interaction`."""

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
from polytask.tasks.metrics import OF_PLACES, Scores


class CoInteractionMetrics(ListMetrics):
    """How many of the listed users interacted with the item."""

    primary = f"precision@{LIST_LENGTH}"
    follow = f"precision@{LIST_LENGTH}"
    units: ClassVar[Mapping[str, str]] = {
        f"precision@{LIST_LENGTH}": OF_PLACES,
        f"excess_precision@{LIST_LENGTH}": OF_PLACES,
        **ListMetrics.units,
    }

    def statistics(self, requests: Requests, task: Task, scores: Scores) -> dict[str, Statistic]:
        """Return precision, its excess over chance, and what describes the lists. The user itself does not count."""
        labelled = requests.labelled(task)
        itself = requests.user_rows[labelled]
        positives = requests.labels(task).astype(np.bool_)  # a copy: labels are looked up
        positives[np.arange(len(itself)), itself] = False
        allowed = allowed_scores(requests, task, scores, labelled)
        top = ranking.top_rows(allowed, LIST_LENGTH)
        dataset = requests.dataset
        return {
            f"precision@{LIST_LENGTH}": mean_of(ranking.precision(top, positives)),
            f"excess_precision@{LIST_LENGTH}": mean_of(ranking.excess_precision(top, positives)),
            **list_statistics(allowed, dataset.user_rows[dataset.train]),
        }

    def baselines(self, dataset: Dataset, task: Task) -> dict[str, Baseline]:
        """Return the most active users, and users with the same items."""
        return {"most_active": simple.most_active, "user_knn": item_lists.user_knn}
