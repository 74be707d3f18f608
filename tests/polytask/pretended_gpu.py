"""A simulated GPU: tensors stay on the CPU, but each has one recorded device, and mixing the two fails.

It shows that a model moves completely to the GPU, on machines without a GPU. Backward passes are not checked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")


class Operations(TorchDispatchMode):
    """Results are on the device of the operands. Operands must agree, but for numbers and indices, as on a real GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.on_gpu = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        result = func(*args, **(kwargs or {}))
        if any(operand in self.on_gpu for operand in operands):
            if func.__name__.startswith("index") and operands[0] in self.on_gpu:
                operands = operands[:1]
            behind = [tuple(o.shape) for o in operands if o not in self.on_gpu and o.ndim > 0]
            if behind:
                raise RuntimeError(f"{func}: operands of shape {behind} are on the CPU, others on the GPU")
            self.note(result)
        return result

    def note(self, result: Any) -> None:
        """Record that all tensors of `result` are on the GPU."""
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.on_gpu[leaf] = True


class Placement(TorchFunctionMode):
    """Returns the recorded `.device`, and records the devices of `.to(device)` and `device=`."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.operations = operations

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        on_gpu = self.operations.on_gpu
        if func == Tensor.device.__get__:
            return GPU if args[0] in on_gpu else CPU
        if func == Tensor.data.__set__:
            on_gpu.pop(args[0], None)
            if args[1] in on_gpu:
                on_gpu[args[0]] = True
        if func == Tensor.numpy and args[0] in on_gpu:
            raise RuntimeError("numpy() of a tensor that is on the GPU")
        if func == Tensor.cpu:
            func, args = Tensor.to, (args[0], CPU)
        wanted = kwargs.get("device")
        if func == Tensor.to:
            wanted = next((torch.device(a) for a in args[1:] if isinstance(a, str | torch.device)), wanted)
            args = (*args[:1], *(CPU if isinstance(a, str | torch.device) else a for a in args[1:]))
            if wanted is not None:
                args = (args[0].clone(), *args[1:])
                on_gpu.pop(args[0], None)
        if "device" in kwargs:
            kwargs["device"] = CPU
        result = func(*args, **kwargs)
        if wanted is not None and torch.device(wanted).type == GPU.type:
            self.operations.note(result)
        return result


@contextmanager
def pretended_gpu() -> Iterator[Operations]:
    """Within the block the device `GPU` can be used."""
    operations = Operations()
    with torch.no_grad(), operations, Placement(operations):
        yield operations
