import os
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from polytask.errors import ServingError
from serving.local import server_process
from serving.local.server_process import ServerProcess, server_environment, start_server
from serving.local.server_process import _ended as ended


def test_a_server_does_not_share_the_metrics_files_of_who_starts_it(monkeypatch, tmp_path):
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = server_environment()
    assert not [name for name in found if name.startswith("PROMETHEUS_MULTI")]
    assert (found["KEPT"], found["OMP_NUM_THREADS"]) == ("yes", "1")
    assert found["PYTHONPATH"].split(os.pathsep)[1] == "/elsewhere"


class Program(ServerProcess):
    """Python code as a server, which is ready when its log has a line."""

    name = "the program"
    stop_seconds = 0.2
    poll_seconds = 0.01

    def __init__(self, log, code):
        super().__init__(log)
        self._code = code

    def command(self):
        return [sys.executable, "-c", self._code]

    def not_ready(self):
        return None if "\n" in self.log.read_text() else "its log is empty"


DEAF = """
import signal, subprocess, sys, time
child = "import time; time.sleep(60)"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(subprocess.Popen([sys.executable, "-c", child]).pid, flush=True)
time.sleep(60)
"""


def test_a_server_that_does_not_end_is_killed(tmp_path):
    with Program(tmp_path / "log", DEAF) as program:
        program.wait_until_ready(20)
        child = Path("/proc") / program.log.read_text().strip()
        assert program.runs() and child.exists()
        server = program.process_id
    assert not program.runs() and program.process_id is None
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    wait_for(lambda: not child.exists() or "State:\tZ" in (child / "status").read_text(), "its child did not end")
    program.stop()  # harmless


def test_a_server_that_ends_is_named_with_the_errors_of_its_log(tmp_path):
    code = "print('error: no such bundle'); print('other line'); raise SystemExit(1)"
    program = Program(tmp_path / "folder" / "log", code)
    with pytest.raises(ServingError, match=r"^the program ended: \(log: "):
        program.check()
    program.start()
    wait_for(lambda: not program.runs(), "it did not end")
    with pytest.raises(ServingError) as caught:
        program.wait_until_ready(20)
    assert str(caught.value) == f"the program ended: error: no such bundle\n(log: {program.log})"
    program.stop()


def test_a_server_that_does_not_become_ready_is_named_with_the_reason(tmp_path):
    with Program(tmp_path / "log", "import time; time.sleep(60)") as program:
        with pytest.raises(ServingError) as caught:
            program.wait_until_ready(0.05)
        assert str(caught.value) == f"the program was not ready within 0.05 s: its log is empty (log: {program.log})"


def test_a_server_whose_start_is_interrupted_is_stopped(tmp_path, monkeypatch):
    """A signal handler raises while the program waits for the start: the server must not be left running."""
    program = Program(tmp_path / "log", "import time; time.sleep(60)")
    waiting = Future.result

    def interrupt(future):
        waiting(future)
        raise SystemExit(143)

    monkeypatch.setattr(Future, "result", interrupt)
    with pytest.raises(SystemExit):
        program.start()
    monkeypatch.setattr(Future, "result", waiting)
    seen = []
    monkeypatch.setattr(server_process, "_ended", lambda process: bool(seen.append(process.pid)) or ended(process))
    program.stop()
    assert seen and not Path("/proc", str(seen[0])).exists()


STARTS = """
import sys, threading, time
from pathlib import Path
from serving.local.server_process import server_environment, start_server

folder = Path(sys.argv[1])
server = "import signal as s; s.pthread_sigmask(0, [15]); print(flush=True); s.sigwait([15]); print('in order')"


def start():
    with (folder / "log").open("wb") as log:
        process = start_server([sys.executable, "-c", server], log, server_environment())
    (folder / "pid").write_text(str(process.pid))


starting = threading.Thread(target=start)  # a server outlives the thread that started it
starting.start()
starting.join()
print(flush=True)
time.sleep(60)
"""


def test_a_server_outlives_a_thread_and_ends_in_order_when_its_program_is_killed(tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(tmp_path)], stdout=subprocess.PIPE, env=server_environment()
    )
    try:
        assert program.stdout.readline()
        log, server = tmp_path / "log", Path("/proc") / (tmp_path / "pid").read_text()
        wait_for(lambda: log.read_text() == "\n", "the server did not start")
        time.sleep(0.2)
        assert server.exists()
    finally:
        program.kill()
        program.wait()
    wait_for(lambda: "in order" in log.read_text(), "the server outlives its program")
    wait_for(lambda: not server.exists() or "State:\tZ" in (server / "status").read_text(), "the server did not end")


def test_a_command_that_is_not_there_is_named(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        process = start_server(["/nowhere/server"], log, server_environment())
    assert process.wait(20) == 127
    assert (tmp_path / "log").read_text() == "error: /nowhere/server: No such file or directory\n"


def wait_for(holds, what):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)
