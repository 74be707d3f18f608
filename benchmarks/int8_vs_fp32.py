"""How much faster the text encoder is in int8 than in float32, on one thread of a CPU.

    python -m benchmarks.int8_vs_fp32 BUNDLE [--checkpoint FOLDER] [--rounds 5]

Both are asked the same token ids in turn. Times are CPU time of one thread, so that other programs on the machine take
no part; the ratios are of the two times of a round. How far the answers agree is what the gate has found at the export.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from polytask.contract import TEXT_ENCODER, Contract, load_contract
from polytask.errors import ContractError
from polytask.language_model import LanguageModel
from polytask.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR
from polytask.text import TextTokenizer

BATCHES = (1, 8, 32)
TOKENS = 32
# Each measurement encodes about this many texts.
TEXTS = 64
SPEED_BAR = 1.8
AGREEMENT_BAR = 0.95


def int8_vs_fp32(bundle: Path, rounds: int = 5, checkpoint: Path | None = None) -> dict[str, Any]:
    """Speed per batch size as float32 / int8 with median, min, max, rounds and bar; agreement and loss per task.

    `checkpoint` is needed where the language model was tuned. Raises ContractError where the bundle is not in int8, or
    the language model is not the bundle's.
    """
    contract = load_contract(bundle)
    precision = contract.precisions.get(TEXT_ENCODER)
    if precision is None or precision.precision != "int8":
        raise ContractError(f"{bundle}: its text encoder is not in int8 ({precision.reason if precision else 'fp32'})")
    with TemporaryDirectory() as folder:
        float32 = _float32(contract, checkpoint, Path(folder) / "text.onnx")
        graphs = (float32, bundle / contract.models[TEXT_ENCODER].path)
        tokenizer = TextTokenizer(bundle / contract.tokenizer.path, contract.max_tokens)
        speed = _speed(graphs, min(TOKENS, contract.max_tokens), tokenizer.vocabulary, rounds)
    tasks = {
        name: {"agreement": figures.agreement, "bar": AGREEMENT_BAR, **figures.model_dump(exclude={"agreement"})}
        for name, figures in precision.tasks.items()
    }
    return {"speed": speed, "tasks": tasks}


def _float32(contract: Contract, checkpoint: Path | None, target: Path) -> Path:
    """The text encoder in float32 as an export without int8 would write it."""
    from polytask.checkpoint import language_model_of
    from polytask.export.text_encoder import write_float32

    scenario = contract.scenario
    language_model = LanguageModel(scenario) if checkpoint is None else language_model_of(checkpoint, scenario)
    if language_model.sha256 != contract.encoder_sha256:
        raise ContractError(f"the language model is {language_model.sha256}, the bundle's {contract.encoder_sha256}")
    write_float32(language_model, target)
    return target


def _speed(graphs: tuple[Path, Path], tokens: int, vocabulary: int, rounds: int) -> dict[str, dict[str, float]]:
    from polytask.export.parity import session

    sessions = [session(path, 1) for path in graphs]
    random = np.random.default_rng(0)
    found = {}
    for batch in BATCHES:
        input_ids = random.integers(1, vocabulary, (batch, tokens))
        feed = {INPUT_IDS: input_ids, ATTENTION_MASK: np.ones_like(input_ids)}
        runs = [lambda one=one, feed=feed: one.run([TEXT_VECTOR], feed) for one in sessions]
        for run in runs:
            run()
        ratios = [_cpu_seconds(runs[0], batch) / _cpu_seconds(runs[1], batch) for _ in range(rounds)]
        found[f"batch_{batch}"] = {
            "median": round(median(ratios), 2),
            "min": round(min(ratios), 2),
            "max": round(max(ratios), 2),
            "rounds": rounds,
            "bar": SPEED_BAR,
        }
    return found


def _cpu_seconds(run: Callable[[], Any], batch: int) -> float:
    start = time.process_time()
    for _ in range(max(2, TEXTS // batch)):
        run()
    return time.process_time() - start


def main(
    bundle: Path,
    checkpoint: Annotated[Path | None, typer.Option(help="The trained model, if its language model was tuned.")] = None,
    rounds: Annotated[int, typer.Option(min=5)] = 5,
) -> None:
    """Print the figures as JSON."""
    typer.echo(json.dumps(int8_vs_fp32(bundle, rounds, checkpoint), indent=2))


if __name__ == "__main__":
    typer.run(main)
