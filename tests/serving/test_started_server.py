import os
import signal
import subprocess
import sys

from serving.started_server import server_environment, stop_server


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
