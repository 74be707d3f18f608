import os

from serving.server_environment import server_environment


def test_a_server_does_not_share_the_metrics_files_of_who_starts_it(monkeypatch, tmp_path):
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    found = server_environment()
    assert not [name for name in found if name.startswith("PROMETHEUS_MULTI")]
    assert (found["KEPT"], found["OMP_NUM_THREADS"]) == ("yes", "1")
    assert found["PYTHONPATH"].split(os.pathsep)[1] == "/elsewhere"
