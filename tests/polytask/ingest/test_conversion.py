"""Raw values to typed values."""

import numpy as np
import pandas as pd
import pytest

from polytask.ingest.conversion import convert


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("integer", ["7", " 8 ", "9.0", "-1"], [7, 8, 9, -1]),
        ("integer", [7.0, 8.0], [7, 8]),
        ("float", ["1.5", "2", "1e3"], [1.5, 2.0, 1000.0]),
        ("string", [" Toy Story ", "007", "NA"], ["Toy Story", "007", "NA"]),
        ("string", [7, 8], ["7", "8"]),
        ("string_list", ["Comedy|War", "", " Drama "], [["Comedy", "War"], [], ["Drama"]]),
        ("string_list", [np.array(["Comedy"]), ["a", None, ""]], [["Comedy"], ["a"]]),
    ],
)
def test_values(kind, raw, expected):
    typed, unfit = convert(
        pd.Series(raw, dtype=None if kind == "integer" and isinstance(raw[0], float) else object), kind
    )
    assert typed.tolist() == expected
    assert not unfit.any()


def test_long_ids_beside_a_bad_one_keep_every_digit():
    ids = [2**53 + 1, 2**53 + 2]
    typed, unfit = convert(pd.Series([str(ids[0]), str(ids[1]), "x"]), "integer")
    assert typed[:2].tolist() == ids
    assert unfit.tolist() == [False, False, True]


def test_floats_too_large_to_be_exact_integers_are_refused():
    _, unfit = convert(pd.Series([2.0**53, 3.0]), "integer")
    assert unfit.tolist() == [True, False]


def test_missing_is_not_unfit():
    for kind in ("integer", "float", "string", "string_list", "timestamp"):
        typed, unfit = convert(pd.Series([None, None], dtype=object), kind)
        assert typed.isna().all()
        assert not unfit.any()


@pytest.mark.parametrize(
    "raw",
    [
        pd.Series(["2024-03-01T10:00:00+02:00"]),
        pd.Series(["2024-03-01 08:00:00"]),
        pd.Series(["1709280000"]),
        pd.Series([1709280000]),
        pd.Series([1709280000.0]),
        pd.Series([pd.Timestamp("2024-03-01T08:00:00")]),
        pd.Series([pd.Timestamp("2024-03-01T10:00:00+02:00")]),
    ],
)
def test_times(raw):
    typed, unfit = convert(raw, "timestamp")
    assert str(typed.dtype) == "datetime64[us, UTC]"
    assert typed[0] == pd.Timestamp("2024-03-01T08:00:00Z")
    assert not unfit.any()
