"""The feature store's offline sources and its online store, see `feature_repo.forget_user`."""

from pipelines.forgetting.target import ForgetResult, Handler, Target, counted
from polytask.personal.places import OFFLINE_STORE, ONLINE_STORE


def _is_there(target: Target) -> bool:
    from feature_repo.store import STORE_FILE

    return (target.feature_store / STORE_FILE).is_file()


def _find_offline(target: Target) -> list[ForgetResult]:
    if not _is_there(target):
        return []
    from feature_repo.forget_user import rows_in_sources, tables_elsewhere

    rows = rows_in_sources(target.feature_store, target.scenario, target.user)
    found = [ForgetResult(OFFLINE_STORE, str(path), f"{counted(count, 'row')} removed") for path, count in rows.items()]
    tables = tables_elsewhere(target.feature_store, target.scenario)
    return found + [
        ForgetResult(OFFLINE_STORE, table, "not looked at: delete the rows there", "yours") for table in tables
    ]


def _remove_offline(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    from feature_repo.forget_user import remove_from_sources

    remove_from_sources(target.feature_store, target.scenario, target.user)
    return findings


def _find_online(target: Target) -> list[ForgetResult]:
    if not _is_there(target):
        return []
    from feature_repo.forget_user import online_rows

    rows = online_rows(target.feature_store, target.scenario, target.user)
    if rows is None:
        return []
    return [
        ForgetResult(ONLINE_STORE, f"{rows.store} of {target.feature_store}", f"{', '.join(rows.views)}: {rows.action}")
    ]


def _remove_online(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    from feature_repo.forget_user import remove_from_online_store

    remove_from_online_store(target.feature_store, target.scenario, target.user)
    return findings


OFFLINE = Handler(_find_offline, _remove_offline)
ONLINE = Handler(_find_online, _remove_online)
