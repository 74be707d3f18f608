"""JSON from a client, parsed within a bound on its values: a MB of empty lists takes longer than a MB of strings."""

import json
from typing import Any

import numpy as np
import orjson

from polytask.errors import RequestError

# Counting costs more than parsing a small document.
COUNTED_BYTES = 16 * 2**10
QUOTE, COMMA, LIST, OBJECT = b'",[{'


def load_json(content: bytes, most_values: int) -> Any:
    """The document. Raises RequestError where it is no JSON, or has more than `most_values` values.

    Half of a surrogate pair, NaN and integers beyond 64 bits are read, so that the check of their field can name it.
    """
    if len(content) > COUNTED_BYTES and (values := most_values_of(content)) > most_values:
        raise RequestError("request body", f"has {values} JSON values, allowed: at most {most_values}")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return _lenient(content)


def _lenient(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise RequestError("request body", "is nested too deep") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError included
        raise RequestError("request body", f"is not JSON: {error}") from error


def most_values_of(content: bytes) -> int:
    """As many values as a JSON document may have at most: each follows a comma or a bracket outside of strings."""
    plain = content
    if b"\\" in content:  # an escaped quote ends no string; two backslashes come first
        plain = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    read = np.frombuffer(plain, np.uint8)
    inside = np.logical_xor.accumulate(read == QUOTE)
    separators = (read == COMMA) | (read == LIST) | (read == OBJECT)
    return 1 + int(np.count_nonzero(separators & ~inside))
