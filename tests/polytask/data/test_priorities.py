"""Follow rates: the file, and what becomes of tasks and users it does not know."""

import numpy as np
import pandas as pd
import pytest

from polytask.data.catalogue import Catalogue
from polytask.data.priorities import Priorities, equal_priorities, load_priorities
from polytask.errors import ContractError


def users(*keys):
    return Catalogue("users", "user_id", pd.DataFrame({"user_id": list(keys)}))


@pytest.fixture
def priorities():
    rates = pd.DataFrame({"item": [0.2, 0.3, 0.0], "scene": [0.6, 0.1, 0.0]})
    return Priorities(users("a", "b"), rates)


def test_priorities_are_lifts_over_everybody_and_an_unknown_user_is_everybody(priorities):
    # 0.3 / 0.2 = 1.5 for items, 0.1 / 0.6 = 1 / 6 for scenes.
    np.testing.assert_allclose(priorities.of(["a", "nobody"], ["scene", "item"]), [[0.1, 0.9], [0.5, 0.5]])


def test_a_user_who_follows_nothing_gets_equal_shares(priorities):
    np.testing.assert_allclose(priorities.of(["b"], ["item", "scene"]), [[0.5, 0.5]])


def test_a_task_without_rates_is_followed_as_by_everybody(priorities):
    np.testing.assert_allclose(priorities.of(["a"], ["item", "liked"]), [[0.6, 0.4]])
    np.testing.assert_allclose(priorities.of(["a"], ["liked", "stars"]), [[0.5, 0.5]])


def test_a_task_that_nobody_follows_tilts_nothing():
    never = Priorities(users("a"), pd.DataFrame({"item": [0.2, 0.4], "scene": [0.0, 0.0]}))
    np.testing.assert_allclose(never.of(["a"], ["item", "scene"]), [[2 / 3, 1 / 3]])


@pytest.mark.parametrize("keys", [("a", "b"), (10, 20)])
def test_the_file_serves_a_catalogue_that_has_grown(priorities, keys, tmp_path):
    Priorities(users(*keys), priorities.rates).save(tmp_path / "priorities.parquet")
    read = load_priorities(tmp_path / "priorities.parquet", users("new", *keys))
    np.testing.assert_allclose(
        read.of([keys[0], "new"], ["item", "scene"]), priorities.of(["a", "nobody"], ["item", "scene"])
    )


def test_a_file_about_something_else_is_refused(priorities, tmp_path):
    priorities.save(tmp_path / "priorities.parquet")
    with pytest.raises(ContractError, match="the users' key is reader"):
        load_priorities(tmp_path / "priorities.parquet", Catalogue("users", "reader", pd.DataFrame({"reader": [1]})))


def test_equal_priorities():
    np.testing.assert_allclose(
        equal_priorities(users("a"), ["x", "y"]).of(["a", "b"], ["x", "y"]), np.full((2, 2), 0.5)
    )
