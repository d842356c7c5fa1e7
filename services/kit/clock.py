"""The clock that everything asks for the time, so that tests and simulations can bring their own."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. No decision about money may rest on it: chain time decides those."""

    def now(self) -> datetime:
        """Wall clock, aware, in UTC: for people and logs."""

    def monotonic(self) -> float:
        """Seconds that only grow: for leases, ages and timeouts."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some moment in the past."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` in the running loop."""
        await asyncio.sleep(seconds)
