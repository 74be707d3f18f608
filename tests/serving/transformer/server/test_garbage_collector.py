"""Objects that are loaded at the start are excluded from garbage collection."""

import gc

from serving.transformer.server.garbage_collector import YOUNG_OBJECTS, spare_the_collector


def test_what_was_loaded_is_left_to_no_collection():
    before = gc.get_threshold()
    kept = [[] for _ in range(1000)]
    try:
        spare_the_collector()
        assert gc.get_freeze_count() > len(kept)
        assert not any(one is kept[0] for one in gc.get_objects())
        assert gc.get_threshold()[0] == YOUNG_OBJECTS
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
