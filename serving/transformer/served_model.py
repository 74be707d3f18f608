"""What the models of the transformer and of the explainer share: their release, its probes, and errors as statuses."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from kserve import Model
from kserve.errors import InvalidInput, ServerNotReady

from polytask.contract import Contract
from polytask.errors import ContractError, RequestError
from serving.transformer.admission import Overloaded
from serving.transformer.blocking import BoundedThreads
from serving.transformer.call_record import CallRecord
from serving.transformer.deadline import Deadline, Unavailable
from serving.transformer.release import AnyRelease, Releases

Result = TypeVar("Result")


class NotAvailable(ServerNotReady):
    """UNAVAILABLE over gRPC, where the SDK reads `reason`, and 503 over REST. `mismatch`: waiting will not help."""

    def __init__(self, reason: str, mismatch: bool = False) -> None:
        super().__init__()
        self.reason = self.error_msg = reason
        self.mismatch = mismatch


@contextmanager
def statuses() -> Iterator[None]:
    """Turn our errors into those that the SDK answers with the right status."""
    try:
        yield
    except RequestError as error:
        raise InvalidInput(str(error)) from error
    except (Unavailable, ContractError) as error:
        raise NotAvailable(str(error), isinstance(error, ContractError)) from error


def status_of(error: BaseException) -> str:
    """The name of the gRPC status that an error is answered with."""
    if isinstance(error, InvalidInput):
        return "INVALID_ARGUMENT"
    if isinstance(error, ServerNotReady):
        return "UNAVAILABLE"
    if isinstance(error, Overloaded):
        return "RESOURCE_EXHAUSTED"
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else "INTERNAL"


class ServedModel(Model, Generic[AnyRelease]):
    """A KServe model that answers with a release, which may change. `served` hears of the contract from then on."""

    def __init__(self, name: str, releases: Releases[AnyRelease], served: Callable[[Contract], None]) -> None:
        super().__init__(name)
        self._releases = releases
        self._served = served
        self._probing = BoundedThreads(1, "probe")
        self.ready = True

    def begin(self) -> None:
        """Called in the event loop when the server starts."""
        self._tell()
        self._releases.begin()

    async def probe_predictor(self, deadline: Deadline) -> None:
        """Raises Unavailable or ContractError when the predictor is unavailable or serves other models only."""
        await self._releases.ready(deadline)
        self._tell()

    async def probe_features(self, deadline: Deadline) -> None:
        """Raises Unavailable when the feature store is away. In a thread of its own: no call waits for it."""
        await self._probing.run(deadline, "feature store", self._releases.current.probe_features)

    async def reload(self) -> None:
        """Serve the next release. Raises NotAvailable with the reason when it cannot be; the last one then still is."""
        with statuses():
            await self._releases.switch()
        self._tell()

    async def answer_with(
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

    def _tell(self) -> None:
        """Report the contract that answers now."""
        self._served(self._releases.current.bundle.contract)
