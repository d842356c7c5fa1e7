"""The few calls of tor's control protocol that a lab needs to start; the service has its own, fuller connection.

Lines are "250-key=value", "250+key=" with data up to a lone ".", and a last "250 OK" (control-spec, section 2.3).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from services.kit.errors import Unavailable

_ANSWER_S = 10.0
"""A control port of ours answers in milliseconds; a node that is paused never does."""

_LONGEST_LINE = 4 * 1024 * 1024


class ControlError(Unavailable):
    """A node's control socket refused, or broke off."""


class Control:
    """One authenticated connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def info(self, key: str) -> str:
        """Ask GETINFO for one key; the text of its value, several lines where it has them.

        Raises:
            ControlError: tor does not know the key, or the connection broke.
        """
        lines = await self.command(f"GETINFO {key}")
        return "\n".join([lines[0].removeprefix(f"{key}="), *lines[1:-1]]).strip("\n")

    async def command(self, line: str) -> list[str]:
        """Send one command; the lines of the answer without their codes.

        Raises:
            ControlError: tor refused, in its words, or the connection broke.
        """
        try:
            async with asyncio.timeout(_ANSWER_S):
                self._writer.write(f"{line}\r\n".encode())
                await self._writer.drain()
                return await self._answer(line)
        except TimeoutError:
            raise ControlError(f"tor did not answer {_verb(line)} within {_ANSWER_S:g} s") from None
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            raise ControlError(f"the control connection broke: {error}") from error

    async def _answer(self, command: str) -> list[str]:
        lines: list[str] = []
        while True:
            line = await self._line()
            code, kind, text = line[:3], line[3:4], line[4:]
            lines.append(text)
            if kind == "+":
                while (data := await self._line()) != ".":
                    lines.append(data.removeprefix("."))
            elif kind == " ":
                if not code.startswith("2"):
                    raise ControlError(f"tor refused {_verb(command)}: {code} {text}")
                return lines

    async def _line(self) -> str:
        return (await self._reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "replace")


def _verb(command: str) -> str:
    return command.partition(" ")[0]


@contextlib.asynccontextmanager
async def connect(socket_path: Path, cookie_path: Path) -> AsyncIterator[Control]:
    """Open a control connection and show it the cookie.

    Raises:
        ControlError: nobody listens there, or the cookie is not the right one.
    """
    try:
        cookie = cookie_path.read_bytes().hex()  # noqa: ASYNC240 - 32 bytes
        reader, writer = await asyncio.open_unix_connection(socket_path, limit=_LONGEST_LINE)
    except OSError as error:
        raise ControlError(f"{socket_path} cannot be used: {error.strerror or error}") from error
    try:
        control = Control(reader, writer)
        await control.command(f"AUTHENTICATE {cookie}")
        yield control
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
