import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from serving.local.server_process import server_environment, start_server, stop_server


def test_a_server_does_not_share_the_metrics_files_of_who_starts_it(monkeypatch, tmp_path):
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = server_environment()
    assert not [name for name in found if name.startswith("PROMETHEUS_MULTI")]
    assert (found["KEPT"], found["OMP_NUM_THREADS"]) == ("yes", "1")
    assert found["PYTHONPATH"].split(os.pathsep)[1] == "/elsewhere"


def test_a_server_that_does_not_end_is_killed():
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert process.stdout.readline()
    stop_server(process, 0.2)
    assert process.returncode == -signal.SIGKILL


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
