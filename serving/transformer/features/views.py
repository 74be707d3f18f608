"""What serving reads from Feast: the views of one feature service, resolved from the registry ahead of all calls."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import prometheus_client  # noqa: F401 - before Feast, which would put it into its mode for many processes
import yaml

from polytask.contract.tensors import HISTORY, SEEN
from polytask.errors import ContractError
from polytask.scenario.names import CONTEXT_WORDS
from polytask.scenario.schema import Scenario
from polytask.text.stored_code import run_no_other_code

if TYPE_CHECKING:  # feast takes seconds to import
    from feast import FeatureStore, FeatureView


@dataclass(frozen=True)
class ViewRead:
    """One read of the online store: a view, the features wanted of it, and the seconds that its values live."""

    view: "FeatureView"
    features: tuple[str, ...]
    ttl: float


def resolve(store: "FeatureStore", scenario: Scenario, source: object) -> tuple[ViewRead, ...]:
    """The reads of the scenario's feature service. `source` names the store in errors.

    Raises ContractError where the registry has no such service, or one with other features.
    """
    from feast.errors import FeastObjectNotFoundException

    try:
        service = store.get_feature_service(scenario.feature_service)
    except FeastObjectNotFoundException as error:
        known = ", ".join(sorted(one.name for one in store.list_feature_services()))
        raise ContractError(
            f"{source}: has feature services {known or 'none'}; the contract requires {scenario.feature_service}"
        ) from error
    views = {view.name: view for view in store.list_feature_views()}
    projections = service.feature_view_projections
    names = {feature.name for projection in projections for feature in projection.features}
    expected = {*scenario.features.profile, *((HISTORY, SEEN) if scenario.has_items else ()), *CONTEXT_WORDS}
    if names != expected:
        raise ContractError(
            f"feature service {scenario.feature_service}: has {', '.join(sorted(names))}; "
            f"the contract requires {', '.join(sorted(expected))}"
        )
    return tuple(
        ViewRead(
            views[projection.name],
            tuple(feature.name for feature in projection.features),
            # None, or zero, means for ever, in Feast's own joins too.
            ttl.total_seconds() if (ttl := views[projection.name].ttl) else float("inf"),
        )
        for projection in projections
        if projection.name in views  # the time context is no stored view
    )


def open_online_store(folder: Path) -> "FeatureStore":
    """The feature store of `folder` without the offline store that its feature_store.yaml names: serving never reads
    that one and may lack its packages. Raises ContractError where the file is missing or wrong.
    """
    import dill
    from feast import FeatureStore, RepoConfig
    from feast.transformation import udf_rehydrate
    from pydantic import ValidationError

    path = folder / "feature_store.yaml"
    if not path.is_file():
        raise ContractError(f"{folder}: holds no feature_store.yaml")
    try:
        # As Feast reads it: secrets may be named as ${VARIABLE}.
        settings = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
        settings.pop("offline_store", None)
        config = RepoConfig(**settings)
    except (yaml.YAMLError, AttributeError, TypeError, ValidationError) as error:
        raise ContractError(f"{path}: {error}") from error
    config.repo_path = folder
    run_no_other_code(udf_rehydrate, dill)
    return FeatureStore(repo_path=str(folder), config=config)
