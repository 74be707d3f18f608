"""Rollouts against a server that behaves like the Kubernetes API: create, change, wait, respond, roll back."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.kubernetes.client import INFERENCE_SERVICE, KUBECTL, Cluster
from serving.rollout.errors import Conflicting, Refused, RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.settings import Settings
from tests.serving.rollout.conftest import SERVICE, State, address, live, reasons, set_address

Make = Callable[..., RolloutRelease]


def test_a_service_that_is_not_there_is_created_and_kubectl_can_go_on_with_it(
    cluster: Cluster, state: State, settings: Settings, release: Make, manifest: Path
):
    outcome = roll_out(cluster, release(1), replace(settings, manifest=manifest))
    assert (outcome.action, outcome.model_version) == ("deployed", "1")
    assert address(state) == "s3://models/small/1/repository"
    spec = live(state)["spec"]
    checksum = state.contracts["1"]
    folder = f"/mnt/models/1-{checksum[:8]}"
    assert spec["transformer"]["storageUris"] == [{"uri": "s3://models/small/1", "mountPath": folder}]
    assert spec["transformer"]["annotations"]["polytask.dev/bundle"] == folder
    assert spec["transformer"]["annotations"]["polytask.dev/contract-sha256"] == checksum
    assert spec["predictor"]["annotations"]["polytask.dev/repository-sha256"] == f"{1:064x}"
    assert spec["predictor"]["deploymentStrategy"]["type"] == "RollingUpdate"
    # A later `kubectl apply` of the same overlay takes nothing back and changes nothing.
    before = live(state)["metadata"]["generation"]
    cluster.apply(INFERENCE_SERVICE, SERVICE, manager=KUBECTL)
    assert live(state)["metadata"]["generation"] == before
    assert address(state) == "s3://models/small/1/repository"


def test_without_a_service_and_without_a_manifest_it_says_what_is_missing(
    cluster: Cluster, settings: Settings, release: Make, tmp_path: Path
):
    with pytest.raises(RolloutError, match="InferenceService recommender in test is missing; apply an overlay"):
        roll_out(cluster, release(1), settings)
    empty = tmp_path / "empty.yaml"
    empty.write_text("kind: ConfigMap\nmetadata: {name: recommender}\n", encoding="utf-8")
    with pytest.raises(RolloutError, match="holds no InferenceService called recommender"):
        roll_out(cluster, release(1), replace(settings, manifest=empty))


@pytest.mark.parametrize("strategy", ["recreate", "rolling", "canary"])
def test_the_second_time_nothing_changes(
    strategy: Any, installed: Cluster, state: State, settings: Settings, release: Make
):
    settings = replace(settings, strategy=strategy)
    roll_out(installed, release(1), settings)
    roll_out(installed, release(2), settings)
    writes, events = list(state.writes), len(state.events)
    assert roll_out(installed, release(2), settings).action == "unchanged"
    assert (state.writes, len(state.events)) == (writes, events)


def test_a_stale_ready_is_not_believed(installed: Cluster, state: State, settings: Settings, release: Make):
    roll_out(installed, release(1), settings)
    state.stale_reads = 10**6  # the controller hangs: the status stays Ready, of the generation before
    reason = r"not ready within 0.1 s: .*transformer: its Deployment is not yet the one of this model"
    with pytest.raises(RolloutError, match=reason):
        roll_out(installed, release(2), replace(settings, ready_timeout=0.1))


def test_a_model_that_does_not_load_is_taken_back_and_the_reason_told(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    with pytest.raises(RolloutError) as caught:
        roll_out(installed, release(2, storage="s3://models/broken"), settings)
    message = str(caught.value)
    assert "model 2 was not brought into service" in message
    assert "BlockedByFailedLoad: ModelLoadFailed multitask: no such tensor" in message
    assert "serves model 1 from s3://models/small/1/repository again" in message
    assert address(state) == "s3://models/small/1/repository"
    annotations = live(state)["spec"]["predictor"]["annotations"]
    assert annotations == {
        "polytask.dev/model-version": "1",
        "polytask.dev/contract-sha256": state.contracts["1"],
        "polytask.dev/repository-sha256": f"{1:064x}",
        "polytask.dev/storage-uri": "s3://models/small/1/repository",
    }
    assert reasons(state) == ["ModelDeployed", "RolledBack"]
    event = state.events[-1]
    assert (event["type"], event["involvedObject"]["name"]) == ("Warning", "recommender")
    assert "no such tensor" in event["message"]


def test_a_failed_load_is_not_waited_out(installed: Cluster, state: State, settings: Settings, release: Make):
    roll_out(installed, release(1), settings)
    started = time.monotonic()
    with pytest.raises(RolloutError, match="BlockedByFailedLoad"):
        roll_out(installed, release(2, storage="s3://models/broken"), replace(settings, ready_timeout=300))
    assert time.monotonic() - started < 60


def test_a_model_that_loads_and_answers_nothing_is_taken_back(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    with pytest.raises(RolloutError, match=r"item_scores is empty; serves model 1 .* again"):
        roll_out(installed, release(2, storage="s3://models/mute"), settings)
    assert address(state) == "s3://models/small/1/repository"


def test_a_transformer_with_another_contract_is_found_out(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    second = release(2)
    state.contracts["2"] = "another"
    with pytest.raises(RolloutError, match=r"serves model version 2, contract another; deployed: 2, "):
        roll_out(installed, second, settings)
    assert address(state) == "s3://models/small/1/repository"


def test_the_first_model_has_nothing_to_go_back_to(installed: Cluster, state: State, settings: Settings, release: Make):
    with pytest.raises(RolloutError, match="there is no earlier model to go back to"):
        roll_out(installed, release(1, storage="s3://models/broken"), settings)
    assert reasons(state) == ["ModelFailed"]


def test_when_going_back_fails_both_reasons_are_told(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    first = release(1)
    roll_out(installed, first, settings)
    state.contracts["1"] = "another"
    with pytest.raises(RolloutError) as caught:
        roll_out(installed, release(2, storage="s3://models/broken"), settings)
    assert "no such tensor" in str(caught.value)
    assert "going back to model 1 failed too" in str(caught.value)
    assert reasons(state)[-1] == "RollbackFailed"


def test_a_field_that_someone_else_set_is_a_conflict_until_it_is_taken_over(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    set_address(installed, "s3://models/by-hand", "kubectl-edit")
    generation = live(state)["metadata"]["generation"]
    with pytest.raises(Conflicting, match=r'spec.predictor.model.storageUri: conflict with "kubectl-edit"'):
        roll_out(installed, release(2), settings)
    assert live(state)["metadata"]["generation"] == generation
    roll_out(installed, release(2), replace(settings, force_conflicts=True))
    assert address(state) == "s3://models/small/2/repository"


def test_what_the_server_refuses_is_told_in_its_words(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    with pytest.raises(Refused, match=r"422: InferenceService is invalid: spec.predictor.model.storageUri"):
        roll_out(installed, release(2, storage="s3://models/invalid"), settings)
    with pytest.raises(Refused, match=r'400: strict decoding error: unknown field "spec.predictor.minReplica"'):
        broken = {**SERVICE, "spec": {"predictor": {"minReplica": 1}}}
        installed.apply(INFERENCE_SERVICE, broken)
    state.forbidden = {"inferenceservices"}
    with pytest.raises(Refused, match="403"):
        roll_out(installed, release(2), settings)


def test_a_busy_server_is_asked_again(installed: Cluster, state: State, settings: Settings, release: Make):
    state.failures = [503, 429, 500]
    assert roll_out(installed, release(1), settings).action == "deployed"
    state.failures = [503] * 10
    with pytest.raises(RolloutError, match="503: the server is busy"):
        roll_out(installed, release(1), settings)


def test_a_server_that_is_away_is_told(cluster: Cluster, server: Any, settings: Settings, release: Make):
    server.shutdown()
    server.server_close()
    with pytest.raises(RolloutError, match="the API server does not respond"):
        roll_out(cluster, release(1), settings)


def test_a_rollout_without_the_right_to_write_events_is_none_the_worse(
    installed: Cluster, state: State, settings: Settings, release: Make, caplog: pytest.LogCaptureFixture
):
    state.forbidden = {"events"}
    assert roll_out(installed, release(1), settings).action == "deployed"
    assert "the event ModelDeployed was not written" in caplog.text


def test_recreate_ends_the_old_pods_first(installed: Cluster, state: State, settings: Settings, release: Make):
    roll_out(installed, release(1), replace(settings, strategy="recreate"))
    for part in ("predictor", "transformer"):
        assert live(state)["spec"][part]["deploymentStrategy"] == {"type": "Recreate"}
