"""Published versions that hold a user: the live one and the one before it are written again, older ones deleted.

The row of the user is cut out of the checkpoint and the model is exported again (`polytask.jobs.forget_user`), which
gives a version of its own number. It takes the place of the old one in the registry before that one is deleted, so
there is always a live version.
"""

from contextlib import suppress
from pathlib import Path

import pandas as pd

from pipelines.commands.update_base import write_repository
from pipelines.forgetting.target import ForgetResult, Handler, Target
from polytask.contract.contract import load_contract
from polytask.errors import PolytaskError
from polytask.personal.places import PUBLISHED
from polytask.personal.user_rows import count_rows
from polytask.registry.version import ModelVersion, RegistryError, version_before
from polytask.scenario.names import USERS
from polytask.storage.atomic import temporary_folder

CANNOT_REWRITE = "deleted: it has no checkpoint to export again from"


class LiveVersionError(PolytaskError):
    """The live version holds the user, and cannot be replaced."""


def holding(target: Target) -> list[ModelVersion]:
    """The versions whose catalogue has the user, of those whose files are on this machine."""
    return [version for version in target.registry.versions() if _holds(target, Path(version.bundle))]


def _holds(target: Target, bundle: Path) -> bool:
    if not bundle.is_dir():
        return False
    catalogue = load_contract(bundle, verify_files=False, older=True).catalogues.get(USERS)
    return catalogue is not None and count_rows(bundle / catalogue.path, target.key, target.user) > 0


def _find(target: Target) -> list[ForgetResult]:
    found, elsewhere = holding(target), [v for v in target.registry.versions() if not Path(v.bundle).is_dir()]
    again = _to_rewrite(target, found)
    lines = []
    for version in found:
        if version.version not in again:
            action = "deleted: neither live nor the one before"
        elif _checkpoint(version) is None:
            action = CANNOT_REWRITE
        else:
            action = "exported again without the user, then deleted"
        lines.append(ForgetResult(PUBLISHED, f"version {version.version}", action))
    action = "not looked at: its files are not on this machine"
    return lines + [ForgetResult(PUBLISHED, v.bundle or f"version {v.version}", action, "yours") for v in elsewhere]


def _to_rewrite(target: Target, found: list[ModelVersion]) -> set[int]:
    live = target.registry.live()
    if live is None:
        return set()
    wanted = {live.version}
    with suppress(RegistryError):  # there was none before it
        wanted.add(version_before(target.registry.versions(), live, str(target.registry), None))
    return wanted & {version.version for version in found}


def check_live_can_be_replaced(target: Target) -> None:
    """Raise LiveVersionError, before anything is changed, where the live version holds the user and has no model."""
    live = target.registry.live()
    if live is None or not _holds(target, Path(live.bundle)):
        return
    if _checkpoint(live) is None:
        raise LiveVersionError(
            f"version {live.version} is live and holds the user, and {target.registry} has no checkpoint of it to "
            "export again from; allowed: publish another version first (polytask demo), or make one live that does "
            "not hold the user"
        )
    users = load_contract(Path(live.bundle), verify_files=False).catalogues[USERS]
    if users.rows == 1:
        raise LiveVersionError(f"version {live.version} is live and has no other user; delete {live.bundle} by hand")


def _checkpoint(version: ModelVersion) -> Path | None:
    """The model of a version as the registry has it: the newest one of a workspace may be another version's."""
    return None if version.checkpoint is None else Path(version.checkpoint)


def _remove(target: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    done = [finding for finding in findings if finding.fate == "yours"]
    found = holding(target)
    again = _to_rewrite(target, found)
    live = target.registry.live()
    # The live one last: until its replacement is there, a rollback still has where to go.
    for version in sorted(found, key=lambda one: live is not None and one.version == live.version):
        where = f"version {version.version}"
        checkpoint = _checkpoint(version)
        if version.version not in again or checkpoint is None:
            target.registry.remove(version.version)
            why = CANNOT_REWRITE if version.version in again else "deleted"
            done.append(ForgetResult(PUBLISHED, where, why))
            continue
        number = _rewritten(target, version, checkpoint)
        done.append(ForgetResult(PUBLISHED, where, f"deleted; version {number} took its place"))
    return done


def _rewritten(target: Target, version: ModelVersion, checkpoint: Path) -> int:
    """Publish a version without the user in the place of another, which is deleted; its number."""
    from polytask.jobs.forget_user import forget_job
    from polytask.jobs.updates import BUNDLE, MODEL
    from polytask.registry.trained import Version
    from serving.rollout.publish import publish

    bundle = Path(version.bundle)
    with temporary_folder(bundle.parent / "forget") as made:
        contract = forget_job(Version(checkpoint, bundle), target.user, made, target.log, write_repository)
        lineage = {**version.lineage, "parent_model": str(version.version)}
        publish(made / BUNDLE, bundle.parent, made / MODEL, lineage, registry=target.registry_setting, live=False)
    target.registry.replace(version.version, contract.model_version)
    return contract.model_version


def profiles(target: Target) -> pd.DataFrame:
    """The user's rows in the catalogues of all versions, without the key: what its request texts were made of."""
    columns = list(target.scenario.features.profile)
    rows = [pd.DataFrame(columns=columns)]
    for version in holding(target):
        contract = load_contract(Path(version.bundle), verify_files=False, older=True)
        table = pd.read_parquet(Path(version.bundle) / contract.catalogues[USERS].path)
        if set(columns) <= set(table.columns):
            rows.append(table.loc[table[target.key] == target.user, columns])
    return pd.concat(rows, ignore_index=True)


HANDLER = Handler(_find, _remove)
