"""Deployers that die or meet another one: the next rollout leaves one model, whole, whatever they were doing."""

import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.service.revision import Revision, has_two_bundles
from serving.rollout.settings import Settings
from tests.cluster.control_plane import ControlPlane
from tests.cluster.deployers import Access, start_deployer
from tests.cluster.overlays import apply, combined
from tests.cluster.rollouts import Live, deployer, quick_settings

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]
Make = Callable[..., RolloutRelease]
STRATEGIES = ("rolling", "recreate", "canary", "shadow")
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
NUMBERS = itertools.count()
# Namespaces in which rollouts run side by side: most of their time is waiting.
LANES = 4
# What a pod has after SIGTERM, by Kubernetes' default.
GRACE_SECONDS = 30.0
RUN_SECONDS = 120.0


@dataclass
class Lane:
    """A namespace with routes, and the model that it serves."""

    live: Live
    access: Access
    settings: Settings
    release: Make
    folder: Path
    versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    served: str = ""

    def next(self) -> RolloutRelease:
        """The release of a version that was never deployed here."""
        return self.release(next(self.versions))

    def roll_out(self, release: RolloutRelease) -> None:
        """A rollout in this process, which is not killed."""
        cluster = deployer(self.live.plane, self.live.namespace)
        try:
            roll_out(cluster, release, replace(self.settings, strategy="rolling"))
        finally:
            cluster.close()

    def finish(self, release: RolloutRelease) -> None:
        """A rollout while no other one runs; then the release is served whole and alone."""
        self.roll_out(release)
        self.served = release.version
        self.check_alone({release.version})

    def check_alone(self, versions: set[str]) -> None:
        """One of these models is served by all pods and to all requests, and nothing is left of another."""
        service = self.live.service()
        assert service is not None and not has_two_bundles(service)
        revision = Revision.of_live(service)
        assert revision is not None and revision.model_version in versions, (revision, versions)
        assert revision.is_whole_in(service)
        for kind in ("HTTPRoute", "GRPCRoute"):
            assert self.live.weights(kind) == {"recommender-transformer": 100}, kind
            assert "filters" not in self.live.rule(kind), kind
        for name in ("recommender-canary", "recommender-shadow"):
            self.live.check_gone(name)
        self.live.check_serves_alone(revision.model_version)

    def check_lease(self) -> None:
        """Nobody holds it, and there is nothing to put right."""
        lease = self.live.plane.api.get("coordination.k8s.io/v1", "Lease", "recommender-rollout", self.live.namespace)
        assert lease is not None and lease["spec"]["holderIdentity"] == ""
        assert not lease["metadata"].get("annotations"), lease["metadata"]["annotations"]


@pytest.fixture
def lane(
    plane: ControlPlane, clean: Callable[[str], str], address: str, release: Make, tmp_path: Path
) -> Callable[[], Lane]:
    """Makes a namespace that serves a first model."""
    settings = quick_settings(address, poll_seconds=0.1, step_seconds=0.2, lease_seconds=2.0, stop_seconds=10.0)

    def make() -> Lane:
        live = Live(plane, clean(f"interrupted-{next(NUMBERS)}"))
        folder = tmp_path / live.namespace
        folder.mkdir()
        apply(plane, combined(folder, ["cpu", "canary"], live.namespace))
        lane = Lane(live, Access.of(plane, live.namespace), settings, release, folder)
        lane.finish(lane.next())
        return lane

    return make


def side_by_side(work: list[Callable[[], None]]) -> None:
    """Do all of it, some at once, and raise the first error."""
    with ThreadPoolExecutor(LANES) as pool:
        for done in [pool.submit(one) for one in work]:
            done.result()


