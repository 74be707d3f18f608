"""`SHA256SUMS` of a model repository: every file of it, in the format of the program sha256sum.

The list travels with the repository, and its own checksum travels in the deployed InferenceService. So a Triton whose
image has neither Python nor this project checks the whole repository before it loads any of it.
"""

from pathlib import Path

from polytask.errors import ContractError
from polytask.storage.atomic import sha256_file, write_text

SUMS_FILE = "SHA256SUMS"


def write_sums(repository: Path) -> None:
    """List the checksums of all files below `repository`, in name order."""
    write_text(repository / SUMS_FILE, "".join(f"{sum_}  {name}\n" for name, sum_ in _sums(repository).items()))


def check_sums(repository: Path) -> str:
    """The SHA-256 of the list itself. Raises ContractError with both values where a file differs from the list."""
    path = repository / SUMS_FILE
    if not path.is_file():
        raise ContractError(f"{path}: is missing; export the model again")
    lines = path.read_text(encoding="utf-8").splitlines()
    listed = {name: sum_ for sum_, _, name in (line.partition("  ") for line in lines)}
    actual = _sums(repository)
    for name in sorted(listed.keys() | actual.keys()):
        if listed.get(name) != actual.get(name):
            found = actual.get(name, "is not there")
            raise ContractError(f"{repository / name}: {found}, {SUMS_FILE} lists {listed.get(name, 'no such file')}")
    return sha256_file(path)


def _sums(repository: Path) -> dict[str, str]:
    files = sorted(path for path in repository.rglob("*") if path.is_file() and path != repository / SUMS_FILE)
    return {path.relative_to(repository).as_posix(): sha256_file(path) for path in files}
