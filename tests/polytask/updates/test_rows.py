"""Growing catalogues: old rows keep number, weights and scores; new rows are known by their text."""

import numpy as np
import pandas as pd
import pytest
import torch

from polytask.data.catalogue import catalogue_of
from polytask.model.item_table import ItemTable
from polytask.updates.catalogues import changed_texts, extended
from polytask.updates.refresh import refresh
from polytask.updates.rows import with_rows

NEW = pd.DataFrame(
    {
        "item_id": [1001, 1002],
        "title": ["Comedy number 500", "Horror number 501"],
        "year": pd.array([1990, None], dtype="Int64"),
        "genres": [["Comedy"], ["Horror"]],
    }
)


@pytest.fixture
def items(small_scenario, tables):
    return catalogue_of(small_scenario, "items", tables.items)


def test_known_entries_keep_their_row_and_take_new_values(small_scenario, tables, items):
    table = pd.concat([NEW[:1], tables.items[::-1], NEW[1:]], ignore_index=True)
    table = table[table["item_id"] != 7]
    table.loc[table["item_id"] == 14, "title"] = "Renamed"
    newer = extended(small_scenario, items, table)
    assert newer.catalogue.ids == [*items.ids, 1001, 1002]
    assert newer.new_rows.tolist() == [61, 62]
    assert newer.missing == 1
    assert newer.catalogue.record(1) == items.record(1)  # gone from the table, not from the catalogue
    assert newer.catalogue.record(2)["title"] == "Renamed"
    assert changed_texts(small_scenario, items, newer.catalogue).tolist() == [2]
    assert newer.catalogue.table.dtypes.equals(items.table.dtypes)


def test_nothing_new_changes_nothing(small_scenario, tables, items):
    newer = extended(small_scenario, items, tables.items)
    pd.testing.assert_frame_equal(newer.catalogue.table, items.table)
    assert len(newer.new_rows) == newer.missing == 0


def test_appended_rows(small_training, language_model):
    model = small_training[0]
    vectors = torch.from_numpy(language_model.vectors(["Comedy number 500", "Horror"])[0])
    updated = with_rows(model, vectors, users=3)
    before, after = model.state_dict(), updated.state_dict()
    for name, weights in before.items():
        assert torch.equal(after[name][: len(weights)] if weights.ndim else after[name], weights), name
    longer = {name: len(after[name]) - len(weights) for name, weights in before.items() if weights.ndim}
    rows = {name: more for name, more in longer.items() if more}
    tables = [name for name, module in model.named_modules() if isinstance(module, ItemTable)]
    of_items = {f"{name}.{part}": 2 for name in tables for part in ("text_vectors", "residual.weight")}
    assert rows == {**of_items, "heads.item.bias": 2, "user_table.weight": 3, "heads.user.bias": 3}
    table = updated.item_table
    expected = (vectors - table.standardise.mean) / table.standardise.scale
    torch.testing.assert_close(table.text_vectors[-2:], expected)
    assert not table.residual.weight[-2:].any()


def test_refresh_keeps_the_scores_of_old_items(small_training, small_scenario, tables, items, language_model):
    model = small_training[0]
    table = pd.concat([tables.items, NEW], ignore_index=True)
    done = refresh(model, items, table, lambda texts: language_model.vectors(texts)[0])
    assert done.new_rows.tolist() == [61, 62]
    assert len(done.changed_rows) == 0
    history = torch.from_numpy(np.random.default_rng(0).integers(1, 61, (5, 10)))
    text = torch.randn(5, language_model.dim, generator=torch.Generator().manual_seed(1))
    before, after = model.score(history, text), done.model.score(history, text)
    torch.testing.assert_close(after["item"][:, :61], before["item"], rtol=1e-6, atol=1e-6)
    for task in ("user", "scene"):
        assert torch.equal(after[task], before[task])
    # A new item in the history changes the scores.
    history[:, -1] = 61
    comedy = done.model.score(history, text)["scene"]
    history[:, -1] = 62
    assert (done.model.score(history, text)["scene"] != comedy).all()


def test_a_changed_text_changes_the_vector_of_that_item_alone(small_training, tables, items, language_model):
    model = small_training[0]
    table = tables.items.assign(title=tables.items["title"].where(tables.items["item_id"] != 21, "The new name"))
    done = refresh(model, items, table, lambda texts: language_model.vectors(texts)[0])
    assert done.changed_rows.tolist() == [3]
    same = (done.model.item_table() == model.item_table()).all(dim=1)
    assert torch.nonzero(~same).flatten().tolist() == [3]
    assert torch.equal(done.model.item_table.residual.weight, model.item_table.residual.weight)
