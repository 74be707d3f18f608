"""Mixed load with disturbances: one call in ten is malformed, one is cancelled, Triton is killed, Redis is restarted.
Every third caller speaks REST, the others gRPC.

    python -m benchmarks.mixed_load --seconds 600
    python -m benchmarks.mixed_load --seconds 600 --hostile

Every response is compared with a reference that was requested beforehand, one call at a time. Pass criteria: no wrong
response; malformed calls are rejected with the name of their field; valid ones succeed, or are rejected with a
retryable code while a service is down; nothing hangs, neither server ends by itself, and memory does not increase.
"""

import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.memory import Memory
from benchmarks.mixed_callers import Callers, Outcome, send_request
from benchmarks.mixed_calls import Valid, tensors_of, valid_messages
from benchmarks.redis_server import RedisServer
from benchmarks.redis_store import fill_redis
from polytask.environment import prepare_environment
from polytask.errors import ServingError
from polytask.storage.atomic import write_text
from serving.local.stack import LocalStack
from serving.transformer.bundle import Bundle, load_bundle

REFERENCES = 200
CALLERS = 6
DEADLINE_SECONDS = 2.0
# How long a part stays away, and how long after its return a refusal may still come.
AWAY_SECONDS = 1.0
GRACE_SECONDS = 3.0


def mixed_load(
    published: Path, sources: Path, seconds: float, logs: Path, seed: int = 0, callers: int = CALLERS
) -> Outcome:
    """Run the load for `seconds` against a stack of its own over a bundle and the sources of a feature store."""
    bundle = load_bundle(published)
    with (
        TemporaryDirectory(prefix="polytask-mixed-") as folder,
        RedisServer(Path(folder) / "redis", keep_data=True) as redis,
    ):
        store = fill_redis(bundle.contract.scenario, sources, redis, Path(folder) / "store")
        with LocalStack(published, store, logs=logs, deadline_seconds=DEADLINE_SECONDS) as stack:
            valid = references(stack, bundle, seed)
            memory = Memory(
                {"transformer": lambda: stack.transformer_process_id, "triton": lambda: stack.triton.process_id}
            )
            with Callers(stack, bundle.contract.scenario, valid, callers, seed) as running, memory:
                _disturb(running, memory, stack, redis, seconds)
            stack.check()
            return running.outcome(memory.growth())


def references(stack: LocalStack, bundle: Bundle, seed: int) -> list[Valid]:
    """Valid calls with their correct responses, requested one after the other while nothing else is in flight."""
    moment = int(time.time())
    return [
        Valid(message, users, tensors_of(send_request(stack.grpc_url, message)))
        for message, users in valid_messages(bundle, REFERENCES, moment, seed)
    ]


def _disturb(running: Callers, memory: Memory, stack: LocalStack, redis: RedisServer, seconds: float) -> None:
    """Wait for `seconds`; at a quarter kill Triton, at half stop Redis; each is restarted."""
    start = time.monotonic()

    def wait(share: float) -> None:
        time.sleep(max(0.0, start + share * seconds - time.monotonic()))

    wait(0.25)
    with running.outage("Triton was killed", GRACE_SECONDS):
        process = stack.triton.process_id
        if process is None:
            raise ServingError("Triton does not run")
        os.killpg(process, signal.SIGKILL)
        time.sleep(AWAY_SECONDS)
        stack.triton.stop()
        stack.triton.start()
    wait(0.5)
    with running.outage("Redis was restarted", GRACE_SECONDS):
        redis.stop()
        time.sleep(AWAY_SECONDS)
        redis.start()
    wait(0.6)
    memory.mark()  # what is loaded on first use is loaded by now
    wait(1.0)


def main(
    seconds: Annotated[float, typer.Option(min=20, help="How long the load lasts.")] = 600,
    demo: Annotated[Path, typer.Option(help="What `make demo` left for a scenario.")] = Path("build/demo/movielens"),
    out: Annotated[Path, typer.Option(help="The JSON file.")] = Path("build/mixed_load.json"),
    seed: Annotated[int, typer.Option(help="Which calls are sent.")] = 0,
    hostile: Annotated[bool, typer.Option("--hostile", help="Hostile callers in place of disturbances.")] = False,
) -> None:
    """Run, print, write. Exit code 1 when anything that must hold did not."""
    prepare_environment()
    console = Console()
    if hostile:
        from benchmarks.hostile_load import hostile_load, report

        with console.status(f"hostile callers for {seconds:g} s"):
            attacked = hostile_load(
                demo / "published" / "current", demo / "feature_store", seconds, out.with_suffix("") / "logs", seed
            )
        report(console, attacked, seconds, out)
        raise typer.Exit(1 if attacked.failures() else 0)
    with console.status(f"mixed load for {seconds:g} s"):
        outcome = mixed_load(
            demo / "published" / "current", demo / "feature_store", seconds, out.with_suffix("") / "logs", seed
        )
    write_text(out, json.dumps({**asdict(outcome), "failures": outcome.failures()}, indent=2) + "\n")
    table = Table(title=f"Mixed load, {seconds:g} s")
    for heading in ("calls", "outcome", "count"):
        table.add_column(heading, justify="right" if heading == "count" else "left")
    for kind, codes in outcome.counts.items():
        for code, count in codes.items():
            table.add_row(kind, code, str(count))
    console.print(table)
    succeeded = ", ".join(f"{count} over {name}" for name, count in outcome.answered.items())
    console.print(f"valid calls succeeded: {succeeded}")
    for name, share in outcome.memory_growth.items():
        console.print(f"memory of {name}: {share:+.1%} after warm-up")
    console.print(f"slowest call: {outcome.slowest_seconds:.2f} s; wrote {out}")
    for failure in outcome.failures():
        console.print(f"[bold red]FAILED[/] {failure}", highlight=False)
    raise typer.Exit(1 if outcome.failures() else 0)


if __name__ == "__main__":
    typer.run(main)
