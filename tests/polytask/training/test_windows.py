"""Windows: every training event in every epoch, as many batches as planned, inputs are what came before."""

import numpy as np
import pytest

from polytask.training.windows import WindowSampler

EPOCHS = 4


@pytest.fixture(scope="module")
def epochs(small_dataset):
    random = np.random.default_rng(1)
    plan = WindowSampler(small_dataset, EPOCHS, random)
    return plan, [list(plan.epoch(number, random)) for number in range(EPOCHS)]


def test_every_training_event_and_no_other(small_dataset, epochs):
    train = np.flatnonzero(small_dataset.train)
    for batches in epochs[1]:
        events = np.concatenate([batch.events.ravel() for batch in batches])
        assert (np.unique(events[events >= 0]) == train).all()


def test_as_many_batches_as_planned(small_dataset, epochs):
    plan, batches = epochs
    assert [len(epoch) for epoch in batches] == plan.batches
    size = small_dataset.scenario.training.batch_size
    assert all(len(batch.events) == size for epoch in batches for batch in epoch[:-1])
    assert all(1 <= len(epoch[-1].events) <= size for epoch in batches)


def test_a_window_is_a_run_of_one_users_events_padded_on_the_left(small_dataset, epochs):
    for batch in epochs[1][0]:
        for events in batch.events:
            real = events[events >= 0]
            assert (events[: len(events) - len(real)] == -1).all()
            assert (np.diff(real) == 1).all()
            assert len(np.unique(small_dataset.user_rows[real])) == 1


def test_inputs_are_the_items_before(small_dataset, epochs):
    user, item = small_dataset.user_rows, small_dataset.item_rows
    for batch in epochs[1][0]:
        for event, given in zip(batch.events.ravel(), batch.inputs.ravel(), strict=True):
            first = event <= 0 or user[event - 1] != user[event]
            assert given == (0 if event < 0 or first else item[event - 1])


def test_cuts_move_and_the_newest_events_always_have_a_whole_window(small_dataset, epochs):
    train = np.flatnonzero(small_dataset.train)
    newest = {int(train[small_dataset.user_rows[train] == user].max()) for user in np.unique(small_dataset.user_rows)}
    cuts = []
    for batches in epochs[1]:
        windows = np.concatenate([batch.events for batch in batches])
        whole = windows[(windows >= 0).all(axis=1)]
        assert newest <= set(whole[:, -1].tolist())
        cuts.append(frozenset(windows[:, -1].tolist()))
    assert len(set(cuts)) == EPOCHS


def test_texts_are_the_profile_or_a_query_that_fits(small_dataset, epochs):
    dataset = small_dataset
    requested = real = 0
    for batch in (batch for epoch in epochs[1] for batch in epoch):
        for event, text in zip(batch.events.ravel(), batch.texts.ravel(), strict=True):
            if event < 0:
                continue
            real += 1
            if text == dataset.texts[event]:
                continue
            requested += 1
            [number], [context] = np.nonzero(dataset.query_texts == text)
            names = dataset.catalogues["items"].record(int(dataset.item_rows[event]))["genres"]
            assert dataset.queries.queries[number] in {f"a {name} film" for name in names}
            assert context == dataset.contexts[event]
    assert abs(requested / real - dataset.scenario.training.query_probability) < 0.05
