"""Follow rates: the file, and what becomes of tasks and users it does not know."""

import numpy as np
import pandas as pd
import pytest

from polytask.catalogue import Catalogue
from polytask.errors import ContractError
from polytask.priorities import Priorities, equal_priorities, load_priorities


def users(*keys):
    return Catalogue("users", "user_id", pd.DataFrame({"user_id": list(keys)}))


@pytest.fixture
def priorities():
    rates = pd.DataFrame({"item": [0.2, 0.3, 0.0], "scene": [0.6, 0.1, 0.0]})
    return Priorities(users("a", "b"), rates)


def test_rates_become_shares_and_an_unknown_user_gets_the_first_row(priorities):
    np.testing.assert_allclose(priorities.of(["a", "nobody"], ["scene", "item"]), [[0.25, 0.75], [0.75, 0.25]])


def test_a_user_who_follows_nothing_gets_equal_shares(priorities):
    np.testing.assert_allclose(priorities.of(["b"], ["item", "scene"]), [[0.5, 0.5]])


def test_a_task_without_rates_counts_as_the_mean_of_the_others(priorities):
    np.testing.assert_allclose(priorities.of(["a"], ["item", "liked", "scene"]), [[0.5, 1 / 3, 1 / 6]])
    np.testing.assert_allclose(priorities.of(["a"], ["liked", "stars"]), [[0.5, 0.5]])


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
