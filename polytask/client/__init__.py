"""Typed clients of the recommender: one call per user or batch of users, one list of entries per task."""

from polytask.client.answers import Entry, Ranked, Recommendations, ScoredLabel, SlateEntry, Value
from polytask.client.calls import ServiceUnavailable
from polytask.client.connection import Tls
from polytask.client.explain import Explanation, TaskExplanation, explain
from polytask.client.grpc_clients import AsyncRecommenderClient, RecommenderClient
from polytask.client.questions import Question

__all__ = [
    "AsyncRecommenderClient",
    "Entry",
    "Explanation",
    "Question",
    "Ranked",
    "Recommendations",
    "RecommenderClient",
    "ScoredLabel",
    "ServiceUnavailable",
    "SlateEntry",
    "TaskExplanation",
    "Tls",
    "Value",
    "explain",
]
