"""`python -m services.tor.lab DIR`: run a private Tor network until SIGTERM, SIGINT or SIGHUP.

One line of JSON on stdout says how it went: `{"state": "ready", …}` as `LabStatus` has it, or `{"state": "failed",
"code": …, "message": …}`. The log is on stderr. With `--check` nothing is started: the line says whether it could be.
Exit codes: 0, told to end; 1, the network did not come up; 69 (EX_UNAVAILABLE), tor is not installed.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.kit import log
from services.kit.errors import LucidError
from services.tor.lab.lab import Lab

EX_UNAVAILABLE = 69
"""sysexits.h: something that this needs is not there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments and run; returns the exit code."""
    options = _parser().parse_args(arguments)
    log.configure("tor-lab", options.log_level)
    available = Lab.available(options.tor)
    if not available:
        _say({"state": "failed", "code": "tor_missing", "message": available.message})
        return EX_UNAVAILABLE
    if options.check:
        _say({"state": "available", "message": available.message})
        return 0
    if options.directory is None:
        _parser().error("DIR is missing: where the network is to live")
    try:
        lab = Lab(
            options.directory,
            tor=options.tor,
            exits=options.exits,
            relays=options.relays,
            client_options=options.client_option,
        )
        asyncio.run(_serve(lab))
    except LucidError as error:
        _say({"state": "failed", "code": error.code, "message": error.message})
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.tor.lab", description="A private Tor network on loopback."
    )
    parser.add_argument("directory", metavar="DIR", nargs="?", type=Path, help="where it lives, empty or a lab's")
    parser.add_argument("--tor", default="tor", help="the program (default: %(default)s)")
    parser.add_argument("--exits", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--relays", type=int, default=4, help="default: %(default)s")
    parser.add_argument(
        "--client-option", action="append", default=[], help="a line for the client's torrc", metavar="LINE"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--check", action="store_true", help="only say whether tor is installed")
    return parser


async def _serve(lab: Lab) -> None:
    """Run the lab until a signal, which also ends a start that is under way."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    waiting, starting = asyncio.create_task(told.wait()), asyncio.create_task(lab.start())
    await asyncio.wait((waiting, starting), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return
    waiting.cancel() if starting.exception() else None
    await starting
    try:
        _say(asdict(lab.status()))
        await told.wait()
    finally:
        await lab.stop()


def _say(line: dict[str, Any]) -> None:
    # Nobody may be listening any more; the lab itself is what counts.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
