"""How many rows one call to the predictor carries: a mask over the items is a byte for each of them and each row."""

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from serving.triton.model_config import MAX_BATCH_SIZE

# What is copied and serialised at once blocks the event loop: some milliseconds for so many bytes. 128 rows with masks
# over 600,000 items are 77 MB, and in one message they blocked it for 1 s.
MAX_MESSAGE_BYTES = 4 * 2**20

Inputs = Mapping[str, NDArray[Any]]


def rows_per_message(inputs: Inputs) -> int:
    """How many rows of inputs (B, ...) fit into one message: at least 1, at most what a model takes."""
    row_bytes: int = sum(values.dtype.itemsize * values[0].size for values in inputs.values())
    return max(1, min(MAX_BATCH_SIZE, MAX_MESSAGE_BYTES // max(1, row_bytes)))


def messages_of(inputs: Inputs) -> Iterator[Inputs]:
    """The inputs (B, ...) of each message that a call takes, in the order of the rows; mostly one with all of them."""
    rows, most = len(next(iter(inputs.values()))), rows_per_message(inputs)
    if rows <= most:
        yield inputs
        return
    for start in range(0, rows, most):
        yield {name: values[start : start + most] for name, values in inputs.items()}
