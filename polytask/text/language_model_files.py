"""Where the files of a language model are, and which of them a training depends on. It imports no torch."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from polytask.errors import DataError
from polytask.storage.atomic import sha256_file
from polytask.storage.wheels import package_path

# What is read of a model: configuration, tokenizer, weights. Safetensors only: pickled weights can run code.
PATTERNS = ("*.json", "*.safetensors", "*.txt")
CONFIGURATION = ("config.json",)


def language_model_folder(reference: str, patterns: tuple[str, ...] = PATTERNS) -> Path:
    """The folder that holds the model of `encoder.model`: a package's, a folder, or a Hugging Face snapshot.

    Of a snapshot only the files of these patterns are fetched. Raises DataError where there is none.
    """
    if reference.startswith("package:"):
        return package_path(reference.removeprefix("package:"))
    if Path(reference).is_dir():
        return Path(reference)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(reference, allow_patterns=list(patterns)))
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError) as error:
        raise DataError(f"encoder.model: {reference!r} is no folder and cannot be fetched: {error}") from error


def language_model_version(reference: str) -> str:
    """Identifies the content of `encoder.model`, which may change under the same name.

    For a folder or a package a checksum of its files, read whole each time (about 2 s per GB): other weights may have
    the size and the time of the old ones. For a model of the hub its revision, by which the hub keeps the content.
    """
    if reference.startswith("package:") or Path(reference).is_dir():
        folder = language_model_folder(reference)
        parts = "".join(f"{path.relative_to(folder)} {sha256_file(path)}\n" for path in _files(folder))
        return sha256(parts.encode()).hexdigest()
    # A snapshot's folder is named by its revision; the weights are fetched by the steps that need them.
    return language_model_folder(reference, CONFIGURATION).name


def _files(folder: Path) -> Iterator[Path]:
    found = {path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()}
    yield from sorted(found)
