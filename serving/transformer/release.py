"""The parts that serve one model version, and the switch to the next while calls are in flight."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from polytask.errors import ContractError, PolytaskError
from serving.transformer.bundle import Bundle
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.deployed import Deployed
from serving.transformer.features.known_users import KnownUsers
from serving.transformer.features.reader import FeatureReader
from serving.transformer.opening import LOAD_SECONDS, Opening, close_all

if TYPE_CHECKING:  # the SDK takes seconds to import
    from serving.transformer.predictor.client import GrpcPredictor
    from serving.transformer.recommender import Recommender

LOGGER = logging.getLogger(__name__)

AnyRelease = TypeVar("AnyRelease", bound="Served")


@dataclass(eq=False)
class Served:
    """A bundle with the feature service it was trained on and the predictor of its models. `calls` use it now."""

    bundle: Bundle
    features: FeatureReader
    predictor: "GrpcPredictor"
    calls: int = field(default=0, kw_only=True)
    known_users: KnownUsers | None = field(default=None, kw_only=True)

    def begin(self) -> None:
        """Called in the event loop when it starts to be served."""

    def probe_features(self) -> None:
        """Read the features of a user that does not exist. Raises Unavailable when the store is down.

        At the start it reads known users too, and raises ContractError where the store has none (`known_users`).
        """
        integer = self.bundle.contract.scenario.entities.users.key_type == "integer"
        self.features.read([0 if integer else ""], [0])
        self.check_known_users()

    def check_known_users(self) -> None:
        """See `KnownUsers.check`; nothing where the check is switched off."""
        if self.known_users is not None:
            self.known_users.check(self.features)

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
    """The release of a transformer. `texts_ahead` texts are encoded when it begins, before any request."""

    recommender: "Recommender"
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
    """The releases that are served, newest first: one, or two while a rollout replaces the predictor's pods.

    `open_next` opens those to serve next, one after the other; it may block, and raise ContractError.
    """

    def __init__(
        self,
        first: Sequence[AnyRelease],
        open_next: Callable[[], Iterable[AnyRelease]],
        deadline_seconds: float,
        load_seconds: float = LOAD_SECONDS,
    ) -> None:
        self._open = tuple(first)
        self._opening = Opening(open_next, load_seconds)
        self._deadline_seconds = deadline_seconds
        self._lock = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None

    @property
    def current(self) -> AnyRelease:
        """The release that serves a call that begins now: the one with the most pods, of equals the newest."""
        if len(self._open) == 1:
            return self._open[0]
        return max(self._open, key=lambda release: release.predictor.pods)

    def of_version(self, version: str) -> AnyRelease | None:
        """The newest release of a model version, None where it is not served."""
        found = (release for release in self._open if str(release.bundle.contract.model_version) == version)
        return next(found, None)

    def versions(self) -> list[str]:
        """The served model versions, newest release first."""
        return list(dict.fromkeys(str(release.bundle.contract.model_version) for release in self._open))

    @property
    def all(self) -> tuple[AnyRelease, ...]:
        """Those that are served now."""
        return self._open

    def begin(self) -> None:
        """Called in the event loop when they start to be served."""
        for release in self._open:
            release.begin()

    async def ready(self, deadline: Deadline) -> None:
        """Return when the predictor of at least one release is ready. Raises Unavailable or ContractError if none is.

        All are probed, so that `current` is up to date.
        """
        await _any_ready(self._open, deadline)

    async def other(self, release: AnyRelease, deadline: Deadline) -> AnyRelease | None:
        """The release that serves a call for which `release` has no pod left; None where there is none."""
        if release.predictor.pods:
            return None
        for other in self._open:
            if other is not release and other.bundle.checksum != release.bundle.checksum:
                try:
                    await other.predictor.ready(deadline)
                except (Unavailable, ContractError):
                    continue
                return other
        return None

    @contextmanager
    def use(self, release: AnyRelease | None = None) -> Iterator[AnyRelease]:
        """The release that one call uses, whatever is served meanwhile: `release`, or the current one."""
        release = release or self.current
        release.calls += 1
        try:
            yield release
        finally:
            release.calls -= 1

    async def switch(self) -> None:
        """Open what is next, serve it once a predictor is ready, and return when no call uses the last ones.

        A caller that leaves aborts nothing. Callers that come while a switch is under way share the one after it.
        Raises ContractError or Unavailable when nothing of it can be served; then the last ones still are.
        """
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(self._switch_in_turn())
            self._following.add_done_callback(_log_failure)
        await asyncio.shield(self._following)

    async def _switch_in_turn(self) -> None:
        async with self._lock:
            self._following = None  # a caller from here on may want a release that was named since
            opened = await self._opening.open()
            try:
                await _any_ready(opened, Deadline(self._deadline_seconds))
            except BaseException:
                await close_all(opened)
                raise
            # From here on new calls use the new ones: one assignment, so that no call sees both.
            last, self._open = self._open, opened
            self.begin()
            for release in last:
                await release.unused(self._deadline_seconds + 1)
                await release.close()


def _log_failure(switching: "asyncio.Task[None]") -> None:
    """Log the error of a switch, also where no caller is left to receive it."""
    if not switching.cancelled() and (error := switching.exception()) is not None:
        LOGGER.warning("the next release is not served: %s", error)


async def _any_ready(releases: Sequence[Served], deadline: Deadline) -> None:
    """Probe the predictors of all releases. Raises their errors where none is ready."""
    outcomes = await asyncio.gather(*(one.predictor.ready(deadline) for one in releases), return_exceptions=True)
    errors = [outcome for outcome in outcomes if outcome is not None]
    if len(errors) < len(releases):
        return
    for error in errors:
        if len(errors) == 1 or not isinstance(error, PolytaskError):
            raise error
    text = "; ".join(dict.fromkeys(str(error) for error in errors))
    # Waiting is in vain only where no release will do.
    mismatch = all(isinstance(error, ContractError) for error in errors)
    raise ContractError(text) if mismatch else Unavailable(text)


def next_release(named: Path | None) -> tuple[Deployed, str]:
    """Bundle and predictor of the next release, which the JSON file `named` holds. Raises ContractError where the file
    is missing or something else.
    """
    if named is None:
        raise ContractError("the next release: is named by no file; expected the option --release")
    try:
        read = json.loads(named.read_text(encoding="utf-8"))
        return Deployed(Path(read["bundle"])), str(read["predictor_host"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ContractError(f"{named}: allowed: JSON with bundle and predictor_host: {error!r}") from error
