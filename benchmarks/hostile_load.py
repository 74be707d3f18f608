"""Good callers together with hostile ones: phases with and without hostile callers alternate; failures are compared.

A good call without the correct response is a failure: any status, a wrong response, no response in time. The control
phases measure how often that happens on this machine without hostile callers, since both phases run with the same
other processes. A call belongs to the phase in which it was sent. A phase begins when every good caller has had a
response since the last one ended, so that phases are independent; calls between two phases are not counted.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from benchmarks.hostile_callers import HostileCallers
from benchmarks.memory import Memory
from benchmarks.mixed_callers import GRPC, HANG_SECONDS, MEMORY_GROWTH, REST
from benchmarks.mixed_calls import Valid, differences
from benchmarks.mixed_channels import Channel, GrpcChannel, RestChannel
from benchmarks.mixed_load import DEADLINE_SECONDS, references
from benchmarks.redis_server import RedisServer
from benchmarks.redis_store import fill_redis
from polytask.scenario import Scenario
from polytask.storage.atomic import write_text
from serving.local.stack import LocalStack
from serving.transformer.bundle import load_bundle

GOOD = (GRPC, GRPC, REST)  # the protocols of the good callers
PAUSE_SECONDS = 0.02
PHASE_SECONDS = 30.0
CYCLES = 3  # at least so many pairs of phases: shorter runs have shorter phases
SETTLE_SECONDS = 1.0
RECOVERY_SECONDS = 30.0
CONTROL, HOSTILE = "control", "hostile"
# A one-sided exact test of Fisher: the hostile phases fail more often if chance alone would do so in less than 1 of 100
# runs. Failures that come in bursts make it stricter than that.
LEVEL = 0.01
SHOWN = 20


@dataclass
class HostileOutcome:
    """Good calls and failures of each kind of phase, and what became of the hostile calls."""

    calls: dict[str, int]
    failed: dict[str, int]
    reasons: dict[str, dict[str, int]]
    hostile: dict[str, int]
    defects: dict[str, int]
    broken: list[str]
    memory_growth: dict[str, float] = field(default_factory=dict)

    @property
    def p_value(self) -> float:
        """How likely at least so many failures of the hostile phases are where hostile callers change nothing."""
        from scipy.stats import fisher_exact

        table = [[self.failed[kind], self.calls[kind] - self.failed[kind]] for kind in (HOSTILE, CONTROL)]
        return float(fisher_exact(table, alternative="greater").pvalue)

    def failures(self) -> list[str]:
        """What did not hold; empty where all did."""
        found = [f"no good call was sent in the {kind} phases" for kind, count in self.calls.items() if not count]
        if not found and self.p_value < LEVEL:
            shares = {kind: f"{self.failed[kind]} of {self.calls[kind]}" for kind in self.calls}
            found.append(
                f"good calls failed: {shares[HOSTILE]} with hostile callers, {shares[CONTROL]} without; "
                f"p = {self.p_value:.2g}, at least {LEVEL} is allowed"
            )
        found += [f"defect: {what}, {count} times" for what, count in list(self.defects.items())[:SHOWN]]
        found += [f"broken: {what}" for what in self.broken[:SHOWN]]
        found += [
            f"memory of {name} increased by {share:.1%}, at most {MEMORY_GROWTH:.0%} is allowed"
            for name, share in self.memory_growth.items()
            if share > MEMORY_GROWTH
        ]
        return found


class GoodCallers:
    """Threads that send valid calls, and compare the responses, while a `with` block lasts."""

    def __init__(self, stack: LocalStack, scenario: Scenario, valid: Sequence[Valid], seed: int) -> None:
        self._stack, self._scenario, self._valid = stack, scenario, valid
        self._phase: str | None = None
        self._reasons: dict[str, Counter[str]] = {CONTROL: Counter(), HOSTILE: Counter()}
        self.calls = {CONTROL: 0, HOSTILE: 0}
        self.broken: list[str] = []
        self._answered = [0.0] * len(GOOD)  # when each sent the last call with a correct response
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(seed, place, protocol), name=f"good-{place}", daemon=True)
            for place, protocol in enumerate(GOOD)
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start, and stop at the end of the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join(self._stack.deadline_seconds + 2 * HANG_SECONDS)
                if thread.is_alive():
                    self.broken.append(f"{thread.name} hangs")

    def begin(self, kind: str) -> None:
        """Calls that are sent from now on count for a kind of phase."""
        self._phase = kind

    def end(self) -> None:
        """Calls that are sent from now on do not count."""
        self._phase = None

    def recover(self, kind: str) -> None:
        """Return when every caller has had a correct response to a call that it sent after a phase of this kind."""
        start = time.monotonic()
        while min(self._answered) < start:
            if time.monotonic() > start + RECOVERY_SECONDS:
                self.broken.append(f"good calls still fail {RECOVERY_SECONDS:g} s after a {kind} phase")
                return
            time.sleep(PAUSE_SECONDS)

    @property
    def reasons(self) -> dict[str, dict[str, int]]:
        """Kind of phase -> how its failed calls ended, and how often."""
        return {kind: dict(counter.most_common()) for kind, counter in self._reasons.items()}

    def _run(self, seed: int, place: int, protocol: str) -> None:
        chooser = random.Random(100 * seed + place)  # noqa: S311 - which call comes next is no secret
        channel: Channel = RestChannel(self._stack.rest_url) if protocol == REST else GrpcChannel(self._stack.grpc_url)
        try:
            while not self._end.wait(PAUSE_SECONDS):
                phase, call, sent = self._phase, chooser.choice(self._valid), time.monotonic()
                code, text, answer = channel.call(call.message, self._stack.deadline_seconds + HANG_SECONDS)
                wrong = differences(self._scenario, answer, call.reference) if code == "OK" else []
                if code == "OK" and not wrong:
                    self._answered[place] = sent
                if phase is None:
                    continue
                with self._lock:
                    self.calls[phase] += 1
                    if code != "OK" or wrong:
                        self._reasons[phase][f"{code} over {protocol}: {wrong or text}"[:200]] += 1
        except Exception as error:  # noqa: BLE001 - an error of a caller is a finding
            self.broken.append(f"{threading.current_thread().name} over {protocol}: {error!r}")
        finally:
            channel.close()


def hostile_load(published: Path, sources: Path, seconds: float, logs: Path, seed: int = 0) -> HostileOutcome:
    """Take turns for `seconds` against a stack of its own over a bundle and the sources of a feature store."""
    bundle = load_bundle(published)
    scenario = bundle.contract.scenario
    with (
        TemporaryDirectory(prefix="polytask-hostile-") as folder,
        RedisServer(Path(folder) / "redis") as redis,
    ):
        store = fill_redis(scenario, sources, redis, Path(folder) / "store")
        with LocalStack(published, store, logs=logs, deadline_seconds=DEADLINE_SECONDS) as stack:
            good = GoodCallers(stack, scenario, references(stack, bundle, seed), seed)
            hostile = HostileCallers(stack, scenario, seed)
            processes = {"transformer": lambda: stack.transformer_process_id, "triton": lambda: stack.triton.process_id}
            memory = Memory(processes)
            cycles = max(CYCLES, round(seconds / (2 * PHASE_SECONDS)))
            length = (seconds - cycles * SETTLE_SECONDS) / (2 * cycles + 1)
            with good.running(), memory:
                for cycle in range(cycles):
                    if cycle == (cycles + 1) // 2:
                        memory.mark()  # what is loaded on first use is loaded by now
                    _control(good, length)
                    _attack(good, hostile, length)
                # Memory is compared between control phases: while large bodies are read, it is larger for a moment.
                _control(good, length)
            stack.check()
    failed = {kind: sum(counts.values()) for kind, counts in good.reasons.items()}
    return HostileOutcome(
        good.calls,
        failed,
        good.reasons,
        dict(hostile.counts.most_common()),
        dict(hostile.defects.most_common()),
        good.broken + hostile.broken,
        memory.growth(),
    )


def _control(good: GoodCallers, seconds: float) -> None:
    good.begin(CONTROL)
    time.sleep(seconds)
    good.end()
    good.recover(CONTROL)


def _attack(good: GoodCallers, hostile: HostileCallers, seconds: float) -> None:
    with hostile:
        time.sleep(SETTLE_SECONDS)  # until slow bodies and idle connections are held
        good.begin(HOSTILE)
        time.sleep(seconds)
        good.end()
    good.recover(HOSTILE)


def report(console: Console, outcome: HostileOutcome, seconds: float, out: Path) -> None:
    """Print an outcome, and write it as JSON."""
    found = outcome.failures()
    write_text(out, json.dumps({**asdict(outcome), "p_value": outcome.p_value, "failures": found}, indent=2) + "\n")
    table = Table(title=f"Hostile callers, {seconds:g} s")
    for heading in ("phases", "good calls", "failed", "share"):
        table.add_column(heading, justify="left" if heading == "phases" else "right")
    for kind, count in outcome.calls.items():
        failed = outcome.failed[kind]
        table.add_row(kind, str(count), str(failed), f"{failed / max(1, count):.3%}")
    console.print(table)
    console.print(f"p = {outcome.p_value:.3g} (one-sided exact test of Fisher, at least {LEVEL} is allowed)")
    for kind, reasons in outcome.reasons.items():
        for reason, count in list(reasons.items())[:SHOWN]:
            console.print(f"failed in {kind}: {count} x {reason}", markup=False, highlight=False)
    for status, count in outcome.hostile.items():
        console.print(f"hostile: {count} x {status}", markup=False, highlight=False)
    for name, share in outcome.memory_growth.items():
        console.print(f"memory of {name}: {share:+.1%} after warm-up")
    console.print(f"wrote {out}")
    for failure in found:
        console.print(f"[bold red]FAILED[/] {failure}", highlight=False)
