"""`python -m services.devnet`: serve one devnet until SIGTERM or SIGINT."""

import asyncio
import signal
import sys

import uvloop
from pydantic import ValidationError

from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.devnet.store import StoreError
from services.kit.log import configure
from services.kit.settings import EX_CONFIG, problems


async def serve(settings: DevnetSettings) -> None:
    """Run a devnet until the process is told to end."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with DevnetNode(settings):
        await ended.wait()


def main() -> int:
    """Read the settings and serve; the exit code says whether that was possible."""
    try:
        settings = DevnetSettings()
    except ValidationError as error:
        for line in problems(error):
            print(f"devnet: DEVNET_{line}", file=sys.stderr)  # noqa: T201 - no log before the settings
        return EX_CONFIG
    configure("devnet", settings.log_level)
    try:
        uvloop.run(serve(settings))
    except (StoreError, OSError) as error:
        print(f"devnet: {error}", file=sys.stderr)  # noqa: T201 - for the person who started it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
