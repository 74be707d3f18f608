"""Search all places for a user, and take the user out of them, one place after the other."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.forgetting import features, files, sources, text_vectors, versions
from pipelines.forgetting.target import ForgetResult, Handler, Target
from polytask.errors import PolytaskError
from polytask.ingest.forgotten import add_forgotten, forgotten_file, read_forgotten
from polytask.personal.places import (
    EVALUATIONS,
    FORGOTTEN,
    OFFLINE_STORE,
    ONLINE_STORE,
    PACKAGED_DATA,
    PIPELINE_RUNS,
    PUBLISHED,
    SERVING_LOGS,
    SOURCE_TABLES,
    SUMMARIES,
    TEXT_VECTORS,
    TRAINING_STATE,
)

# First what is known to hold the user only because another place does: an interrupted run still finds it then.
HANDLERS: dict[str, Handler] = {
    TEXT_VECTORS: text_vectors.HANDLER,
    EVALUATIONS: files.EVALUATION,
    TRAINING_STATE: files.STATE,
    SERVING_LOGS: files.LOGS,
    SUMMARIES: files.SUMMARY,
    ONLINE_STORE: features.ONLINE,
    PUBLISHED: versions.HANDLER,
    OFFLINE_STORE: features.OFFLINE,
    PIPELINE_RUNS: files.RUNS,
    SOURCE_TABLES: sources.HANDLER,
    PACKAGED_DATA: sources.PACKAGED,
}


class ForgetError(PolytaskError):
    """The user was not forgotten, or not everywhere."""


def search(target: Target) -> list[ForgetResult]:
    """Where the user is, in the order in which the places are handled. Nothing is changed."""
    return [finding for handler in HANDLERS.values() for finding in handler.find(target)]


def planned(target: Target) -> list[ForgetResult]:
    """What `forget` would do, and what it would leave to the team, in the same order. Nothing is changed."""
    found = search(target)
    if not found or read_forgotten(target.scenario).holds(target.user):
        return found
    return [_listed(target), *found]


def _listed(target: Target) -> ForgetResult:
    return ForgetResult(FORGOTTEN, str(forgotten_file(target.scenario)), "user added, as a salted hash")


def forget(target: Target) -> list[ForgetResult]:
    """Remove the user from every place, and search all of them again; returns what was done and what is left to do.

    Raises:
        LiveVersionError: The live version cannot be replaced; nothing is changed.
        ForgetError: Another run is at work, or a place still holds the user afterwards, such as one that was written
            to at the same time.
    """
    with _alone_in(target.places.folder):
        return _forget(target)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a workspace: two at once would delete what the other is about to export again."""
    if not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system frees the lock of a dead process
        except BlockingIOError as error:
            raise ForgetError(f"{folder}: another `polytask forget` is running; wait until it has ended") from error
        yield
    finally:
        os.close(handle)


def _forget(target: Target) -> list[ForgetResult]:
    files.finish_interrupted(target)
    if not search(target):
        return []
    versions.check_live_can_be_replaced(target)
    done = []
    # Before all else: a run that starts now must not read the user again.
    if add_forgotten(target.scenario, target.user):
        done.append(_listed(target))
    for handler in HANDLERS.values():
        found = handler.find(target)
        if found:
            done += handler.remove(target, found)
    left = [finding for finding in search(target) if finding.fate == "removed"]
    if left:
        where = "; ".join(f"{finding.place}: {finding.where}" for finding in left)
        raise ForgetError(f"still found in {where}; stop what writes there, then run the command again")
    return done
