"""What the models of the transformer and of the explainer share: their release, its probes, and errors as statuses."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from grpc_interceptor.exceptions import DeadlineExceeded as DeadlineExceededStatus
from kserve import Model
from kserve.errors import InvalidInput, ModelNotFound, ServerNotReady

from polytask.contract.contract import Contract
from polytask.errors import ContractError, RequestError
from serving.transformer.api.error_text import shown, status_text
from serving.transformer.concurrency.admission import Admission, Overloaded
from serving.transformer.concurrency.blocking import BoundedThreads
from serving.transformer.concurrency.deadline import Deadline, DeadlineExceeded, Unavailable
from serving.transformer.observability.call_record import CallRecord
from serving.transformer.observability.logs import log_refusal, request_id
from serving.transformer.release import AnyRelease, Releases

Result = TypeVar("Result")
# Name -> (datatype, shape).
TensorTypes = Mapping[str, tuple[str, list[int]]]


class NotAvailable(ServerNotReady):
    """UNAVAILABLE over gRPC, where the SDK reads `reason`, and 503 over REST. `mismatch`: waiting will not help.

    `retry_after` is in seconds, None where no overload is the reason.
    """

    def __init__(self, reason: str, mismatch: bool = False, retry_after: int | None = None) -> None:
        super().__init__()
        self.reason = self.error_msg = reason
        self.mismatch = mismatch
        self.retry_after = retry_after


class TimedOut(DeadlineExceededStatus):
    """DEADLINE_EXCEEDED over gRPC, 504 over REST."""


class VersionNotFound(ModelNotFound):
    """NOT_FOUND over gRPC and 404 over REST: the request names a version of the model that is not served."""

    def __init__(self, name: str, version: str, served: list[str]) -> None:
        super().__init__(name)
        self.reason = f"model {name}: version {shown(version)!r} is not served, allowed: {', '.join(served)}"


@contextmanager
def statuses() -> Iterator[None]:
    """Turn our errors into those that the SDK returns with the right status."""
    try:
        yield
    except RequestError as error:
        raise InvalidInput(status_text(str(error))) from error
    except DeadlineExceeded as error:
        raise TimedOut(str(error)) from error
    except Unavailable as error:
        raise NotAvailable(str(error), retry_after=error.retry_after) from error
    except ContractError as error:
        raise NotAvailable(str(error), mismatch=True) from error


def status_of(error: BaseException, deadline: Deadline | None = None) -> str:
    """The name of the gRPC status that is returned for an error, for metrics and logs.

    Where `deadline` is the caller's own it is CLIENT_DEADLINE_EXCEEDED: that a caller waits less than the server is no
    outage.
    """
    if isinstance(error, TimedOut):
        by_caller = deadline is not None and deadline.by_caller
        return "CLIENT_DEADLINE_EXCEEDED" if by_caller else "DEADLINE_EXCEEDED"
    if isinstance(error, InvalidInput):
        return "INVALID_ARGUMENT"
    if isinstance(error, ServerNotReady):
        return "UNAVAILABLE"
    if isinstance(error, Overloaded):
        return "RESOURCE_EXHAUSTED"
    if isinstance(error, ModelNotFound):
        return "NOT_FOUND"
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else "INTERNAL"


class ServedModel(Model, Generic[AnyRelease]):
    """A KServe model that serves a release, which may change. `served` is called with each new contract."""

    def __init__(
        self, name: str, releases: Releases[AnyRelease], served: Callable[[Contract], None], admission: Admission
    ) -> None:
        super().__init__(name)
        self._releases = releases
        self._admission = admission
        self._served = served
        self._probing = BoundedThreads(1, "probe")
        self.ready = True

    def begin(self) -> None:
        """Called in the event loop when the server starts."""
        self._report()
        self._releases.begin()

    async def probe_predictor(self, deadline: Deadline) -> None:
        """Raises Unavailable or ContractError when the predictor is unavailable or serves other models only."""
        await self._releases.ready(deadline)
        self._report()

    async def probe_features(self, deadline: Deadline) -> None:
        """Raises Unavailable when the feature store is unavailable. In a thread of its own: no call waits for it."""
        await self._probing.run(deadline, "feature store", self._releases.current.probe_features)

    async def reload(self) -> None:
        """Serve the next release. Raises NotAvailable with the reason when it cannot be; the last one then still is."""
        with statuses():
            await self._releases.switch()
        self._report()

    def check_place(self, headers: Mapping[str, str]) -> None:
        """Raises Overloaded or NotAvailable where a call that comes now would be refused: its body need not be read.

        Such a call is counted and logged as one that is refused later.
        """
        try:
            with statuses():
                self._admission.check()
        except (Overloaded, NotAvailable) as error:
            version = str(self._releases.current.bundle.contract.model_version)
            record = CallRecord(request_id(headers, None), version, code=status_of(error))
            log_refusal(record, error)
            record.ended = time.perf_counter()
            self.ended(record)
            raise

    def ended(self, record: CallRecord) -> None:
        """Called when a call has ended."""

    def check_name(self, name: str) -> None:
        """Raises ModelNotFound for the name of another model."""
        if name != self.name:
            raise ModelNotFound(shown(name))

    def release_of(self, version: str) -> AnyRelease | None:
        """The release of a model version, None for '', which leaves the choice to the server.

        Raises VersionNotFound with the versions that are served.
        """
        if not version:
            return None
        release = self._releases.of_version(version)
        if release is None:
            raise VersionNotFound(self.name, version, self._releases.versions())
        return release

    def metadata(self, version: str = "") -> dict[str, Any]:
        """Model metadata of the protocol, with the served versions. Raises VersionNotFound."""
        release = self.release_of(version) or self._releases.current
        inputs, outputs = self.tensors_of(release.bundle.contract)
        return {
            "name": self.name,
            "versions": self._releases.versions(),
            "platform": "",
            "inputs": _described(inputs),
            "outputs": _described(outputs),
        }

    def tensors_of(self, contract: Contract) -> tuple[TensorTypes, TensorTypes]:
        """Datatypes and shapes of inputs and outputs by name; a model without an inference protocol has none."""
        return {}, {}

    async def respond_with(
        self,
        release: AnyRelease,
        deadline: Deadline,
        record: CallRecord,
        work: Callable[[AnyRelease], Awaitable[Result]],
    ) -> Result:
        """What `work` returns for a release, or once for the other one where the first has no pod left by then."""
        try:
            return await work(release)
        except (Unavailable, ContractError, NotAvailable):
            other = await self._releases.other(release, deadline) if deadline.left() > 0 else None
            if other is None:
                raise
        with self._releases.use(other):
            record.model_version = str(other.bundle.contract.model_version)
            return await work(other)

    def _report(self) -> None:
        """Report the contract that is served now."""
        self._served(self._releases.current.bundle.contract)


def _described(types: TensorTypes) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": datatype, "shape": list(shape)} for name, (datatype, shape) in types.items()]
