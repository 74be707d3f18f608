"""The compiled pipeline is what a cluster accepts, and two compiles are the same."""

from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.image import IMAGE
from pipelines.compile import compile_pipelines
from tests.pipelines.steps import NEVER_CACHED, STEPS


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled") / "pipelines"
    compile_pipelines(folder)
    return folder / "train_and_deploy.yaml"


def test_the_yaml_parses_strictly_into_the_pipeline_spec(compiled: Path) -> None:
    content = next(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))
    spec = json_format.ParseDict(content, pipeline_spec_pb2.PipelineSpec())
    config = json_format.ParseDict(
        json_format.MessageToDict(spec.deployment_spec), pipeline_spec_pb2.PipelineDeploymentConfig()
    )
    assert set(spec.root.dag.tasks) == STEPS
    assert {executor.container.image for executor in config.executors.values()} == {IMAGE}
    assert len(config.executors) == len(STEPS)


def test_two_compiles_are_equal(compiled: Path, tmp_path: Path) -> None:
    compile_pipelines(tmp_path / "again")
    assert (tmp_path / "again" / compiled.name).read_bytes() == compiled.read_bytes()


def test_publishing_is_never_taken_from_the_cache(compiled: Path) -> None:
    content = next(yaml.safe_load_all(compiled.read_text(encoding="utf-8")))
    cached = {
        name for name, task in content["root"]["dag"]["tasks"].items() if task["cachingOptions"].get("enableCache")
    }
    assert cached == STEPS - NEVER_CACHED
