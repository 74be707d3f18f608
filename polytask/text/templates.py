"""Texts for the language model and their tokens: the same functions at training and at serving time, without torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tokenizers import Tokenizer

from polytask.scenario.schema import Text

# Token sequences are padded to a multiple of this, so that requests of similar length share a batch.
TOKEN_BUCKET = 8
# The token of an empty text. Any would do, as long as training and serving agree; every vocabulary has a first one.
EMPTY_TEXT = 0
# The name of the profile text in a template of requests.
PROFILE = "profile"


def is_missing(value: object) -> bool:
    """Whether one value, no list, is None, NaN of any width, or pandas' NA of nullable columns."""
    if isinstance(value, (str, int)):  # nearly all values; pandas.isna takes ten times as long
        return False
    return bool(pd.isna(value))  # type: ignore[call-overload]


def value_words(text: Text, column: str, value: object) -> str:
    """The text of one value of a column: '' when missing, a list joined by commas, integers without a fraction."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(value_words(text, column, part) for part in value)
    if is_missing(value):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return text.words.get(column, {}).get(str(value), str(value))


@lru_cache(maxsize=1000)
def columns_of(template: str) -> frozenset[str]:
    """The columns that a template of the scenario names."""
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name)


def fill(text: Text, template: str, values: Mapping[str, object]) -> str:
    """Fill a template of the scenario. A column that `values` lacks counts as missing.

    Punctuation around what is missing is tidied, so that a half-known row still reads like a text.
    """
    filled = template.format(**{name: value_words(text, name, values.get(name)) for name in columns_of(template)})
    parts = [" ".join(part.split()) for part in filled.replace("()", "").split(",")]
    return ", ".join(part for part in parts if part).strip(" .,")


def item_text(text: Text, item: Mapping[str, object]) -> str:
    """The text of a catalogue item, of a scenario that has items."""
    assert text.item is not None, "text.item is needed with items"
    return fill(text, text.item, item)


def request_text(
    text: Text, profile: Mapping[str, object], context: Mapping[str, object], query: str | None = None
) -> str:
    """The text of a request: profile (empty for an unknown user), time context and the typed query, if any."""
    template = text.request if query is None else text.request_with_query
    values = dict(context)
    if PROFILE in columns_of(template) and any(value is not None for value in profile.values()):
        values[PROFILE] = fill(text, text.profile, profile)
    if query is not None:
        # Braces in a typed query are text: fill() inserts values after the template was parsed.
        values["query"] = " ".join(query.split())
    return fill(text, template, values)


class TextTokenizer:
    """Tokenizes texts with the language model's own tokenizer file, cut at `max_tokens`."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(B,) texts -> input_ids (B, T) and attention_mask (B, T), T the longest rounded up to a bucket."""
        return self.tokens(texts)[:2]

    def tokens(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], list[bool]]:
        """As a call, and for each text whether tokens were cut off (B,)."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))  # without places in the text, which nobody reads
        # Tokenizers without special tokens return no tokens for an empty text: then it is replaced by one token.
        rows = [encoding.ids or [EMPTY_TEXT] for encoding in encodings]
        width = bucket(max((len(row) for row in rows), default=1), self.max_tokens)
        input_ids = np.zeros((len(rows), width), dtype=np.int64)
        attention_mask = np.zeros((len(rows), width), dtype=np.int64)
        for position, row in enumerate(rows):
            input_ids[position, : len(row)] = row
            attention_mask[position, : len(row)] = 1
        return input_ids, attention_mask, [bool(encoding.overflowing) for encoding in encodings]

    @property
    def vocabulary(self) -> int:
        """Number of tokens, added ones included."""
        return int(self._tokenizer.get_vocab_size())

    def was_truncated(self, texts: Iterable[str]) -> list[bool]:
        """For each text, whether tokens were cut off."""
        return [bool(encoding.overflowing) for encoding in self._tokenizer.encode_batch(list(texts))]


def batches_by_length(texts: Sequence[str], size: int) -> Iterator[list[int]]:
    """Numbers of texts in batches of `size`: similar lengths share one, so that little padding is computed."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def bucket(length: int, max_tokens: int) -> int:
    """The padded length for `length` tokens."""
    return min(max_tokens, -(-length // TOKEN_BUCKET) * TOKEN_BUCKET)
