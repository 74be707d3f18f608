"""Tensors as a safetensors file. The library's own error for a full disk is no OSError: here it is one."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

_NUMBER = re.compile(r"os error (\d+)")


def save_tensors(tensors: Mapping[str, Tensor], path: Path, header: Mapping[str, str] | None = None) -> None:
    """Write contiguous tensors by name, and texts for the file's header. Raises OSError where that is not possible."""
    try:
        save_file(dict(tensors), path, None if header is None else dict(header))
    except SafetensorError as error:
        number = _NUMBER.search(str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
