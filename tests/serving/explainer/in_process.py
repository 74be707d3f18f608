"""An explainer over the small trained model without servers: ONNX Runtime in place of Triton, memory of Feast."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from polytask.contract.contract import load_contract
from polytask.data.tables import Tables
from serving.explainer.parse import Wanted
from serving.transformer.api.parse import Call, Request
from serving.transformer.concurrency.deadline import Deadline
from serving.transformer.features.reader import OnlineFeatures
from serving.transformer.observability.call_record import CallRecord


class OnnxPredictor:
    """The models of a bundle; `calls` records the model and the number of rows of each call."""

    def __init__(self, bundle: Path) -> None:
        contract = load_contract(bundle)
        self._sessions = {
            name: onnxruntime.InferenceSession(bundle / file.path) for name, file in contract.models.items()
        }
        self.calls: list[tuple[str, int]] = []

    async def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        self.calls.append((model, len(next(iter(inputs.values())))))
        session = self._sessions[model]
        read = {one.name for one in session.get_inputs()}
        answers = session.run(list(outputs), {name: values for name, values in inputs.items() if name in read})
        return dict(zip(outputs, map(np.asarray, answers), strict=True))


class Memory:
    """Features of the small users: their profiles, and what each had done in the end."""

    def __init__(self, tables: Tables) -> None:
        events = tables.interactions.groupby("user_id")["item_id"].agg(list)
        self._rows = {
            int(user["user_id"]): OnlineFeatures(
                {"age": user["age"], "occupation": user["occupation"]},
                {"daypart": "evening", "weekpart": "weekday"},
                tuple(events[user["user_id"]]),
                tuple(events[user["user_id"]]),
                True,
            )
            for user in tables.users.to_dict("records")
        }

    in_loop = None

    def read(self, users: Sequence[int | str], moments: Sequence[int]) -> list[OnlineFeatures]:
        nobody = OnlineFeatures({"age": None, "occupation": None}, {"daypart": "evening", "weekpart": "weekday"})
        return [self._rows.get(int(user), nobody) for user in users]


def send_request(
    explainer: Any,
    *requests: Request,
    tasks: Sequence[str] = ("item", "user", "scene"),
    targets: Mapping[str, int | str] | None = None,
    filters: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The explanations of some requests."""
    record = CallRecord(deadline=Deadline(60))
    wanted = [Wanted(Call((request,), tuple(tasks), filters=tuple(filters)), targets or {}) for request in requests]
    explanations: list[dict[str, Any]] = asyncio.run(explainer.explain(wanted, record))
    return explanations
