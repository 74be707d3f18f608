import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.figures import Figure, interleaved, ratios
from benchmarks.report import print_table, write_json

SLOW = Figure("speed", "how fast", {"a": [3.0, 1.0, 2.0], "b": [5.0, 4.0, 9.0]}, bar=2.5, beside={"c": [1.0]})
ADDED = Figure("added", "how much more", {"a": [3.0, 1.0, 2.0], "b": [5.0, 4.0, 9.0]}, bar=6.0, bar_is="at most")
FREE = Figure("free", "no bar", {"a": [1.0]})


def test_the_worst_part_counts_in_either_direction() -> None:
    assert (SLOW.worst, SLOW.met) == ("a", False)
    assert (ADDED.worst, ADDED.met) == ("b", True)
    assert ADDED.meets([6.0]) is True and ADDED.meets([6.1]) is False
    assert (FREE.worst, FREE.met) == ("a", None)


def test_the_json_holds_the_spread_of_the_worst_part_and_the_bar() -> None:
    content = SLOW.to_dict()
    assert {key: content[key] for key in ("median", "min", "max", "rounds", "bar", "bar_is", "met", "part")} == {
        "median": 2.0,
        "min": 1.0,
        "max": 3.0,
        "rounds": 3,
        "bar": 2.5,
        "bar_is": "at least",
        "met": False,
        "part": "a",
    }
    assert content["parts"]["b"] == {"median": 5.0, "min": 4.0, "max": 9.0, "rounds": 3, "met": True}
    assert content["beside"] == {"c": {"median": 1.0, "min": 1.0, "max": 1.0, "rounds": 1}}


def test_sides_take_turns_and_so_does_who_comes_first() -> None:
    calls: list[tuple[str, int]] = []

    def side(name: str, number: int) -> float:
        calls.append((name, number))
        return float(number)

    found = interleaved(3, {name: lambda number, name=name: side(name, number) for name in ("x", "y")})
    assert calls == [("x", 0), ("y", 0), ("y", 1), ("x", 1), ("x", 2), ("y", 2)]
    assert found == {"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 2.0]}


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]


def test_a_miss_is_printed_as_a_miss(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(Console(width=120), [SLOW, ADDED, FREE])
    printed = capsys.readouterr().out
    assert "MISS speed: 2 (a), the bar is at least 2.5" in printed
    assert "MISS added" not in printed and "MISS free" not in printed


def test_figures_of_other_names_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    write_json(path, [SLOW], {"cores": 2})
    write_json(path, [ADDED], {"cores": 4})
    content = json.loads(path.read_text())
    assert {name: entry["machine"] for name, entry in content.items()} == {
        "speed": {"cores": 2},
        "added": {"cores": 4},
    }
