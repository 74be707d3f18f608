"""Remove folders so that an interrupted removal can be finished: renamed out of the way at once, then deleted.

A folder is deleted file by file, and a run that stops halfway would leave one that looks like a smaller valid folder.
The rename is one step, so a reader finds the whole folder or none, and `finish_removals` deletes what is left.
"""

import shutil
from pathlib import Path

SUFFIX = ".removed"


def remove_folder(path: Path) -> None:
    """Delete a folder. Nothing happens where there is none; raises OSError where it cannot be deleted."""
    if not path.is_dir() or path.is_symlink():
        return
    aside = path.with_name(f".{path.name}{SUFFIX}")
    if aside.exists():  # of a removal that was interrupted
        shutil.rmtree(aside)
    path.rename(aside)
    shutil.rmtree(aside)


def finish_removals(folder: Path) -> None:
    """Delete what interrupted removals of sub-folders of `folder` left."""
    for aside in folder.glob(f".*{SUFFIX}"):
        shutil.rmtree(aside)
