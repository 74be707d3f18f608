"""The token of a request, from the environment."""

import os
from typing import TYPE_CHECKING

from polytask.errors import RequestError

if TYPE_CHECKING:
    pass


def bearer_token(variable: str | None) -> str | None:
    """The token in an environment variable: on the command line, every other process could read it."""
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise RequestError("--token-env", f"the environment variable {variable} is not set, allowed: one with a token")
    return token
