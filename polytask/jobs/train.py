"""Train a model from ingested tables and a training set."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from polytask.jobs.inputs import Log, item_texts, item_vectors, load_dataset
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import sha256_file, sha256_folder
from polytask.text.language_model import LanguageModel
from polytask.training.checkpoint import (
    checkpoint_sha256,
    save_checkpoint,
    trained_on,
)
from polytask.training.distributed import process_state
from polytask.training.encoder_tuning import EncoderTuning
from polytask.training.loop import Epoch, train
from polytask.training.resume import TrainingState, training_key


def state_file(scenario: Scenario, work: Path) -> Path:
    """The path of the state of an interrupted training in the folder `work`."""
    return work / f"{scenario.name}.resume.safetensors"


def remove_state(scenario: Scenario, work: Path) -> None:
    """Remove the state of a training in the folder `work`: the step that trained has finished all that it does."""
    state_file(scenario, work).unlink(missing_ok=True)


def train_model(
    scenario: Scenario,
    tables: Path,
    training_set: Path,
    target: Path,
    log: Log,
    work: Path | None = None,
    keep: Callable[[Path], None] | None = None,
    keep_state: bool = False,
) -> dict[str, str | float]:
    """Train a model and write its checkpoint.

    The state of an interrupted training is kept: the same inputs and code continue from it, others start from scratch.
    The
    state is removed once the checkpoint is written, unless `keep_state`: then the caller removes it (`remove_state`)
    when
    nothing is left to do that could fail or be stopped. Of several processes the first one writes.

    Args:
        scenario: The scenario.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        target: Folder of the checkpoint.
        log: Called with each line of progress.
        work: Folder of the training state; None for the parent of `target`.
        keep: Called with the file of the training state after each epoch.
        keep_state: Whether the state stays after the checkpoint is written.

    Returns:
        `weights_sha256`, `encoder_sha256` (both of the first process only) and the last loss per task as `<task>_loss`;
        equal for equal inputs.
    """
    together = process_state()
    language_model = LanguageModel(scenario)
    inputs = [scenario.model_dump_json(), _sha256(tables), _sha256(training_set), language_model.sha256]
    resume = TrainingState(state_file(scenario, work or target.parent), training_key(*inputs), log, keep)
    # Of several processes the first of each machine encodes the texts, and the others read its cache.
    with together.local_main_process_first():
        dataset = load_dataset(scenario, tables, training_set, language_model, log)
        vectors = item_vectors(dataset, language_model, log)
    tuning = None
    if scenario.encoder.training != "frozen":
        tuning = EncoderTuning(language_model, scenario, dataset.distinct_texts, item_texts(dataset))

    def on_epoch(epoch: Epoch) -> None:
        losses = ", ".join(f"{task} {loss:.3f}" for task, loss in epoch.losses.items())
        if together.is_main_process:
            log(f"epoch {epoch.number}/{scenario.training.epochs}: loss {losses} ({epoch.seconds:.1f} s)")

    model, history = train(dataset, vectors, on_epoch, resume, tuning)
    found: dict[str, str | float] = {}
    if together.is_main_process:
        _save(model, history, language_model, tuning, target)
        found = {"weights_sha256": checkpoint_sha256(target), "encoder_sha256": trained_on(target)}
        log(f"trained in {sum(epoch.seconds for epoch in history):.1f} s")
    # The state of the last epoch leaves nothing to train: a process that reads it late would train alone, and wait.
    together.wait_for_everyone()
    if together.is_main_process and not keep_state:
        resume.remove()
    return found | {f"{task}_loss": loss for task, loss in history[-1].losses.items()}


def _save(
    model: MultiTaskModel,
    history: list[Epoch],
    language_model: LanguageModel,
    tuning: EncoderTuning | None,
    target: Path,
) -> None:
    if tuning is None:
        save_checkpoint(model, history, language_model.sha256, target)
        return
    with TemporaryDirectory() as folder:
        tuning.save(Path(folder))
        tuned = LanguageModel(model.scenario, tuned=Path(folder))
        save_checkpoint(model, history, tuned.sha256, target, tuned.tuned)


def _sha256(path: Path) -> str:
    return sha256_folder(path) if path.is_dir() else sha256_file(path)
