"""`make bench`: every goal as a ratio, both sides measured in this run; exit code 1 when a goal is missed."""

import compileall
import importlib
import os
import platform
import sys
import time

SECTIONS = {
    "reads": "Cached reads on a Unix socket",
    "stampede": "Cache under a stampede",
    "writes": "Durable writes",
    "devnet": "The devnet over HTTP",
    "contracts": "Token transfers on the devnet",
    "startup": "Start-up and memory of the node",
    "terminal": "The console on a terminal",
    "tor": "The way out through Tor, beside one httpx client",
}


def main(wanted: list[str]) -> int:
    """Run the sections that are wanted, all by default."""
    unknown = set(wanted) - SECTIONS.keys()
    if unknown:
        print(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
        return 2
    # Users start from .pyc files; without them a start costs about three times the CPU, on both sides.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for folder in ("lucid_tron_console", "services", "tests/bench"):
        compileall.compile_dir(folder, quiet=1)
    print(f"Python {platform.python_version()} on {platform.machine()}; medians of interleaved runs")
    missed = 0
    for name in wanted or SECTIONS:
        started = time.perf_counter()
        rows = importlib.import_module(f"tests.bench.{name}").run()
        print(f"\n{SECTIONS[name]} ({time.perf_counter() - started:.0f} s)")
        for row in rows:
            print(row.text())
            missed += row.met is False
    print(f"\n{missed} goals missed" if missed else "\nevery goal met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
