"""One model for three tasks compared with a model for each: the cost of predictions for all of them.

The models of one task have the architecture and the sizes of the bundle's, and random weights: the cost knows no
difference. Each has a text encoder of its own to run, as separate services would. CPU time of one thread.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.calls import Tensors
from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.in_process import InProcess
from benchmarks.ort_vs_eager import cpu_side
from benchmarks.workbench import Workbench
from polytask.contract.contract import TEXT_ENCODER
from polytask.contract.tensors import (
    ALLOWED,
    INPUT_IDS,
    TEXT_VECTOR,
    multitask_inputs,
    multitask_outputs,
    response_outputs,
)
from polytask.scenario import Scenario
from polytask.scenario.names import ITEMS, USERS

BAR = 0.4
# Calls of one measurement, by their number of users.
CALLS = {1: 40, 16: 5}


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """`three_tasks_vs_three_models`: the bundle's call over one call to each model of one task, together."""
    with TemporaryDirectory() as folder:
        together = InProcess(bench.published, bench.contract, 1, 1)
        alone = [_one_task(bench, task.name, Path(folder)) for task in bench.contract.scenario.tasks]
    parts = {}
    for batch, calls in CALLS.items():
        [call] = bench.calls.new(1, batch)
        tensors = bench.calls.tensors(call, bench.reader)
        times = bench.size(calls)

        def one_call(tensors: Tensors = tensors) -> Any:
            return together.answer(tensors)

        def calls_of_each(tensors: Tensors = tensors) -> Any:
            return [model(tensors) for model in alone]

        found = interleaved(rounds, {"together": cpu_side(one_call, times), "alone": cpu_side(calls_of_each, times)})
        parts[f"batch {batch}"] = ratios(found["together"], found["alone"])
    what = f"CPU time of one call for {len(alone)} tasks over that of {len(alone)} calls to models of one task"
    return [Figure("three_tasks_vs_three_models", what, parts, BAR, "at most")]


def of_one_task(scenario: Scenario, task: str) -> Scenario:
    """The scenario with this task alone."""
    content = scenario.model_dump()
    content["tasks"] = [entry for entry in content["tasks"] if entry["name"] == task]
    return Scenario.model_validate(content)


class OneTask:
    """A model of one task behind a text encoder of its own."""

    def __init__(self, text: Path, multitask: Path, scenario: Scenario) -> None:
        from polytask.export.in_process import session

        self._text, self._multitask = session(text, 1), session(multitask, 1)
        self._inputs = {tensor.name for tensor in self._multitask.get_inputs()}
        self._outputs = [spec.name for spec in response_outputs(scenario)]

    def __call__(self, tensors: Tensors) -> list[Any]:
        """The task's outputs."""
        tokens = {tensor.name: tensors[tensor.name] for tensor in self._text.get_inputs()}
        [vector] = self._text.run([TEXT_VECTOR], tokens)
        rows = {name: values for name, values in tensors.items() if name in self._inputs and name != INPUT_IDS}
        answer: list[Any] = self._multitask.run(self._outputs, {TEXT_VECTOR: vector, **rows})
        return answer


def _one_task(bench: Workbench, task: str, folder: Path) -> OneTask:
    import torch

    from polytask.export.onnx import export_graph
    from polytask.export.serving_graph import ServingGraph
    from polytask.model.multitask import MultiTaskModel

    scenario = of_one_task(bench.contract.scenario, task)
    catalogues, dim = bench.bundle.catalogues, bench.contract.text_dim
    items = catalogues.get(ITEMS)
    torch.manual_seed(0)
    item_texts = None if items is None else torch.randn(len(items) + 1, dim)
    model = MultiTaskModel(scenario, item_texts, torch.randn(8, dim), len(catalogues[USERS]))
    path = export_graph(
        ServingGraph(model, items),
        multitask_inputs(scenario, dim),
        multitask_outputs(scenario, dim),
        folder / f"{task}.onnx",
        {} if items is None else {ALLOWED: len(items) + 1},
    )
    return OneTask(bench.published / bench.contract.models[TEXT_ENCODER].path, path, scenario)
