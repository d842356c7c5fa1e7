"""What faults do to a call on its way: late, refused, cut, dripped or endless answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.devnet.faults import Fault, FaultBoard, Kind
from services.devnet.requests import MAX_BODY_BYTES
from services.devnet.server import ABORT

_PIECE = b" " * 65_536

Sleep = Callable[[float], Awaitable[Any]]
"""Waits so many seconds."""


class FaultMiddleware:
    """Lets the faults of a board strike the calls of an application, `/admin` excepted."""

    def __init__(self, app: ASGIApp, board: FaultBoard, sleep: Sleep) -> None:
        self._app = app
        self._board = board
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, with what strikes it."""
        if scope["type"] != "http" or scope["path"].startswith("/admin"):
            await self._app(scope, receive, send)
            return
        text = ""
        if self._board.reads_calls:
            text, receive = await _read(scope, receive)
        port = (scope.get("server") or ("", None))[1]
        before_ms, after_ms, fault = self._board.on_the_way(scope["path"], port, text)
        if before_ms:
            await self._sleep(before_ms / 1000)
        if after_ms:
            send = self._late(send, after_ms / 1000)
        await self._strike(fault, scope, receive, send)

    async def _strike(self, fault: Fault | None, scope: Scope, receive: Receive, send: Send) -> None:
        match fault.kind if fault else None:
            case None:
                await self._app(scope, receive, send)
            case Kind.DROP_BEFORE:
                await _drop(scope, receive)
            case Kind.DROP_AFTER:
                await self._app(scope, receive, _nowhere)
                await _drop(scope, receive)
            case Kind.RATE_LIMIT:
                await _answer(send, 429)
            case Kind.ERROR_AFTER if fault:
                await self._app(scope, receive, _nowhere)
                await _answer(send, fault.request.status)
            case Kind.CUT:
                head, body = await self._whole(scope, receive)
                await send(head)
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
                # What was written has to leave before the connection goes.
                await asyncio.sleep(0)
                await _drop(scope, receive)
            case Kind.DRIP if fault:
                await self._drip(scope, receive, send, fault.request.delay_ms / 1000)
            case Kind.HUGE if fault:
                await self._flood(scope, receive, send, fault.request.megabytes)
            case _:
                await _answer(send, fault.request.status if fault else 500)

    def _late(self, send: Send, seconds: float) -> Send:
        async def later(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._sleep(seconds)
            await send(message)

        return later

    async def _whole(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """Carry the call out; returns the head of the answer and its whole body."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        return messages[0], b"".join(message.get("body", b"") for message in messages[1:])

    async def _drip(self, scope: Scope, receive: Receive, send: Send, pause_s: float) -> None:
        head, body = await self._whole(scope, receive)
        await send(head)
        for at in range(len(body)):
            await send({"type": "http.response.body", "body": body[at : at + 1], "more_body": True})
            await self._sleep(pause_s)
        await send({"type": "http.response.body", "body": b""})

    async def _flood(self, scope: Scope, receive: Receive, send: Send, megabytes: int) -> None:
        head, body = await self._whole(scope, receive)
        headers = [(name, value) for name, value in head["headers"] if name != b"content-length"]
        await send({**head, "headers": headers})
        await send({"type": "http.response.body", "body": body[:-2], "more_body": True})
        for _ in range(megabytes * (1 << 20) // len(_PIECE)):
            await send({"type": "http.response.body", "body": _PIECE, "more_body": True})
        await send({"type": "http.response.body", "body": body[-2:]})


async def _read(scope: Scope, receive: Receive) -> tuple[str, Receive]:
    """Read a call; returns its query and body as text, and what gives the body to whoever reads it next."""
    body, more = bytearray(), True
    while more and len(body) <= MAX_BODY_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    waiting: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": more}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return f"{scope['query_string'].decode('latin-1')} {body.decode('utf-8', 'replace')}", again


async def _nowhere(_message: Message) -> None:
    """Swallow an answer."""


async def _drop(scope: Scope, receive: Receive) -> None:
    """Close the connection without a word, and wait until it is closed."""
    scope["state"][ABORT]()
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()


async def _answer(send: Send, status: int) -> None:
    body = b"injected fault\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    if status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
