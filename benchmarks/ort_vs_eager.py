"""One request through text encoder and multi-task model: ONNX Runtime compared with torch in eager mode.

CPU time of one thread, so that other programs on the machine take no part.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.in_process import InProcess
from benchmarks.workbench import Workbench
from polytask.contract.contract import TEXT_ENCODER
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR
from polytask.scenario.names import ITEMS

BAR = 2.0
TIMES = 40


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """`ort_vs_eager`: torch / ONNX Runtime, with the text encoder as it is served, and in float32 as torch has it."""
    import torch

    from polytask.export.serving_graph import ServingGraph
    from polytask.export.text_encoder import write_float32
    from polytask.training.checkpoint import load_checkpoint

    [call] = bench.calls.new(1, 1)
    tensors = bench.calls.tensors(call, bench.reader)
    model = load_checkpoint(bench.checkpoint, bench.language_model.sha256)
    graph = ServingGraph(model, bench.bundle.catalogues.get(ITEMS), bench.contract.new_items)
    encoder = bench.language_model.encoder.eval()
    inputs = {name: torch.from_numpy(values) for name, values in tensors.items()}
    ids, mask = inputs.pop(INPUT_IDS), inputs.pop(ATTENTION_MASK)

    def eager() -> Any:
        with torch.inference_mode():
            return graph(**{TEXT_VECTOR: encoder(ids, mask)}, **inputs)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as folder:
            served = InProcess(bench.published, bench.contract, 1, 1)
            write_float32(bench.language_model, Path(folder) / "text.onnx")
            float32 = InProcess(bench.published, bench.contract, 1, 1, text=Path(folder) / "text.onnx")
        runs = {"eager": eager, "as served": lambda: served.answer(tensors), "float32": lambda: float32.answer(tensors)}
        times = bench.size(TIMES)
        found = interleaved(rounds, {name: cpu_side(run, times) for name, run in runs.items()})
    finally:
        torch.set_num_threads(threads)
    parts = {name: ratios(found["eager"], found[name]) for name in ("as served", "float32")}
    details = {
        "cpu_ms": {name: [round(1000 * value, 3) for value in values] for name, values in found.items()},
        "text_encoder_as_served": bench.contract.precision_of(TEXT_ENCODER),
    }
    what = "CPU time of torch in eager mode over that of ONNX Runtime, batch 1"
    return [Figure("ort_vs_eager", what, parts, BAR, details=details)]


def cpu_side(run: Callable[[], Any], times: int) -> Callable[[int], float]:
    """`cpu_seconds` as a side of `interleaved`."""
    return lambda _: cpu_seconds(run, times)


def cpu_seconds(run: Callable[[], Any], times: int) -> float:
    """CPU seconds of this process for one run, the mean of `times`."""
    run()
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times
