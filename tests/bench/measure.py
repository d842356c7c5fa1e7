"""What the benchmarks share: CPU and memory of processes, medians, children that are ended, and rows of a table."""

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    """What was measured; lines with a goal are ratios within this run."""
    value: float
    unit: str = ""
    at_most: float | None = None
    """The goal: no more than this."""
    at_least: float | None = None
    """The goal: no less than this."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None

    def text(self) -> str:
        """As printed."""
        goal = "" if self.met is None else f"≤ {self.at_most:g}" if self.at_most is not None else f"≥ {self.at_least:g}"
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        return f"  {self.name:<62} {_figure(self.value):>9} {self.unit:<5} {goal:>8}  {verdict:<7}{self.note}".rstrip()


def _figure(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used so far, all its threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def pss_kib(pid: int) -> int:
    """Memory of a process in KiB, what it shares divided by those who share it (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(f"no Pss of {pid}")


@contextlib.contextmanager
def child(
    *command: str, env: dict[str, str] | None = None, quiet: bool = True, timeout_s: float = 15.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module (`child("tests.bench.x", "argument")`) while the block runs, then end it."""
    out = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env={**os.environ, **(env or {})}, stdout=out, stderr=out
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until(condition: Callable[[], bool], timeout_s: float = 30.0, every_s: float = 0.002) -> float:
    """Wait until something is so and return how long it took, in seconds.

    Raises:
        TimeoutError: it never became so.
    """
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > timeout_s:
            raise TimeoutError("what the benchmark waits for did not come")
        time.sleep(every_s)
    return time.perf_counter() - started


def interleaved(runs: int, **contenders: Callable[[], float]) -> dict[str, float]:
    """Run contenders in turn, so that the machine's moods hit all of them, and return the median of each."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, contender in contenders.items():
            figures[name].append(contender())
    return {name: statistics.median(values) for name, values in figures.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
