"""The whole deploy step: a published bundle into an InferenceService of a cluster."""

import logging
from pathlib import Path
from typing import cast, get_args

from serving.kubernetes.client import connect
from serving.rollout.errors import RolloutError
from serving.rollout.release import load_release
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Outcome, Settings, Strategy
from serving.rollout.strategies.canary_analysis import Judge, ProbeJudge, PrometheusJudge, load_rules
from serving.rollout.upload import upload as upload_bundle
from serving.rollout.upload import uploads

LOGGER = logging.getLogger(__name__)


def deploy(
    bundle: Path,
    *,
    storage_uri: str,
    namespace: str,
    name: str = "recommender",
    strategy: str = "rolling",
    manifest: Path | None = None,
    url: str = Settings.url,
    prometheus: str = "",
    rules: Path | None = None,
    force_conflicts: bool = False,
    ready_timeout: float = Settings.ready_timeout,
    response_timeout: float = Settings.response_timeout,
    lease_timeout: float = Settings.lease_timeout,
    upload: bool = True,
) -> Outcome:
    """Verify the bundle and bring it into service.

    `storage_uri` is where the cluster finds the folder that holds `<model version>/`; with `upload` the bundle is
    copied there if that is object storage and has no copy yet. `url` is the transformer's address with `{name}` and
    `{namespace}` in it. `ready_timeout` is how long the pods may take to start, `response_timeout` how long
    the smoke test may take after that, `lease_timeout` the longest wait for another rollout. A canary is judged
    by calls to it and, with `prometheus` and `rules`, by metrics.
    Raises ContractError for a bundle that is not as it was exported, RolloutError when the model is not in service
    afterwards, with the reason and with what was done about it.
    """
    strategies = get_args(Strategy)
    if strategy not in strategies:
        raise RolloutError(f"strategy {strategy!r}; allowed: {', '.join(strategies)}")
    if not namespace:
        raise RolloutError("namespace: is empty; allowed: the namespace of the InferenceService")
    if bool(prometheus) != (rules is not None):
        raise RolloutError("prometheus and rules: one of the two is missing; allowed: both or neither")
    release = load_release(bundle, storage_uri)
    judges: tuple[Judge, ...] = (ProbeJudge(),)
    if rules is not None:
        judges += (PrometheusJudge(prometheus, load_rules(rules)),)
    settings = Settings(
        name=name,
        strategy=cast(Strategy, strategy),
        manifest=manifest,
        url=url,
        judges=judges,
        force_conflicts=force_conflicts,
        ready_timeout=ready_timeout,
        response_timeout=response_timeout,
        lease_timeout=lease_timeout,
    )
    cluster = connect(namespace)
    try:
        if upload and uploads(storage_uri):
            written = upload_bundle(bundle, storage_uri, release.version)
            LOGGER.info("%s: %d files written, all others were there", release.uri, written)
        return roll_out(cluster, release, settings)
    finally:
        cluster.close()
