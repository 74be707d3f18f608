"""From raw columns to the scenario's types. A value that does not fit becomes missing and its row is named."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from polytask.scenario.schema import Column

LIST_SEPARATOR = "|"
# Column types of the scenario and the timestamp, as the report names them.
NOUNS = {
    "string": "text",
    "integer": "an integer",
    "float": "a number",
    "string_list": "a list of texts",
    "timestamp": "a time",
}


def convert(raw: pd.Series, kind: str) -> tuple[pd.Series, pd.Series]:
    """A raw column (n,) -> the typed column (n,) and a bool mask (n,) of values that are there but do not fit `kind`.

    `integer` becomes Int64, `float` float64, `string` text without surrounding white space, `string_list` lists of such
    texts (text is split at `|`), `timestamp` datetime64[us, UTC] from ISO 8601 or Unix seconds; UTC where no offset is.
    """
    typed = _CONVERTERS[kind](raw)
    return typed, typed.isna() & raw.notna()


def tighten(typed: pd.Series, column: Column) -> pd.Series:
    """A column without bad rows in its smallest honest type: int64 where no integer may be missing."""
    return typed.astype("int64") if column.type == "integer" and not column.nullable else typed


def _integers(raw: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(raw.dtype):
        # Past 2**53 a float can no longer represent every integer.
        values = raw.astype("Float64")
        return values.where((values == np.floor(values)) & (values.abs() < 2**53)).astype("Int64")
    if pd.api.types.is_bool_dtype(raw.dtype) or pd.api.types.is_signed_integer_dtype(raw.dtype):
        return raw.astype("Int64")
    text = raw.astype("string").str.strip()
    fits = text.str.fullmatch(r"[+-]?\d{1,18}(\.0*)?").fillna(False).astype(bool)
    whole = text[fits].str.replace(r"\.0*$", "", regex=True).astype("int64").astype("Int64")
    return whole.reindex(raw.index)


def _floats(raw: pd.Series) -> pd.Series:
    values = pd.to_numeric(raw, errors="coerce").astype("Float64").astype("float64")
    return values.where(np.isfinite(values))


def _strings(raw: pd.Series) -> pd.Series:
    texts = [None if value is None else str(value).strip() for value in _plain(raw)]
    return pd.Series(texts, raw.index, object)


def _string_lists(raw: pd.Series) -> pd.Series:
    return pd.Series([_string_list(value) for value in _plain(raw)], raw.index, object)


def _string_list(value: object) -> list[str] | None:
    if isinstance(value, str):
        value = value.split(LIST_SEPARATOR)
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    return [text for text in (str(part).strip() for part in value if part is not None) if text]


def _timestamps(raw: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        moments = pd.to_datetime(raw, utc=True)
    elif pd.api.types.is_numeric_dtype(raw.dtype):
        moments = pd.to_datetime(raw.astype("Float64"), unit="s", utc=True, errors="coerce")
    else:
        text = raw.astype("string").str.strip()
        seconds = pd.to_numeric(text, errors="coerce")
        moments = pd.to_datetime(text.where(seconds.isna()), format="ISO8601", utc=True, errors="coerce")
        moments = moments.fillna(pd.to_datetime(seconds, unit="s", utc=True, errors="coerce"))
    return moments.astype("datetime64[us, UTC]")


def _plain(raw: pd.Series) -> Iterable[object]:
    return raw.astype(object).where(raw.notna(), None)


_CONVERTERS: dict[str, Callable[[pd.Series], pd.Series]] = {
    "string": _strings,
    "integer": _integers,
    "float": _floats,
    "string_list": _string_lists,
    "timestamp": _timestamps,
}
