"""A bundle's ONNX files in this process, without a server."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from polytask.contract.contract import MULTITASK, TEXT_ENCODER, Contract
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, TEXT_VECTOR

Arrays = dict[str, NDArray[Any]]


def execution_providers() -> list[str]:
    """The execution providers to use, best first: CUDA where onnxruntime-gpu and a GPU are there, then the CPU."""
    available = ort.get_available_providers()
    return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in available]


def session(path: Path, threads: int) -> ort.InferenceSession:
    """An ONNX Runtime session that does not spin: on shared cores, spinning threads cost twice the time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=execution_providers())


class BundleModels:
    """The two graphs of a bundle, opened once: the text encoder, and the multi-task model behind it."""

    def __init__(self, bundle: Path, contract: Contract, threads: int | None = None) -> None:
        """`threads` is by default what the scenario trains with."""
        threads = threads or contract.scenario.training.threads
        self._text = session(bundle / contract.models[TEXT_ENCODER].path, threads)
        self._multitask = session(bundle / contract.models[MULTITASK].path, threads)

    def answer(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        rows: Mapping[str, NDArray[np.int64]],
        outputs: Sequence[str],
    ) -> Arrays:
        """The `outputs` for tokens (B, T) and the rows that `RequestEncoder.rows` makes, batch first."""
        [vector] = self._text.run([TEXT_VECTOR], {INPUT_IDS: input_ids, ATTENTION_MASK: attention_mask})
        answers = self._multitask.run(list(outputs), {TEXT_VECTOR: vector, **rows})
        return dict(zip(outputs, answers, strict=True))
