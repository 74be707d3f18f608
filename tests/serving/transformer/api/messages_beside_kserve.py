"""The protocol's gRPC messages with KServe's own classes; `test_messages.py` runs this in its own process."""

from urllib.parse import quote

import numpy as np
import pytest
from kserve import InferRequest, InferResponse
from kserve.errors import InvalidInput
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from polytask.errors import RequestError
from serving.transformer.api.answers import ResponseTensor
from serving.transformer.api.error_text import STATUS_BYTES
from serving.transformer.api.messages import input_tensors, response_message
from serving.transformer.server.served_model import statuses

ANSWER = [
    ResponseTensor("item_ids", "INT64", np.array([[3, -1], [2**40, 5]])),
    ResponseTensor("item_scores", "FP32", np.array([[0.5, -1e9], [2.0, 1.0]], dtype=np.float32)),
    ResponseTensor("item_titles", "BYTES", np.array([["Ärger", ""], ["夜", "b" * 300]], dtype=object)),
    ResponseTensor("shelf_ids", "INT64", np.array([[3, 4], [5, 6]], dtype=np.int32).T),
    ResponseTensor("cold_start", "BOOL", np.array([[True], [False]])),
]


def request(raw: bool) -> ModelInferRequest:
    message = ModelInferRequest(model_name="recommender", id="7")
    users = message.inputs.add(name="user_id", datatype="INT64", shape=[2, 1])
    queries = message.inputs.add(name="query", datatype="BYTES", shape=[2, 1])
    message.outputs.add(name="item_ids")
    if raw:
        message.raw_input_contents.extend([np.array([10, 20]).tobytes(), b"\1\0\0\0a\2\0\0\0bb"])
    else:
        users.contents.int64_contents.extend([10, 20])
        queries.contents.bytes_contents.extend([b"a", b"bb"])
    return message


@pytest.mark.parametrize("raw", [True, False])
def test_inputs_are_read_as_kserve_reads_them(raw: bool):
    read = input_tensors(request(raw))
    expected = InferRequest.from_grpc(request(raw)).inputs
    assert [(one.name, one.datatype, one.shape) for one in read] == [(o.name, o.datatype, o.shape) for o in expected]
    assert [one.raw for one in read] == [o._raw_data for o in expected]
    if not raw:
        assert [one.data for one in read] == [[10, 20], [b"a", b"bb"]]


@pytest.mark.parametrize("raw", [True, False])
def test_answers_are_read_by_kserve_as_they_were(raw: bool):
    message = response_message(request(raw), "an-id", "77", ANSWER, {"post_ms": "0.5"})
    read = InferResponse.from_grpc(message)
    assert (read.id, read.model_name, read.model_version) == ("an-id", "recommender", "77")
    assert message.parameters["post_ms"].string_param == "0.5"
    assert len(message.raw_output_contents) == (len(ANSWER) if raw else 0)
    for tensor, output in zip(ANSWER, read.outputs, strict=True):
        values = output.as_numpy()
        if tensor.datatype == "BYTES":
            values = np.array([[text.decode() for text in row] for row in values], dtype=object)
        assert (output.name, output.datatype, output.shape) == (tensor.name, tensor.datatype, [2, *values.shape[1:]])
        np.testing.assert_array_equal(values, tensor.values)


def test_a_datatype_that_the_protocol_does_not_know_is_named():
    message = ModelInferRequest()
    message.inputs.add(name="user_id", datatype="WORDS", shape=[1, 1])
    with pytest.raises(InvalidInput, match="user_id: datatype 'WORDS', allowed: BOOL"):
        input_tensors(message)


def test_the_error_of_a_request_is_cut_to_what_a_status_holds():
    with pytest.raises(InvalidInput) as caught, statuses():
        raise RequestError("filters", "🎬" * 2000)
    assert str(caught.value.reason).startswith("filters: 🎬")
    assert len(quote(str(caught.value.reason), safe="!: .")) <= STATUS_BYTES + len("...")
