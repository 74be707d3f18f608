"""The texts `name=value` of command lines and requests, read in one way with one error."""

from collections.abc import Callable

SHOWN_CHARACTERS = 60


def name_value(text: str, expected: str, error: Callable[[str], Exception]) -> tuple[str, str]:
    """Split a text at its first equals sign.

    Args:
        text: Such as `weather=rain`; the value may be empty and may hold equals signs.
        expected: What is allowed, for the error: `name=text, such as weather=rain`.
        error: Makes the exception from its message, for example `partial(RequestError, "--context")`.

    Returns:
        The name, which is not empty, and the value.

    Raises:
        Exception: What `error` returns, where the text has no equals sign or no name.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise error(f"{text[:SHOWN_CHARACTERS]!r}, allowed: {expected}")
    return name, value
