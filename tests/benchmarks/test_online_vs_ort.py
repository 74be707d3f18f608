import numpy as np
import pytest

from benchmarks.calls import UserCall
from benchmarks.in_process import InProcess
from benchmarks.online_vs_ort import measure
from benchmarks.overlap import Overlap, overlap_of
from benchmarks.workbench import Workbench
from polytask.errors import ContractError, ServingError
from serving.local.model_process import MODEL_NAME


def test_both_sides_are_measured(bench: Workbench) -> None:
    throughput, added = measure(bench, rounds=1)
    assert throughput.name == "online_vs_ort" and list(throughput.parts) == [
        f"batch {batch}, {calls}" for batch in (1, 16) for calls in ("user ids", "new texts")
    ]
    assert all(value > 0 for values in throughput.parts.values() for value in values)
    assert {(one["overlap"], one["first_difference"]) for one in throughput.details.values()} == {(1.0, None)}
    assert added.name == "added_p50_ms" and added.bar_is == "at most"
    assert list(added.parts) == ["new text", "known text"]


@pytest.fixture
def answered(bench: Workbench) -> tuple[UserCall, dict[str, np.ndarray]]:
    """A call, and what the loop of this process returns for it."""
    [call] = bench.calls.new(1, 2)
    loop = InProcess(bench.published, bench.contract, 1, 1)
    return call, loop.answer(bench.calls.tensors(call, bench.reader))


def test_equal_lists_overlap_wholly(bench: Workbench, answered: tuple[UserCall, dict[str, np.ndarray]]) -> None:
    assert overlap_of(bench, [answered]) == Overlap(1.0, None)


def test_one_entry_in_another_order_is_named_and_costs_no_overlap(
    bench: Workbench, answered: tuple[UserCall, dict[str, np.ndarray]]
) -> None:
    call, outputs = answered
    swapped = outputs["item_ids"].copy()
    swapped[1, [3, 4]] = swapped[1, [4, 3]]
    overlap = overlap_of(bench, [(call, {**outputs, "item_ids": swapped})])
    assert overlap.share == 1.0
    item, other = (7 * int(row) for row in (outputs["item_ids"][1, 3], outputs["item_ids"][1, 4]))
    assert overlap.first_difference == (
        f"item of user {call.users[1]}, place 4: the servers rank {item}, the loop ranks {other}"
    )


def test_lists_of_other_work_are_refused(bench: Workbench, answered: tuple[UserCall, dict[str, np.ndarray]]) -> None:
    call, outputs = answered
    wrong = {**outputs, "item_ids": outputs["item_ids"][:, ::-1] % 60 + 1}
    message = (
        r"item of user .*, place 1: the servers rank .*; 0\.\d{4} of the entries are in both lists, expected 0\.98"
    )
    with pytest.raises(ContractError, match=message):
        overlap_of(bench, [(call, wrong)])


def test_an_answer_that_is_an_error_ends_the_load(bench: Workbench) -> None:
    [call] = bench.calls.new(1, 1)
    good, bad = call.message(MODEL_NAME), call.message("no-such-model")
    with pytest.raises(ServingError, match="NOT_FOUND"):
        bench.load.grpc(bench.stack.grpc_url, [good, bad, good], 2)
    assert bench.load.grpc(bench.stack.grpc_url, [good] * 5, 2).rate > 0


def test_no_text_comes_twice_unless_it_is_asked_for(bench: Workbench) -> None:
    calls = bench.calls.new(40, 16)
    assert len({query for call in calls for query in call.queries}) == 40 * 16
    assert all(len(set(call.users)) == 16 for call in bench.calls.new(20, 16, ["a"]))
    assert {query for call in bench.calls.new(20, 16, ["a", "b"]) for query in call.queries} == {"a", "b"}
