"""JSON documents with more values than a request can have are refused before they are parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polytask.errors import RequestError
from serving.transformer.server.rest.json_document import COUNTED_BYTES, load_json, most_values_of

TEXTS = st.one_of(st.text(), st.sampled_from(['"', "\\", '\\"', "[,{", '\\\\"', "[", ","]))
DOCUMENTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(TEXTS, inner)),
)


def values(document: object) -> int:
    if isinstance(document, dict):
        return 1 + sum(values(value) for value in document.values())
    return 1 + sum(map(values, document)) if isinstance(document, list) else 1


@given(DOCUMENTS)
def test_no_document_has_more_values_than_are_counted(document: object):
    content = json.dumps(document).encode()
    assert values(document) <= most_values_of(content) <= 2 * values(document)


@pytest.mark.parametrize("part", [b"[],", b"1,", b'"",', b'{"a":{}},'])
def test_too_many_values_are_refused_before_they_are_parsed(part: bytes):
    content = b"[" + part * COUNTED_BYTES + b"not JSON at all"
    with pytest.raises(RequestError, match=r"request body: has \d+ JSON values, allowed: at most 5000"):
        load_json(content, 5000)


def test_long_strings_are_one_value_each():
    assert load_json(json.dumps(['[,{"' * COUNTED_BYTES]).encode(), 10) == ['[,{"' * COUNTED_BYTES]


@pytest.mark.parametrize("content", [b"{nothing", b"", b"\xff", b"[" * 10**6])
def test_what_is_no_json_is_named(content: bytes):
    with pytest.raises(RequestError, match="request body: "):
        load_json(content, 5000)
