"""Typing in bursts: each key is carried out before the next one is looked at."""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual.app import App
from textual.events import Key, Paste
from textual.message_pump import MessagePump
from textual.timer import Timer

Typed = Key | Paste

LONGEST_WAIT_S = 1.0
"""A key that has not been carried out by then holds the others back no longer."""

LOOK_AGAIN_S = 0.01
"""How often to look whether a screen that was opened stands."""

TRIPS = 2
"""Messages climb from the focused widget to the app with the key, and again with what it set off (Submitted)."""


class OneKeyAtATime:
    """Holds keys back while one is under way.

    Textual hands a key to the widget that is focused when the key is read, but carries out its binding later: over a
    slow link, where keys come in bursts, `:freeze` would be the command line, and then the commands f, r, e, e, z, e.
    """

    def __init__(
        self, app: App[Any], deliver: Callable[[Typed], Awaitable[None]], is_settled: Callable[[], bool]
    ) -> None:
        """Deliver keys of `app` one by one with `deliver`, each when the screen that the last one opened stands."""
        self._app = app
        self._deliver = deliver
        self._is_settled = is_settled
        self._held: deque[Typed] = deque()
        self._number = 0
        self._is_busy = False
        self._timer: Timer | None = None
        self._waiting: list[Callable[[], object]] = []

    def when_idle(self, callback: Callable[[], object]) -> None:
        """Call back when no key is under way."""
        self._waiting.append(callback)
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if not self._is_busy:
            waiting, self._waiting = self._waiting, []
            for callback in waiting:
                callback()

    async def take(self, event: Typed) -> None:
        """Deliver a key now, or when those before it are done."""
        if self._is_busy:
            self._held.append(event)
        else:
            await self._pass_on(event)

    async def _pass_on(self, event: Typed) -> None:
        self._is_busy = True
        self._number += 1
        target = self._app.focused or self._app.screen
        self._timer = self._app.set_timer(LONGEST_WAIT_S, partial(self._release, self._number))
        await self._deliver(event)
        self._climb(target, target, TRIPS, self._number)

    def _climb(self, start: MessagePump, node: MessagePump, trips: int, number: int) -> None:
        """Run behind the key: from widget to parent, in the order of their queues, up to the app."""
        if not node.call_later(self._arrived, start, node, trips, number):
            self._arrived(start, node, trips, number)

    async def _at_the_top(self, start: MessagePump, trips: int, number: int) -> None:
        if trips > 1:
            self._climb(start, start, trips - 1, number)
        elif number == self._number and not self._is_settled():
            self._app.set_timer(LOOK_AGAIN_S, partial(self._at_the_top, start, trips, number))
        else:
            await self._release(number)

    def _arrived(self, start: MessagePump, node: MessagePump, trips: int, number: int) -> None:
        parent = node._parent
        if parent is None:
            self._app.call_later(self._at_the_top, start, trips, number)
        else:
            self._climb(start, parent, trips, number)

    async def _release(self, number: int) -> None:
        if number != self._number or not self._is_busy:
            return
        self._is_busy = False
        if self._timer is not None:
            self._timer.stop()
        if self._held:
            await self._pass_on(self._held.popleft())
        else:
            self._tell_if_idle()
