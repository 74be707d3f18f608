"""Follows a TrainJob to its end: reports changes, forwards the first node's log, and returns the cause of a failure."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from polytask.errors import TrainingError
from polytask.jobs.traceback import cause_in
from serving.kubernetes.client import POD, Cluster, Object
from serving.rollout.errors import Refused, RolloutError
from trainer.errors import JobFailed, JobGone
from trainer.train_job import INDEX_OF_POD, JOB_OF_POD, NODE, TRAIN_JOB

Log = Callable[[str], None]

COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
# Retries end after the API server has been unavailable for this time.
AWAY_SECONDS = 600.0
LAST_LINES = "200"


def true_condition(job: Object, kind: str) -> dict[str, Any] | None:
    """The condition of this kind where it is true."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


def follow(cluster: Cluster, name: str, log: Log, seconds: float, poll_seconds: float = 5.0) -> None:
    """Return once the TrainJob is complete.

    Raises JobFailed with the cause, JobGone where someone deleted it, TrainingError where it takes longer than
    `seconds` or the API server is unavailable for `AWAY_SECONDS`.
    """
    now = time.monotonic()
    end, seen = now + seconds, now
    news = _News(cluster, name, log)
    while True:
        try:
            job = cluster.get(TRAIN_JOB, name)
            seen = time.monotonic()
            if job is None:
                raise JobGone(f"TrainJob {name}: was deleted while it was waited for")
            news.print_line(job)
            if true_condition(job, COMPLETE):
                return
            if condition := true_condition(job, FAILED):
                raise JobFailed(f"TrainJob {name} failed: {_why(condition)}{_cause(cluster, name)}")
        except Refused:
            raise
        except RolloutError as error:
            if time.monotonic() - seen > AWAY_SECONDS:
                raise TrainingError(f"TrainJob {name}: {error}") from error
            log(f"{name}: {error}")
        if time.monotonic() >= end:
            raise TrainingError(f"TrainJob {name}: not complete within {seconds:g} s: {news.last}")
        time.sleep(poll_seconds)


class _News:
    """Reports what has changed since the last poll, once."""

    def __init__(self, cluster: Cluster, name: str, log: Log) -> None:
        self.last = "it has no status yet"
        self._cluster, self._name, self._log = cluster, name, log
        self._stamp = ""
        self._reads_log = True

    def print_line(self, job: Object) -> None:
        """Report the state of the job, what its pods wait for, and the log of the first of them."""
        try:
            pods = self._cluster.labelled(POD, {JOB_OF_POD: self._name})
        except Refused as error:
            pods = []
            self._tell_log_is_closed(error)
        reported = "; ".join([*_state(job), *(line for pod in pods for line in _waiting(pod))])
        if reported and reported != self.last:
            self.last = reported
            self._log(f"{self._name}: {reported}")
        for pod in pods:
            if (pod["metadata"].get("labels") or {}).get(INDEX_OF_POD) == "0" and self._reads_log and _has_begun(pod):
                self.log_failure(pod["metadata"]["name"])

    def log_failure(self, pod: str) -> None:
        since = {"sinceTime": self._stamp} if self._stamp else {}
        try:
            text = self._cluster.log(pod, NODE, timestamps="true", **since)
        except Refused as error:
            self._tell_log_is_closed(error)
            return
        for line in text.splitlines():
            stamp, _, words = line.partition(" ")
            # The API counts whole seconds: lines that were already logged come again.
            if stamp > self._stamp:
                self._stamp = stamp
                self._log(words)

    def _tell_log_is_closed(self, error: Refused) -> None:
        if self._reads_log:
            self._log(f"{self._name}: the pods' log is not shown: {error}")
        self._reads_log = False


def _state(job: Object) -> Iterator[str]:
    status = job.get("status") or {}
    for kind in (SUSPENDED, COMPLETE, FAILED):
        if condition := true_condition(job, kind):
            yield f"{kind}: {_why(condition)}"
    for one in status.get("jobsStatus") or ():
        counts = ", ".join(f"{one[word]} {word}" for word in ("active", "ready", "succeeded", "failed") if one[word])
        if counts:
            yield f"{one['name']}: {counts}"


def _why(condition: dict[str, Any]) -> str:
    return str(condition.get("message") or condition.get("reason") or "no reason given")


def _waiting(pod: Object) -> Iterator[str]:
    """Why a pod has not begun: no room for it, or an image that cannot be had."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            yield f"{pod['metadata']['name']}: {_why(condition)}"
    for container in status.get("containerStatuses") or ():
        if waiting := (container.get("state") or {}).get("waiting"):
            words = [waiting.get("reason") or "waits", waiting.get("message") or ""]
            yield f"{pod['metadata']['name']}: {': '.join(word for word in words if word)}"


def _has_begun(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Running", "Succeeded", "Failed")


def _ended(pod: Object) -> dict[str, Any] | None:
    """How the container of a pod ended, where it ended badly; the end before the last start counts too."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            ended: dict[str, Any] | None = state.get("terminated")
            if ended and ended.get("exitCode"):
                return ended
    return None


def _cause(cluster: Cluster, name: str) -> str:
    """The cause reported by the pod that failed first, to append to the condition's message."""
    try:
        ends = [(end, pod) for pod in cluster.labelled(POD, {JOB_OF_POD: name}) if (end := _ended(pod))]
        if not ends:
            return ""
        # Pods that fail after it lost their connection to it, and report nothing else.
        end, pod = min(ends, key=lambda found: found[0].get("finishedAt") or "~")
        place = f"; {pod['metadata']['name']} ended with {end['exitCode']} ({end.get('reason') or 'no reason given'})"
    except RolloutError as error:
        return f"; {error}"
    try:
        lines = [line for line in cluster.log(pod["metadata"]["name"], NODE, tailLines=LAST_LINES).splitlines() if line]
    except RolloutError as error:
        return f"{place}; {error}"
    causes = [cause for line in lines if (cause := cause_in(line))]
    logged = causes[0] if causes else (lines[-1].strip() if lines else "")
    return f"{place}: {logged}" if logged else place
