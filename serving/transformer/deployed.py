"""Which bundles the deploy step gave this pod, and the checksums that their contracts have to have."""

from dataclasses import dataclass
from pathlib import Path

from polytask.errors import ContractError

# The new one and the one before it, while a rollout replaces Triton's pods.
MOST_BUNDLES = 2


@dataclass(frozen=True)
class Deployed:
    """A bundle's folder, and the checksum that was deployed; None where nothing is compared, as on a laptop."""

    folder: Path
    contract_sha256: str | None = None


def deployed_bundles(bundle: str, contract_sha256: str | None) -> list[Deployed]:
    """The bundles to serve, newest first.

    Args:
        bundle: `--bundle`: a folder, or with checksums up to `MOST_BUNDLES` separated by commas.
        contract_sha256: `--contract_sha256`: as many checksums in the same order, or None.

    Raises:
        ContractError: The deploy step has written nothing yet, or not one checksum per bundle.
    """
    if contract_sha256 is None:
        return [Deployed(Path(bundle))]
    folders, checksums = ([part.strip() for part in text.split(",")] for text in (bundle, contract_sha256))
    if not bundle.strip() or not contract_sha256.strip():
        raise ContractError(
            f"--bundle={bundle} --contract_sha256={contract_sha256}: no model is deployed yet: run the deploy step"
        )
    if len(folders) != len(checksums) or not all(folders) or not all(checksums) or len(folders) > MOST_BUNDLES:
        raise ContractError(
            f"--bundle={bundle} --contract_sha256={contract_sha256}: {len(folders)} bundles, {len(checksums)} "
            f"checksums; expected one checksum per bundle, for at most {MOST_BUNDLES} bundles"
        )
    return [Deployed(Path(folder), checksum) for folder, checksum in zip(folders, checksums, strict=True)]
