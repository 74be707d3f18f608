"""Certificates and kubeconfigs of a control plane."""

from collections.abc import Mapping
from pathlib import Path

import trustme
import yaml

# Who the clients are: common name and organization, which are user and group.
CLIENTS = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
    "kwok": ("kwok", "system:masters"),
}


class Identities:
    """Files in a folder: the authority, the server's certificate, the key of tokens, a kubeconfig for each client."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._ca = trustme.CA()
        self.authority = folder / "authority.pem"

    def write(self) -> None:
        """Write all of them."""
        self._ca.cert_pem.write_to_path(self.authority)
        server = self._ca.issue_cert("127.0.0.1", "localhost")
        server.private_key_and_cert_chain_pem.write_to_path(self._folder / "server.pem")
        # Any key pair signs the tokens; the certificate's is one.
        tokens = self._ca.issue_cert("service-accounts")
        tokens.private_key_pem.write_to_path(self._folder / "service-accounts.pem")
        for name, (user, group) in CLIENTS.items():
            path = self._folder / f"{name}.pem"
            # trustme requires a host name, which a client certificate does not use.
            found = self._ca.issue_cert("localhost", common_name=user, organization_name=group)
            found.private_key_and_cert_chain_pem.write_to_path(path)
            user_of = {"client-certificate": str(path), "client-key": str(path)}
            self.write_kubeconfig(self._folder / f"{name}.kubeconfig", user_of)

    def write_kubeconfig(self, path: Path, user: Mapping[str, str]) -> Path:
        """A kubeconfig of the cluster with the credentials of a user."""
        cluster = {"server": self._url, "certificate-authority": str(self.authority)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": dict(user)}],
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        path.chmod(0o600)
        return path
