"""The whole serving stack on this machine: Triton and the transformer, started and stopped together."""

import atexit
import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from polytask.atomic import write_text
from polytask.contract import REPOSITORY_FOLDER
from polytask.errors import ContractError, PolytaskError, ServingError
from serving.triton.install import TritonInstallation, install_triton
from serving.triton.server import HOST, TritonServer, choose_ports

STATE_FILE = Path("build/serve.json")
LOGS = Path("build/serve")
MODEL_NAME = "recommender"
STOP_SECONDS = 10
LOG_LINES = 12
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
        ready_seconds: float = 120.0,
    ) -> None:
        self.source = bundle.absolute()
        self.bundle = bundle.resolve()
        self.feature_store = feature_store.resolve()
        self.logs = logs.resolve()
        self.state_file = state_file
        self.deadline_seconds = deadline_seconds
        self.max_concurrency, self.max_queue = max_concurrency, max_queue
        self.ready_seconds = ready_seconds
        self.explainer_url: str | None = None  # of an explainer beside this stack, for those who read the state
        self.http_port, self.grpc_port = choose_ports(http_port, grpc_port)
        _repository(bundle)
        if not (self.feature_store / "feature_store.yaml").is_file():
            raise ServingError(f"{feature_store}: holds no feature_store.yaml; run `make demo` first, or name another")
        self._installation = installation or install_triton()
        self._releases = itertools.count(1)
        self.triton = self._triton_of(self.bundle)
        self._transformer: subprocess.Popen[bytes] | None = None
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
        return None if self._transformer is None else self._transformer.pid

    @property
    def log_files(self) -> tuple[Path, Path]:
        """The logs of Triton and of the transformer."""
        return self.triton.log, self.logs / "transformer.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start both servers and wait until they answer. Raises ServingError or ContractError with the reason."""
        self._catch_signals()
        try:
            # First the transformer: its imports take longer than all of Triton, and it waits for it.
            self._start_transformer()
            self.triton.start()
            self._wait_until_ready()
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
            "explainer": self.explainer_url,
            "triton_grpc": self.triton.grpc_address,
            "bundle": str(self.bundle),
            "feature_store": str(self.feature_store),
            "logs": [str(path) for path in self.log_files],
        }

    def reload(self) -> None:
        """Serve what the bundle's path points at now, which may be an older version, without a failed request.

        A second Triton starts with it. Then the transformer is told: it uses the second for new calls and ends those
        under way with the first, which stops at last. Raises ServingError or ContractError with the reason when the
        bundle cannot be served; then nothing changes.
        """
        bundle = self.source.resolve()
        triton = self._triton_of(bundle)
        try:
            triton.start()
            named = {"bundle": str(bundle), "predictor_host": triton.grpc_address}
            write_text(self._release_file, json.dumps(named) + "\n")
            self._load()
        except BaseException:
            triton.stop()
            raise
        last, self.triton, self.bundle = self.triton, triton, bundle
        last.stop()
        if self.state_file is not None:
            write_text(self.state_file, json.dumps(self.state(), indent=2) + "\n")

    def stop(self) -> None:
        """Stop both servers. Harmless when nothing runs; a signal cannot cut it short."""
        main_thread = threading.current_thread() is threading.main_thread()
        numbers = _ALL_SIGNALS if main_thread else ()
        before: dict[int, Any] = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            if self.state_file is not None and self._owns_state():
                self.state_file.unlink(missing_ok=True)
            self._stop_transformer()
        finally:
            self.triton.stop()
            for number, handler in {**before, **self._handlers}.items():
                signal.signal(number, handler)
            self._handlers = {}

    def check(self) -> None:
        """Raises ServingError when either server has died."""
        if self._transformer is None or self._transformer.poll() is not None:
            raise ServingError(f"the transformer ended: {_last_lines(self.log_files[1])}")
        if self.triton.process_id is None or _exited(self.triton.process_id):
            raise ServingError(f"Triton ended: {_last_lines(self.triton.log)}")

    def wait(self, report: Callable[[str], None] = lambda line: None) -> NoReturn:
        """Wait until a signal comes or a server dies, which raises.

        Serves another bundle when the path points at one; `report` is told, also why one cannot be served.
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

    def _load(self) -> None:
        """Let the transformer serve what the release file names."""
        connection = http.client.HTTPConnection(HOST, self.http_port, timeout=self.ready_seconds)
        try:
            connection.request("POST", f"/v2/repository/models/{MODEL_NAME}/load")
            response = connection.getresponse()
            content = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise ServingError(f"the transformer does not answer: {error} (log: {self.log_files[1]})") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ServingError(f"the transformer cannot load the bundle: {content}")

    def _start_transformer(self) -> None:
        options = {
            "--model_name": MODEL_NAME,
            "--predictor_host": self.triton.grpc_address,
            "--predictor_protocol": "grpc-v2",
            "--bundle": str(self.bundle),
            "--release": str(self._release_file),
            "--feature_store": str(self.feature_store),
            "--http_port": str(self.http_port),
            "--grpc_port": str(self.grpc_port),
            "--deadline_seconds": str(self.deadline_seconds),
            "--max_concurrency": str(self.max_concurrency),
            "--max_queue": str(self.max_queue),
        }
        command = [sys.executable, "-m", "serving.transformer", *(f"{name}={value}" for name, value in options.items())]
        root = str(Path(__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONUNBUFFERED": "1",
            "FEAST_USAGE": "False",
            "OMP_NUM_THREADS": "1",
        }
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log_files[1].open("wb") as log:
            # A session of its own: a Ctrl-C at the terminal reaches us alone, and we stop the servers in order.
            self._transformer = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self._stop_transformer)

    def _stop_transformer(self) -> None:
        process = self._transformer
        if process is None:
            return
        try:
            process.terminate()
            process.wait(self.deadline_seconds + STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        finally:
            self._transformer = None
            atexit.unregister(self._stop_transformer)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + self.ready_seconds
        reason = "it does not answer"
        while time.monotonic() < end:
            self.check()
            status, content = self._health()
            if status == http.client.OK:
                return
            if content.get("contract_mismatch"):
                raise ContractError(content["error"])
            reason = content.get("error", reason)
            time.sleep(0.1)
        raise ServingError(
            f"the transformer was not ready within {self.ready_seconds:g} s: {reason} (log: {self.log_files[1]})"
        )

    def _health(self) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(HOST, self.http_port, timeout=self.deadline_seconds + 5)
        try:
            connection.request("GET", "/v2/health/ready")
            response = connection.getresponse()
            content = json.loads(response.read())
            return response.status, content if isinstance(content, dict) else {}
        except (OSError, http.client.HTTPException, ValueError):
            return 0, {}
        finally:
            connection.close()

    def _catch_signals(self) -> None:
        """Let SIGTERM and SIGHUP unwind the stack as Ctrl-C does. Only the main thread may set handlers."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, _leave) for number in STOP_SIGNALS}

    def _owns_state(self) -> bool:
        state = read_state(self.state_file)
        return state is not None and state.get("pid") == os.getpid()


def read_state(path: Path | None) -> dict[str, Any] | None:
    """What a running stack wrote to its state file; None when there is no file or its stack is gone."""
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
    return folder


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _exited(process_id: int) -> bool:
    """Whether our child has ended, without reaping it."""
    return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    errors = [line for line in lines if line.startswith("error: ")]
    return "\n".join([*(errors or lines)[-LOG_LINES:], f"(log: {log})"])
