"""What commands leave in files outside the stores: runs of pipelines, evaluations, summaries, logs, training state.

All of it is made from the tables and can be made again, so what holds the user is deleted as a whole.
"""

import re
from pathlib import Path

from pipelines.forgetting.target import ForgetResult, Handler, Target, counted
from pipelines.forgetting.versions import holding
from polytask.data.tables import table_file
from polytask.ingest.rejected import REJECTED
from polytask.jobs.train import state_file
from polytask.personal.places import EVALUATIONS, PIPELINE_RUNS, SERVING_LOGS, SUMMARIES, TRAINING_STATE
from polytask.personal.user_rows import count_rejected, count_rows, drop_from_json, field_names_user, parquet_files
from polytask.scenario.names import INTERACTIONS, USERS
from polytask.storage.removal import finish_removals, remove_folder
from polytask.storage.temporary_names import remove_all_abandoned

ANSWERS = "answers"


def user_is_known(target: Target) -> bool:
    """Whether a run, a version or a source of the feature store has the user: then models were trained with its row."""
    sources = target.feature_store / "sources"
    return bool(_rows_of_runs(target) or holding(target) or any(_rows(path, target) for path in parquet_files(sources)))


def finish_interrupted(target: Target) -> None:
    """Delete what an interrupted run of this command had moved out of the way, and what dead writers left half written.

    None of it is searched: a version whose folder was moved aside is on no list any more.
    """
    roots = {target.places.folder, target.feature_store, target.published}
    folders = {folder for root in roots if root.is_dir() for folder in (root, *root.rglob("*")) if folder.is_dir()}
    for folder in {target.evaluation.parent, *folders}:
        if folder.is_dir():  # what is removed may have had folders of its own
            finish_removals(folder)
            remove_all_abandoned(folder)


def _rows(path: Path, target: Target) -> int:
    return count_rows(path, target.key, target.user)


def _rows_of_runs(target: Target) -> int:
    """Rows of tables, and rows that ingest has rejected: a user may be in those alone."""
    root = target.places.pipeline
    if not root.is_dir():
        return 0
    rejected = sum(count_rejected(path, target.key, target.user) for path in root.rglob(f"{REJECTED}/*.csv"))
    return rejected + sum(_rows(path, target) for path in parquet_files(root))


def _find_runs(target: Target) -> list[ForgetResult]:
    rows = _rows_of_runs(target)
    if not rows:
        return []
    what = f"{counted(rows, 'row')}; deleted with all steps that are kept, the next run makes them again"
    return [ForgetResult(PIPELINE_RUNS, str(target.places.pipeline), what)]


def _remove_runs(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    remove_folder(target.places.pipeline)
    return findings


def _find_evaluations(target: Target) -> list[ForgetResult]:
    if not target.evaluation.is_dir() or not user_is_known(target):
        return []
    return [ForgetResult(EVALUATIONS, str(target.evaluation), "deleted: trained models, metrics.json, report.html")]


def _remove_evaluations(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    remove_folder(target.evaluation)
    return findings


def _find_state(target: Target) -> list[ForgetResult]:
    path = state_file(target.scenario, target.places.folder)
    if not path.is_file() or not user_is_known(target):
        return []
    return [ForgetResult(TRAINING_STATE, str(path), "deleted: the training starts from its first epoch")]


def _remove_state(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    return _unlinked(findings)


def _find_summaries(target: Target) -> list[ForgetResult]:
    files = [path for path in (target.places.summary, target.places.last_summary) if path.is_file()]
    files = [path for path in files if field_names_user(path, ANSWERS, target.user)]
    return [
        ForgetResult(SUMMARIES, str(path), "written again without the recommendations of the demo") for path in files
    ]


def _remove_summaries(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    for finding in findings:
        drop_from_json(Path(finding.where), ANSWERS)
    return findings


def _find_logs(target: Target) -> list[ForgetResult]:
    folders = [folder for folder in (target.places.serving_logs, target.serve_logs) if folder.is_dir()]
    if not folders or not user_is_known(target):
        return []
    # A word of its own: the key 42 is not named by 1420. The name of an item may be the same number: then a log goes
    # that need not.
    key = re.compile(rf"(?<!\w){re.escape(str(target.user))}(?!\w)")
    logs = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    named = [path for path in logs if key.search(path.read_text(encoding="utf-8", errors="replace"))]
    return [ForgetResult(SERVING_LOGS, str(path), "deleted: it names the key") for path in named]


def _unlinked(findings: list[ForgetResult]) -> list[ForgetResult]:
    for finding in findings:
        Path(finding.where).unlink(missing_ok=True)
    return findings


def ingested_tables(target: Target) -> list[Path]:
    """The folders of ingested tables that the runs left."""
    users = [path for path in parquet_files(target.places.pipeline) if path == table_file(path.parent, USERS)]
    return [path.parent for path in users if table_file(path.parent, INTERACTIONS).is_file()]


RUNS = Handler(_find_runs, _remove_runs)
EVALUATION = Handler(_find_evaluations, _remove_evaluations)
STATE = Handler(_find_state, _remove_state)
SUMMARY = Handler(_find_summaries, _remove_summaries)
LOGS = Handler(_find_logs, lambda _, findings: _unlinked(findings))
