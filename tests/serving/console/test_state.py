"""Every state of the page is an address, and an address can only encode states that the page can show."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.console.state import MAX_ITEMS, View, read_view

TASKS = ("item", "user", "scene")
FIELDS = ("filter.genres", "from.year", "to.year")
words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=12)


def read(address: str) -> View:
    return read_view(parse_qsl(urlsplit(address).query, keep_blank_values=True), TASKS, ("place", "weather"), FIELDS)


@given(
    st.builds(
        View,
        user=words,
        query=st.lists(words, max_size=3).map(" ".join),
        recent=st.lists(words, unique=True, max_size=4).map(tuple),
        less=st.lists(words, unique=True, max_size=4).map(tuple),
        tasks=st.sampled_from([(), ("item",), ("item", "scene")]),
        weights=st.sampled_from([{}, {"item": 0.5, "user": 0.0, "scene": 0.25}]),
        context=st.dictionaries(st.sampled_from(["place", "weather"]), words),
        compare=st.booleans(),
        why=st.booleans(),
        filters=st.dictionaries(st.sampled_from(FIELDS), words),
        targets=st.dictionaries(st.sampled_from(TASKS), words),
    )
)
def test_an_address_holds_the_whole_state(view: View):
    assert read(view.url()) == view


def test_defaults_stay_out_of_the_address():
    assert View().url() == "/"
    assert View(user="4", query="a b").url() == "/?user=4&query=a+b"
    assert read("/?task=item&task=user&task=scene").tasks == ()


def test_links_add_once_and_take_out():
    view = View(user="1", less=("7", "9"))
    assert read(view.with_("less", "7")).less == ("9", "7")
    assert read(view.without("less", "7")).less == ("9",)
    requested = View(user="1", filters={"to.year": "1990"}, targets={"item": "7"})
    assert read(requested.why_of("scene", "Film Noir")).targets == {"item": "7", "scene": "Film Noir"}
    # Another request has other recommendations: the explained ones may not be among them.
    assert read(requested.with_("less", "7")) == View(user="1", less=("7",), filters={"to.year": "1990"})
    assert read(view.url(query="", less=())) == View(user="1")


@pytest.mark.parametrize("weight", ["-1", "2", "nan", "inf", "much", ""])
def test_what_no_control_can_say_is_left_out(weight: str):
    view = read(
        f"/?user=1&task=nothing&weight.item={weight}&weight.nothing=1&colour=red&context.colour=red&context.place=&query=+&recent=&filter.colour=red&why.nothing=7"
    )
    assert view == View(user="1")


def test_lengths_are_bounded():
    view = read("/?query=" + "x" * 5000 + "".join(f"&less={n}" for n in range(500)))
    assert (len(view.query), len(view.less)) == (2000, MAX_ITEMS)
    assert read("/?weight.item=0&weight.user=0").weights == {}
