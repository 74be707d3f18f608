"""Calls of distinct users with texts that were not sent before, as the bytes that a client sends and as tensors."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.contract.names import QUERY, TIMESTAMP, USER_ID
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS
from polytask.data.request import RequestFeatures
from polytask.scenario.names import USERS
from polytask.text.time_context import time_context
from serving.transformer.bundle import Bundle
from serving.transformer.features.reader import FeatureReader, request_features
from serving.transformer.text.warm_up import common_texts

Tensors = dict[str, NDArray[Any]]

# The number of profile texts from which the length of one is estimated.
PROFILES = 200


@dataclass(frozen=True)
class UserCall:
    """A call to the recommender: one row per user. `timestamp` is in unix seconds, the same for all rows.

    Without queries a row is a user id alone, and its text is the user's profile.
    """

    users: tuple[Any, ...]
    queries: tuple[str | None, ...]
    timestamp: int

    def message(self, model: str) -> bytes:
        """The call as a ModelInferRequest for all tasks."""
        import tritonclient.grpc as triton

        users = np.array([[user] for user in self.users], dtype=np.int64 if isinstance(self.users[0], int) else object)
        moments = np.full((len(self.users), 1), self.timestamp, dtype=np.int64)
        columns = {USER_ID: users, TIMESTAMP: moments}
        if any(query is not None for query in self.queries):
            columns[QUERY] = np.array([[(query or "").encode()] for query in self.queries], dtype=object)
        inputs = []
        for name, values in columns.items():
            datatype = "INT64" if values.dtype == np.int64 else "BYTES"
            inputs.append(triton.InferInput(name, list(values.shape), datatype).set_data_from_numpy(values))
        return message(model, inputs)


class Calls:
    """Makes calls over the users of a bundle. No query comes twice, and each makes a text as long as a profile does."""

    def __init__(self, bundle: Bundle, timestamp: int, seed: int = 0) -> None:
        self._bundle = bundle
        self._timestamp = timestamp
        self._random = np.random.default_rng(seed)
        self._users: list[Any] = []
        self._number = count(seed * 1_000_000)
        self._filling = ""
        missing = self._tokens(common_texts(bundle, timestamp, PROFILES)) - self._tokens([self._text(self.query())])
        self._filling = " and more" * (max(0, missing) // 2)

    def new(self, calls: int, batch: int, queries: Sequence[str] | None = None) -> list[UserCall]:
        """`calls` calls of `batch` users each; their queries are new ones, or `queries` over and over."""
        made = []
        for place in range(calls):
            users = self._next_users(batch)
            if queries is None:
                texts = tuple(self.query() for _ in range(batch))
            else:
                texts = tuple(queries[(place * batch + row) % len(queries)] for row in range(batch))
            made.append(UserCall(users, texts, self._timestamp))
        return made

    def ids(self, calls: int, batch: int) -> list[UserCall]:
        """The same with user ids alone."""
        return [UserCall(self._next_users(batch), (None,) * batch, self._timestamp) for _ in range(calls)]

    def mixed(self, calls: int, batch: int, known: Sequence[str], new_in: int) -> list[UserCall]:
        """The same with one new query in every `new_in`, the others of `known`."""
        texts = [self.query() if place % new_in == 0 else known[place % len(known)] for place in range(calls * batch)]
        return self.new(calls, batch, texts)

    def _next_users(self, batch: int) -> tuple[Any, ...]:
        """Distinct users, in a random order; every user occurs once before one occurs again."""
        if len(self._users) < batch:
            ids = self._bundle.catalogues[USERS].ids
            self._users = [ids[position] for position in self._random.permutation(len(ids))]
        taken, self._users = tuple(self._users[:batch]), self._users[batch:]
        return taken

    def query(self) -> str:
        """A query that was not sent before: four letters in it are its number."""
        number, letters = next(self._number), []
        for _ in range(4):
            number, digit = divmod(number, 26)
            letters.append(string.ascii_lowercase[digit])
        return f"a film about {' '.join(letters)}{self._filling}"

    def _text(self, query: str) -> str:
        words = time_context(
            datetime.fromtimestamp(self._timestamp, UTC), self._bundle.contract.scenario.features.timezone
        )
        return self._bundle.encoder.text(RequestFeatures(context=words, query=query))

    def _tokens(self, texts: Sequence[str]) -> int:
        """How many tokens half of the texts have at most."""
        return int(np.median(self._bundle.tokenizer(texts)[1].sum(axis=1)))

    def tensors(self, call: UserCall, reader: FeatureReader) -> Tensors:
        """The model's input tensors for a call, by the very functions of the transformer."""
        encoder, tokenizer = self._bundle.encoder, self._bundle.tokenizer
        features = self.features(call, reader)
        input_ids, attention_mask = tokenizer([encoder.text(row) for row in features])
        return {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask, **encoder.rows(features)}

    def features(self, call: UserCall, reader: FeatureReader) -> list[RequestFeatures]:
        """What the feature store knows about the users of a call, with their queries."""
        online = reader.read(call.users, [call.timestamp] * len(call.users))
        rows = zip(call.users, online, call.queries, strict=True)
        return [request_features(user, row, query) for user, row, query in rows]


def tensor_message(
    model: str, version: int | str, tensors: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> bytes:
    """A ModelInferRequest that brings tensors, for a model of a predictor; `version` '' names none."""
    import tritonclient.grpc as triton

    names = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32", np.dtype(np.bool_): "BOOL"}
    inputs = [
        triton.InferInput(name, list(values.shape), names[values.dtype]).set_data_from_numpy(values)
        for name, values in tensors.items()
    ]
    return message(model, inputs, str(version), outputs)


def message(model: str, inputs: Sequence[Any], version: str = "", outputs: Sequence[str] = ()) -> bytes:
    """Inputs of tritonclient as the bytes of a ModelInferRequest; `outputs` empty requests all."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    for tensor in inputs:
        request.inputs.append(tensor._get_tensor())
        request.raw_input_contents.append(tensor._get_content())
    for name in outputs:
        request.outputs.add(name=name)
    content: bytes = request.SerializeToString()
    return content
