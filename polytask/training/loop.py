"""Train all tasks together over windows of user histories."""

import random as python_random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from polytask.data.dataset import Dataset
from polytask.model.loss_weights import StaticWeights, build_weights
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.names import USERS
from polytask.scenario.schema import Training
from polytask.tasks.learning import learning_of
from polytask.training.distributed import Processes
from polytask.training.one_cycle import OneCycleAdamW
from polytask.training.resume import Progress, TrainingState
from polytask.training.task_losses import TaskLosses
from polytask.training.windows import WindowSampler

if TYPE_CHECKING:  # it needs transformers, which take seconds to import
    from polytask.training.encoder_tuning import EncoderTuning


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to: mean loss and weight of each task, and seconds."""

    number: int
    losses: dict[str, float]
    weights: dict[str, float]
    seconds: float


def set_seed(seed: int, threads: int) -> None:
    """Make the run repeatable: seeds of all generators, deterministic kernels, a fixed number of threads."""
    python_random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries below us may use the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)


def build_model(dataset: Dataset, item_vectors: Tensor | None) -> MultiTaskModel:
    """A model with fresh weights; `item_vectors` (N, D) without the padding row, None without items."""
    padded = None if item_vectors is None else torch.cat([torch.zeros(1, item_vectors.shape[1]), item_vectors])
    sample = torch.from_numpy(dataset.text_vectors[: dataset.request_texts])
    model = MultiTaskModel(dataset.scenario, padded, sample, users=len(dataset.catalogues[USERS]))
    for task in dataset.scenario.tasks:
        start_head(model, dataset, task.name)
    return model


def start_head(model: MultiTaskModel, dataset: Dataset, task: str) -> None:
    """Set what the new head of a task starts with, such as the mean of the training labels in regression."""
    about = model.scenario.task(task)
    learning_of(about).start(about, model.heads[task], dataset)


def train(
    dataset: Dataset,
    item_vectors: Tensor | None,
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: TrainingState | None = None,
    tuning: "EncoderTuning | None" = None,
) -> tuple[MultiTaskModel, list[Epoch]]:
    """Train from fresh weights, or from where `resume` stopped. Returns the model, in evaluation mode, and its losses.

    A training that was interrupted and resumed gives the same weights as one that was not. With `tuning` the language
    model learns too.
    """
    settings = dataset.scenario.training
    set_seed(settings.seed, settings.threads)
    model = build_model(dataset, item_vectors)
    return model, fit(model, dataset, list(model.parameters()), on_epoch, resume, tuning)


def fit(
    model: MultiTaskModel,
    dataset: Dataset,
    parameters: list[Parameter],
    on_epoch: Callable[[Epoch], None] | None = None,
    resume: TrainingState | None = None,
    tuning: "EncoderTuning | None" = None,
) -> list[Epoch]:
    """Train `parameters` of `model` with AdamW and a one-cycle schedule; all others stay as they are.

    `resume` notes where training stands after every epoch, before `on_epoch` is called. `tuning` trains its language
    model too. Every process that `torchrun` started takes its share of each batch; the model ends on the CPU.
    """
    settings = dataset.scenario.training
    processes = Processes(settings)
    model.to(processes.device)
    random = np.random.default_rng(settings.seed)
    plan = WindowSampler(dataset, settings.epochs, random)
    weights = build_weights(dataset.scenario).to(processes.device)
    if tuning is not None:
        tuning.encoder.to(processes.device)
    tuned = {} if tuning is None else tuning.weights()
    trained = [*parameters, *tuned.values()]
    optimizer = _optimizer(settings, parameters, weights, tuning, sum(plan.batches), trained)
    batch_losses = TaskLosses(dataset, processes.device, None if tuning is None else tuning.vectors)
    live = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    live |= {f"weighting.{name}": tensor for name, tensor in weights.state_dict().items()}
    live |= {f"encoder.{name}": weight.data for name, weight in tuned.items()}
    progress = Progress(live, optimizer.optimizer, optimizer.schedule, random, [])
    processes.seed(settings.seed)
    if resume is not None:
        resume.load(progress, processes)
    history = [Epoch(**epoch) for epoch in progress.epochs]
    for epoch in history:
        weights.end_epoch(epoch.losses)
    for number in range(len(history) + 1, settings.epochs + 1):
        started = time.monotonic()
        sums = dict.fromkeys(weights.static, 0.0)
        model.train()
        if tuning is not None:
            tuning.start_epoch(model)
        for windows in plan.epoch(number - 1, random):
            with processes.autocast():
                mine = batch_losses(model, processes.share(windows))
            losses = processes.whole(mine, batch_losses.counts)
            optimizer.update(weights(losses), partial(processes.add_gradients, trained))
            for name, loss in losses.items():
                sums[name] += float(loss.detach())
        means = {name: total / plan.batches[number - 1] for name, total in sums.items()}
        history.append(Epoch(number, means, weights.current(), time.monotonic() - started))
        weights.end_epoch(means)
        progress.epochs.append(asdict(history[-1]))
        if resume is not None:
            resume.save(progress, processes)
        if on_epoch is not None:
            on_epoch(history[-1])
    model.cpu().eval()
    if tuning is not None:
        tuning.finish(model)
    return history


def _optimizer(
    settings: Training,
    parameters: list[Parameter],
    weights: StaticWeights,
    tuning: "EncoderTuning | None",
    steps: int,
    clipped: list[Parameter],
) -> OneCycleAdamW:
    """AdamW over the model's parameters, the tasks' weights and the tuned language model, each at its own rate."""
    groups: list[dict[str, Any]] = [{"params": parameters}, {"params": list(weights.parameters()), "weight_decay": 0.0}]
    rates = [settings.learning_rate, settings.learning_rate]
    if tuning is not None:
        groups.append({"params": list(tuning.weights().values())})
        rates.append(tuning.learning_rate)
    return OneCycleAdamW(groups, rates, settings.weight_decay, steps, clipped)
