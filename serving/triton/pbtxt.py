"""Messages in protobuf's text format, without protobuf."""

import json
from collections.abc import Sequence


class Word(str):
    """An enum or boolean value: written without quotation marks."""


# A message: its fields in order; a repeated field is there once per value.
Message = Sequence[tuple[str, "str | int | Sequence[int] | Message"]]


def pbtxt(message: Message, indent: int = 0) -> str:
    """The message in protobuf's text format."""
    lines = []
    for field, value in message:
        if isinstance(value, Word):
            lines.append(f"{field}: {value}")
        elif isinstance(value, str | int):
            lines.append(f"{field}: {json.dumps(value)}")
        else:
            numbers = [entry for entry in value if isinstance(entry, int)]
            fields = [entry for entry in value if not isinstance(entry, int)]
            inside = f"{{\n{pbtxt(fields, indent + 1)}{'  ' * indent}}}"
            lines.append(f"{field}: {json.dumps(numbers)}" if numbers else f"{field} {inside}")
    return "".join(f"{'  ' * indent}{line}\n" for line in lines)
