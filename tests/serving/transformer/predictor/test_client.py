"""The predictor over several pods; KServe cannot be imported with tritonclient, so the cases have a process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving.local.server_process import server_environment
from tests.certificates import write_certificates
from tests.serving.bundle import VERSION

CASES = Path(__file__).with_name("predictor_over_pods.py")


@pytest.fixture(scope="module")
def cases(ruled_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Name of a case -> what it found."""
    folder = tmp_path_factory.mktemp("cases")
    write_certificates(folder, "triton.test")
    environment = server_environment()
    environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(folder / "ca.crt")
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[4]), environment["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, str(CASES), str(ruled_bundle), str(folder), str(folder / "results.json")],
        capture_output=True,
        text=True,
        timeout=90,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_only_pods_that_are_ready_with_the_contract_are_used(cases: dict[str, Any]):
    found = cases["only_agreeing_pods"]
    assert set(found["said"]) == {"OK"}
    assert found["pods"] == [2, 1]
    (first, other, third), after = found["inferences"]
    assert (first + third, other) == (20, 0)
    assert min(first, third) >= 5  # the second connection may have been made a moment later
    assert after == [first, 0, third + 10]
    assert found["same"], "the set of pods stayed, and calls got another channel"
    assert found["metadata"][0] == found["metadata"][2] == 3, "a pod that agreed once is not compared again"


def test_a_predictor_that_was_closed_is_unavailable(cases: dict[str, Any]):
    for logged in cases["closed"].values():
        assert [one.partition(":")[0] for one in logged] == ["Unavailable"], cases["closed"]
        assert "the connection was closed" in logged[0]


def test_a_full_queue_says_when_to_retry(cases: dict[str, Any]):
    assert cases["queue_is_full"] == 1


def test_where_no_pod_agrees_both_values_or_the_host_are_named(cases: dict[str, Any]):
    found = cases["none_agrees"]
    versions = "; ".join(
        f"predictor model text_encoder: serves version {version}, the contract requires {VERSION}" for version in (5, 6)
    )
    assert found["mismatch"] == [f"ContractError: {versions}"] * 2
    port = found["port"]
    where = f"Unavailable: predictor model text_encoder at triton.test:{port} (127.0.0.1:{port}): UNAVAILABLE"
    assert all(logged.startswith(where) for logged in found["down"]), found


def test_what_one_pod_refuses_another_answers_and_a_deadline_is_not_repeated(cases: dict[str, Any]):
    found = cases["refusals"]
    assert found["one"] == ["OK"] * 10
    assert found["both"][0].startswith("Unavailable: predictor model text_encoder at triton.test:")
    assert found["both"][0].endswith("UNAVAILABLE: not now")
    assert found["attempts"] == 4  # twice by gRPC, and the same after another probe
    assert found["slow"][0].startswith("DeadlineExceeded: predictor model text_encoder at triton.test:")
    assert found["late"] == 1
    assert found["fault"][0].startswith("RuntimeError: ")


def test_a_call_ends_where_it_began(cases: dict[str, Any]):
    found = cases["a_call_ends_where_it_began"]
    assert found == {"said": ["OK"] * 4, "inferences": [1, 3]}


def test_with_tls_the_certificate_is_that_of_the_host_name(cases: dict[str, Any]):
    found = cases["over_tls"]
    assert found["said"] == ["OK"] * 10
    assert min(found["inferences"]) >= 2  # the second connection may have been made a moment later
    assert found["wrong"].startswith("Unavailable: predictor model text_encoder at 127.0.0.1:")
    assert "several only without TLS" in found["several"]
