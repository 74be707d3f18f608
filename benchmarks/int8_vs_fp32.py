"""How much faster the text encoder is in int8 than in float32, on one thread of a CPU, and how far they agree.

Both get the same token ids in turn. Times are CPU time of one thread, so that other programs on the machine take
no part; the ratios are of the two times of a round. Agreement and loss of metrics are what the gate found at export.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.workbench import Workbench
from polytask.contract.contract import TEXT_ENCODER
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR
from polytask.errors import ContractError

BATCHES = (1, 8, 32)
TOKENS = 32
# Each measurement encodes about this many texts.
TEXTS = 64
SPEED_BAR = 1.8
AGREEMENT_BAR = 0.95


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """`int8_vs_fp32`: float32 / int8 of the CPU time per batch size. `int8_agreement`: per task, from the export.

    Raises ContractError where the bundle is not in int8, or the language model is not the bundle's.
    """
    from polytask.export.text_encoder import write_float32

    precision = bench.contract.precisions.get(TEXT_ENCODER)
    if precision is None or precision.precision != "int8":
        reason = precision.reason if precision else "fp32"
        raise ContractError(f"{bench.published}: its text encoder is not in int8 ({reason})")
    with TemporaryDirectory() as folder:
        float32 = Path(folder) / "text.onnx"
        write_float32(bench.language_model, float32)
        speed = _speed(bench, float32, rounds)
    tasks = {name: figures.model_dump() for name, figures in precision.tasks.items()}
    agreement = {name: [figures.agreement] for name, figures in precision.tasks.items()}
    return [
        Figure("int8_vs_fp32", "CPU time of the text encoder in float32 over that in int8", speed, SPEED_BAR),
        Figure(
            "int8_agreement",
            "share of the first ten (or of the classes) that stays the same in int8, on validation requests",
            agreement,
            AGREEMENT_BAR,
            details={"tasks": tasks},
        ),
    ]


def _speed(bench: Workbench, float32: Path, rounds: int) -> dict[str, list[float]]:
    from polytask.export.in_process import session

    graphs = {"float32": float32, "int8": bench.published / bench.contract.models[TEXT_ENCODER].path}
    sessions = {name: session(path, 1) for name, path in graphs.items()}
    tokens, random = min(TOKENS, bench.contract.max_tokens), np.random.default_rng(0)
    found = {}
    for batch in BATCHES:
        input_ids = random.integers(1, bench.bundle.tokenizer.vocabulary, (batch, tokens))
        feed = {INPUT_IDS: input_ids, ATTENTION_MASK: np.ones_like(input_ids)}
        runs = {name: partial(one.run, [TEXT_VECTOR], feed) for name, one in sessions.items()}
        for run in runs.values():
            run()
        times = bench.size(max(2, TEXTS // batch), least=1)
        seconds = interleaved(rounds, {name: _cpu_side(run, times) for name, run in runs.items()})
        found[f"batch {batch}"] = ratios(seconds["float32"], seconds["int8"])
    return found


def _cpu_side(run: Callable[[], Any], times: int) -> Callable[[int], float]:
    return lambda _: _cpu_seconds(run, times)


def _cpu_seconds(run: Callable[[], Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        run()
    return time.process_time() - start
