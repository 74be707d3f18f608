from benchmarks.repeat_text import measure
from benchmarks.workbench import Workbench


def test_gain_is_measured_over_the_servers_and_for_the_models_alone(bench: Workbench) -> None:
    [figure] = measure(bench, rounds=1)
    assert (figure.name, list(figure.parts), figure.bar) == ("repeat_text_gain", ["batch 1", "batch 16"], 4.0)
    assert list(figure.beside) == ["models alone, batch 1", "models alone, batch 16"]


def test_one_text_in_so_many_is_new(bench: Workbench) -> None:
    queries = [query for call in bench.calls.mixed(10, 16, ["a", "b", "c"], 10) for query in call.queries]
    new = [query for query in queries if query not in ("a", "b", "c")]
    assert len(queries) == 160 and len(new) == len(set(new)) == 16
    assert {"a", "b", "c"} <= set(queries)
