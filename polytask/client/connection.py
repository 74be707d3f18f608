"""How a client reaches its server: address, TLS, bearer token. The same for both protocols and both kinds of client."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from polytask.errors import RequestError, ServingError

if TYPE_CHECKING:
    import grpc

Token = str | Callable[[], str]

CHANNEL_OPTIONS = (
    # gRPC's own back-off grows to two minutes: a server that came back would not be noticed for as long.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


@dataclass(frozen=True)
class Tls:
    """PEM files of an encrypted connection.

    `root_certificates` vouch for the server; None takes those that come with gRPC. `certificate` and `key` show the
    server who calls, where it wants to know; they go together.
    """

    root_certificates: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise RequestError("tls", "has one of certificate and key, allowed: both or none")
        for path in filter(None, (self.root_certificates, self.certificate, self.key)):
            if not path.is_file():
                raise RequestError("tls", f"{path} is no file, allowed: a file of PEM certificates or keys")


@dataclass(frozen=True)
class Connection:
    """An address with its TLS and its token, which is a string or a function that is called before each request.

    A token goes over an encrypted connection, or to this machine; `insecure_token` lets it go in plain text to another.
    Raises RequestError where it may not.
    """

    url: str
    tls: Tls | None = None
    token: Token | None = None
    insecure_token: bool = False

    def __post_init__(self) -> None:
        encrypted = self.url.startswith("https://") or (self.tls is not None and "http://" not in self.url)
        if self.token is not None and not (encrypted or self.insecure_token or _is_this_machine(self.url)):
            raise RequestError(
                "token", f"would go to {self.url} in plain text; use TLS, or allow it with insecure_token"
            )

    @cached_property
    def credentials(self) -> "grpc.ChannelCredentials | None":
        """The form of `tls` that gRPC takes; None for plain text."""
        if self.tls is None:
            return None
        import grpc

        files = (self.tls.root_certificates, self.tls.key, self.tls.certificate)
        return grpc.ssl_channel_credentials(*(None if path is None else path.read_bytes() for path in files))

    @property
    def ssl_context(self) -> ssl.SSLContext | bool:
        """The form of `tls` that an HTTP client takes; True verifies the server with the system's certificates."""
        if self.tls is None or (self.tls.root_certificates is None and self.tls.certificate is None):
            return True
        context = ssl.create_default_context(cafile=self.tls.root_certificates)
        if self.tls.certificate is not None:
            context.load_cert_chain(self.tls.certificate, self.tls.key)
        return context

    def headers(self) -> dict[str, str]:
        """Return the headers of one call.

        Returns:
            The `authorization` header; empty without a token.

        Raises:
            ServingError: The token is empty or has characters that a header cannot hold.
        """
        if self.token is None:
            return {}
        token = self.token if isinstance(self.token, str) else self.token()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ServingError(
                "the token is empty or holds spaces, line breaks or letters beyond ASCII; give it as it is"
            )
        return {"authorization": f"Bearer {token}"}


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url if "://" in url else f"//{url}").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
