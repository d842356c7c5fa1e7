"""Waiting for something to happen, but not for ever, by whatever clock there is."""

import asyncio

from services.kit.clock import Clock


async def wait_for(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return when the event is set, or after `seconds`, whichever comes first."""
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
