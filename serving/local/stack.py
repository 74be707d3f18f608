"""The whole serving stack on this machine: Triton and the transformer, started and stopped together."""

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from polytask.contract.contract import REPOSITORY_FOLDER, load_contract
from polytask.errors import PolytaskError, ServingError
from polytask.storage.atomic import write_text
from serving.local.explainer import ExplainerProcess
from serving.local.install import TritonInstallation, install_triton
from serving.local.transformer import TransformerProcess
from serving.local.triton import HOST, TritonServer, choose_ports

STATE_FILE = Path("build/serve.json")
LOGS = Path("build/serve")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_ALL_SIGNALS = (*STOP_SIGNALS, signal.SIGINT)


class LocalStack:
    """Serves `bundle` with the features of `feature_store` while a `with` block lasts.

    Entering waits until the transformer is ready, which is when it reaches Triton and their contracts agree. Leaving
    stops both, whatever ends the block: its end, an error, Ctrl-C, SIGTERM or SIGHUP. A port that is None becomes a
    free one. With `state_file` the addresses are written there for as long as the stack runs.
    """

    def __init__(
        self,
        bundle: Path,
        feature_store: Path,
        *,
        installation: TritonInstallation | None = None,
        logs: Path = LOGS,
        state_file: Path | None = None,
        http_port: int | None = None,
        grpc_port: int | None = None,
        deadline_seconds: float = 2.0,
        max_concurrency: int = 64,
        max_queue: int = 192,
        strict_features: bool = False,
        ready_seconds: float = 120.0,
    ) -> None:
        self.source = bundle.absolute()
        self.bundle = bundle.resolve()
        self.feature_store = feature_store.resolve()
        self.logs = logs.resolve()
        self.state_file = state_file
        self.deadline_seconds = deadline_seconds
        self.max_concurrency, self.max_queue = max_concurrency, max_queue
        self.strict_features = strict_features
        self.ready_seconds = ready_seconds
        self.explainer: ExplainerProcess | None = None  # not part of this stack: it follows a reload
        self.http_port, self.grpc_port = choose_ports(http_port, grpc_port)
        _repository(bundle)
        if not (self.feature_store / "feature_store.yaml").is_file():
            raise ServingError(f"{feature_store}: holds no feature_store.yaml; run `make demo` first, or name another")
        self._installation = installation or install_triton()
        self._releases = itertools.count(1)
        self.triton = self._triton_of(self.bundle)
        self._transformer = TransformerProcess(
            self._transformer_options, self.logs / "transformer.log", self.http_port, deadline_seconds
        )
        self._handlers: dict[int, Any] = {}

    @property
    def grpc_url(self) -> str:
        """`host:port` of the transformer's gRPC endpoint."""
        return f"{HOST}:{self.grpc_port}"

    @property
    def rest_url(self) -> str:
        """The transformer's REST endpoint."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def transformer_process_id(self) -> int | None:
        """The transformer's process id, None when it does not run."""
        return self._transformer.process_id

    @property
    def log_files(self) -> tuple[Path, Path]:
        """The logs of Triton and of the transformer."""
        return self.triton.log, self._transformer.log

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start both servers and wait until they respond. Raises ServingError or ContractError with the reason."""
        self._catch_signals()
        try:
            # First the transformer: its imports take longer than all of Triton, and it waits for it.
            self._transformer.start()
            self.triton.start()
            self._transformer.wait_until_ready(self.ready_seconds, self.check)
            if self.state_file is not None:
                write_text(self.state_file, json.dumps(self.state(), indent=2) + "\n")
        except BaseException:
            self.stop()
            raise

    def state(self) -> dict[str, Any]:
        """What `state_file` holds."""
        return {
            "pid": os.getpid(),
            "grpc": self.grpc_url,
            "rest": self.rest_url,
            "explainer": None if self.explainer is None else self.explainer.url,
            "triton_grpc": self.triton.grpc_address,
            "triton": str(self.triton),
            "bundle": str(self.bundle),
            "feature_store": str(self.feature_store),
            "logs": [str(path) for path in self.log_files],
        }

    def reload(self) -> None:
        """Serve what the bundle's path points at now, which may be an older version, without a failed request.

        A second Triton starts with it. Then the transformer switches: it uses the second for new calls and ends those
        under way with the first, which stops at last. Raises ServingError or ContractError with the reason when the
        bundle cannot be served; then nothing changes. An explainer follows; one that cannot raises ServingError, while
        the bundle is served.
        """
        bundle = self.source.resolve()
        triton = self._triton_of(bundle)
        try:
            triton.start()
            named = {"bundle": str(bundle), "predictor_host": triton.grpc_address}
            write_text(self._release_file, json.dumps(named) + "\n")
            self._transformer.load(self.ready_seconds)
        except BaseException:
            triton.stop()
            raise
        last, self.triton, self.bundle = self.triton, triton, bundle
        try:
            if self.explainer is not None:
                self.explainer.load(self.ready_seconds)
        finally:
            last.stop()
            if self.state_file is not None:
                write_text(self.state_file, json.dumps(self.state(), indent=2) + "\n")

    def add_explainer(self, log: Path, port: int | None = None) -> ExplainerProcess:
        """An explainer of what this stack serves, for its owner to start and stop."""
        options = (self.triton.grpc_address, self.bundle, self.feature_store, log, port)
        self.explainer = ExplainerProcess(*options, release=self._release_file)
        return self.explainer

    def stop(self) -> None:
        """Stop both servers. Harmless when nothing runs; a signal cannot cut it short."""
        main_thread = threading.current_thread() is threading.main_thread()
        numbers = _ALL_SIGNALS if main_thread else ()
        before: dict[int, Any] = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            if self.state_file is not None and self._owns_state():
                self.state_file.unlink(missing_ok=True)
            self._transformer.stop()
        finally:
            self.triton.stop()
            for number, handler in {**before, **self._handlers}.items():
                signal.signal(number, handler)
            self._handlers = {}

    def check(self) -> None:
        """Raises ServingError when either server has died."""
        self._transformer.check()
        self.triton.check()

    def wait(self, report: Callable[[str], None] = lambda line: None) -> NoReturn:
        """Wait until a signal comes or a server dies, which raises.

        Serves another bundle when the path points at one; `report` gets a line, also if one cannot be served.
        """
        refused = None
        while True:
            self.check()
            wanted = self.source.resolve()
            if wanted not in (self.bundle, refused):
                try:
                    self.reload()
                    report(f"serving {wanted}")
                except PolytaskError as error:
                    refused = wanted
                    report(f"still serving {self.bundle}: {error}")
            time.sleep(0.5)

    def _triton_of(self, bundle: Path) -> TritonServer:
        number = next(self._releases)
        log = self.logs / ("triton.log" if number == 1 else f"triton-{number}.log")
        return TritonServer(_repository(bundle), self._installation, log)

    @property
    def _release_file(self) -> Path:
        return self.logs / "release.json"

    def _transformer_options(self) -> dict[str, object]:
        return {
            "--predictor_host": self.triton.grpc_address,
            "--bundle": self.bundle,
            "--release": self._release_file,
            "--feature_store": self.feature_store,
            "--http_port": self.http_port,
            "--grpc_port": self.grpc_port,
            "--deadline_seconds": self.deadline_seconds,
            "--max_concurrency": self.max_concurrency,
            "--max_queue": self.max_queue,
            "--strict_features": str(self.strict_features).lower(),
        }

    def _catch_signals(self) -> None:
        """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does. Only the main thread may set handlers."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, _leave) for number in STOP_SIGNALS}

    def _owns_state(self) -> bool:
        state = read_state(self.state_file)
        return state is not None and state.get("pid") == os.getpid()


def read_state(path: Path | None) -> dict[str, Any] | None:
    """What a running stack wrote to its state file; None when there is no file or its stack has ended."""
    if path is None:
        return None
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        os.kill(state["pid"], 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state


def _repository(bundle: Path) -> Path:
    folder = bundle / REPOSITORY_FOLDER
    if not folder.is_dir():
        raise ServingError(f"{bundle}: holds no exported model; run `make demo` first, or name a --bundle")
    # Before Triton starts, whose own error for a bundle of another format does not mention the format.
    load_contract(bundle, verify_files=False)
    return folder


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
