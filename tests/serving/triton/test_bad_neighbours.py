"""Good requests among bad ones, to the models of an exported bundle: the bad ones may fail, the good ones may not."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

from polytask.contract.contract import Contract, load_contract
from serving.local.install import TritonInstallation
from serving.local.triton import TritonServer
from tests.serving.local.test_triton import infer

TOKENS = 16
GOOD, BAD = 400, 200
# Equal in every bit, but for a C++ backend whose ONNX Runtime was built for another processor.
TOLERANCE = 1e-5

Arrays = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def contract(small_bundle: Path) -> Contract:
    return load_contract(small_bundle)


@pytest.fixture(scope="module")
def client(
    small_bundle: Path, triton_installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[triton.InferenceServerClient]:
    log = tmp_path_factory.mktemp("log") / "triton.log"
    with (
        TritonServer(small_bundle / "repository", triton_installation, log) as server,
        triton.InferenceServerClient(server.grpc_address) as connected,
    ):
        yield connected


def good_request(contract: Contract, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    features = contract.scenario.features
    return {
        "input_ids": random.integers(1000, 20_000, (1, TOKENS)),
        "attention_mask": np.ones((1, TOKENS), dtype=np.int64),
        "history": random.integers(0, 61, (1, features.history_length)),
        "seen": random.integers(0, 61, (1, features.exclude_length))
        * (random.random((1, features.exclude_length)) < 0.2),
        "user": random.integers(0, 31, (1, 1)),
        "disliked": np.zeros((1, features.disliked_length), dtype=np.int64),
        "allowed": np.ones((1, 1), dtype=np.bool_),
    }


WILD = (-1, 30_522, 2**31, 2**62, -(2**62))


def wild(name: str) -> list[Any]:
    """Changes of one number of an input: they are clipped, and the request succeeds."""

    def change(number: int) -> Any:
        return lambda request: request[name].__setitem__((0, -1), number)

    return [change(number) for number in WILD]


CLIPPED = [change for name in ("input_ids", "history", "seen", "user", "disliked") for change in wild(name)]
REFUSED = [
    lambda request: request.update(history=request["history"][:, 1:]),
    lambda request: request.update(attention_mask=request["attention_mask"][:, 1:]),
    lambda request: request.update(allowed=np.ones((1, 7), dtype=np.bool_)),
    lambda request: request.update(user=request["user"].astype(np.float32)),
    lambda request: request.update(
        {name: np.ones((1, 600), dtype=np.int64) for name in ("input_ids", "attention_mask")}
    ),
    lambda request: request.pop("seen"),
]


def test_no_good_request_fails_or_changes_among_bad_ones(
    contract: Contract, client: triton.InferenceServerClient
) -> None:
    alone = {seed: infer(client, "recommender", good_request(contract, seed)) for seed in range(20)}
    outcomes: Counter[str] = Counter()

    def send_request(number: int) -> None:
        # Bad requests are of the same shape as the good ones wherever they can be: so they share batches.
        if number % 3:
            seed = number % len(alone)
            result = infer(client, "recommender", good_request(contract, seed))
            for spec in contract.answers:
                got, wanted = result.as_numpy(spec.name), alone[seed].as_numpy(spec.name)
                if spec.dtype == "INT64":
                    np.testing.assert_array_equal(got, wanted, err_msg=spec.name)
                else:
                    np.testing.assert_allclose(got, wanted, atol=TOLERANCE, rtol=TOLERANCE, err_msg=spec.name)
            outcomes["good"] += 1
            return
        request, changes = good_request(contract, number), CLIPPED if number % 2 else REFUSED
        changes[number // 3 % len(changes)](request)
        try:
            infer(client, "recommender", request)
        except InferenceServerException:
            outcomes["refused"] += 1
        else:
            outcomes["clipped"] += 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send_request, range(GOOD + BAD)))
    assert outcomes == {"good": GOOD, "clipped": BAD // 2, "refused": BAD // 2}
