from functools import partial

import pytest

from polytask.errors import DataError, RequestError
from polytask.name_value import name_value


@pytest.mark.parametrize(
    ("text", "found"),
    [("weather=rain", ("weather", "rain")), ("filter=year=1990", ("filter", "year=1990")), ("note=", ("note", ""))],
)
def test_a_text_is_split_at_its_first_equals_sign(text, found):
    assert name_value(text, "name=text", DataError) == found


@pytest.mark.parametrize("text", ["weather", "=rain", "", "="])
def test_the_error_shows_the_text_and_what_is_allowed(text):
    with pytest.raises(RequestError) as caught:
        name_value(text, "name=text, such as weather=rain", partial(RequestError, "--context"))
    assert str(caught.value) == f"--context: {text!r}, allowed: name=text, such as weather=rain"


def test_a_long_text_is_cut():
    with pytest.raises(DataError, match=f"^'{'x' * 60}', allowed: name=text$"):
        name_value("x" * 5000, "name=text", DataError)
