"""A Kubeflow Pipelines endpoint through kfp's client, with deadlines: upload a pipeline, start a run, look at it."""

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polytask.errors import PolytaskError

CALL_SECONDS = 30
SAID = 300


class EndpointError(PolytaskError):
    """The endpoint is unavailable, or refuses. `passing`: whether the same call may succeed a little later."""

    def __init__(self, message: str, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class Endpoint:
    """The endpoint at `url`. Every call has a deadline; raises EndpointError in one line that names the address."""

    def __init__(self, url: str, token: str | None = None, namespace: str = "") -> None:
        if not url.startswith(("http://", "https://")):
            raise EndpointError(f"--endpoint {url!r}; allowed: an address that starts with http:// or https://")
        self.url = url.rstrip("/")
        self._namespace = namespace or None
        with self._calls():
            self._client = _client(self.url, token, namespace)

    def version_of(self, name: str, description: str, file: Path) -> tuple[str, str]:
        """The ids of a pipeline and of the version with this content, which is uploaded where it is not there yet."""
        import kfp_server_api

        version = f"sha256-{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
        with self._calls():
            found = self._client.list_pipelines(filter=_called(name), namespace=self._namespace).pipelines
            if found:
                pipeline_id = found[0].pipeline_id
            else:
                # Without a version: what is uploaded in one call gets a version called like the pipeline.
                body = kfp_server_api.V2beta1Pipeline(
                    name=name, display_name=name, description=description, namespace=self._namespace
                )
                pipeline_id = self._client.pipelines.pipeline_service_create_pipeline(body).pipeline_id
            known = self._client.list_pipeline_versions(pipeline_id, filter=_called(version)).pipeline_versions
            if known:
                return pipeline_id, known[0].pipeline_version_id
            made = self._client.upload_pipeline_version(str(file), version, pipeline_id=pipeline_id)
            return pipeline_id, made.pipeline_version_id

    def start(self, pipeline: tuple[str, str], name: str, experiment: str, arguments: Mapping[str, Any]) -> str:
        """Start a run of a pipeline's version in an experiment, which is made where it is not there; returns its id."""
        with self._calls():
            place = self._client.create_experiment(experiment, namespace=self._namespace)
            run = self._client.run_pipeline(
                place.experiment_id, name, params=dict(arguments), pipeline_id=pipeline[0], version_id=pipeline[1]
            )
            return str(run.run_id)

    def run(self, run_id: str) -> Any:
        """The run as it is now, a V2beta1Run."""
        with self._calls():
            return self._client.get_run(run_id)

    def page_of(self, run_id: str) -> str:
        """Where people see the run."""
        return f"{self.url}/#/runs/details/{run_id}"

    @contextlib.contextmanager
    def _calls(self) -> Iterator[None]:
        import kfp_server_api
        import urllib3

        # The client prints addresses of its own, and urllib3 logs each try of a call that fails in the end anyway.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        try:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                yield
        except kfp_server_api.ApiException as error:
            passing = error.status in (429, 500, 502, 503, 504)
            raise EndpointError(f"{self.url}: {error.status} {error.reason}{_logged(error.body)}", passing) from error
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise EndpointError(f"{self.url}: Kubeflow Pipelines cannot be reached: {reason}", True) from error


def _client(url: str, token: str | None, namespace: str) -> Any:
    import kfp
    import kfp_server_api

    class Client(kfp.Client):
        """kfp's client with a deadline for every call, and without five tries of its first one."""

        bounded = False

        def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
            """Request the health once, without retries."""
            self.bound()
            return self._healthz_api.healthz_service_get_healthz()

        def bound(self) -> None:
            """Give every call a deadline. All parts of the client share one connection pool."""
            if self.bounded:
                return
            rest = self._healthz_api.api_client.rest_client
            request = rest.request

            def within(*arguments: Any, _request_timeout: Any = None, **named: Any) -> Any:
                return request(*arguments, _request_timeout=_request_timeout or CALL_SECONDS, **named)

            rest.request = within
            self.bounded = True

    client = Client(host=url, existing_token=token, namespace=namespace or "kubeflow")
    client.bound()
    return client


def _called(name: str) -> str:
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _logged(body: Any) -> str:
    """The server's message of an error, shortened."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        content = json.loads(text)
    except ValueError:
        content = text
    if isinstance(content, dict):
        content = content.get("error_message") or content.get("message") or content.get("error") or content
    words = " ".join(str(content).split())[:SAID]
    return f": {words}" if words else ""
