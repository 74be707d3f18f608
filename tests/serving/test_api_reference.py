"""The page of the serving API is generated from the scenario, and has every name of the server's metadata."""

import re
from pathlib import Path

from polytask.scenario import Scenario, load_scenario
from serving.api_reference import api_reference
from serving.transformer.api.answers import response_types
from serving.transformer.api.parse import input_types

PAGE = Path(__file__).parents[2] / "docs" / "serving-api.md"


def test_the_page_is_current():
    made = api_reference(load_scenario("movielens"))
    assert PAGE.read_text(encoding="utf-8") == made, (
        'regenerate it: python -c "from serving.api_reference import api_reference; '
        "from polytask.scenario import load_scenario; print(api_reference(load_scenario('movielens')), end='')\" "
        "> docs/serving-api.md"
    )


def test_each_model_has_the_tensors_of_its_configuration(ruled_bundle: Path, small_scenario: Scenario):
    page = api_reference(small_scenario)
    for model in ("recommender", "text_encoder", "multitask"):
        written = (ruled_bundle / "repository" / model / "config.pbtxt").read_text(encoding="utf-8")
        tensors = {
            (name, way)
            for way in ("in", "out")
            for name in re.findall(rf'^{way}put \[?{{?\s*name: "(\w+)"', written, re.MULTILINE)
        }
        section = page.split(f"### `{model}`")[1].split("###")[0]
        assert set(re.findall(r"\| `(\w+)` \((in|out)\)", section)) == tensors != set()


def test_every_tensor_of_any_scenario_is_described(small_scenario: Scenario, text_only_scenario: Scenario):
    for scenario in (small_scenario, text_only_scenario):
        page = api_reference(scenario)
        for name in (*input_types(scenario), *response_types(scenario)):
            assert f"| `{name}` |" in page
    assert "`recent_items`" not in api_reference(text_only_scenario)
