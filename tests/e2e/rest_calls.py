"""Calls over REST as a client without a library makes them."""

import json
import urllib.error
import urllib.request
from typing import Any

from serving.local.stack import LocalStack


def rest(stack: LocalStack, body: Any, path: str = "/v2/models/recommender/infer") -> tuple[int, dict[str, Any]]:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(stack.rest_url + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def user_input(user: Any, datatype: str = "INT64") -> dict[str, Any]:
    return {"name": "user_id", "datatype": datatype, "shape": [1, 1], "data": [user]}


def filters_input(*filters: str) -> dict[str, Any]:
    return {"name": "filters", "datatype": "BYTES", "shape": [len(filters)], "data": list(filters)}
