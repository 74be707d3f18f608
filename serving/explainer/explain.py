"""Explanations by occlusion: one prediction of each task, the first by default, and how much lower it scores without
each part.

The request and all its occlusions are the rows of one call to the model, and their new texts of one call to the text
encoder. The model returns the best K of a list only. A prediction that has left them scores at most the last of them,
so that its contribution is at least the difference to that one, and is marked so. With filters a first call finds the
request's own lists, and in the second nothing else is allowed: the best K then hold every prediction, and where one
task lists items, every contribution to it is exact.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.contract.contract import MULTITASK, TEXT_ENCODER
from polytask.contract.names import COLD_START, STALE_FEATURES, TARGETS, TASKS, TRUNCATED, USER_ID
from polytask.contract.tensors import ALLOWED, ATTENTION_MASK, INPUT_IDS, MASKED_SCORE, TEXT_VECTOR
from polytask.data.catalogue import PADDING_ROW
from polytask.data.request import RequestFeatures
from polytask.errors import ContractError, RequestError
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task
from polytask.tasks.kind import kind_of
from serving.explainer.occlusion import HISTORY, Part, Titles, as_read, parts_of
from serving.explainer.parse import Wanted
from serving.transformer.api.answers import ResponseWriter, model_outputs
from serving.transformer.api.filters import ItemFilters, Mask
from serving.transformer.api.parse import Call, Request
from serving.transformer.bundle import Bundle
from serving.transformer.concurrency.batching import Predictor
from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.features.lookup import FeatureLookup, Features
from serving.transformer.features.reader import request_features
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.text.vectors import TextVectors

Explanation = dict[str, Any]


class Explainer:
    """Explains the calls of one bundle, with the transformer's own features, texts and predictor."""

    def __init__(self, bundle: Bundle, features: Features, predictor: Predictor, text_cache: int = 20_000) -> None:
        self._bundle = bundle
        self._scenario = bundle.contract.scenario
        self._predictor = predictor
        self._vectors = TextVectors(bundle.tokenizer, self._encode, bundle.contract.text_dim, text_cache)
        self._writer = ResponseWriter(self._scenario, bundle.catalogues)
        self._look_up = FeatureLookup(features)
        items = bundle.catalogues.get(ITEMS)
        self._filters = None if items is None else ItemFilters(self._scenario, items)
        column = self._scenario.items.title_column if self._scenario.has_items else None
        self._titles = Titles(bundle.encoder.items, column)

    async def explain(self, wanted: Sequence[Wanted], record: CallRecord) -> list[Explanation]:
        """Return one explanation per call, each of one user. Timings and flags are written to `record`.

        Raises Unavailable when the feature store or the predictor is down or slow, RequestError with the place of a
        target that is not predicted for its request.
        """
        assert record.deadline is not None
        calls = [one.call for one in wanted]
        requests = [call.requests[0] for call in calls]
        record.batch, record.tasks = len(calls), calls[0].tasks
        users, moments = [one.user_id for one in requests], [one.timestamp for one in requests]
        with record.stage("features"):
            online = await self._look_up(users, moments, record.deadline)
        explanations = []
        for place, (one, row) in enumerate(zip(wanted, online, strict=True)):
            request = one.call.requests[0]
            features = _features_of(request, row)
            try:
                allowed = await self._allowed(one.call, record.deadline)
                tasks, truncated = await self.tasks(features, one.call.tasks, record, one.targets, allowed)
            except RequestError as error:
                reason = str(error).removeprefix(f"{error.field}: ")
                raise RequestError(f"instances[{place}].{error.field}", reason) from error
            flags = {COLD_START: not row.known, TRUNCATED: truncated, STALE_FEATURES: row.stale}
            for name, holds in flags.items():
                record.flags[name] = record.flags.get(name, 0) + holds
            explanations.append({USER_ID: request.user_id, TASKS: tasks, **flags})
        return explanations

    async def tasks(
        self,
        features: RequestFeatures,
        tasks: Sequence[str],
        record: CallRecord,
        targets: Mapping[str, int | str] | None = None,
        allowed: Mask | None = None,
    ) -> tuple[dict[str, Any], bool]:
        """Task name -> its prediction and the contributions to it, of one request, and whether its text was cut.

        `targets` names the predictions, default: the first. `allowed` (N + 1,) are the items that filters leave.
        Raises RequestError where a target is not among the predictions.
        """
        assert record.deadline is not None
        parts = parts_of(self._bundle.encoder, features, self._titles)
        batch = [as_read(self._bundle.encoder, features), *(part.without for part in parts)]
        with record.stage("text"):
            texts = [self._bundle.encoder.text(one) for one in batch]
            vectors, truncated = await self._vectors(texts, record.deadline)
        inputs = {TEXT_VECTOR: vectors, **self._bundle.encoder.rows(batch)}
        outputs = model_outputs(self._scenario, tasks)
        lists = [f"{name}_ids" for name in tasks if self._scenario.task(name).catalogue == ITEMS]
        with record.stage("predictor"):
            if allowed is not None and lists:
                listed = await self._listed(inputs, lists, allowed, record.deadline)
                inputs[ALLOWED] = np.broadcast_to(listed, (len(batch), len(listed)))
            tensors = await self._predictor.infer(MULTITASK, inputs, outputs, record.deadline)
        with record.stage("post"):
            wanted = targets or {}
            found = {name: self._task(self._scenario.task(name), tensors, parts, wanted.get(name)) for name in tasks}
            return found, truncated[0]

    async def _allowed(self, call: Call, deadline: Deadline) -> Mask | None:
        """The item rows that the filters of a call leave, None where it has none."""
        return await self._filters.mask(call.filters, deadline) if call.filters and self._filters is not None else None

    async def _listed(
        self, inputs: Mapping[str, NDArray[Any]], lists: Sequence[str], allowed: Mask, deadline: Deadline
    ) -> Mask:
        """(N + 1,): the item rows of the request's own `lists`, which are outputs, under its filters."""
        first = {name: values[:1] for name, values in inputs.items()} | {ALLOWED: allowed[None]}
        found = await self._predictor.infer(MULTITASK, first, lists, deadline)
        mask = np.zeros_like(allowed)
        for name in lists:
            mask[found[name]] = True
        mask[PADDING_ROW] = False
        return mask

    def _task(
        self, task: Task, tensors: Mapping[str, NDArray[Any]], parts: Sequence[Part], target: int | str | None
    ) -> dict[str, Any]:
        answer, place = self._answer(task, tensors, target)
        if answer is None:  # everything is masked: there is nothing to explain
            return {"answer": None, "history": [], "words": []}
        scores, exact = _scores(task, tensors, place)
        contributions = [
            {
                **({"id": part.name, "title": part.text} if part.kind == HISTORY else _words(part)),
                "contribution": float(scores[0] - scores[row]),
                "at_least": not exact[row],
            }
            for row, part in enumerate(parts, start=1)
        ]
        pairs = sorted(zip(parts, contributions, strict=True), key=lambda pair: -pair[1]["contribution"])
        return {
            "answer": answer,
            "history": [one for part, one in pairs if part.kind == HISTORY],
            "words": [one for part, one in pairs if part.kind != HISTORY],
        }

    def _answer(
        self, task: Task, tensors: Mapping[str, NDArray[Any]], target: int | str | None
    ) -> tuple[dict[str, Any] | None, int]:
        """The prediction for the request itself, as the transformer would write it, and its place in the list."""
        first = {name: values[:1] for name, values in tensors.items()}
        kind = kind_of(task)
        length = 1 if task.catalogue is None or target is None else tensors[f"{task.name}_ids"].shape[1]
        written = self._writer.task(task, first, [length])
        made = {tensor.name.removeprefix(f"{task.name}_"): tensor.values for tensor in written}
        if "values" in made:
            return {"value": float(made["values"][0, 0])}, 0
        place = 0
        if target is not None and kind.listed_output is not None:
            listed = made[kind.listed_output][0].tolist()
            if target not in listed:
                raise RequestError(
                    f"{TARGETS}.{task.name}",
                    f"{target!r} is not among the {len(listed)} predictions for this request, allowed: one of them",
                )
            place = listed.index(target)
        score = float(made["scores"][0, place])
        if "ids" in made:
            if score <= MASKED_SCORE / 2:
                return None, place
            external = made["ids"][0, place]
            key = getattr(external, "item", lambda: external)()
            return {"id": key, "title": made["titles"][0, place], "score": score}, place
        return {"label": made["labels"][0, place] if "labels" in made else task.name, "score": score}, place

    def close(self) -> None:
        """Take no more work."""
        self._look_up.close()
        if self._filters is not None:
            self._filters.close()

    async def _encode(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64], deadline: Deadline
    ) -> NDArray[np.float32]:
        inputs = {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask}
        return (await self._predictor.infer(TEXT_ENCODER, inputs, [TEXT_VECTOR], deadline))[TEXT_VECTOR]


