"""Certificates for servers of the tests, as a secret of type kubernetes.io/tls holds them."""

from pathlib import Path

import trustme


def write_certificates(folder: Path, *names: str) -> None:
    """Write tls.crt and tls.key for host `names`, and ca.crt of the authority that signed them, into `folder`."""
    authority = trustme.CA()
    certificate = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
