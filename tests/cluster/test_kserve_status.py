"""The substitute's status changes as observed with KServe's manager."""

from typing import Any

from tests.cluster.api import Object
from tests.cluster.kserve_rules import STOP
from tests.cluster.kserve_status import status_of

REFUSED = 'pods "recommender-predictor-" is forbidden: violates PodSecurity "restricted:latest"'


def service(generation: int = 1, **annotations: str) -> Object:
    metadata = {"name": "recommender", "namespace": "live", "generation": generation, "annotations": annotations}
    return {"metadata": metadata, "spec": {"predictor": {"model": {"runtime": "kserve-tritonserver"}}}}


def deployment(**conditions: tuple[str, str, str]) -> Object:
    keys = ("status", "reason", "message")
    found = [{"type": kind, **dict(zip(keys, values, strict=True))} for kind, values in conditions.items()]
    return {"status": {"conditions": found}}


AVAILABLE = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
UNAVAILABLE = ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
PROGRESSED = ("True", "NewReplicaSetAvailable", 'ReplicaSet "a" has successfully progressed.')
UPDATING = ("True", "ReplicaSetUpdated", 'ReplicaSet "b" is progressing.')
READY = deployment(Available=AVAILABLE, Progressing=PROGRESSED)
WAITING = deployment(Available=UNAVAILABLE, Progressing=UPDATING)


def conditions(status: Object) -> dict[str, Any]:
    return {one["type"]: one for one in status["conditions"]}


def test_a_service_gets_ready_with_its_predictor():
    waiting = status_of(service(), {"predictor": WAITING}, [])
    assert conditions(waiting)["PredictorReady"]["reason"] == "MinimumReplicasUnavailable"
    assert conditions(waiting)["Ready"]["status"] == "False"
    assert waiting["modelStatus"]["transitionStatus"] == "InProgress"
    ready = status_of(service(), {"predictor": READY}, [{}])
    assert conditions(ready)["PredictorReady"]["reason"] == "NewReplicaSetAvailable"
    assert conditions(ready)["Ready"] == {"type": "Ready", "status": "True"}
    assert ready["modelStatus"]["transitionStatus"] == "UpToDate"


def test_only_the_predictor_counts_into_ready():
    status = status_of(service(), {"predictor": READY, "transformer": WAITING, "explainer": WAITING}, [{}])
    found = conditions(status)
    assert found["Ready"]["status"] == "True"
    assert [found[kind]["severity"] for kind in ("TransformerReady", "ExplainerReady")] == ["Info", "Info"]
    assert found["TransformerReady"]["status"] == "False"


def test_a_rolling_update_is_never_unready():
    rolling = deployment(Available=AVAILABLE, Progressing=UPDATING)
    assert conditions(status_of(service(), {"predictor": rolling}, [{}, {}]))["Ready"]["status"] == "True"


def test_the_observed_generation_is_that_of_a_deployment():
    made = {**READY, "status": {**READY["status"], "observedGeneration": 1}}
    assert status_of(service(4), {"predictor": made}, [])["observedGeneration"] == 1
    assert "observedGeneration" not in status_of(service(4, **{STOP: "true"}), {"predictor": None}, [])


def test_a_refused_pod_is_reported_in_the_words_of_the_api_server():
    failed = deployment(Available=UNAVAILABLE, ReplicaFailure=("True", "FailedCreate", REFUSED))
    found = conditions(status_of(service(), {"predictor": failed}, []))
    assert found["PredictorReady"]["message"] == found["Ready"]["message"] == REFUSED


def test_a_model_that_fails_in_its_container_is_a_failed_load():
    last = {"terminated": {"exitCode": 1, "message": "no such tensor"}}
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    pod = {"status": {"containerStatuses": [{"name": "kserve-container", "state": state, "lastState": last}]}}
    model = status_of(service(), {"predictor": WAITING}, [pod])["modelStatus"]
    assert model["transitionStatus"] == "BlockedByFailedLoad"
    assert model["lastFailureInfo"]["message"] == "no such tensor"


def test_a_stopped_service_has_no_model_and_says_so():
    status = status_of(service(**{STOP: "true"}), {"predictor": None}, [])
    found = conditions(status)
    assert [found[kind].get("reason") for kind in ("PredictorReady", "Ready")] == ["Stopped", "Stopped"]
    assert found["Stopped"]["status"] == "True"
    assert "modelStatus" not in status
