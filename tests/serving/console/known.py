"""A recommender with fixed recommendations, and features without a store, for tests of the page alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from polytask.client import Question, Ranked, Recommendations, ScoredLabel, SlateEntry
from polytask.errors import PolytaskError
from serving.transformer.features.reader import OnlineFeatures

CHECKSUM = "c" * 64


@dataclass
class KnownRecommender:
    """Lists items 7, 14, 21, ... in that order; a query turns the list around; what is less of or recent leaves it."""

    version: str = "5"
    error: PolytaskError | None = None
    calls: list[dict] = field(default_factory=list)

    def recommend_many(
        self,
        questions: Sequence[Question],
        *,
        tasks: Sequence[str] | None = None,
        k: int | None = None,
        slate: int | None = None,
        task_weights: Mapping[str, float] | None = None,
        filters: Sequence[str] | None = None,
    ) -> list[Recommendations]:
        call = {"questions": questions, "tasks": tasks, "k": k, "slate": slate, "task_weights": task_weights}
        self.calls.append({**call, "filters": filters})
        if self.error is not None:
            raise self.error
        return [self._answer(question, list(tasks or ()), k or 10) for question in questions]

    def _answer(self, question: Question, tasks: list[str], k: int) -> Recommendations:
        ids = [key for key in range(7, 7 * 13, 7) if key not in {*question.disliked_items, *question.recent_items}]
        if question.query:
            ids.reverse()
        lists = {
            "item": tuple(Ranked(key, f"<Film {key}>", 2.0 - place) for place, key in enumerate(ids[:k])),
            "user": (Ranked(20, "30 year old doctor", 1.0),),
            "scene": (ScoredLabel("Comedy", 0.8), ScoredLabel("Drama", 0.2)),
        }
        return Recommendations(
            question.user,
            {name: lists[name] for name in tasks},
            cold_start=False,
            truncated=False,
            stale_features=False,
            degraded=False,
            model_version=self.version,
            contract_checksum=CHECKSUM,
            timings={"features": 1.0, "text": 7.0, "predictor": 2.0, "post": 0.5},
            query=question.query,
            slate=(SlateEntry("item", "7", "<Film 7>", 0.5), SlateEntry("scene", "Comedy", "Comedy", 0.25)),
            priority={"item": 0.5, "user": 0.25, "scene": 0.25},
        )


class KnownFeatures:
    """User 10 is a writer of 33 who met items 7, 14 and 21 in that order; other users are unknown."""

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        known = OnlineFeatures({"age": 33, "occupation": "writer"}, {}, (7, 14, 21), (7, 14, 21), known=True)
        return [known if user == 10 else OnlineFeatures() for user in users]
