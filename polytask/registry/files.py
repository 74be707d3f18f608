"""The files of published versions in one folder, whichever registry knows about them.

<folder>/<version>/                the bundle, written by `serving.rollout.publish`
<folder>/current                   a link to the version that is served from this folder
<folder>/checkpoints/<version>/    the model it was exported from
"""

import shutil
from pathlib import Path

from polytask.contract.contract import CONTRACT_FILE, Contract, load_contract
from polytask.registry.version import RegistryError
from polytask.storage.atomic import atomic_folder, replace_link
from polytask.storage.removal import finish_removals, remove_folder

CURRENT = "current"
CHECKPOINTS = "checkpoints"


class VersionFiles:
    """The versions below `folder`, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, bundle: Path, checkpoint: Path | None) -> Contract:
        """Copy the checkpoint of a published bundle next to it and return the bundle's contract.

        Raises RegistryError for a bundle that is not the published one of its version.
        """
        contract = load_contract(bundle, verify_files=False)
        number = contract.model_version
        if bundle.resolve() != self.bundle(number).resolve():
            raise RegistryError(f"{bundle}: is to be registered; allowed: the published {self.bundle(number)}")
        if checkpoint is not None:
            with atomic_folder(self._checkpoint(number)) as temporary:
                shutil.copytree(checkpoint, temporary, dirs_exist_ok=True)
        return contract

    def numbers(self) -> list[int]:
        """The versions whose bundles are there."""
        return sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdigit() and self.holds(path.name))

    def holds(self, number: int | str) -> bool:
        """Whether the bundle of a version is there."""
        return (self.folder / str(number) / CONTRACT_FILE).is_file()

    def bundle(self, number: int) -> Path:
        """The bundle's folder."""
        return self.folder / str(number)

    def checkpoint(self, number: int) -> Path | None:
        """The checkpoint's folder; None where none was kept."""
        return self._checkpoint(number) if self._checkpoint(number).is_dir() else None

    def current(self) -> int | None:
        """The version that `current` points at; None where there is no such link.

        Raises RegistryError where it points at anything but the folder of a version.
        """
        link = self.folder / CURRENT
        if not link.is_symlink():
            return None
        name = link.readlink().name
        if not (name.isascii() and name.isdigit()):
            allowed = f"allowed: the folder of a version, such as {self.folder}/1"
            raise RegistryError(f"{link}: points at {link.readlink()}; {allowed}")
        return int(name)

    def check_servable(self, number: int) -> None:
        """Raise ContractError where the bundle of a version is here and cannot be served any more."""
        if self.holds(number):
            load_contract(self.bundle(number), verify_files=False)

    def point(self, number: int) -> None:
        """Point `current` at a version."""
        point(self.folder / CURRENT, str(number))

    def remove(self, number: int) -> None:
        """Delete the checkpoint and the bundle of a version; also what interrupted removals left.

        The bundle goes last: a version is listed, and can be removed again, until nothing of it is left.
        """
        remove_folder(self._checkpoint(number))
        remove_folder(self.bundle(number))
        for folder in (self.folder, self.folder / CHECKPOINTS):
            finish_removals(folder)

    def _checkpoint(self, number: int) -> Path:
        return self.folder / CHECKPOINTS / str(number)


def point(link: Path, name: str) -> None:
    """Replace a symbolic link in one step, so that a reader finds the old version or the new one."""
    if link.is_symlink() and link.readlink() == Path(name):
        return
    replace_link(link, name)
