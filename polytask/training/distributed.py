"""The processes that train together and the device of each: one here, as many as `torchrun` starts elsewhere."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta

import torch
from accelerate import PartialState
from accelerate.utils import gather, reduce
from torch import Tensor
from torch.nn import Parameter

from polytask.scenario.schema import Training
from polytask.training.windows import Windows

# While one process fetches and encodes, the others wait for it: torch's 10 minutes on GPUs are too few for that.
PATIENCE = timedelta(hours=6)


def process_state() -> PartialState:
    """The processes that `torchrun` started, on GPUs where there are some and else on the CPU.

    Accelerate needs the CPU to be set explicitly: otherwise every process there would train a model of its own.
    """
    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


class Processes:
    """One among the processes that train together. A process that `torchrun` did not start is alone.

    Every process draws the same windows, works on its share of them, and adds its gradients to those of the others, so
    that the sum is the gradient of the whole batch. With dropout the processes draw masks of their own.
    """

    def __init__(self, settings: Training) -> None:
        state = process_state()
        self.count: int = state.num_processes
        self.index: int = state.process_index
        self.device: torch.device = state.device
        self.is_main: bool = state.is_main_process
        self.precision = resolved_precision(settings.precision, self.device)

    def share(self, windows: Windows) -> Windows:
        """The part of a batch that this process works on, (W, L) -> (w, L): every `count`-th window."""
        if self.count == 1:
            return windows
        mine = slice(self.index, None, self.count)
        return Windows(windows.events[mine], windows.inputs[mine], windows.texts[mine])

    def autocast(self) -> AbstractContextManager[None]:
        """Matrix products in bfloat16 if the precision is bf16; weights, losses and the optimizer stay float32."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def seed(self, seed: int) -> None:
        """Give every process but the first random numbers of its own; the first keeps those it has."""
        if self.index > 0:
            torch.manual_seed(seed + self.index)

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of `tensor` over all processes, the same on each."""
        if self.count == 1:
            return tensor
        summed: Tensor = reduce(tensor.to(self.device), reduction="sum")
        return summed

    def whole(self, losses: Mapping[str, Tensor], counts: Mapping[str, float]) -> dict[str, Tensor]:
        """The mean losses of the whole batch from those of this share, which were divided by `counts`.

        The values are the same in every process; each carries the gradient of its own share.
        """
        if self.count == 1:
            return dict(losses)
        sizes = torch.tensor([counts[name] for name in losses], dtype=torch.float32, device=self.device)
        mine = torch.stack(list(losses.values())) * sizes / self.total(sizes).clamp(min=1)
        others = self.total(mine.detach()) - mine.detach()
        return dict(zip(losses, mine + others, strict=True))

    def add_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Replace every gradient by its sum over all processes, in one exchange."""
        if self.count == 1:
            return
        # A parameter that a share did not touch has no gradient there, but may have one in another process.
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self.total(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        for parameter, part in zip(parameters, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            parameter.grad = part.view_as(parameter)

    def random_states(self) -> Tensor:
        """The state of torch's generators in each process, (processes, bytes) uint8."""
        state = torch.get_rng_state()
        if self.device.type == "cuda":
            state = torch.cat([state, torch.cuda.get_rng_state(self.device)])
        if self.count == 1:
            return state[None]
        states: Tensor = gather(state[None].to(self.device)).cpu()
        return states

    def set_random_state(self, states: Tensor) -> None:
        """Put this process's generators into the state that `random_states` saw."""
        mine, size = states[self.index], torch.get_rng_state().numel()
        # Copies: torch reads from the start of the memory that a part belongs to, and crashes.
        torch.set_rng_state(mine[:size].clone())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(mine[size:].clone(), self.device)


def resolved_precision(precision: str, device: torch.device) -> str:
    """`fp32` or `bf16`: `auto` is bf16 on a GPU that computes in it, fp32 everywhere else."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
