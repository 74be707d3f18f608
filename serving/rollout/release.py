"""What is to be deployed: an exported bundle at the address where the cluster reads it."""

from dataclasses import dataclass
from pathlib import Path

from polytask.contract.contract import REPOSITORY_FOLDER, Contract, load_contract
from serving.rollout.errors import RolloutError
from serving.triton.checksums import check_sums

# Where transformers and explainers find bundles: below one folder, as KServe wants it of several, and claims elsewhere.
BUNDLES, CLAIMS = "/mnt/models", "/mnt/claims"
PVC = "pvc://"
SCHEMES = ("s3://", "gs://", PVC, "https://", "http://", "oci://", "hdfs://", "abfs://")


@dataclass(frozen=True)
class RolloutRelease:
    """A verified bundle. `uri` is where KServe finds its folder; `repository_sha256` that of the list SHA256SUMS."""

    contract: Contract
    repository_sha256: str
    uri: str

    @property
    def version(self) -> str:
        """The model version, as servers and annotations write it."""
        return str(self.contract.model_version)

    @property
    def repository_uri(self) -> str:
        """Where Triton's model repository is."""
        return f"{self.uri}/{REPOSITORY_FOLDER}"

    @property
    def storage_uri(self) -> str:
        """What the transformer mounts: the bundle, or the whole claim, of which KServe mounts no part by itself."""
        return PVC + self._claim_and_path[0] if self.uri.startswith(PVC) else self.uri

    @property
    def mount_path(self) -> str:
        """Where it is mounted in the transformer's container, apart from other bundles and claims."""
        if self.uri.startswith(PVC):
            return f"{CLAIMS}/{self._claim_and_path[0]}"
        return f"{BUNDLES}/{self.version}-{self.contract.checksum[:8]}"

    @property
    def mounted(self) -> str:
        """The bundle's folder in the transformer's container."""
        path = self._claim_and_path[1] if self.uri.startswith(PVC) else ""
        return f"{self.mount_path}/{path}".rstrip("/")

    @property
    def _claim_and_path(self) -> tuple[str, str]:
        claim, _, path = self.uri.removeprefix(PVC).partition("/")
        return claim, path


def load_release(bundle: Path, storage_uri: str) -> RolloutRelease:
    """The bundle in the folder `bundle`, which is `<storage_uri>/<model version>` for the cluster.

    Raises ContractError where a file is not as it was exported, RolloutError for an address that KServe does not know.
    """
    if not storage_uri.startswith(SCHEMES) or storage_uri in SCHEMES:
        raise RolloutError(f"storage_uri {storage_uri!r}; allowed: an address that starts with {', '.join(SCHEMES)}")
    contract = load_contract(bundle)
    checksum = check_sums(bundle / REPOSITORY_FOLDER)
    return RolloutRelease(contract, checksum, f"{storage_uri.rstrip('/')}/{contract.model_version}")
