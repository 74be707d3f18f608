"""Request bodies that a client or a proxy compressed: gzip and deflate, decompressed chunk by chunk within a limit."""

import zlib

ALLOWED = ("gzip", "deflate", "identity")
# zlib's own numbers: 31 reads gzip (RFC 1952), 15 reads zlib (RFC 1950), which HTTP calls deflate.
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class UnknownEncoding(ValueError):
    """A Content-Encoding that is not read here."""


class TooLarge(ValueError):
    """More bytes than the limit allows, before or after decompression."""


class BadlyCompressed(ValueError):
    """Bytes that do not match the Content-Encoding, or that end too early."""


def coding_of(values: list[str]) -> str | None:
    """The one coding that the Content-Encoding headers of a request name, None where the body is not compressed.

    Raises UnknownEncoding for another one, and for more than one: nothing that is sent here is compressed twice.
    """
    named = [word.strip().lower() for value in values for word in value.split(",")]
    codings = [word for word in named if word and word != "identity"]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in WINDOW_BITS:
        shown = ", ".join(named)[:60]
        raise UnknownEncoding(f"content-encoding: {shown!r}, allowed: one of {', '.join(ALLOWED)}")
    return codings[0]


class BodyDecoder:
    """Decodes the chunks of one body. Neither what comes in nor what goes out may be more than `limit` bytes.

    zlib gets that as the most it may return, so that a body of a few kB which would be gigabytes stops at the limit.
    """

    def __init__(self, coding: str | None, limit: int) -> None:
        self._coding = coding
        self._limit = limit
        self._read = self._written = 0
        self._zlib = None if coding is None else zlib.decompressobj(WINDOW_BITS[coding])

    def feed(self, chunk: bytes) -> bytes:
        """The decoded bytes of the next chunk. Raises TooLarge or BadlyCompressed."""
        self._read += len(chunk)
        if self._read > self._limit:
            raise TooLarge
        if self._zlib is None:
            return chunk
        if self._zlib.eof:
            decoded = b""
        else:
            try:
                decoded = self._zlib.decompress(chunk, self._limit - self._written + 1)
            except zlib.error as error:
                raise BadlyCompressed(f"request body: is not {self._coding}: {error}") from error
            self._written += len(decoded)
            if self._written > self._limit:
                raise TooLarge
            chunk = self._zlib.unused_data
        if self._zlib.eof and chunk:
            raise BadlyCompressed(f"request body: {len(chunk)} bytes follow the {self._coding} data, allowed: none")
        return decoded

    def end(self) -> None:
        """Call it after the last chunk. Raises BadlyCompressed where the data are cut short."""
        if self._zlib is not None and not self._zlib.eof:
            raise BadlyCompressed(f"request body: the {self._coding} data end too early")
