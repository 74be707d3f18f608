"""Resident memory of processes and of what they started, sampled in the background."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

EVERY_SECONDS = 0.5
PAGE_KIB = 4
# The first and the last part of the samples after the mark that are compared.
SHARE = 0.2


class Memory:
    """Samples while a `with` block lasts; `processes` return process ids, None while one is down."""

    def __init__(self, processes: Mapping[str, Callable[[], int | None]]) -> None:
        self._processes = processes
        self._samples: dict[str, list[int]] = {name: [] for name in processes}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._thread.join(10)

    def mark(self) -> None:
        """Forget what was sampled so far: warm-up ends here."""
        for samples in self._samples.values():
            samples.clear()

    def growth(self) -> dict[str, float]:
        """By how much the median of the last samples exceeds that of the first after the mark, as a share of these."""
        found = {}
        for name, samples in self._samples.items():
            part = max(1, int(SHARE * len(samples)))
            if samples:
                found[name] = median(samples[-part:]) / median(samples[:part]) - 1.0
        return found

    def _run(self) -> None:
        while not self._end.wait(EVERY_SECONDS):
            for name, process in self._processes.items():
                number = process()
                kib = 0 if number is None else sum(map(resident_kib, family(number)))
                if kib:
                    self._samples[name].append(kib)


def family(process: int) -> list[int]:
    """A process and all that descend from it."""
    found = [process]
    for parent in found:
        try:
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text(encoding="ascii").split())
        except OSError:  # it ended meanwhile
            continue
    return found


def resident_kib(process: int) -> int:
    """The memory that is a process's own or shared with others, 0 for one that has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * PAGE_KIB
    except (OSError, IndexError):
        return 0
