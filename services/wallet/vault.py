"""Unlocked keys: in memory only, each until its lease ends, and the toll on wrong guesses."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.kit.clock import Clock
from services.kit.errors import TooManyRequests
from services.wallet.keystore import wipe

FREE_GUESSES = 2
"""Wrong passphrases in a row that cost nothing but their own time: people mistype."""
LONGEST_PAUSE_S = 60.0
"""A pause that grows further would lock the operator out, not the guesser."""


@dataclass(slots=True, repr=False)
class _Unlocked:
    key: bytearray
    ends: float | None
    """On the monotonic clock; None: never."""
    until: datetime | None
    """The same for people."""
    timer: asyncio.Task[None] | None = None


class Vault:
    """The keys of unlocked wallets, by name; each is wiped when it is locked or its lease ends."""

    def __init__(self, clock: Clock, expired: Callable[[str], None]) -> None:
        """Call `expired` with the name of a wallet whose lease has just ended."""
        self._clock = clock
        self._expired = expired
        self._open: dict[str, _Unlocked] = {}

    def __len__(self) -> int:
        return len(self._open)

    def put(self, name: str, key: bytearray, lease_s: float | None) -> None:
        """Keep a key, which is taken over, for `lease_s` seconds or for good; a lease that ends later stays."""
        ends = None if lease_s is None else self._clock.monotonic() + lease_s
        until = None if lease_s is None else self._clock.now() + timedelta(seconds=lease_s)
        before = self._open.get(name)
        if before is not None and _later(before.ends, ends):
            wipe(key)
            return
        self.lock(name)
        kept = _Unlocked(key, ends, until)
        self._open[name] = kept
        if lease_s is not None:
            kept.timer = asyncio.create_task(self._end(name, kept))

    def key(self, name: str) -> bytearray | None:
        """The key of a wallet, to be used at once and not kept; None while it is locked."""
        kept = self._open.get(name)
        # The timer may be late; the lease is not.
        if kept is not None and kept.ends is not None and self._clock.monotonic() >= kept.ends:
            self.lock(name)
            self._expired(name)
            return None
        return kept.key if kept else None

    def is_open(self, name: str) -> bool:
        """Whether a wallet can sign."""
        return self.key(name) is not None

    def until(self, name: str) -> datetime | None:
        """When a wallet's lease ends, for people; None while locked, and for a lease without end."""
        kept = self._open.get(name)
        return kept.until if kept else None

    def lock(self, name: str) -> bool:
        """Wipe a key; False when it was locked already."""
        kept = self._open.pop(name, None)
        if kept is None:
            return False
        wipe(kept.key)
        if kept.timer is not None and kept.timer is not asyncio.current_task():
            kept.timer.cancel()
        return True

    def lock_all(self) -> list[str]:
        """Wipe every key, and name the wallets that were open."""
        return [name for name in list(self._open) if self.lock(name)]

    async def _end(self, name: str, kept: _Unlocked) -> None:
        while kept.ends is not None and (left_s := kept.ends - self._clock.monotonic()) > 0:
            await self._clock.sleep(left_s)
        if self._open.get(name) is kept:
            self.lock(name)
            self._expired(name)


def _later(one: float | None, other: float | None) -> bool:
    return one is None or (other is not None and one > other)


class Guesses:
    """Counts wrong passphrases in a row, and makes the next guess wait longer and longer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wrong: dict[str, tuple[int, float]] = {}

    def check(self, name: str) -> None:
        """Let a guess at a wallet's passphrase through, or not.

        Raises:
            TooManyRequests: the pause after the last wrong one is not over; `retry_after_s` says how long.
        """
        wrong, not_before = self._wrong.get(name, (0, 0.0))
        left = not_before - self._clock.monotonic()
        if left > 0:
            raise TooManyRequests(
                f"{wrong} wrong passphrases for {name} in a row: wait {left:.0f} s, then try again",
                retry_after_s=round(left, 1),
            )

    def wrong(self, name: str) -> None:
        """Count a wrong guess."""
        count = self._wrong.get(name, (0, 0.0))[0] + 1
        pause = min(2.0 ** (count - FREE_GUESSES), LONGEST_PAUSE_S) if count > FREE_GUESSES else 0.0
        self._wrong[name] = (count, self._clock.monotonic() + pause)

    def right(self, name: str) -> None:
        """Forget the wrong ones."""
        self._wrong.pop(name, None)
