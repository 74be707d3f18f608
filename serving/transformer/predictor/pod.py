"""One pod of the predictor: whether it is ready, and serves the models of a contract."""

from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages

from polytask.contract.contract import Contract
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.predictor.agreement import MODELS, PredictorModel, check_agreement
from serving.transformer.predictor.channel import Channel


class Pod:
    """The pod at `address` (`address:port`), called `host` in errors."""

    def __init__(self, address: str, host: str, contract: Contract, channel: Channel) -> None:
        self.address = address
        self._host = host
        self._contract = contract
        self._version = str(contract.model_version)
        self._channel = channel
        self._agreed = False

    async def ready(self, deadline: Deadline) -> None:
        """Return when it is ready with the contract's models; raise Unavailable or ContractError if not."""
        try:
            for model in MODELS:
                await self._model_ready(model, deadline)
        except Unavailable:
            self._agreed = False
            raise
        await self._agree(deadline)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _model_ready(self, model: str, deadline: Deadline) -> None:
        request = messages.ModelReadyRequest(name=model, version=self._version)
        what = f"predictor model {model}"
        response = await self._channel.call("ModelReady", request, what, self._host, deadline)
        if not response.ready:
            self._agreed = False
            await self._agree(deadline)  # raises the reason, if it is the version
            raise Unavailable(f"predictor model {model} at {self._host}: version {self._version} is not ready")

    async def _agree(self, deadline: Deadline) -> None:
        """Compare the models it serves with the contract, once for each time that it was not ready."""
        if self._agreed:
            return
        for model in MODELS:
            # Without a version: the response then names the versions there are, which the error must show.
            request = messages.ModelMetadataRequest(name=model)
            what = f"predictor model {model}"
            served = await self._channel.call("ModelMetadata", request, what, self._host, deadline)
            check_agreement(
                self._contract,
                PredictorModel(
                    name=model,
                    versions=list(served.versions),
                    inputs={tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in served.inputs},
                    outputs={tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in served.outputs},
                ),
            )
        self._agreed = True
