"""Following a TrainJob: the log lines, how often, and the reported cause of its failure."""

import pytest

from polytask.errors import TrainingError
from serving.kubernetes.client import Cluster
from tests.trainer.api_server import State, ended, pod
from trainer import follow as following
from trainer.errors import JobFailed, JobGone
from trainer.follow import follow

NAME = "train-small-1"
GLOO = "2026-11-24T10:00:09.1Z RuntimeError: Connection closed by peer"
LOG = """2026-11-24T10:00:01.100Z epoch 1
2026-11-24T10:00:01.200Z epoch 2
"""


@pytest.fixture(autouse=True)
def job(state: State) -> None:
    state.jobs[NAME] = {"metadata": {"name": NAME}}


def test_every_change_and_every_line_is_said_once(state: State, cluster: Cluster) -> None:
    logged: list[str] = []
    status = state.jobs[NAME]["status"] = {
        "conditions": [{"type": "Suspended", "status": "True", "message": "waits for its queue"}]
    }

    def log(line: str) -> None:
        logged.append(line)
        with state.lock:
            if line.endswith("queue"):
                status["conditions"][0]["status"] = "False"
                status["jobsStatus"] = [
                    {"name": "node", "active": 1, "ready": 0, "succeeded": 0, "failed": 0, "suspended": 0}
                ]
                waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
                state.pods = [pod(1, "Pending", containerStatuses=waiting), pod(0)]
                state.logs["node-0-0"] = LOG
            elif line == "epoch 2":
                state.logs["node-0-0"] += "2026-11-24T10:00:01.300Z epoch 3\n"
            elif line == "epoch 3":
                state.log(NAME, "Complete", "all is well")

    follow(cluster, NAME, log, 5.0, 0.005)
    assert logged == [
        f"{NAME}: Suspended: waits for its queue",
        f"{NAME}: node: 1 active; node-0-1: ImagePullBackOff: no such image",
        "epoch 1",
        "epoch 2",
        "epoch 3",
        f"{NAME}: Complete: all is well; node: 1 active; node-0-1: ImagePullBackOff: no such image",
    ]


def test_a_failure_names_what_the_pod_that_failed_first_says(state: State, cluster: Cluster) -> None:
    state.log(NAME, "Failed", "jobset failed")
    state.pods = [
        pod(0, "Failed", containerStatuses=ended(1, "2026-11-24T10:00:09Z")),
        pod(1, "Failed", containerStatuses=ended(1, "2026-11-24T10:00:02Z")),
    ]
    state.logs["node-0-0"] = GLOO
    cause = "[rank1]: polytask.errors.DataError: no rows"
    state.logs["node-0-1"] = f"2026-11-24T10:00:02.1Z {cause}\n2026-11-24T10:00:02.2Z torch.ChildFailedError: \n"
    words = (
        rf"^TrainJob {NAME} failed: jobset failed; node-0-1 ended with 1 \(Error\): polytask.errors.DataError: no rows$"
    )
    with pytest.raises(JobFailed, match=words):
        follow(cluster, NAME, print, 5.0, 0.005)


def test_a_pod_that_was_killed_is_named_by_its_reason(state: State, cluster: Cluster) -> None:
    state.log(NAME, "Failed", "jobset failed")
    state.pods = [pod(1, "Failed", containerStatuses=ended(137, "2026-11-24T10:00:02Z", "OOMKilled"))]
    state.logs["node-0-1"] = "2026-11-24T10:00:02.1Z epoch 1\n"
    with pytest.raises(JobFailed, match=r"jobset failed; node-0-1 ended with 137 \(OOMKilled\): epoch 1$"):
        follow(cluster, NAME, print, 5.0, 0.005)


@pytest.mark.parametrize(
    ("closed", "words"), [("pods", "jobset failed; .*403"), ("log", "137 .*; log of node-0-1 .*403")]
)
def test_without_the_right_to_read_pods_the_condition_is_left(
    state: State, cluster: Cluster, closed: str, words: str
) -> None:
    state.forbidden = {closed}
    state.pods = [pod(0), pod(1, "Failed", containerStatuses=ended(137, "2026-11-24T10:00:02Z"))]
    state.logs |= {"node-0-0": "", "node-0-1": ""}
    logged: list[str] = []

    def log(line: str) -> None:
        logged.append(line)
        state.log(NAME, "Failed", "jobset failed")

    with pytest.raises(JobFailed, match=words):
        follow(cluster, NAME, log, 5.0, 0.005)
    assert sum("log is not shown" in line for line in logged) == 1


def test_a_job_that_does_not_end_is_given_up_with_its_last_state(state: State, cluster: Cluster) -> None:
    full = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
    state.pods = [pod(0, "Pending", conditions=full)]
    with pytest.raises(TrainingError, match=r"not complete within 0\.05 s: node-0-0: 0/3 nodes are available$"):
        follow(cluster, NAME, print, 0.05, 0.005)


def test_a_deleted_job_is_not_waited_for(state: State, cluster: Cluster) -> None:
    state.jobs.clear()
    with pytest.raises(JobGone, match="was deleted"):
        follow(cluster, NAME, print, 5.0, 0.005)


def test_an_api_server_that_is_away_for_a_while_ends_no_training(
    state: State, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.failures = [503] * 7  # more than one call is tried
    state.log(NAME, "Complete", "")
    logged: list[str] = []
    follow(cluster, NAME, logged.append, 5.0, 0.005)
    assert "503: the server is busy" in logged[0]
    state.failures = [503] * 99
    monkeypatch.setattr(following, "AWAY_SECONDS", 0.05)
    with pytest.raises(TrainingError, match="503: the server is busy"):
        follow(cluster, NAME, logged.append, 5.0, 0.005)
