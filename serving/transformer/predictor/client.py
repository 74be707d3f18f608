"""Calls to Triton over gRPC with KServe's own stubs: every call pinned to the contract's version, with a deadline."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from numpy.typing import NDArray

from polytask.contract.contract import Contract
from polytask.errors import ContractError, PolytaskError
from serving.transformer.concurrency.deadline import Deadline, DeadlineExceeded, Unavailable
from serving.transformer.predictor.addresses import Addresses
from serving.transformer.predictor.channel import CLOSED, Channel
from serving.transformer.predictor.message_size import messages_of
from serving.transformer.predictor.pod import Pod

DATATYPES: dict[str, np.dtype[Any]] = {"INT64": np.dtype("<i8"), "FP32": np.dtype("<f4"), "BOOL": np.dtype("?")}
NAMES = {dtype: name for name, dtype in DATATYPES.items()}

# What a round of probes may take of its caller's time: a pod that hangs must not fail the others.
ROUND_SHARE = 0.8
# What a round may take that a call waits for before its second attempt.
REPEAT_SECONDS = 0.8


class GrpcPredictor:
    """The models of one contract on the Triton servers behind `host`, in one event loop.

    `host` is a name, with `:port` (80 where none is given), or several separated by commas. All its addresses are
    probed; gRPC spreads the calls over those that are ready and serve the contract's models. Calls meet one channel,
    which changes only when that set does: a call does not wait for the probes.
    """

    def __init__(self, host: str, contract: Contract, use_ssl: bool = False) -> None:
        self._addresses = Addresses(host)
        self.host = str(self._addresses)
        if not self._addresses.hosts or (use_ssl and len(self._addresses.hosts) > 1):
            raise ContractError(f"--predictor_host={host}: expected a host name; several only without TLS")
        self._contract = contract
        self._use_ssl = use_ssl
        self._version = str(contract.model_version)
        self._pods: dict[str, Pod] = {}
        self._used: list[str] = []
        self._agreeing = 0
        self._channel: Channel | None = None
        self._round: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pods(self) -> int:
        """How many pods were ready with the contract's models when they were last probed."""
        return self._agreeing

    async def infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        """The wanted outputs of a model, by name. Rows that do not fit into one message are sent in several, in turn.

        A call that no pod takes is repeated once, after the pods were probed again. Raises Unavailable when the
        predictor is unavailable or this was closed, DeadlineExceeded when it is too slow, ContractError when it serves
        another model.
        """
        answers = [await self._infer(model, part, outputs, deadline) for part in messages_of(inputs)]
        if len(answers) == 1:
            return answers[0]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in outputs}

    async def _infer(
        self, model: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        """See `infer`, for the rows of one message."""
        channel = self._channel or await self._next_channel(None, deadline)
        request = messages.ModelInferRequest(model_name=model, model_version=self._version)
        for name, values in inputs.items():
            request.inputs.add(name=name, datatype=NAMES[values.dtype], shape=values.shape)
            request.raw_input_contents.append(values.tobytes())
        for name in outputs:
            request.outputs.add(name=name)
        call = ("ModelInfer", request, f"predictor model {model}", self.host, deadline)
        try:
            response = await channel.call(*call)
        except DeadlineExceeded:
            raise
        except Unavailable:
            response = await (await self._next_channel(channel, deadline)).call(*call)
        answer = {
            output.name: np.frombuffer(raw, DATATYPES[output.datatype]).reshape(tuple(output.shape))
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
        missing = [name for name in outputs if name not in answer]
        if missing:
            raise ContractError(f"predictor model {model}: returned {', '.join(answer)}, not {', '.join(missing)}")
        return answer

    async def ready(self, deadline: Deadline) -> None:
        """Probe all pods. Returns when at least one is ready with the contract's models.

        Raises Unavailable or, where a pod serves other models and none the contract's, ContractError.
        """
        await self._join_round(ROUND_SHARE * deadline.remaining(f"predictor {self.host}"), deadline)

    async def close(self) -> None:
        """Close the connections. Later calls raise Unavailable."""
        self._closed = True
        if self._round is not None:
            self._round.cancel()
        self._addresses.close()
        for task in self._closing:
            task.cancel()
        channel, self._channel = self._channel, None
        await asyncio.gather(*(part.close() for part in (channel, *self._pods.values()) if part is not None))
        self._pods = {}

    async def _join_round(self, seconds: float, deadline: Deadline) -> None:
        """Wait for the round under way, or for one of so many `seconds`."""
        if self._closed:
            raise Unavailable(f"predictor {self.host}: {CLOSED}")
        if self._round is None:
            self._round = asyncio.get_running_loop().create_task(self._probe(Deadline(seconds)))
            self._round.add_done_callback(self._round_ended)
        async with deadline.limit(f"predictor {self.host}"):
            # Shielded: a caller that leaves must not end the round of the others.
            await asyncio.shield(self._round)

    def _round_ended(self, task: "asyncio.Task[None]") -> None:
        self._round = None
        if not task.cancelled():
            task.exception()  # read here too: its caller may have been cancelled

    async def _next_channel(self, refused: Channel | None, deadline: Deadline) -> Channel:
        """The channel for an attempt after one that `refused`: the one that replaced it, or that of a new round."""
        if self._channel is refused or self._channel is None:
            if self._round is not None:  # it may have probed a pod before that refused
                await asyncio.wait({self._round}, timeout=deadline.remaining(f"predictor {self.host}"))
            await self._join_round(REPEAT_SECONDS, deadline)
        if self._channel is None:
            raise Unavailable(f"predictor {self.host}: no pod is ready")
        return self._channel

    async def _probe(self, deadline: Deadline) -> None:
        """One round: find the addresses, probe each, and open a channel to those that agree."""
        found = await self._addresses.find(deadline)
        for address in found:
            if address not in self._pods:
                host = self.host if self.host == address else f"{self.host} ({address})"
                channel = Channel([address], self._addresses.name, self._use_ssl)
                self._pods[address] = Pod(address, host, self._contract, channel)
        for address in self._pods.keys() - set(found):
            self._later(self._pods.pop(address).close())
        outcomes = await asyncio.gather(
            *(self._pods[address].ready(deadline) for address in found), return_exceptions=True
        )
        logged = dict(zip(found, outcomes, strict=True))
        agreed = _largest_family([address for address, outcome in logged.items() if outcome is None])
        self._agreeing = len(agreed)
        # Where every pod is too slow for its probe, those in use are still tried.
        slow = [address for address in self._used if isinstance(logged.get(address), DeadlineExceeded)]
        await self._use(agreed or slow, deadline)
        if not agreed:
            raise _reason(outcomes)

    async def _use(self, addresses: list[str], deadline: Deadline) -> None:
        """Send calls to these pods from now on; those under way end where they are."""
        if addresses == self._used:
            return
        channel = Channel(addresses, self._addresses.name, self._use_ssl) if addresses else None
        if channel is not None:
            await channel.connect(deadline)
        last, self._channel, self._used = self._channel, channel, addresses
        if last is not None:
            self._later(last.close_unused())

    def _later(self, closing: Any) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _largest_family(addresses: Sequence[str]) -> list[str]:
    """Addresses of one family, sorted: a channel cannot mix them, and a pod may have one of each."""
    families = [[one for one in addresses if one.startswith("[") is ipv6] for ipv6 in (False, True)]
    largest = max(families, key=len)
    return sorted(largest)


def _reason(outcomes: Sequence[BaseException | None]) -> BaseException:
    """Why no pod can be used: the distinct errors of all pods."""
    mismatch = any(isinstance(one, ContractError) for one in outcomes)
    for outcome in outcomes:
        if not isinstance(outcome, PolytaskError):
            return outcome or Unavailable("no pod")
    logged = "; ".join(dict.fromkeys(str(one) for one in outcomes))
    return ContractError(logged) if mismatch else Unavailable(logged)
