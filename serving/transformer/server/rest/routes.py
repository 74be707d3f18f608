"""The REST routes of models, before KServe's own: those know no versions, and parse a body before it is admitted."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from kserve import InferResponse
from kserve.protocol.dataplane import DataPlane
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.transformer.server.limits import Limits
from serving.transformer.server.rest.body import JSON_LENGTH, RestCall
from serving.transformer.server.served_model import ServedModel

MODEL = "/v2/models/{model_name}"
VERSION = MODEL + "/versions/{model_version}"


def rest_routes(data_plane: DataPlane, model: ServedModel[Any], limits: Limits) -> list[Route]:
    """Inference, metadata and readiness of the model, with and without its version in the path.

    They raise ModelNotFound for another name, VersionNotFound for a version that is not served.
    """

    async def infer(request: Request, version: str) -> Response:
        headers = dict(request.headers)
        body, length = await request.body(), headers.get(JSON_LENGTH)
        call = RestCall(body, length, model.name, version, limits.json_values)
        response, _ = await data_plane.infer(model.name, call, headers)
        return _written(response)

    async def ready(request: Request, version: str) -> Response:
        model.release_of(version)
        return JSONResponse({"name": model.name, "ready": await data_plane.model_ready(model.name)})

    async def metadata(request: Request, version: str) -> Response:
        return JSONResponse(model.metadata(version))

    def route(path: str, method: str, answer: Callable[[Request, str], Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            model.check_name(request.path_params["model_name"])
            return await answer(request, request.path_params.get("model_version", ""))

        return Route(path, endpoint, methods=[method], name=f"v2_{answer.__name__}")

    routes = [("/infer", "POST", infer), ("/ready", "GET", ready), ("", "GET", metadata)]
    return [route(base + path, method, answer) for path, method, answer in routes for base in (MODEL, VERSION)]


def _written(response: Any) -> Response:
    """The response as JSON, or as JSON and raw bytes where the request wants those."""
    if isinstance(response, InferResponse):
        content, json_length = response.to_rest()
        if json_length is not None:
            headers = {JSON_LENGTH: str(json_length)}
            return Response(content, headers=headers, media_type="application/octet-stream")
        response = content
    options = orjson.OPT_SERIALIZE_NUMPY
    return Response(orjson.dumps(response, option=options), media_type="application/json")
