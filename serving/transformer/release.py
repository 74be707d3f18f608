"""What one model version is answered with, and the switch to the next while calls are under way."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from polytask.errors import ContractError
from serving.transformer.blocking import BoundedThreads
from serving.transformer.bundle import Bundle
from serving.transformer.deadline import Deadline
from serving.transformer.features import FeatureReader
from serving.transformer.predictor import GrpcPredictor
from serving.transformer.recommend import Recommender

LOAD_SECONDS = 60.0

AnyRelease = TypeVar("AnyRelease", bound="Served")


@dataclass(eq=False)
class Served:
    """A bundle with the feature service it was trained on and the predictor of its models. `calls` use it now."""

    bundle: Bundle
    features: FeatureReader
    predictor: GrpcPredictor
    calls: int = field(default=0, kw_only=True)

    def begin(self) -> None:
        """Called in the event loop when it starts to be served."""

    def probe_features(self) -> None:
        """Read the features of a user that there is not. Raises Unavailable when the store is down."""
        integer = self.bundle.contract.scenario.entities.users.key_type == "integer"
        self.features.read([0 if integer else ""], [0])

    async def unused(self, seconds: float) -> None:
        """Return when no call uses it any more, or when the time is up."""
        end = time.monotonic() + seconds
        while self.calls and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close its connection, take no more work and end the refresh of its features."""
        await self.features.close()
        await self.predictor.close()


@dataclass(eq=False)
class Release(Served):
    """What the transformer answers with. `texts_ahead` texts are encoded when it begins, before anybody asks."""

    recommender: Recommender
    texts_ahead: int = field(default=0, kw_only=True)

    def begin(self) -> None:
        """Fill the cache of text vectors, in the background."""
        if self.texts_ahead:
            self.recommender.fill_cache(int(time.time()), self.texts_ahead)

    async def close(self) -> None:
        """See `Served.close`."""
        await super().close()
        self.recommender.close()


class Releases(Generic[AnyRelease]):
    """The release that is served. `open_next` opens the one to serve next; it may block, and raise ContractError."""

    def __init__(self, first: AnyRelease, open_next: Callable[[], AnyRelease], deadline_seconds: float) -> None:
        self.current = first
        self._open_next = open_next
        self._deadline_seconds = deadline_seconds
        self._threads = BoundedThreads(1, "release")
        self._lock = asyncio.Lock()

    @contextmanager
    def use(self) -> Iterator[AnyRelease]:
        """The release that one call uses from its start to its end, whatever is served meanwhile."""
        release = self.current
        release.calls += 1
        try:
            yield release
        finally:
            release.calls -= 1

    async def switch(self) -> AnyRelease:
        """Open the next release, serve it once its predictor is ready, and return when no call uses the last one.

        Raises ContractError or Unavailable when it cannot be served; then the last one still is.
        """
        async with self._lock:
            release = await self._threads.run(Deadline(LOAD_SECONDS), "the next release", self._open_next)
            try:
                await release.predictor.ready(Deadline(self._deadline_seconds))
            except BaseException:
                await release.close()
                raise
            # From here on new calls use the new one: one assignment, so that no call sees both.
            last, self.current = self.current, release
            release.begin()
            await last.unused(self._deadline_seconds + 1)
            await last.close()
            return release


def next_release(named: Path | None, folder: Path, host: str) -> tuple[Path, str]:
    """Bundle and predictor of the next release, as the JSON file `named` says; without one, those of the start, where
    `folder` may point at another bundle by now. Raises ContractError where the file is not what it should be.
    """
    if named is None:
        return folder, host
    try:
        read = json.loads(named.read_text(encoding="utf-8"))
        return Path(read["bundle"]), str(read["predictor_host"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{named}: allowed: JSON with bundle and predictor_host: {error!r}") from error