def _scores(
    task: Task, tensors: Mapping[str, NDArray[Any]], place: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores (B,) of what is at `place` in row 0's list, and whether each is exact (B,) or the most it can be."""
    if f"{task.name}_values" in tensors:
        values = np.asarray(tensors[f"{task.name}_values"], np.float64)[:, 0]
        return values, np.ones(len(values), np.bool_)
    scores = np.asarray(tensors[f"{task.name}_scores"], np.float64)
    if f"{task.name}_ids" not in tensors:
        return scores[:, np.argsort(-scores[0], kind="stable")[place]], np.ones(len(scores), np.bool_)
    rows = tensors[f"{task.name}_ids"]
    found = rows == rows[0, place]
    exact: NDArray[np.bool_] = found.any(axis=1)
    if not exact[0]:
        raise ContractError(f"{task.name}_ids: the prediction is not in its own list")
    allowed = np.where(scores > MASKED_SCORE / 2, scores, np.inf)
    return np.where(exact, scores[np.arange(len(rows)), found.argmax(axis=1)], allowed.min(axis=1)), exact


def _words(part: Part) -> dict[str, Any]:
    return {"part": part.kind, "name": part.name, "text": part.text}


def _features_of(request: Request, online: Any) -> RequestFeatures:
    return request_features(
        request.user_id,
        online,
        request.query,
        request.recent_items,
        request.exclude_items,
        request.disliked_items,
        request.context,
    )
