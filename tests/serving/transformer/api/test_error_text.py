"""An error is cut to what a gRPC status can hold, whatever characters it has."""

from urllib.parse import quote

import pytest

from serving.transformer.api.error_text import STATUS_BYTES, shown, status_text

PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


@pytest.mark.parametrize("character", ["a", "%", "\n", "é", "漢", "🎬"])
@pytest.mark.parametrize("count", [10, 333, 334, 3999, 4000, 4001, 10**5])
def test_an_error_fits_into_a_status(character: str, count: int):
    text = status_text(character * count)
    size = len(quote(text.removesuffix("..."), safe=PRINTABLE))
    assert size <= STATUS_BYTES
    whole = len(quote(character * count, safe=PRINTABLE))
    assert (text == character * count) == (whole <= STATUS_BYTES)


def test_half_of_a_surrogate_pair_is_no_error_of_its_own():
    assert status_text("\ud83d" * 10**4).endswith("...")
    assert shown("\ud83d" * 100) == "\ud83d" * 60 + "..."
