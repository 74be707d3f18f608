import numpy as np
import pytest

from benchmarks.online_vs_ort import check_same_answers, measure
from benchmarks.workbench import Workbench
from polytask.errors import ContractError, ServingError
from serving.transformer_process import MODEL_NAME


def test_both_sides_are_measured(bench: Workbench) -> None:
    throughput, added = measure(bench, rounds=1)
    assert throughput.name == "online_vs_ort" and list(throughput.parts) == [
        f"batch {batch}, {calls}" for batch in (1, 16) for calls in ("user ids", "new texts")
    ]
    assert all(value > 0 for values in throughput.parts.values() for value in values)
    assert added.name == "added_p50_ms" and added.bar_is == "at most"
    assert list(added.parts) == ["new text", "known text"]


def test_a_loop_that_answers_otherwise_is_found(bench: Workbench) -> None:
    [call] = bench.calls.new(1, 1)
    scores = np.arange(10, 0, -1, dtype=np.float32)[None]
    wrong = {
        f"{task}_{what}": values
        for task in ("item", "user")
        for what, values in (("ids", np.arange(1, 11)[None]), ("scores", scores))
    }
    with pytest.raises(ContractError, match=r"item: the servers rank \[.*, the loop ranks \[7, 14, 21\]"):
        check_same_answers(bench, call, wrong)


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
