"""The transformer's work without its server: tensors in, features, texts, model calls, tensors out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER
from polytask.contract.names import COLD_START, DEGRADED, STALE_FEATURES, TRUNCATED
from polytask.contract.tensors import ALLOWED, ATTENTION_MASK, ENCODED_TEXT, INPUT_IDS, TEXT_VECTOR
from polytask.errors import ContractError
from polytask.scenario.names import ITEMS
from serving.transformer.api.answers import ResponseTensor, ResponseWriter, flag, model_outputs
from serving.transformer.api.filters import ItemFilters
from serving.transformer.api.parse import KEY_BYTES, Call, CallParser, Slate
from serving.transformer.api.slate import entries_of, merge, slate_tensors
from serving.transformer.api.wire import InputTensor
from serving.transformer.bundle import Bundle
from serving.transformer.concurrency.batching import BatchedPredictor, Predictor
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.features.lookup import Features
from serving.transformer.features.optional import FeaturePolicy, OptionalFeatures
from serving.transformer.features.reader import request_features
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.metrics import Metrics
from serving.transformer.text.vectors import TextVectors
from serving.transformer.text.warm_up import common_texts, fill


@dataclass(frozen=True)
class PreparedRequest:
    """A call that is ready for the multi-task model, or, where all its texts are `new_texts`, for the ensemble.

    `truncated` (B,): whether each text was cut.
    """

    call: Call
    deadline: Deadline
    inputs: Mapping[str, NDArray[Any]]
    flags: Sequence[ResponseTensor]
    record: CallRecord
    truncated: Sequence[bool]
    new_texts: Sequence[str] = ()


class Recommender:
    """Serves calls in three steps: `prepare`, `predict` and the response. All steps of a call share one deadline."""

    def __init__(
        self,
        bundle: Bundle,
        features: Features,
        predictor: Predictor,
        metrics: Metrics,
        deadline_seconds: float,
        text_cache: int,
        policy: FeaturePolicy = FeaturePolicy(),  # noqa: B008 - frozen
        key_bytes: int = KEY_BYTES,
    ) -> None:
        self._bundle = bundle
        self._scenario = bundle.contract.scenario
        self._parser = CallParser(self._scenario, key_bytes)
        self._predictor = BatchedPredictor(
            predictor, self._scenario.export.instances, lambda model: metrics.batches_rerun.labels(model).inc()
        )
        self._features = OptionalFeatures(features, self._scenario, metrics, policy, deadline_seconds)
        self._metrics = metrics
        self._deadline_seconds = deadline_seconds
        self._vectors = TextVectors(
            bundle.tokenizer,
            self._encode,
            bundle.contract.text_dim,
            text_cache,
            metrics.texts,
        )
        items = bundle.catalogues.get(ITEMS)
        self._filters = None if items is None else ItemFilters(self._scenario, items)
        self._writer = ResponseWriter(self._scenario, bundle.catalogues)
        self._text_cache = text_cache
        self._filling: asyncio.Task[None] | None = None

    async def prepare(
        self, tensors: Sequence[InputTensor], outputs: Sequence[str], now: int, record: CallRecord | None = None
    ) -> PreparedRequest:
        """Check a call, read its features and make the model's inputs. What is learned about it goes to `record`.

        Raises RequestError for a malformed call, Unavailable when the predictor is unavailable or slow, or the feature
        store where the policy is strict; else the response is made without features.
        """
        record = record or CallRecord()
        deadline = record.deadline or Deadline(self._deadline_seconds)
        call = self._parser.parse(tensors, outputs, now)
        allowed = None
        if call.filters and self._filters is not None:
            allowed = await self._filters.mask(call.filters, deadline)
        record.batch, record.tasks = len(call.requests), call.tasks
        with record.stage("features"):
            online, degraded = await self._features(call.requests, deadline)
        for row in online:
            self._metrics.read(row.ages)
        batch = [
            request_features(
                request.user_id,
                row,
                request.query,
                request.recent_items,
                request.exclude_items,
                request.disliked_items,
                request.context,
            )
            for request, row in zip(call.requests, online, strict=True)
        ]
        with record.stage("text"):
            texts = [self._bundle.encoder.text(features) for features in batch]
            inputs: dict[str, NDArray[Any]] = self._bundle.encoder.rows(batch) if call.tasks else {}
            if allowed is not None and any(self._scenario.task(name).catalogue == ITEMS for name in call.tasks):
                inputs[ALLOWED] = np.broadcast_to(allowed, (len(batch), len(allowed)))
            new_texts: list[str] = []
            if not call.tasks:
                truncated = self._bundle.tokenizer.was_truncated(texts)
            elif self._vectors.all_new(texts):
                new_texts = texts
                input_ids, attention_mask, truncated = self._bundle.tokenizer.tokens(texts)
                inputs |= {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}
            else:
                vectors, truncated = await self._vectors(texts, deadline)
                inputs[TEXT_VECTOR] = vectors
            flags = {
                # Without the store nobody knows who is new.
                COLD_START: [not (row.known or degraded) for row in online],
                TRUNCATED: truncated,
                STALE_FEATURES: [row.stale for row in online],
                DEGRADED: [degraded] * len(batch),
            }
            record.flags = {name: sum(values) for name, values in flags.items()}
        return PreparedRequest(
            call, deadline, inputs, [flag(*one) for one in flags.items()], record, truncated, new_texts
        )

    async def predict(self, prepared: PreparedRequest) -> dict[str, NDArray[Any]]:
        """The model's tensors for the wanted tasks. Raises Unavailable when the predictor is down or slow."""
        outputs = model_outputs(self._scenario, prepared.call.tasks)
        if not outputs:
            return {}
        if prepared.new_texts:
            return await self._with_texts(prepared, outputs)
        with prepared.record.stage("predictor"):
            return await self._infer(MULTITASK, prepared.inputs, outputs, prepared.deadline)

    async def _with_texts(self, prepared: PreparedRequest, outputs: list[str]) -> dict[str, NDArray[Any]]:
        """As `predict`, for texts that are not cached: one call returns their vectors too, which are kept."""
        texts = prepared.new_texts
        self._metrics.texts("miss", len(texts))
        with prepared.record.stage("predictor"), self._vectors.encoding(texts) as made:
            tensors = await self._infer(RECOMMENDER, prepared.inputs, [*outputs, ENCODED_TEXT], prepared.deadline)
            made.update(self._vectors.encoded(texts, tensors.pop(ENCODED_TEXT), prepared.truncated))
        return tensors

    def answer(self, prepared: PreparedRequest, tensors: Mapping[str, NDArray[Any]]) -> list[ResponseTensor]:
        """The tensors the caller wants, in the order it wants them."""
        with prepared.record.stage("post"):
            return self._answer(prepared, tensors)

    def _answer(self, prepared: PreparedRequest, tensors: Mapping[str, NDArray[Any]]) -> list[ResponseTensor]:
        counts = [request.count for request in prepared.call.requests]
        made = {tensor.name: tensor for tensor in prepared.flags}
        for name in prepared.call.tasks:
            written = {t.name: t for t in self._writer.task(self._scenario.task(name), tensors, counts)}
            self._metrics.answered(name, written)
            made.update(written)
        if prepared.call.slate is not None:
            made.update({t.name: t for t in self._slate(prepared.call, prepared.call.slate, tensors)})
        return [made[name] for name in prepared.call.outputs]

    def _slate(self, call: Call, slate: Slate, tensors: Mapping[str, NDArray[Any]]) -> list[ResponseTensor]:
        """One list over the slate's tasks, whatever length their own lists have in the response."""
        tasks = [self._scenario.task(name) for name in slate.tasks]
        if slate.weights is None:
            users = [request.user_id for request in call.requests]
            priority = self._bundle.priorities.of(users, slate.tasks)
        else:
            weights = np.array(slate.weights)
            priority = np.tile(weights / weights.sum(), (len(call.requests), 1))
        made = {task.name: {t.name: t for t in self._writer.task(task, tensors, slate.sizes)} for task in tasks}
        slates = [
            merge(
                self._scenario,
                dict(zip(slate.tasks, priority[row], strict=True)),
                {task.name: entries_of(task, made[task.name], row) for task in tasks},
            )
            for row in range(len(call.requests))
        ]
        return slate_tensors(slates, slate.sizes, slate.tasks, priority)

    def fill_cache(self, now: int, count: int) -> None:
        """Encode in the background at most `count` texts that are frequent at a moment (unix seconds)."""
        texts = common_texts(self._bundle, now, min(count, self._text_cache))
        self._filling = asyncio.get_running_loop().create_task(fill(self._vectors, texts))

    def close(self) -> None:
        """Take no more work."""
        if self._filling is not None:
            self._filling.cancel()
        self._features.close()
        if self._filters is not None:
            self._filters.close()

    async def probe_features(self, deadline: Deadline) -> None:
        """See `OptionalFeatures.probe`."""
        await self._features.probe(deadline)

    async def _encode(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], deadline: Deadline
    ) -> NDArray[np.float32]:
        inputs = {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}
        return (await self._infer(TEXT_ENCODER, inputs, [TEXT_VECTOR], deadline))[TEXT_VECTOR]

    async def _infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        try:
            return await self._predictor.infer(model, inputs, outputs, deadline)
        except (Unavailable, ContractError, RuntimeError) as error:
            if not deadline.cut_short(error):
                self._metrics.predictor_errors.labels(model).inc()
            raise
