"""Several processes train one model: the same losses and weights as one process, and one checkpoint."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from polytask.data.tables import write_tables
from polytask.errors import TrainingError
from polytask.jobs.launch import _follow, train_together
from polytask.jobs.train import train_model
from polytask.model.loss_weights import build_weights
from polytask.scenario import Scenario
from polytask.training import distributed
from polytask.training.checkpoint import HISTORY_FILE, WEIGHTS_FILE, checkpoint_sha256
from polytask.training.distributed import resolved_precision
from polytask.training.loop import build_model, train
from polytask.training.resume import TrainingState
from polytask.training.task_losses import TaskLosses
from polytask.training.windows import Windows, WindowSampler
from tests.polytask.pretended_gpu import GPU, pretended_gpu
from tests.polytask.random_vectors import ITEM_VECTORS, dataset_with
from tests.polytask.tiny_language_models import write_language_model
from tests.small import training_frame


@pytest.fixture
def scenario(small_scenario, tmp_path):
    """The small scenario over a tiny language model, without dropout: there processes draw numbers of their own."""
    content = small_scenario.model_dump()
    content["encoder"] = {
        "model": str(write_language_model(tmp_path / "llama", "llama")),
        "pooling": "last",
        "training": "lora",
        "learning_rate": 1e-3,
        "lora": {"dropout": 0.0},
    }
    content["model"] |= {"dropout": 0.0, "id_dropout": 0.0}
    content["training"] |= {"loss_weighting": "uncertainty", "batch_size": 7}
    return Scenario.model_validate(content)


def test_two_processes_train_like_one(scenario, tables, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    write_tables(tables, tmp_path / "tables")
    training_frame(scenario, tables).to_parquet(tmp_path / "rows.parquet")
    inputs = scenario, tmp_path / "tables", tmp_path / "rows.parquet"
    train_model(*inputs, tmp_path / "alone" / "model", lambda line: None)

    logged = []
    result = train_together(2, *inputs, tmp_path / "together" / "model", logged.append)
    assert sum("epoch 2/2" in line for line in logged) == 1  # one of them speaks
    assert result["weights_sha256"] == checkpoint_sha256(tmp_path / "together" / "model")
    assert [path.name for path in (tmp_path / "together").iterdir()] == ["model"]

    def read(name):
        folder = tmp_path / name / "model"
        history = json.loads((folder / HISTORY_FILE).read_text(encoding="utf-8"))["epochs"]
        return history, load_file(folder / WEIGHTS_FILE), load_file(folder / "encoder" / "model.safetensors")

    (one_history, *one_weights), (two_history, *two_weights) = read("alone"), read("together")
    for one, two in zip(one_history, two_history, strict=True):
        for field in ("losses", "weights"):
            assert two[field] == pytest.approx(one[field], rel=1e-5)
    for one, two in zip(one_weights, two_weights, strict=True):
        assert one.keys() == two.keys()
        difference = torch.cat([(two[name] - tensor).abs().flatten() for name, tensor in one.items()])
        # The bias of a key has no gradient but rounding errors, and Adam makes steps of them.
        assert difference.max() < 5e-3
        assert difference.mean() < 1e-5


def test_a_failed_process_is_named_by_its_first_cause():
    """As printed by torchrun: the traceback of a process, then its own summary."""
    script = "import sys; print('epoch 1'); print('polytask.errors.DataError: no rows', file=sys.stderr)"
    script += "; print('torch.distributed.ChildFailedError: x'); sys.exit(3)"
    logged = []
    with pytest.raises(TrainingError, match=r"ended with 3: polytask\.errors\.DataError: no rows$"):
        _follow([sys.executable, "-u", "-c", script], logged.append, 1.0)
    assert logged[0] == "epoch 1"
    with pytest.raises(TrainingError, match="ended with -9: killed, without a word"):
        _follow([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], logged.append, 1.0)


def test_processes_that_do_not_end_are_ended():
    with pytest.raises(TrainingError, match="did not end within"):
        _follow([sys.executable, "-c", "import time; time.sleep(60)"], print, 0.5 / 3600)


@pytest.fixture
def of_two(monkeypatch, small_scenario):
    """One of two processes, which do not reach each other."""

    def make(index):
        state = SimpleNamespace(
            num_processes=2, process_index=index, device=torch.device("cpu"), is_main_process=not index
        )
        monkeypatch.setattr(distributed, "process_state", lambda: state)
        return distributed.Processes(small_scenario.training)

    return make


def test_each_process_works_on_a_part_of_its_own(of_two):
    """With the whole batch each, both would get the same losses, and save no time."""
    batch = Windows(np.arange(7), np.arange(21).reshape(7, 3), np.arange(21).reshape(7, 3) + 100)
    parts = [of_two(index).share(batch) for index in range(2)]
    assert [list(part.events) for part in parts] == [[0, 2, 4, 6], [1, 3, 5]]
    for part in parts:
        assert np.array_equal(part.inputs, batch.inputs[part.events])
        assert np.array_equal(part.texts, batch.texts[part.events])


def test_each_process_draws_numbers_of_its_own_and_the_first_those_of_one(of_two):
    drawn = []
    for index in range(2):
        torch.manual_seed(3)
        torch.rand(1)  # as a model that was built has drawn some
        of_two(index).seed(3)
        drawn.append(torch.rand(4))
    torch.manual_seed(3)
    torch.rand(1)
    assert torch.equal(drawn[0], torch.rand(4))
    assert not torch.equal(*drawn)


def test_each_process_goes_on_with_its_own_numbers(of_two, monkeypatch):
    def state(seed):
        torch.manual_seed(seed)
        return torch.get_rng_state()

    monkeypatch.setattr(distributed, "gather", lambda mine: torch.cat([mine, state(9)[None]]))
    torch.manual_seed(4)
    states = of_two(0).random_states()
    for index, seed in enumerate((4, 9)):
        torch.manual_seed(1)
        of_two(index).set_random_state(states)
        drawn = torch.rand(4)
        torch.manual_seed(seed)
        assert torch.equal(drawn, torch.rand(4))


def test_a_state_is_of_one_number_of_processes(of_two, small_scenario, tmp_path, monkeypatch):
    resume = TrainingState(tmp_path / "state", "key")
    two = resume._key(of_two(0))
    monkeypatch.undo()
    assert resume._key(distributed.Processes(small_scenario.training)) != two


def test_whoever_waits_for_the_first_process_waits_long(monkeypatch):
    requested = {}
    monkeypatch.setattr(distributed, "PartialState", lambda **settings: requested.update(settings))
    distributed.process_state()
    assert requested["timeout"].total_seconds() >= 3600
    assert requested["cpu"] is not torch.cuda.is_available()


def test_parts_of_a_batch_weighed_by_their_counts_are_the_batch(small_dataset):
    torch.manual_seed(0)
    model = build_model(small_dataset, ITEM_VECTORS).eval()
    for name in ("item", "user"):  # fresh weights lose the same everywhere, however the parts are weighed
        torch.nn.init.normal_(model.heads[name].bias, std=3.0)
    random = np.random.default_rng(2)
    windows = next(WindowSampler(small_dataset, 1, random).epoch(0, random))
    batches = TaskLosses(small_dataset)
    with torch.no_grad():
        whole, counts = batches(model, windows), dict(batches.counts)
        sums = dict.fromkeys(whole, 0.0)
        for part in ([number] for number in range(len(windows.events))):
            losses = batches(model, Windows(windows.events[part], windows.inputs[part], windows.texts[part]))
            for name, loss in losses.items():
                sums[name] += batches.counts[name] / counts[name] * float(loss)
    assert sums == pytest.approx({name: float(loss) for name, loss in whole.items()}, rel=1e-6)


def test_model_and_batch_lie_on_one_device(small_dataset):
    model = build_model(small_dataset, ITEM_VECTORS)
    random = np.random.default_rng(2)
    windows = next(WindowSampler(small_dataset, 1, random).epoch(0, random))
    with pretended_gpu() as gpu:
        model.to(GPU).train()
        losses = TaskLosses(small_dataset, GPU)(model, windows)
        total = build_weights(small_dataset.scenario).to(GPU)(losses)
        assert all(tensor in gpu.on_gpu for tensor in (*losses.values(), total))
        with pytest.raises(RuntimeError, match="are on the CPU, others on the GPU"):
            TaskLosses(small_dataset)(model, windows)


def test_bf16_is_for_products_only(small_dataset, tables):
    model, history = train(dataset_with(small_dataset, tables, precision="bf16"), ITEM_VECTORS)
    exact, exact_history = train(dataset_with(small_dataset, tables, precision="fp32"), ITEM_VECTORS)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert history[-1].losses == pytest.approx(exact_history[-1].losses, rel=0.02)
    assert any(not torch.equal(tensor, exact.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("precision", "device", "bf16", "resolved"),
    [
        ("auto", "cpu", True, "fp32"),
        ("auto", "cuda", True, "bf16"),
        ("auto", "cuda", False, "fp32"),
        ("bf16", "cpu", False, "bf16"),
        ("fp32", "cuda", True, "fp32"),
    ],
)
def test_precision(monkeypatch, precision, device, bf16, resolved):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert resolved_precision(precision, torch.device(device)) == resolved
