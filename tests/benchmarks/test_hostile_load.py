"""The pass criterion of the hostile-load benchmark, and the content of each kind of hostile call."""

import gzip
import json
import zlib

import pytest

from benchmarks.hostile_calls import BOMB_BYTES, SURROGATE_BYTES, TRITON, grpc_calls, rest_calls
from benchmarks.hostile_load import HostileOutcome
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from tests.small import with_string_keys

LARGEST_BODY = 8 * 2**20


def outcome(control: tuple[int, int], hostile: tuple[int, int], **more: object) -> HostileOutcome:
    """Of each kind of phase failed and sent calls."""
    found: dict[str, object] = {"reasons": {}, "hostile": {}, "defects": {}, "broken": [], **more}
    return HostileOutcome(
        {"control": control[1], "hostile": hostile[1]},
        {"control": control[0], "hostile": hostile[0]},
        **found,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("control", "hostile", "passes"),
    [
        ((0, 5000), (0, 5000), True),
        ((0, 5000), (6, 5000), True),  # chance alone does that in 1 of 64 runs
        ((0, 5000), (7, 5000), False),
        ((40, 5000), (50, 5000), True),
        ((40, 5000), (70, 5000), False),
        ((70, 5000), (0, 5000), True),  # hostile callers do no good, but that is no fault
        ((0, 5000), (3, 50), False),
    ],
)
def test_more_failures_than_chance_explains_are_a_failure(control, hostile, passes):
    failures = outcome(control, hostile).failures()
    assert (failures == []) is passes
    if not passes:
        assert f"{hostile[0]} of {hostile[1]} with hostile callers, {control[0]} of {control[1]} without" in failures[0]


def test_what_else_must_not_be_is_named():
    found = outcome(
        (0, 100),
        (0, 100),
        defects={"deep list over REST: 500": 2},
        broken=["good-1 hangs"],
        memory_growth={"transformer": 0.051, "triton": 0.05},
    ).failures()
    assert found == [
        "defect: deep list over REST: 500, 2 times",
        "broken: good-1 hangs",
        "memory of transformer increased by 5.1%, at most 5% is allowed",
    ]
    assert outcome((0, 100), (0, 0)).failures() == ["no good call was sent in the hostile phases"]


@pytest.fixture(params=["integer", "string"])
def scenario(request: pytest.FixtureRequest, small_scenario: Scenario, tables: Tables) -> Scenario:
    """The small scenario with keys of each type."""
    return small_scenario if request.param == "integer" else with_string_keys(small_scenario, tables)[0]


def test_calls_are_as_hostile_as_their_names(scenario: Scenario):
    rest = {call.name: call for call in rest_calls(scenario)}
    for name, call in rest.items():
        assert (len(call.body) > LARGEST_BODY) is (name == "9 MiB"), name
        if name.startswith("surrogate"):
            with pytest.raises(UnicodeEncodeError):
                json.dumps(json.loads(call.body), ensure_ascii=False).encode()
    with pytest.raises(RecursionError):
        json.loads(rest["deep list"].body)
    bomb = rest["gzip bomb"].body
    assert len(bomb) < 2**20
    assert zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(bomb, 100) == b" " * 100
    assert gzip.decompress(bomb[:0]) == b"" and BOMB_BYTES > 16 * LARGEST_BODY
    grpc = {call.name: call for call in grpc_calls(scenario)}
    for name, one in grpc.items():
        assert (SURROGATE_BYTES in one.message) is name.startswith("surrogate"), name
    assert sum(one.server == TRITON for one in grpc.values()) == 9
