"""Whatever a call holds, it is read as it is meant or refused with the name of a field."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polytask.contract.names import SLATE_TYPES
from polytask.errors import RequestError, printable
from serving.transformer.api.answers import response_names
from serving.transformer.api.parse import LATEST, MAX_QUERY_CHARACTERS, MAX_SLATE, MAX_WEIGHT, CallParser, input_types
from serving.triton.model_config import MAX_BATCH_SIZE
from tests.serving.calls import calls

NOW = 1_700_000_000
PROPERTY = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def check_call(scenario, tensors, outputs):
    """Parse, and check what comes out. Returns whether the call was taken."""
    names = {printable(tensor.name) for tensor in tensors}
    try:
        call = CallParser(scenario).parse(tensors, outputs, NOW)
    except RequestError as error:
        assert error.field in {*input_types(scenario), *names, *outputs}
        assert str(error).encode()
        assert len(str(error)) < 3000
        return False
    features = scenario.features
    assert 1 <= len(call.requests) <= MAX_BATCH_SIZE
    assert set(call.tasks) <= {task.name for task in scenario.tasks}
    assert call.tasks or outputs  # flags alone need no task
    for request in call.requests:
        assert 0 <= request.timestamp <= LATEST
        assert request.query is None or 0 < len(request.query.strip()) <= len(request.query) <= MAX_QUERY_CHARACTERS
        assert len(request.recent_items) <= features.history_length
        assert len(request.recent_items) + len(request.exclude_items) <= features.exclude_length
        assert len(request.disliked_items) <= features.disliked_length
        lists = [task.top_k for task in scenario.tasks if task.kind == "retrieval" and task.name in call.tasks]
        assert 1 <= request.count <= min(lists, default=1000)
    if call.slate is not None:
        assert set(call.slate.tasks) <= set(call.tasks)
        assert len(call.slate.sizes) == len(call.requests)
        assert all(1 <= size <= MAX_SLATE for size in call.slate.sizes)
        weights = call.slate.weights or (1.0,)
        assert all(0 <= weight <= MAX_WEIGHT for weight in weights)
        assert any(weights)
    return True


@PROPERTY
@given(data=st.data())
def test_a_call_is_read_or_refused_with_a_field(small_scenario, data):
    tensors = data.draw(calls(small_scenario, raw=True))
    known = [*response_names(small_scenario), *SLATE_TYPES]
    outputs = data.draw(st.lists(st.one_of(st.sampled_from(known), st.text(max_size=8)), max_size=3))
    check_call(small_scenario, tensors, outputs)


@PROPERTY
@given(data=st.data())
def test_so_it_is_without_items(text_only_scenario, data):
    check_call(text_only_scenario, data.draw(calls(text_only_scenario, raw=True)), [])


def test_some_of_these_calls_are_taken_and_some_refused(small_scenario):
    taken = []

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(tensors=calls(small_scenario))
    def collect(tensors):
        taken.append(check_call(small_scenario, tensors, []))

    collect()
    assert 0.05 < sum(taken) / len(taken) < 0.95