def stop_at_every_write(lane: Lane, strategy: str, number: signal.Signals) -> int:
    """Kill a rollout after its first write, the next one after its second, and so on, until one is complete."""
    for writes in itertools.count(1):
        before, wanted = lane.served, lane.next()
        settings = replace(lane.settings, strategy=strategy)
        signalled_at = lane.folder / "signalled_at"
        process = start_deployer(lane.access, wanted, settings, writes, number, signalled_at)
        process.join(RUN_SECONDS)
        ended = time.time()
        assert process.exitcode is not None, f"{strategy}, {number.name} after {writes} writes: does not end"
        if process.exitcode == 0:
            break
        if number == signal.SIGTERM:
            assert ended - float(signalled_at.read_text(encoding="utf-8")) < GRACE_SECONDS
            if "filters" in lane.live.rule():  # the signal came when the shadow was complete
                assert strategy == "shadow"
                lane.check_lease()
            else:
                lane.check_alone({before, wanted.version})
        lane.finish(lane.next())
        lane.check_lease()
    return writes


def test_a_rollout_that_is_stopped_at_any_step_is_put_right_by_the_next_one(lane: Callable[[], Lane]):
    counts: dict[tuple[str, str], int] = {}

    def stop(lane: Lane, strategy: str, number: signal.Signals) -> None:
        counts[strategy, number.name] = stop_at_every_write(lane, strategy, number)

    pairs = list(itertools.product(STRATEGIES, SIGNALS))
    lanes = [lane() for _ in pairs]
    side_by_side([lambda one=one, pair=pair: stop(one, *pair) for one, pair in zip(lanes, pairs, strict=True)])
    # As many as there are changes in the strategy at least: a rollout that ended early would prove nothing.
    assert all(counts[key] >= {"canary": 18, "rolling": 7, "recreate": 6, "shadow": 7}[key[0]] for key in counts), (
        counts
    )


def test_of_two_rollouts_at_once_one_is_served_whole(lane: Callable[[], Lane]):
    chance = random.Random(19)
    lanes = [lane() for _ in range(LANES)]
    plans = [(one, chance.uniform(0, 3), chance.choices(STRATEGIES[:3], k=2)) for one in lanes for _ in range(5)]

    def both(lane: Lane, delay: float, strategies: list[str]) -> None:
        releases = [lane.next(), lane.next()]
        processes = []
        for release, strategy in zip(releases, strategies, strict=True):
            processes.append(start_deployer(lane.access, release, replace(lane.settings, strategy=strategy)))
            time.sleep(delay if len(processes) == 1 else 0)
        for process in processes:
            process.join(RUN_SECONDS)
        assert [process.exitcode for process in processes] == [0, 0]
        # The one that came second waited for the first, and is served.
        lane.check_alone({release.version for release in releases})
        lane.check_lease()

    def all_of(lane: Lane) -> None:
        for one, delay, strategies in plans:
            if one is lane:
                both(lane, delay, strategies)

    side_by_side([lambda one=one: all_of(one) for one in lanes])


def test_a_hundred_random_interleavings_end_with_one_model(lane: Callable[[], Lane]):
    lanes = [lane() for _ in range(LANES)]

    def interleave(lane: Lane, seed: int) -> None:
        chance = random.Random(seed)
        running = []
        for _ in range(chance.randint(1, 3)):
            settings = replace(lane.settings, strategy=chance.choice(STRATEGIES))
            process = start_deployer(lane.access, lane.next(), settings)
            running.append(process)
            time.sleep(chance.uniform(0, 1.5))
            if chance.random() < 0.6:
                assert process.pid is not None
                chance.choice([process.kill, process.terminate])()
        last = lane.next()
        lane.roll_out(last)  # while the deployers may still run
        for process in running:
            process.join(RUN_SECONDS)
            assert process.exitcode is not None, f"seed {seed}: a deployer does not end"
        lane.finish(last if chance.random() < 0.5 else lane.next())
        lane.check_lease()

    def all_of(number: int) -> None:
        for seed in range(number, 100, LANES):
            try:
                interleave(lanes[number], seed)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {error}") from error

    side_by_side([lambda number=number: all_of(number) for number in range(LANES)])
