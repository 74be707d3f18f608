"""The client of Kubeflow Model Registry, with a deadline per operation, and errors in one line that name the server."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from polytask.registry.version import RegistryError

if TYPE_CHECKING:
    from model_registry.core import ModelRegistryAPIClient
    from mr_openapi.api.model_registry_service_api import ModelRegistryServiceApi

T = TypeVar("T")

# Reads are tried again so often while the server is busy or away.
ATTEMPTS = 3
SAID = 200


class RegistryClient:
    """Calls to the server at `url`. An operation is a few calls over one connection, within `seconds`."""

    def __init__(self, url: str, token: str | None, seconds: float) -> None:
        self.url, self._token, self._seconds = url, token, seconds
        _import(url)

    def run(self, operation: "Callable[[ModelRegistryAPIClient], Awaitable[T]]") -> T:
        """What `operation` returns, which gets the client's calls. Raises RegistryError, also where time is up."""
        import aiohttp
        from mr_openapi.exceptions import ApiException

        async def bounded() -> T:
            async with asyncio.timeout(self._seconds), self._connection() as calls:
                return await operation(calls)

        try:
            return asyncio.run(bounded())
        except TimeoutError as error:
            raise RegistryError(f"{self.url}: the model registry did not respond in {self._seconds:g} s") from error
        except ApiException as error:
            raise RegistryError(f"{self.url}: {error.status} {error.reason}{_logged(error.body)}") from error
        except aiohttp.ClientError as error:
            raise RegistryError(f"{self.url}: the model registry cannot be reached: {error}") from error

    @asynccontextmanager
    async def _connection(self) -> "AsyncIterator[ModelRegistryAPIClient]":
        from model_registry.core import ModelRegistryAPIClient
        from mr_openapi import ApiClient, Configuration
        from mr_openapi.api.model_registry_service_api import ModelRegistryServiceApi

        configuration = Configuration(host=self.url, access_token=self._token, retries=ATTEMPTS)
        connection = ApiClient(configuration)
        service = ModelRegistryServiceApi(connection)

        class Calls(ModelRegistryAPIClient):
            """The client's own calls; by itself it opens a connection for each."""

            @asynccontextmanager
            async def get_client(self) -> "AsyncIterator[ModelRegistryServiceApi]":
                yield service

        try:
            yield Calls(configuration)
        finally:
            await connection.close()


async def created(create: Callable[[], Awaitable[T]], find: Callable[[], Awaitable[T | None]]) -> T:
    """What `create` makes, or what somebody else made just before."""
    from mr_openapi.exceptions import ConflictException

    try:
        return await create()
    except ConflictException:
        found = await find()
        if found is None:
            raise
        return found


async def require_api(calls: "ModelRegistryAPIClient", url: str) -> None:
    """Raise RegistryError where the server has no API v1: there, every look-up finds nothing."""
    from model_registry.types import ListOptions
    from mr_openapi.exceptions import NotFoundException

    try:
        await calls.get_registered_models(ListOptions(limit=1))
    except NotFoundException as error:
        raise RegistryError(
            f"{url}: this server has no API v1 (/api/model_registry/v1/); "
            f"required: Model Registry >= {metadata.version('model-registry')}, the release of the client"
        ) from error


def _import(url: str) -> None:
    handlers = list(logging.root.handlers)
    try:
        import model_registry  # noqa: F401
    except ImportError as error:
        fix = "run: pip install 'polytask[pipelines]'"
        raise RegistryError(f"{url}: the package model-registry is missing; {fix}") from error
    # Importing it sets up everybody's logging.
    logging.root.handlers[:] = handlers


def _logged(body: str | None) -> str:
    """A short form of the server's error message."""
    if not body:
        return ""
    try:
        content: Any = json.loads(body)
    except ValueError:
        content = " ".join(body.split())
    message = content.get("message") if isinstance(content, dict) else None
    return f": {str(message or content)[:SAID]}"
