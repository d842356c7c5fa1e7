"""Server-Sent Events: what happened, pushed to whoever listens, resumable by `Last-Event-ID`.

An id is `<boot>-<number>`: the boot names this run of the daemon. Who comes back with an id that the daemon no longer
remembers gets a `reset` event first, reads the state anew, and goes on from there.
"""

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

RESET = "reset"
"""Name of the event that says: read everything again."""

HEARTBEAT = b":\n\n"
"""A comment: shows that the daemon lives, and is no event."""


_MOST_DIGITS = 19
"""Longer numbers than events can have are not even converted."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    id: str
    name: str
    """What kind: `job`, `wallet`, `payout`, … or `reset`."""
    data: str
    """JSON."""

    def encode(self) -> bytes:
        """As it stands in the stream."""
        return f"id: {self.id}\nevent: {self.name}\ndata: {self.data}\n\n".encode()


class EventBus:
    """Remembers the last `size` events and hands them to any number of readers, each at its own pace."""

    def __init__(self, size: int = 1024) -> None:
        self._boot = secrets.token_hex(4)
        self._events: deque[Event] = deque(maxlen=size)
        self._last = 0
        self._changed = asyncio.Event()
        self._closed = False

    def publish(self, name: str, data: BaseModel | dict[str, Any]) -> None:
        """Tell everybody; never waits."""
        self._last += 1
        text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data, separators=(",", ":"))
        self._events.append(Event(f"{self._boot}-{self._last}", name, text))
        self._wake()

    def close(self) -> None:
        """End every stream: the daemon stops."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _position(self, last_event_id: str | None) -> int | None:
        """Number of the last event that a reader has; None if the gap cannot be filled."""
        if last_event_id is None:
            return self._last
        boot, _, number = last_event_id.partition("-")
        if boot != self._boot or not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
            return None
        seen = int(number)
        return seen if self._last - len(self._events) <= seen <= self._last else None

    async def stream(self, last_event_id: str | None = None, heartbeat_s: float = 5.0) -> AsyncIterator[bytes]:
        """Yield the stream's bytes: events after `last_event_id` (or from now on), and a heartbeat when it is quiet."""
        position = self._position(last_event_id)
        if position is None:
            position = self._last
            yield Event(f"{self._boot}-{position}", RESET, "{}").encode()
        else:
            yield HEARTBEAT
        while not self._closed:
            changed = self._changed
            missing = self._last - position
            if missing > len(self._events):  # a slow reader fell off the end of what is remembered
                position = self._last
                yield Event(f"{self._boot}-{position}", RESET, "{}").encode()
            elif missing:
                batch = list(self._events)[-missing:]
                position = self._last
                yield b"".join(event.encode() for event in batch)
            else:
                try:
                    await asyncio.wait_for(changed.wait(), heartbeat_s)
                except TimeoutError:
                    yield HEARTBEAT
