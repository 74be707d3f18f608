"""The made-up tables: the same bytes from the same seed, clean, and with the structure that the guides speak of."""

import numpy as np
import pytest
from typer.testing import CliRunner

from polytask.errors import ScenarioError
from polytask.ingest.run import clean
from polytask.ingest.user_tables import read_user_tables
from polytask.samples.write import SAMPLES, sample_data, write_sample
from polytask.scenario import load_scenario
from polytask.scenario.load import SCENARIOS
from polytask.scenario.names import ITEMS
from tests.small import at


@pytest.fixture(scope="module", params=SAMPLES)
def sample(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write_sample(request.param, folder)
    return at(load_scenario(request.param), folder), folder


def test_a_sample_passes_ingest_without_a_bad_row(sample):
    scenario, _ = sample
    tables, dropped, _ = clean(scenario, read_user_tables(scenario, None))
    assert all(reasons == {} for reasons in dropped.values())
    assert len(tables.users) >= 100
    assert 2000 < len(tables.interactions) < 5000
    for task in scenario.tasks:
        if task.label.table == ITEMS:
            values = tables.items[task.label.column]
            assert set(values.explode()) == set(task.classes)
    assert not tables.interactions.duplicated([scenario.entities.users.key, scenario.items.key]).any()


def test_the_same_seed_makes_the_same_bytes(sample, tmp_path):
    scenario, folder = sample
    for seed, same in ((7, True), (8, False)):
        write_sample(scenario.name, tmp_path, seed)
        for table in ("users", "interactions"):
            assert ((tmp_path / f"{table}.csv").read_bytes() == (folder / f"{table}.csv").read_bytes()) is same


def test_every_scenario_over_samples_has_its_tables_in_the_build_folder():
    over_samples = {path.stem for path in SCENARIOS.glob("*.yaml") if "build/samples" in path.read_text()}
    assert over_samples == set(SAMPLES)
    assert all(load_scenario(name).source.path == f"build/samples/{name}" for name in SAMPLES)


def test_weather_decides_where_people_go():
    tables = SAMPLES["smart_city"](np.random.default_rng(7))
    events = tables.interactions.merge(tables.items, on="spot_id")
    share = events.assign(scene=events["scenes"].str[0]).groupby("weather")["scene"].value_counts(normalize=True)
    assert share["rain"].idxmax() == "Museums"
    assert share["heat"].idxmax() == "Swimming"
    assert share["sun"]["Parks"] > 5 * share["rain"].get("Parks", 0.0)


def test_levels_are_climbed_one_by_one():
    tables = SAMPLES["online_education"](np.random.default_rng(7))
    events = tables.interactions.merge(tables.items, on="lesson_id").sort_values(["learner_id", "timestamp"])
    before = events.groupby("learner_id")[["subject", "level"]].shift()
    after = events[before["subject"] == events["subject"]]
    step = after["level"] - before["level"].loc[after.index]
    assert step.isin([0, 1]).mean() > 0.7
    # A score is missing where, and only where, the lesson was not completed.
    assert (events["score"].isna() == (events["completed"] == 0)).all()


def test_the_command_writes_the_tables_and_says_what_is_next(tmp_path, monkeypatch):
    import typer

    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(sample_data)
    result = CliRunner().invoke(app, ["ecommerce"])
    assert result.exit_code == 0, result.output
    assert "build/samples/ecommerce/users.csv: 160 rows" in result.output
    assert "make demo SCENARIO=ecommerce" in result.output
    assert (tmp_path / "build/samples/ecommerce/interactions.csv").is_file()
    refused = CliRunner().invoke(app, ["weather"])
    assert isinstance(refused.exception, ScenarioError)
    assert "allowed: ecommerce, online_education, smart_city, social_media" in str(refused.exception)


def test_whether_it_is_bought_liked_or_completed_is_decided_by_the_moment_and_who_asks():
    """By both together: neither alone is informative, so a model has to combine them."""
    shop = SAMPLES["ecommerce"](np.random.default_rng(7))
    events = shop.interactions.merge(shop.users, on="customer_id")
    by_both = events.groupby(["household", "channel"])["bought"].mean()
    assert [by_both[pair] > 0.7 for pair in (("single", "app"), ("couple", "web"), ("family", "store"))] == [True] * 3
    assert by_both.drop([("single", "app"), ("couple", "web"), ("family", "store")]).max() < 0.3
    assert np.ptp(events.groupby("household")["bought"].mean()) < 0.15
    feed = SAMPLES["social_media"](np.random.default_rng(7)).interactions
    evening = feed["timestamp"].dt.hour >= 18
    on_television = feed[feed["device"] == "television"]
    assert on_television["liked"][evening].mean() > 0.7 > 0.3 > on_television["liked"][~evening].mean()
    assert on_television["seconds"][evening].median() > 3 * on_television["seconds"][~evening].median()
    school = SAMPLES["online_education"](np.random.default_rng(7))
    lessons = school.interactions.merge(school.users, on="learner_id")
    by_day = lessons["timestamp"].dt.hour.between(6, 17)
    beginners = lessons["level"] == "beginner"
    suits = by_day == beginners
    assert lessons["completed"][suits].mean() > 0.8 > 0.45 > lessons["completed"][~suits].mean()
    assert lessons["score"][suits].mean() > lessons["score"][~suits].mean() + 15
