"""What holds for every kind."""

import subprocess
import sys

import pytest

from polytask.contract.tensors import task_outputs
from polytask.scenario import kinds
from polytask.scenario.schema import Task
from polytask.tasks.kind import KINDS, TaskKind
from polytask.tasks.learning import Learning, learning_of
from polytask.tasks.metrics import KindMetrics, lower_is_better, metrics_of, units


def task_of(kind: TaskKind) -> Task:
    label = {"source": "interaction", "column": "x"} if kind.reads_column else {}
    classes = ("a", "b", "c") if kind.needs_classes else None
    return Task(name="t", title="T", kind=kind.name, catalogue=kind.catalogue, classes=classes, label=label)


def test_the_kinds_of_this_package() -> None:
    assert list(KINDS) == ["binary", "co_interaction", "multiclass", "multilabel", "regression", "retrieval"]
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_the_three_parts_of_a_kind_fit(name: str) -> None:
    kind = KINDS[name]
    task = task_of(kind)
    assert isinstance(learning_of(task), Learning)
    metrics = metrics_of(task)
    assert isinstance(metrics, KindMetrics)
    assert metrics.primary in units()
    assert metrics.follow is None or metrics.follow in units()
    # What can be merged into a slate has a rate at which users follow it.
    assert kind.merges == (metrics.follow is not None)
    assert metrics.lower_is_better <= set(metrics.units)
    assert kind.listed_output is None or kind.listed_output in kind.response
    # The response has the tensors of the model, and what the transformer adds.
    assert {spec.name.removeprefix("t_") for spec in task_outputs(task)} <= set(kind.response)
    for module in (kind.learning, kind.metrics):
        assert module.startswith(type(kind).__module__.rpartition(".")[0])


def test_directions_of_metrics() -> None:
    assert lower_is_better() == {"log_loss", "ece", "mae", "rmse"}


def test_specs_import_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from polytask.tasks.kind import KINDS; found = list(KINDS.values()); "
        "print(len(found), sorted({'torch', 'pandas', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "6 []\n"


def test_a_kind_can_be_registered_in_a_process() -> None:
    class Again(type(KINDS["binary"])):
        name = "again"

    kinds.register_kind(Again())
    try:
        task = Task(name="t", title="T", kind="again", label={"source": "interaction", "column": "x"})
        assert learning_of(task) is learning_of(task_of(KINDS["binary"]))
        assert "again" in list(KINDS)
    finally:
        kinds.unregister_kind("again")
    assert "again" not in list(KINDS)
