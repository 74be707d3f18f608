"""How much of what a client sent an error repeats, so that every client can read it."""

SHOWN_CHARACTERS = 60
# gRPC's clients drop a response whose headers and status take more than 8 KiB, and report RESOURCE_EXHAUSTED. In a
# status each byte that is not printable ASCII takes three.
STATUS_BYTES = 4000


def shown(text: str, most: int = SHOWN_CHARACTERS) -> str:
    """A text of a client as an error shows it: its beginning."""
    return text if len(text) <= most else f"{text[:most]}..."


def status_text(text: str) -> str:
    """As much of an error as fits into a gRPC status."""
    if 12 * len(text) <= STATUS_BYTES:  # the most that a character takes
        return text
    size = 0
    for position, character in enumerate(text):
        plain = " " <= character <= "~" and character != "%"
        size += 1 if plain else 3 * len(character.encode("utf-8", "surrogatepass"))
        if size > STATUS_BYTES:
            return f"{text[:position]}..."
    return text
