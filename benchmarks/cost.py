"""What a call to the multi-task model costs as the catalogue and the history grow, with random weights.

CPU time of one thread at batch 1 in ONNX Runtime, the request's text already a vector. The items are the bundle's own,
over and over, with vectors drawn at random.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.ort_vs_eager import cpu_side
from benchmarks.workbench import Workbench
from polytask.contract.tensors import ALLOWED, multitask_inputs, multitask_outputs
from polytask.data.catalogue import Catalogue
from polytask.errors import ScenarioError
from polytask.scenario import Scenario
from polytask.scenario.names import ITEMS, USERS

ITEM_COUNTS = (2_000, 20_000, 200_000, 1_000_000)
HISTORY_LENGTHS = (10, 25, 50, 100, 200)
# The random item texts may be short: the vectors of the items are of the model's dimension, whatever these are of.
TEXT_DIM = 8
TIMES = 30


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """`cost_of_catalogue`, `cost_of_history`: CPU time over that of the smallest, with milliseconds and a plot."""
    scenario = bench.contract.scenario
    if not scenario.has_items:
        raise ScenarioError(f"{scenario.name}: has no items, whose number the cost could depend on")
    smallest = bench.size(ITEM_COUNTS[0], least=100)
    by_items = {bench.size(count, least=100): scenario for count in ITEM_COUNTS}
    by_history = {length: with_history(scenario, length) for length in HISTORY_LENGTHS}
    figures = [
        _figure(
            "cost_of_catalogue",
            "CPU time of a call to the multi-task model, by items, over that of the fewest",
            _milliseconds(bench, rounds, {f"{count:,} items": (one, count) for count, one in by_items.items()}),
        ),
        _figure(
            "cost_of_history",
            f"CPU time of a call to the multi-task model, by history, over that of the shortest; {smallest:,} items",
            _milliseconds(bench, rounds, {f"{length} events": (one, smallest) for length, one in by_history.items()}),
        ),
    ]
    plot(figures, list(by_items), list(by_history), bench.out / "cost.svg")
    return figures


def with_history(scenario: Scenario, length: int) -> Scenario:
    """The scenario with another `features.history_length`."""
    content = scenario.model_dump()
    content["features"]["history_length"] = length
    content["features"]["exclude_length"] = max(length, content["features"]["exclude_length"])
    return Scenario.model_validate(content)


def _milliseconds(
    bench: Workbench, rounds: int, variants: Mapping[str, tuple[Scenario, int]]
) -> dict[str, list[float]]:
    from polytask.export.in_process import session

    runs = {}
    for name, (scenario, count) in variants.items():
        with TemporaryDirectory() as folder:
            running = session(random_graph(bench, scenario, count, Path(folder) / "model.onnx"), 1)
        feed = random_feed(scenario, count, bench.contract.text_dim)
        runs[name] = lambda running=running, feed=feed: running.run(None, feed)
    times = bench.size(TIMES)
    seconds = interleaved(rounds, {name: cpu_side(run, times) for name, run in runs.items()})
    return {name: [1000 * value for value in values] for name, values in seconds.items()}


def random_graph(bench: Workbench, scenario: Scenario, count: int, path: Path) -> Path:
    """The served graph of `scenario` with random weights and `count` items, as the ONNX file `path`."""
    import torch

    from polytask.export.onnx import export_graph
    from polytask.export.serving_graph import ServingGraph
    from polytask.model.multitask import MultiTaskModel

    known = bench.bundle.catalogues[ITEMS]
    table = known.table.iloc[np.arange(count) % len(known)].assign(**{known.key: np.arange(count)})
    torch.manual_seed(0)
    model = MultiTaskModel(
        scenario,
        torch.randn(count + 1, TEXT_DIM),
        torch.randn(8, bench.contract.text_dim),
        len(bench.bundle.catalogues[USERS]),
    )
    graph = ServingGraph(model, Catalogue(ITEMS, known.key, table))
    dim = bench.contract.text_dim
    inputs, outputs = multitask_inputs(scenario, dim), multitask_outputs(scenario, dim)
    return export_graph(graph, inputs, outputs, path, {ALLOWED: count + 1})


def random_feed(scenario: Scenario, count: int, text_dim: int) -> dict[str, Any]:
    """One request with a full history over `count` items."""
    random = np.random.default_rng(0)
    specs = multitask_inputs(scenario, text_dim)
    feed: dict[str, Any] = {ALLOWED: np.ones((1, 1), dtype=np.bool_)}
    for spec in specs:
        if spec.dtype == "FP32":
            feed[spec.name] = random.normal(size=(1, *spec.shape)).astype(np.float32)
        elif spec.dtype == "INT64":
            feed[spec.name] = random.integers(1, count + 1, (1, *spec.shape))
    return feed


def _figure(name: str, what: str, milliseconds: Mapping[str, list[float]]) -> Figure:
    first = next(iter(milliseconds.values()))
    rounded = {part: [round(value, 3) for value in values] for part, values in milliseconds.items()}
    parts = {part: ratios(values, first) for part, values in milliseconds.items()}
    return Figure(name, what, parts, bar_is="at most", details={"cpu_ms": rounded})


def plot(figures: list[Figure], counts: list[int], lengths: list[int], path: Path) -> None:
    """CPU milliseconds over items and over history, as SVG."""
    from matplotlib.figure import Figure as Plot

    drawn = Plot(figsize=(9, 3.5), layout="constrained")
    places = drawn.subplots(1, 2)
    axes = ((counts, "items in the catalogue"), (lengths, "events in the history"))
    for place, figure, (sizes, label) in zip(places, figures, axes, strict=True):
        middle = [float(np.median(values)) for values in figure.details["cpu_ms"].values()]
        place.plot(sizes, middle, marker="o")
        place.set(xlabel=label, ylabel="CPU ms of a call")
    places[0].set(xscale="log", yscale="log")
    places[1].set_ylim(bottom=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, metadata={"Date": None})
