"""The training set as arrays."""

import numpy as np

from polytask.data.catalogue import catalogues_of
from polytask.data.dataset import Dataset
from polytask.text.templates import request_text
from tests.small import training_frame, with_weather


def test_previous_item_is_the_event_before_of_the_same_user(small_dataset):
    rows, user = small_dataset.item_rows, small_dataset.user_rows
    first = np.append(True, user[1:] != user[:-1])
    expected = np.where(first, 0, np.append(0, rows[:-1]))
    assert (small_dataset.previous_rows == expected).all()
    assert first.sum() == 30


def test_order_of_the_frame_does_not_matter(small_dataset):
    frame = small_dataset.events.sample(frac=1, random_state=3)
    again = type(small_dataset)(
        small_dataset.scenario,
        frame,
        small_dataset.catalogues,
        lambda texts: np.zeros((len(texts), 2), dtype=np.float32),
    )
    for name in ("item_rows", "previous_rows", "user_rows", "train", "texts", "contexts"):
        assert (getattr(again, name) == getattr(small_dataset, name)).all()


def test_texts_are_those_of_serving(small_dataset, language_model):
    encoder = small_dataset.request_encoder()
    events = np.flatnonzero(small_dataset.split == "test")
    texts = [encoder.text(request) for request in small_dataset.requests(events)]
    vectors, reused = language_model.vectors(texts)
    assert reused == len(set(texts))  # each of them was encoded for the data set
    assert (small_dataset.text_vectors[small_dataset.texts[events]] == vectors).all()


def test_query_texts(small_dataset, language_model):
    number, event = 1, 5
    row = small_dataset.events.iloc[event]
    context = {"daypart": row["daypart"], "weekpart": row["weekpart"]}
    text = request_text(small_dataset.scenario.text, {}, context, small_dataset.queries.queries[number])
    [vector], _ = language_model.vectors([text])
    chosen = small_dataset.query_texts[number, small_dataset.contexts[event]]
    assert (small_dataset.text_vectors[chosen] == vector).all()


def test_texts_tell_the_context_of_the_event(small_scenario, tables):
    scenario = with_weather(small_scenario)
    weather = np.array(["rain", "sun", None, float("nan")], dtype=object)[np.arange(len(tables.interactions)) % 4]
    known = tables._replace(interactions=tables.interactions.assign(weather=weather))
    frame = training_frame(scenario, known)
    catalogues = catalogues_of(scenario, known)
    dataset = Dataset(scenario, frame, catalogues, lambda texts: np.zeros((len(texts), 2), np.float32))
    encoder = dataset.request_encoder()
    for event, request in enumerate(dataset.requests(np.arange(60))):
        row = dataset.events.iloc[event]
        words = ", ".join([row["weather"], row["daypart"]] if isinstance(row["weather"], str) else [row["daypart"]])
        text = dataset.distinct_texts[dataset.texts[event]]
        assert text == encoder.text(request) == f"{row['age']} year old {row['occupation']}, {words}"
        requested = dataset.distinct_texts[dataset.query_texts[0, dataset.contexts[event]]]
        assert requested == f"{dataset.queries.queries[0]}, {words}"
    # Missing words are one context, not one each.
    kinds = dataset.events[["weather", "daypart", "weekpart"]].fillna("-").drop_duplicates()
    assert len(np.unique(dataset.contexts)) == dataset.query_texts.shape[1] == len(kinds)
