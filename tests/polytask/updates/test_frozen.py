"""The states of the frozen encoder are those of the wanted events, and of no others."""

import numpy as np

from polytask.updates.frozen import frozen_states


def test_states_stand_at_the_wanted_training_events(small_training, small_dataset):
    wanted = small_dataset.train & (small_dataset.item_rows % 2 == 0)
    frozen = frozen_states(small_training[0], small_dataset, wanted)
    assert wanted[frozen.events].all()
    # Some events are left out by where the windows are cut.
    assert 0.5 * wanted.sum() < len(set(frozen.events.tolist())) <= wanted.sum()
    assert len(frozen.histories.state) == len(frozen.events) == len(frozen.texts)
    assert np.isfinite(frozen.histories.state.numpy()).all()
