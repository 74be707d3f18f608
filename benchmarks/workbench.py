"""What the benchmarks share: the demo's bundle, its features in a Redis, both servers, a process that sends load."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from benchmarks.calls import Calls
from benchmarks.load import LoadGenerator
from benchmarks.redis_server import RedisServer
from benchmarks.redis_store import fill_redis
from polytask.contract.contract import CONTRACT_FILE, Contract, load_contract
from polytask.errors import ContractError, DataError
from serving.local.stack import LocalStack
from serving.transformer.bundle import Bundle, load_bundle
from serving.transformer.features.reader import FeatureReader

if TYPE_CHECKING:  # torch takes seconds to import
    from polytask.text.language_model import LanguageModel

# A call that waits behind others on two busy cores is slow, not lost.
DEADLINE_SECONDS = 30.0


class Workbench:
    """Opens each resource on first use, and closes it at the end of the `with` block.

    `published` is a bundle, `store` the feature store whose sources fill Redis, `checkpoint` the trained model (None
    where there is none), `out` the folder for logs and plots. `scale` below 1 shortens every loop: that shows that the
    benchmarks work, and no figures. Raises DataError where the bundle or the store is missing.
    """

    def __init__(
        self, published: Path, store: Path, out: Path, *, checkpoint: Path | None = None, scale: float = 1.0
    ) -> None:
        for path in (published / CONTRACT_FILE, store / "feature_store.yaml"):
            if not path.is_file():
                raise DataError(f"{path}: is missing; run `make demo` first, or name another --demo")
        self.published = published.resolve()
        self.out = out
        self.scale = scale
        self.cores = len(os.sched_getaffinity(0))
        self._store = store.resolve()
        self._checkpoint = checkpoint
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def size(self, wanted: int, least: int = 2) -> int:
        """How many of something to do in one round, at this scale."""
        return max(least, round(wanted * self.scale))

    @property
    def checkpoint(self) -> Path:
        """The folder of the trained model. Raises DataError where there is none."""
        if self._checkpoint is None:
            raise DataError(
                "the trained model is missing next to the bundle; run `make demo` first, or name --checkpoint"
            )
        return self._checkpoint

    @cached_property
    def language_model(self) -> "LanguageModel":
        """The bundle's language model in torch. Raises ContractError with both checksums where it is another one."""
        from polytask.text.language_model import LanguageModel
        from polytask.training.checkpoint import language_model_of

        scenario, checkpoint = self.contract.scenario, self._checkpoint
        found = LanguageModel(scenario) if checkpoint is None else language_model_of(checkpoint, scenario)
        if found.sha256 != self.contract.encoder_sha256:
            raise ContractError(f"the language model is {found.sha256}, the bundle's {self.contract.encoder_sha256}")
        return found

    @cached_property
    def contract(self) -> Contract:
        """The bundle's contract."""
        return load_contract(self.published)

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle as the transformer reads it."""
        return load_bundle(self.published)

    @cached_property
    def folder(self) -> Path:
        """A folder for what is thrown away at the end."""
        return Path(self._open.enter_context(TemporaryDirectory(prefix="polytask-bench-")))

    @cached_property
    def redis(self) -> RedisServer:
        """A Redis that runs."""
        return self._open.enter_context(RedisServer(self.folder / "redis"))

    @cached_property
    def redis_store(self) -> Path:
        """A feature store in that Redis."""
        return fill_redis(self.contract.scenario, self._store, self.redis, self.folder / "store")

    @cached_property
    def reader(self) -> FeatureReader:
        """The transformer's own reader of that store, in this process."""
        return FeatureReader(self.redis_store, self.contract.scenario)

    @cached_property
    def stack(self) -> LocalStack:
        """Triton and the transformer over bundle and Redis."""
        return self._open.enter_context(
            LocalStack(self.published, self.redis_store, logs=self.out / "logs", deadline_seconds=DEADLINE_SECONDS)
        )

    @cached_property
    def load(self) -> LoadGenerator:
        """The process that sends load."""
        generator = LoadGenerator()
        self._open.callback(generator.close)
        return generator

    @cached_property
    def calls(self) -> Calls:
        """Makes calls of the bundle's users, now."""
        return Calls(self.bundle, int(time.time()))

    def keep(self, close: Callable[[], Any]) -> None:
        """Call `close` at the end."""
        self._open.callback(close)
