"""KServe's model server with readiness of the parts, loading of the next release, versions and limits."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import kserve.model_server
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from grpc_interceptor.exceptions import PermissionDenied
from kserve import ModelServer
from kserve.errors import InvalidInput, ModelNotFound
from kserve.model import InferenceVerb
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from starlette.exceptions import HTTPException

from serving.transformer.concurrency.admission import DRAINING, RETRY_AFTER_SECONDS, Admission, Overloaded
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.server.disconnects import CallsEndWithClients
from serving.transformer.server.draining import DrainingServer
from serving.transformer.server.health import Health
from serving.transformer.server.limits import Limits
from serving.transformer.server.rest.json_document import load_json
from serving.transformer.server.rest.request_body import RequestBodies
from serving.transformer.server.rest.routes import rest_routes
from serving.transformer.server.served_model import NotAvailable, ServedModel, TimedOut, statuses


class CheckedDataPlane(DataPlane):
    """Ready means: no shutdown has begun, and the last probes of predictor and feature store succeeded."""

    def __init__(self, registry: Any, admission: Admission, health: Health, limits: Limits) -> None:
        super().__init__(model_registry=registry)
        self._limits = limits
        self._admission = admission
        self._health = health

    async def ready(self) -> bool:
        """True, or NotAvailable with the reason (503, UNAVAILABLE)."""
        with statuses():
            if self._admission.draining:
                raise Unavailable(DRAINING)
            self._health.check()
        return True

    async def model_ready(self, model_name: str, disable_predictor_health_check: bool = False) -> bool:
        """The same for a model by name. An inference skips it: its own calls meet the predictor anyway."""
        registered: bool = await super().model_ready(model_name, True)
        return registered if disable_predictor_health_check else registered and await self.ready()

    def decode(self, body: Any, headers: Any, *arguments: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        """The JSON body of a request of protocol v1, whatever its Content-Type; `rest_routes` has those of v2."""
        with statuses():
            return load_json(body, self._limits.json_values), {}

    async def explain(self, model_name: str, request: Any, headers: Any = None) -> tuple[Any, dict[str, str]]:
        """The explanation, and the response headers of the model. The SDK's own method returns the headers of the
        request with them, credentials and cookies included.
        """
        model = await self.get_model(model_name)
        result: tuple[Any, dict[str, str]] = await model(request, verb=InferenceVerb.EXPLAIN, headers=headers)
        return result


class RepositoryForbidden(PermissionDenied):
    """The repository API is disabled: PERMISSION_DENIED over gRPC, 403 over REST."""


class Reloading(ModelRepositoryExtension):
    """Loading the model means serving the next release; without a model there would be nothing to serve.

    The port knows no callers, so `load` is disabled unless the server was started with `enabled`.
    """

    def __init__(self, model: ServedModel[Any], registry: Any, enabled: bool) -> None:
        super().__init__(model_registry=registry)
        self._model = model
        self._enabled = enabled

    async def index(self, filter_ready: bool = False) -> list[dict[str, str]]:
        """The models of the SDK's index, where the repository API is enabled."""
        self._allow("index")
        models: list[dict[str, str]] = await super().index(filter_ready)
        return models

    async def load(self, model_name: str) -> dict[str, Any]:
        """Returns once the next release is served; NotAvailable with the reason where it cannot be."""
        self._allow("load")
        self._check(model_name)
        await self._model.reload()
        return {"name": model_name, "load": True}

    async def unload(self, model_name: str) -> None:
        """Refused: anybody who reaches the port could stop the service."""
        self._allow("unload")
        self._check(model_name)
        raise InvalidInput(f"{model_name}: cannot be unloaded, allowed: load")

    def _allow(self, method: str) -> None:
        if not self._enabled:
            raise RepositoryForbidden(
                f"repository API: {method} is disabled; it is enabled by the server's option --release"
            )

    def _check(self, model_name: str) -> None:
        if model_name != self._model.name:
            raise ModelNotFound(model_name)


def without_a_place(model: ServedModel[Any], headers: Mapping[str, str]) -> JSONResponse | None:
    """The response of a call that finds no place, before its body is read; None where there is one."""
    try:
        model.check_place(headers)
    except NotAvailable as error:
        return _not_available(error)
    except Overloaded as error:
        return _overloaded(error)
    return None


async def not_available(request: Request, error: Exception) -> JSONResponse:
    """503 with the reason, and with Retry-After where it is an overload.

    The SDK's handler would log a traceback for every probe of a predictor that starts.
    """
    assert isinstance(error, NotAvailable)
    return _not_available(error)


def _not_available(error: NotAvailable) -> JSONResponse:
    content = {"error": error.reason, "contract_mismatch": error.mismatch}
    return JSONResponse(status_code=503, content=content, headers=_retry_after(error.retry_after))


async def timed_out(request: Request, error: Exception) -> JSONResponse:
    """504: the deadline of the call passed."""
    assert isinstance(error, TimedOut)
    return JSONResponse(status_code=504, content={"error": error.details})


def _retry_after(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"retry-after": str(seconds)}


async def overloaded(request: Request, error: Exception) -> JSONResponse:
    """429: there are as many calls as may be."""
    assert isinstance(error, Overloaded)
    return _overloaded(error)


def _overloaded(error: Overloaded) -> JSONResponse:
    return JSONResponse(status_code=429, content={"error": error.details}, headers=_retry_after(RETRY_AFTER_SECONDS))


async def forbidden(request: Request, error: Exception) -> JSONResponse:
    """403: the repository API is disabled."""
    assert isinstance(error, RepositoryForbidden)
    return JSONResponse(status_code=403, content={"error": error.details})


async def refused(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own refusals, such as a body that is not UTF-8 or a path that is not there, in the protocol's form."""
    assert isinstance(error, HTTPException)
    return JSONResponse(status_code=error.status_code, content={"error": str(error.detail)}, headers=error.headers)


def make_server(
    model: ServedModel[Any],
    admission: Admission,
    http_port: int,
    grpc_port: int | None,
    deadline_seconds: float,
    limits: Limits,
    host: str = "",
    *,
    enable_load: bool,
) -> ModelServer:
    """KServe's server for the model, with the checks of this module in their places; REST alone without a gRPC port.

    `host` '' means all addresses. With `enable_load` every caller may make it serve the next release.
    """
    health = Health([model.probe_predictor, model.probe_features])
    ports = {"http_port": http_port, **({"enable_grpc": False} if grpc_port is None else {"grpc_port": grpc_port})}
    server = DrainingServer(
        admission,
        health,
        deadline_seconds,
        model.begin,
        limits=limits,
        host=host,
        enable_latency_logging=False,
        **ports,
    )
    server.dataplane = CheckedDataPlane(server.registered_models, admission, health, limits)
    server.model_repository_extension = Reloading(model, server.registered_models, enable_load)
    app: FastAPI = kserve.model_server.app
    app.router.routes.extend(rest_routes(server.dataplane, model, limits))  # before the SDK adds its own
    app.add_middleware(CallsEndWithClients)
    app.add_middleware(RequestBodies, limits=limits, refuse=partial(without_a_place, model), admission=admission)
    app.add_exception_handler(NotAvailable, not_available)
    app.add_exception_handler(TimedOut, timed_out)
    app.add_exception_handler(Overloaded, overloaded)
    app.add_exception_handler(RepositoryForbidden, forbidden)
    app.add_exception_handler(HTTPException, refused)
    return server
