"""The bundle's own ONNX files in a loop of this process, without a server: what serving is measured against."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmarks.calls import Tensors
from benchmarks.load import Loop
from polytask.contract.contract import MULTITASK, TEXT_ENCODER, Contract
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR


class InProcess:
    """Text encoder and multi-task model of a bundle in ONNX Runtime, `workers` calls at a time of `threads` each."""

    def __init__(
        self, bundle: Path, contract: Contract, workers: int, threads: int, *, text: Path | None = None
    ) -> None:
        """`text` is an ONNX file to take in the place of the bundle's text encoder."""
        from polytask.export.in_process import session

        self.workers = workers
        self.threads = threads
        self._outputs = [spec.name for spec in contract.answers]
        self._text = session(text or bundle / contract.models[TEXT_ENCODER].path, threads)
        self._multitask = session(bundle / contract.models[MULTITASK].path, threads)

    def encode(self, tensors: Tensors) -> dict[str, NDArray[Any]]:
        """The tensors that the multi-task model reads: the text's vector in the place of its tokens."""
        feed = {name: tensors[name] for name in (INPUT_IDS, ATTENTION_MASK)}
        rest = {name: values for name, values in tensors.items() if name not in feed}
        return {TEXT_VECTOR: self._text.run([TEXT_VECTOR], feed)[0], **rest}

    def answer(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs of all tasks, from integer tensors or from what `encode` returns."""
        feed = self.encode(tensors) if INPUT_IDS in tensors else tensors
        return dict(zip(self._outputs, self._multitask.run(self._outputs, feed), strict=True))

    def loop(self, calls: Sequence[dict[str, NDArray[Any]]], pause: float = 0.0) -> Loop:
        """Run the model on all calls, each after a pause of `pause` seconds, which no latency includes."""

        def one(call: dict[str, NDArray[Any]]) -> float:
            if pause:
                time.sleep(pause)
            start = time.perf_counter()
            self.answer(call)
            return time.perf_counter() - start

        begin = time.perf_counter()
        if self.workers == 1:
            latencies = tuple(map(one, calls))
        else:
            with ThreadPoolExecutor(self.workers) as threads:
                latencies = tuple(threads.map(one, calls))
        return Loop(time.perf_counter() - begin, latencies)


def fastest(bundle: Path, contract: Contract, calls: Sequence[Tensors], cores: int) -> InProcess:
    """The quickest way to use `cores` for these calls: one call on all of them, or a call on each."""
    ways = [InProcess(bundle, contract, 1, cores), InProcess(bundle, contract, cores, 1)]
    for way in ways:
        way.loop(calls[: len(calls) // 2 + 1])
    return max(ways, key=lambda way: way.loop(calls).rate)
