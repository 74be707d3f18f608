"""Train on several machines: inputs to the place where they meet, a TrainJob over them, the model back and checked."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polytask.errors import PolytaskError, TrainingError
from polytask.jobs.exchange import Exchange, Inputs, TrainResult
from serving.kubernetes.client import Cluster, connect
from serving.rollout.errors import Refused
from trainer.errors import JobFailed, JobGone, Stopped
from trainer.follow import COMPLETE, FAILED, Log, follow, true_condition
from trainer.train_job import MANAGER, TRAIN_JOB, Nodes, job_name, train_job

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
GONE_SECONDS = 300.0
# The step is ended after its hours: it has to be through before, to take the TrainJob away.
SHARE_OF_STEP = 0.95


def train_on_nodes(
    nodes: Nodes,
    inputs: Inputs,
    target: Path,
    log: Log,
    *,
    shared_storage: str,
    namespace: str = "",
    hours: float,
    poll_seconds: float = 5.0,
    cluster: Cluster | None = None,
) -> TrainResult:
    """`train_model` (`polytask.jobs.train`) and what calibrates it, on several machines; writes the folder `target`.

    `shared_storage` is a folder or an address of object storage that this step and the nodes read and write; `hours`
    are those of the step. A training with the same inputs that has ended well is taken from there, one that runs is
    followed, one that has failed is replaced and goes on where it was. Where this step is cancelled or takes too long,
    the TrainJob is deleted. Raises TrainingError with the cause.
    """
    if not shared_storage:
        raise TrainingError(
            "shared_storage: is empty; allowed: s3://..., gs://..., or a folder that this step and all nodes mount"
        )
    name = job_name(inputs.scenario.name, nodes, inputs.content())
    place = Exchange(f"{shared_storage.rstrip('/')}/{name}")
    if (done := _done_before(place, target, log)) is not None:
        return done
    reached = cluster or connect(namespace or own_namespace())
    seconds = SHARE_OF_STEP * 3600 * hours
    try:
        log(f"{place.address}: {place.put_inputs(inputs)} files written, all others were there")
        _carry_out(reached, name, train_job(name, nodes, place.address, seconds), log, seconds, poll_seconds)
    except Refused as error:
        raise TrainingError(
            f"{error}; allowed: a cluster with Kubeflow Trainer 2.2 or newer, and the rights of "
            "manifests/components/training for the step's service account"
        ) from error
    finally:
        if cluster is None:
            reached.close()
    result = place.fetch_model(target)
    if result is None:
        raise TrainingError(f"TrainJob {name} is complete, but {place.address} has no model; does it mount the same?")
    return result


def own_namespace() -> str:
    """The namespace of the pod that this runs in. Raises TrainingError outside of one."""
    try:
        return OWN_NAMESPACE.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise TrainingError(
            "training_namespace: is empty; allowed outside of a pod: the TrainJob's namespace"
        ) from error


def _done_before(place: Exchange, target: Path, log: Log) -> TrainResult | None:
    try:
        result = place.fetch_model(target)
    except TrainingError as error:  # a model that was damaged since is trained again
        log(f"{error}; training again")
        return None
    if result is not None:
        log(f"{place.address}: was trained before, with the same inputs and code")
    return result


def _carry_out(
    cluster: Cluster, name: str, document: dict[str, object], log: Log, seconds: float, poll_seconds: float
) -> None:
    """Create the TrainJob, or find the existing one, and wait for its end; delete it if the wait is interrupted."""
    with _told_to_end():
        live = cluster.get(TRAIN_JOB, name)
        if live is not None and (true_condition(live, FAILED) or true_condition(live, COMPLETE)):
            log(f"TrainJob {name}: the one before has left no model; it is replaced")
            _remove(cluster, name, poll_seconds)
            live = None
        if live is not None and "deletionTimestamp" in live["metadata"]:
            _remove(cluster, name, poll_seconds)
            live = None
        try:
            if live is None:
                cluster.apply(TRAIN_JOB, document, manager=MANAGER)
            log(f"TrainJob {name} in {cluster.namespace}: {'made' if live is None else 'was there, and is followed'}")
            follow(cluster, name, log, seconds, poll_seconds)
        except (JobFailed, JobGone):
            raise
        except BaseException:
            log(f"TrainJob {name}: is deleted, as nobody waits for it")
            try:
                cluster.delete(TRAIN_JOB, name)
            except PolytaskError as error:
                log(f"TrainJob {name}: cannot be deleted: {error}")
            raise


def _remove(cluster: Cluster, name: str, poll_seconds: float) -> None:
    """Delete it and wait until its name is free."""
    end = time.monotonic() + GONE_SECONDS
    cluster.delete(TRAIN_JOB, name)
    while cluster.get(TRAIN_JOB, name) is not None:
        if time.monotonic() > end:
            raise TrainingError(f"TrainJob {name}: is still there {GONE_SECONDS:g} s after it was deleted")
        time.sleep(poll_seconds)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Make SIGTERM, which a cancelled step gets, an exception, so that what was begun is ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows takes a second
        raise Stopped(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
