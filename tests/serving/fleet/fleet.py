"""Several Triton servers behind one name, transformers in front of them, and callers who count what fails."""

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from polytask.contract.contract import REPOSITORY_FOLDER
from serving.local.install import TritonInstallation
from serving.local.transformer import TransformerProcess
from serving.local.triton import HOST, TritonServer, choose_ports

NAME = "recommender-triton.test"
DEADLINE_SECONDS = 2.0
# How long an ending pod serves after it left its Service. The manifests wait longer: a cluster caches names.
PRE_STOP_SECONDS = 1.5
READY_SECONDS = 90.0
CALLERS = 3


class Transformer:
    """A transformer in its own process, which resolves the host names of the tests."""

    def __init__(self, options: Mapping[str, object], log: Path) -> None:
        self.http_port, self.grpc_port = choose_ports(None, None)
        mine = {"--http_port": self.http_port, "--grpc_port": self.grpc_port, "--texts_ahead": 0}
        given = {"--deadline_seconds": DEADLINE_SECONDS, **options, **mine}
        self.process = TransformerProcess(lambda: given, log, self.http_port, DEADLINE_SECONDS)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.grpc_port}"

    def ready(self) -> tuple[int, str]:
        """Status and reason of its readiness; 0 if it does not respond."""
        return get(f"http://{HOST}:{self.http_port}/v2/health/ready")

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.ready()[0] == 200 or not self.process.runs(), "it is not ready", READY_SECONDS)
        assert self.process.runs(), self.process.log.read_text()[-3000:]


def get(url: str) -> tuple[int, str]:
    """Status and body; 0 if there is no response."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Fleet:
    """Triton servers on addresses of this machine with one port, behind `NAME` while they are among its endpoints."""

    def __init__(self, folder: Path, store: Path, installation: TritonInstallation) -> None:
        self._folder = folder
        self._store = store
        self._installation = installation
        [self.grpc_port] = choose_ports(None)
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self.endpoints: list[TritonServer] = []
        self.names = folder / "names.json"
        self.publish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def publish(self) -> None:
        """Write the name's addresses, as the cluster's DNS would return them."""
        addresses = [server.grpc_host for server in self.endpoints]
        temporary = self.names.with_suffix(".new")
        temporary.write_text(json.dumps({NAME: addresses}))
        temporary.replace(self.names)

    def triton(self, bundle: Path, listed: bool = True) -> TritonServer:
        """Start a Triton server on the next address of this machine, and list it."""
        number = next(self._numbers)
        server = TritonServer(
            bundle / REPOSITORY_FOLDER,
            self._installation,
            self._folder / f"triton-{number}.log",
            grpc_port=self.grpc_port,
            grpc_host=f"127.0.0.{number}",
            threads=1,
        )
        server.start()
        self._stack.callback(server.stop)
        if listed:
            self.endpoints.append(server)
            self.publish()
        return server

    def end(self, server: TritonServer) -> None:
        """Take a server out of the name, and end it a while later, as a pod that is to end leaves its Service."""
        self.endpoints.remove(server)
        self.publish()
        time.sleep(PRE_STOP_SECONDS)
        server.stop()

    def transformer(self, **options: object) -> Transformer:
        """Start a transformer, and wait for nothing. `options` without their dashes."""
        given = {f"--{name}": value for name, value in options.items()}
        fixed = {"--predictor_host": f"{NAME}:{self.grpc_port}", "--feature_store": self._store}
        log = self._folder / f"transformer-{next(self._numbers)}.log"
        transformer = Transformer({**fixed, **given}, log)
        transformer.process.start()
        self._stack.callback(transformer.process.stop)
        return transformer


@contextmanager
def fleet_of(
    folder: Path, store: Path, installation: TritonInstallation, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    """A fleet, whose transformers find the tests' names."""
    with Fleet(folder, store, installation) as fleet:
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("names")))
        monkeypatch.setenv("POLYTASK_TEST_NAMES", str(fleet.names))
        yield fleet


def inferences(server: TritonServer, model: str = "multitask") -> int:
    """How many requests for a model a Triton server has processed."""
    status, text = get(f"http://{HOST}:{server.metrics_port}/metrics")
    assert status == 200, text
    lines = [line for line in text.splitlines() if line.startswith(f'nv_inference_request_success{{model="{model}"')]
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


class Load:
    """Clients that call the listed transformers in turn without a pause, one attempt a call."""

    def __init__(
        self,
        targets: Sequence[Transformer],
        *,
        callers: int = CALLERS,
        limit: int | None = None,
        pause: float = 0.0,
        timeout: float = DEADLINE_SECONDS + 2,
    ) -> None:
        """`limit` ends the load after so many calls, `pause` is the time between two of one caller, in seconds."""
        self.targets = list(targets)
        self._pause, self._timeout = pause, timeout
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []
        self.slowest = 0.0
        self._turns = itertools.count()
        self._limit = limit
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._send_request, daemon=True) for _ in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()

    @property
    def sent(self) -> int:
        """Calls that ended."""
        return self.answers.total() + len(self.failed)

    def join(self, seconds: float = 120.0) -> None:
        """Return when all callers have ended."""
        for thread in self._threads:
            thread.join(seconds)
            assert not thread.is_alive()

    def replace_all(self, transformers: list[Transformer], others: Sequence[Transformer]) -> None:
        """Replace `transformers` one by one, as a Deployment does: each that became ready gets calls, and one ends."""
        for place, new in enumerate(others):
            new.wait_until_ready()
            old, transformers[place] = transformers[place], new
            self.targets = list(transformers)
            self.see(20)
            time.sleep(PRE_STOP_SECONDS)
            old.process.stop()
            self.see(50)

    def see(self, count: int, version: str | None = None, seconds: float = READY_SECONDS) -> None:
        """Return after `count` more successful calls, of a model version if one is given."""

        def seen() -> int:
            return self.answers.total() if version is None else self.answers[version]

        start = seen()
        wait_for(lambda: seen() >= start + count, f"{count} responses of {version}: {self.failed[:3]}", seconds)

    def _send_request(self) -> None:
        channels: dict[str, grpc.Channel] = {}
        try:
            while not self._end.is_set():
                turn = next(self._turns)
                if self._limit is not None and turn >= self._limit:
                    return
                targets = list(self.targets)
                address = targets[turn % len(targets)].address
                if address not in channels:
                    channels[address] = grpc.insecure_channel(address, [("grpc.enable_retries", 0)])
                self._one(channels[address], turn)
                self._end.wait(self._pause)
        finally:
            for channel in channels.values():
                channel.close()

    def _one(self, channel: grpc.Channel, turn: int) -> None:
        request = service_pb2.ModelInferRequest(model_name="recommender")
        user = 10 * (turn % 20 + 1)
        request.inputs.add(name="user_id", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(user)
        query = request.inputs.add(name="query", datatype="BYTES", shape=[1, 1])
        query.contents.bytes_contents.append(f"query {turn % 40}".encode())
        start = time.monotonic()
        try:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            answer = stub.ModelInfer(request, timeout=self._timeout)
            self.answers[answer.parameters["model_version"].string_param] += 1
        except grpc.RpcError as error:
            self.failed.append(f"{error.code().name}: {error.details()}")
        self.slowest = max(self.slowest, time.monotonic() - start)


def wait_for(holds: Callable[[], object], what: str, seconds: float = READY_SECONDS) -> None:
    """Return when it holds, which it has to within `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)
