"""Models with two releases of different versions; `test_named_versions.py` runs this in its own process."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kserve.errors import ModelNotFound
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from serving.transformer.concurrency.admission import Admission, Overloaded
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.observability.metrics import Metrics
from serving.transformer.release import Releases
from serving.transformer.server.model import RecommenderModel
from serving.transformer.server.served_model import NotAvailable, VersionNotFound, status_of


class Recommender:
    """Its predictor is unavailable. `requested` counts its calls."""

    def __init__(self) -> None:
        self.requested = 0

    async def prepare(self, *arguments: Any) -> None:
        self.requested += 1
        raise Unavailable("predictor")


def release(version: int) -> Any:
    async def ready(deadline: Any) -> None:
        return None

    contract = SimpleNamespace(model_version=version)
    predictor = SimpleNamespace(pods=0, ready=ready)
    bundle = SimpleNamespace(contract=contract, checksum=str(version))
    return SimpleNamespace(bundle=bundle, predictor=predictor, recommender=Recommender(), calls=0)


@pytest.fixture
def releases() -> list[Any]:
    return [release(8), release(7)]


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return Metrics()


def model_of(releases: list[Any], metrics: Metrics, admission: Admission | None = None) -> RecommenderModel:
    served: Releases[Any] = Releases(releases, list, 1.0)
    return RecommenderModel("recommender", served, metrics, admission or Admission(1, 0), 1.0)


def test_a_version_is_that_of_its_release(releases: list[Any], metrics: Metrics):
    model = model_of(releases, metrics)
    assert [model.release_of(version) for version in ("8", "7", "")] == [*releases, None]
    with pytest.raises(
        VersionNotFound, match=r"^model recommender: version '1' is not served, allowed: 8, 7$"
    ) as caught:
        model.release_of("1")
    assert status_of(caught.value) == "NOT_FOUND"
    with pytest.raises(ModelNotFound) as unknown:
        model.check_name("x" * 10**6)
    assert len(str(unknown.value)) < 200


@pytest.mark.parametrize(("version", "requested"), [("", [1, 1]), ("8", [1, 0]), ("7", [0, 1])])
def test_a_named_version_is_never_answered_by_another(
    releases: list[Any], metrics: Metrics, version: str, requested: list[int]
):
    async def run() -> None:
        with pytest.raises(NotAvailable):
            await model_of(releases, metrics)(ModelInferRequest(model_version=version))
        await asyncio.sleep(0)  # the line in the log

    asyncio.run(run())
    assert [cast(Recommender, one.recommender).requested for one in releases] == requested


def test_a_call_without_a_place_is_refused_and_counted_before_it_is_read(releases: list[Any], metrics: Metrics):
    async def run() -> None:
        admission = Admission(1, 0)
        model, counted = model_of(releases, metrics, admission), []
        model.ended = lambda record: counted.append(record.code)  # type: ignore[method-assign]
        model.check_place({})
        async with admission.place(SimpleNamespace()):  # type: ignore[arg-type]
            with pytest.raises(Overloaded):
                model.check_place({})
        admission.draining = True
        with pytest.raises(NotAvailable):
            model.check_place({})
        assert counted == ["RESOURCE_EXHAUSTED", "UNAVAILABLE"]

    asyncio.run(run())
