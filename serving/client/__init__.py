"""Typed clients of the recommender: one call per user or batch of users, one answer per task."""

from serving.client.answers import Answer, Entry, Label, Ranked, SlateEntry, Value
from serving.client.calls import ServiceUnavailable
from serving.client.connection import Tls
from serving.client.explain import Explanation, TaskExplanation, explain
from serving.client.grpc_clients import AsyncRecommenderClient, RecommenderClient
from serving.client.questions import Question

__all__ = [
    "Answer",
    "AsyncRecommenderClient",
    "Entry",
    "Explanation",
    "Label",
    "Question",
    "Ranked",
    "RecommenderClient",
    "ServiceUnavailable",
    "SlateEntry",
    "TaskExplanation",
    "Tls",
    "Value",
    "explain",
]
