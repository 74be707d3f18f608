"""The steps that several pipelines begin with: from the source to the training set."""

from typing import NamedTuple, TypeAlias

from kfp.dsl.pipeline_channel import PipelineChannel
from kfp.dsl.pipeline_task import PipelineTask

from components.build_features import build_features
from components.build_training_set import build_training_set
from components.fingerprint import fingerprint
from components.ingest import ingest
from pipelines.steps.definition import step

Text: TypeAlias = str | PipelineChannel


class Ingested(NamedTuple):
    """The step that ingests, and the code version that all later steps are given."""

    code_version: PipelineChannel
    tables: PipelineTask


class DataSteps(NamedTuple):
    """The steps up to the training set, and the code version that all later steps are given."""

    code_version: PipelineChannel
    tables: PipelineTask
    features: PipelineTask
    rows: PipelineTask


def ingest_steps(scenario: Text, code_version: Text) -> Ingested:
    """Look at code, scenario and source, which no cache does by itself, and ingest what has changed."""
    version = step(
        fingerprint(scenario=scenario, code_version=code_version),
        "Fingerprint code and data",
        "light",
        again=True,
        cached=False,
    )
    tables = ingest(scenario=scenario, code_version=version.output)
    return Ingested(version.output, step(tables, "Ingest and validate", "data", again=True))


def data_steps(scenario: Text, code_version: Text, feature_store: Text, settings: Text = "") -> DataSteps:
    """The steps from the source to the training set."""
    version, tables = ingest_steps(scenario, code_version)
    features = build_features(
        scenario=scenario,
        code_version=version,
        feature_store=feature_store,
        tables=tables.outputs["tables"],
        settings=settings,
    )
    # The store is outside of its outputs: what another run has filled it with is not known to any cache.
    step(features, "Build features", "data", again=True, cached=False)
    rows = build_training_set(
        scenario=scenario,
        code_version=version,
        feature_store=feature_store,
        features=features.outputs["Output"],
        tables=tables.outputs["tables"],
    )
    step(rows, "Build training set", "data", again=True)
    return DataSteps(version, tables, features, rows)
