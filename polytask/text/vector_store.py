"""Vectors of texts on disk, in shards of bounded size: one is written at once, and its name is its checksum.

A run that is stopped keeps every shard it has finished, and several runs may share a folder: a vector that one of them
removes is already in another shard, and a vector that is not found is recomputed.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from polytask.storage.atomic import atomic_file
from polytask.storage.safetensors_file import save_tensors

LOGGER = logging.getLogger(__name__)

SHARD_BYTES = 64 * 2**20
NAME_LENGTH = 32

# Of one shard: SHA-256 of each text (n, 32) uint8, and the vectors (n, D) float32.
Shard = tuple[NDArray[np.uint8], NDArray[np.float32]]


class VectorShards:
    """The vectors (D,) of one language model, by the SHA-256 of their texts in hexadecimal digits."""

    def __init__(self, folder: Path, dim: int) -> None:
        self._folder = folder
        self.dim = dim
        # As many vectors as a full shard has, at least one.
        self.rows = max(1, SHARD_BYTES // (4 * dim))

    def read(self, keys: Sequence[str], into: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Write the vectors of `keys` (n, distinct) that are there into the rows of `into` (n, D); which they are (n,).

        Holds one shard in memory at a time.
        """
        wanted = {bytes.fromhex(key): row for row, key in enumerate(keys)}
        found = np.zeros(len(keys), dtype=np.bool_)
        for path in self._paths():
            if found.all():
                break
            for shard_keys, vectors in self._open(path):
                rows = np.array([wanted.get(key.tobytes(), -1) for key in shard_keys], dtype=np.int64)
                into[rows[rows >= 0]] = vectors[rows >= 0]
                found[rows[rows >= 0]] = True
        return found

    def add(self, keys: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep the vectors (n, D) of `keys`, n at most `rows`, together with those of small shards that fit in."""
        parts: list[Shard] = [(_bytes_of(keys), vectors)]
        merged = []
        for path in self._paths():
            for small in self._open(path, SHARD_BYTES // 2):
                if sum(len(part[0]) for part in [*parts, small]) <= self.rows:
                    parts.append(small)
                    merged.append(path)
        together, first = np.unique(np.concatenate([part[0] for part in parts]), axis=0, return_index=True)
        values = np.concatenate([part[1] for part in parts])[first]
        shard = self._write(together, values)
        for path in merged:
            if path != shard:
                path.unlink(missing_ok=True)

    def holds(self, keys: Collection[str]) -> int:
        """How many of `keys` there are vectors for."""
        wanted = {bytes.fromhex(key) for key in keys}
        found = {key.tobytes() for path in self._paths() for shard in self._open(path) for key in shard[0]}
        return len(wanted & found)

    def remove(self, keys: Collection[str]) -> None:
        """Delete the vectors of `keys`: a shard that has one of them is written again without it."""
        wanted = {bytes.fromhex(key) for key in keys}
        for path in self._paths():
            for shard_keys, vectors in self._open(path):
                kept = np.array([key.tobytes() not in wanted for key in shard_keys], dtype=np.bool_)
                if kept.all():
                    continue
                if kept.any():
                    self._write(shard_keys[kept], vectors[kept])
                path.unlink(missing_ok=True)

    def _write(self, keys: NDArray[np.uint8], vectors: NDArray[np.float32]) -> Path:
        shard = self._folder / f"{_checksum(keys, vectors)}.safetensors"
        with atomic_file(shard) as temporary:
            save_tensors({"keys": torch.from_numpy(keys), "vectors": torch.from_numpy(vectors)}, temporary)
        return shard

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.safetensors"))

    def _open(self, path: Path, most_bytes: int | None = None) -> Iterator[Shard]:
        """The shard of a file, if it is one of at most so many bytes. A file without the content of its name goes."""
        try:
            if most_bytes is not None and path.stat().st_size > most_bytes:
                return
            content = load_file(path)
            shard = content["keys"], content["vectors"]
            if _checksum(*shard) == path.stem:
                yield shard
                return
        except FileNotFoundError:  # another run has put its vectors into a larger one
            return
        except (SafetensorError, KeyError):
            pass
        LOGGER.warning("%s: is damaged, its vectors are recomputed", path)
        path.unlink(missing_ok=True)


def _checksum(keys: NDArray[np.uint8], vectors: NDArray[np.float32]) -> str:
    content = sha256(keys.tobytes())
    content.update(np.ascontiguousarray(vectors).data)
    return content.hexdigest()[:NAME_LENGTH]


def _bytes_of(keys: Sequence[str]) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex("".join(keys)), dtype=np.uint8).reshape(len(keys), -1)
