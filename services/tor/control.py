"""One connection to tor's control port, and the only file that knows stem.

Of stem 1.8.2 only the wire format is used (`stem.socket.recv_message`): its controller keeps two threads of which one
wakes up twenty times a second, warns about `setDaemon` since Python 3.10, and is 10 MB with the parsers that it loads.
Here one thread blocks in `recv` and hands every message to the event loop, and nothing waits without a bound. Commands
are answered in order (control-spec, section 2.3), events begin with 650.
"""

import asyncio
import binascii
import contextlib
import errno
import hashlib
import hmac
import os
import re
import secrets
import socket
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stem
import stem.socket

from services.tor import install
from services.tor.api import TorState
from services.tor.settings import Address

_LONGEST_LINE = 1024 * 1024
"""Bytes; the longest lines of tor (a bandwidth history) have a few thousand."""
_LONGEST_DATA = 32 * 1024 * 1024
"""Bytes of one answer; the whole consensus is about 3 MB."""
_MOST_UNREAD = 1000
"""Messages that wait for the event loop."""

_COOKIE_BYTES = 32
_LONGEST_PASSWORD = 1024
_SERVER_KEY = b"Tor safe cookie authentication server-to-controller hash"
_CLIENT_KEY = b"Tor safe cookie authentication controller-to-server hash"

EventHandler = Callable[[str, str], None]
"""Takes an event's name, and the rest of it."""


class ControlError(Exception):
    """tor cannot be talked to; `state` says in one word why, `message` what to do."""

    def __init__(self, state: TorState, message: str) -> None:
        super().__init__(message)
        self.state = state
        self.message = message


class Refused(Exception):
    """tor said no to a command."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        """Three digits (control-spec, section 4)."""
        self.text = clean(text)
        """tor's words."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What opens the control port."""

    password_file: Path | None = None
    cookie_file: Path | None = None
    """None: where tor says that it is."""


def clean(text: str, most: int = 500) -> str:
    """Make what tor or a relay's operator wrote safe to show: one line, nothing that a terminal would obey."""
    safe = "".join(char if char.isprintable() else " " for char in text[: most + 1])
    return safe if len(safe) <= most else safe[: most - 1] + "…"


def fields(text: str) -> tuple[list[str], dict[str, str]]:
    """Split a line of tor's into its words and its KEY=VALUE pairs; quoted values are unquoted.

    Keys are found here, and not by stem's ControlLine, for which everything up to the last `=` of `KEY="a=b"` is key.
    """
    words: list[str] = []
    pairs: dict[str, str] = {}
    for found in _FIELD.finditer(text[:_LONGEST_FIELDS]):
        key, quoted, plain, word = found.groups()
        if key is None:
            words.append(word)
        else:
            pairs[key] = plain if quoted is None else _unquoted(quoted)
    return words, pairs


_FIELD = re.compile(r'([A-Za-z][A-Za-z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|(\S*))|(\S+)', re.DOTALL)
_LONGEST_FIELDS = 8192
"""Characters; an event or a circuit of tor's has some hundreds."""
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _unquoted(text: str) -> str:
    """Undo tor's esc_for_log: backslashes, and bytes as octal digits (control-spec, QuotedString)."""

    def plain(found: re.Match[bytes]) -> bytes:
        what = found[1]
        return bytes([int(what, 8) & 255]) if what.isdigit() and what < b"8" else _ESCAPED.get(what, what)

    return _ESCAPE.sub(plain, text.encode("utf-8", "replace")).decode("utf-8", "replace")


def number(text: str | None) -> int | None:
    """Read a count as tor writes it; None for anything else, and for what no count of tor's can be."""
    return int(text) if text is not None and len(text) < 19 and text.isascii() and text.isdigit() else None


class _Lines:
    """What stem reads from: a socket, line by line, with a bound on each line and on one answer."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self._left = _LONGEST_DATA
        self.first = b""
        """The beginning of the first line: it tells what kind of server this is."""

    def answer_begins(self) -> None:
        """A new message: it has the whole bound for itself."""
        self._left = _LONGEST_DATA

    def readline(self) -> bytes:
        """As a file's; raises OSError on what is too long."""
        line = self._file.readline(_LONGEST_LINE + 1)
        self.first = self.first or line[:80]
        self._left -= len(line)
        if len(line) > _LONGEST_LINE or self._left < 0:
            raise OSError("an answer without end")
        return line

    def close(self) -> None:
        """Close the file; the socket is its owner's."""
        self._file.close()


class Control:
    """An authenticated connection; it ends once, and then a new one is made."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._socket = connection
        self._timeout_s = timeout_s
        self._lines = _Lines(connection)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[list[tuple[str, str]]]] = deque()
        self._on_event: EventHandler | None = None
        self._room = threading.BoundedSemaphore(_MOST_UNREAD)
        self._garbled = False
        self._closing = False
        self.ended: asyncio.Future[str] = self._loop.create_future()
        """Done when the connection is over, with words for why."""
        self.open_to_all = False
        """tor asked for no authentication: whoever reaches the port commands it."""
        threading.Thread(target=self._read, name="tor-control", daemon=True).start()

    @classmethod
    async def connect(
        cls, address: Address, credentials: Credentials, on_event: EventHandler, timeout_s: float = 5.0
    ) -> "Control":
        """Connect and authenticate; every step within `timeout_s`.

        Raises:
            ControlError: nobody is there, it is something else, or it does not let us in.
        """
        control = cls(await _connected(address, timeout_s), timeout_s)
        try:
            await control._introduce(address, credentials)
        except BaseException:
            await control.close()
            raise
        control._on_event = on_event
        return control

    async def close(self) -> None:
        """End the connection."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        await asyncio.shield(self.ended)

    # ------------------------------------------------------------------ commands

    async def get(self, *keys: str) -> dict[str, str]:
        """GETINFO; a key that tor does not know, or cannot answer now, is missing in the answer."""
        try:
            return await self._getinfo(keys)
        except Refused:
            if len(keys) == 1:
                return {}
        found: dict[str, str] = {}
        for key in keys:
            found |= await self.get(key)
        return found

    async def _getinfo(self, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for _, line in await self.tell("GETINFO", *keys):
            key, equals, value = line.partition("=")
            if equals:
                found[key] = value.removeprefix("\n")
        return found

    async def options(self, *names: str) -> dict[str, list[str]]:
        """GETCONF: the values of options, none for an option at its default of nothing."""
        found: dict[str, list[str]] = {}
        for _, line in await self.tell("GETCONF", *names):
            name, equals, value = line.partition("=")
            found.setdefault(name, []).extend([value] if equals else [])
        return found

    async def tell(self, *words: str) -> list[tuple[str, str]]:
        """Send one command and return the lines of its answer, as (code, text).

        Raises:
            Refused: tor says no.
            ControlError: the connection ended, or no answer came within the bound; then it is over.
        """
        command = " ".join(words)
        if not command.isascii() or not command.isprintable():
            raise ValueError("a command is one line of printable ASCII")
        if self.ended.done():
            raise ControlError(TorState.NOT_RUNNING, self.ended.result())
        reply: asyncio.Future[list[tuple[str, str]]] = self._loop.create_future()
        self._waiting.append(reply)
        line = f"{command}\r\n".encode()
        try:
            # A control connection's buffer holds dozens of commands: one that is full belongs to a hung tor.
            if self._socket.send(line, socket.MSG_DONTWAIT) < len(line):
                raise BlockingIOError
            async with asyncio.timeout(self._timeout_s):
                lines = await asyncio.shield(reply)
        except (TimeoutError, BlockingIOError):
            if not reply.done():
                await self.close()
                raise ControlError(
                    TorState.SILENT, f"tor did not answer {words[0]} within {self._timeout_s:g} s: it hangs; restart it"
                ) from None
            lines = reply.result()
        except OSError as error:
            await self.close()
            raise ControlError(TorState.NOT_RUNNING, f"the control connection broke: {error.strerror}") from None
        for code, text in lines:
            if not code.startswith("2"):
                raise Refused(code, text)
        return lines

    # ------------------------------------------------------------------ the reading thread

    def _read(self) -> None:
        words = "tor closed the control connection"
        try:
            while True:
                self._lines.answer_begins()
                content = stem.socket.recv_message(self._lines).content()
                # No more is taken from tor than the loop has room for: a flood of events waits in the socket.
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._arrived, content)
        except stem.ProtocolError as error:
            self._garbled = True
            words = f"what came is not the control protocol: {error}"
        except stem.SocketClosed:
            pass
        except (stem.ControllerError, OSError) as error:
            words = f"the control connection broke: {error}"
        except RuntimeError:  # the loop is gone, and with it everybody who would listen
            return
        except Exception as error:  # noqa: BLE001 - a thread that is gone without a word leaves everybody waiting
            words = f"what came cannot be read: {type(error).__name__}"
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._end, words)

    def _arrived(self, content: Sequence[Any]) -> None:
        self._room.release()
        lines = [(str(code), str(text)) for code, _, text in content]
        if lines[0][0] == "650":
            if self._on_event is not None:
                name, *rest = re.split(r"[ \n]", lines[0][1], maxsplit=1)
                self._on_event(name, rest[0] if rest else "")
            return
        while self._waiting:
            reply = self._waiting.popleft()
            if not reply.done():
                reply.set_result(lines)
            return

    def _end(self, words: str) -> None:
        if self.ended.done():
            return
        self._lines.close()
        self._socket.close()
        self.ended.set_result("closed" if self._closing else words)
        error = ControlError(TorState.NOT_CONTROL_PORT if self._garbled else TorState.NOT_RUNNING, words)
        while self._waiting:
            reply = self._waiting.popleft()
            if not reply.done():
                reply.set_exception(error)
                reply.exception()  # a caller that ran into its bound leaves nobody to look

    # ------------------------------------------------------------------ authentication (control-spec, 3.5 and 3.24)

    async def _introduce(self, address: Address, credentials: Credentials) -> None:
        try:
            lines = await self.tell("PROTOCOLINFO", "1")
        except ControlError as error:
            raise self._stranger(address, error) from None
        except Refused:
            raise ControlError(
                TorState.NOT_CONTROL_PORT, f"what listens at {address} does not know PROTOCOLINFO: it is no tor"
            ) from None
        methods, cookie_file = _offered(lines)
        if not methods:
            raise self._stranger(address, ControlError(TorState.NOT_CONTROL_PORT, ""))
        try:
            await self._authenticate(methods, cookie_file, credentials)
        except ControlError as error:
            if error.state is TorState.NOT_RUNNING:  # tor hangs up on whom it refuses
                raise ControlError(TorState.NOT_CONTROL_PORT, f"{address} hung up in mid-authentication") from None
            raise

    def _stranger(self, address: Address, error: ControlError) -> ControlError:
        """Say what it is that listens there."""
        first = self._lines.first
        if error.state is TorState.SILENT and (not first or first[:3].isdigit()):
            return ControlError(
                TorState.SILENT,
                f"{address} takes the connection and says nothing: either tor hangs (restart it), or this is not "
                "its control port (compare ControlPort and ControlSocket in the torrc)",
            )
        # Of a SOCKS port that is spoken to in any other way tor says so over HTTP, for browsers to show.
        kinds = {
            b"HTTP/1.0 501 Tor is not": "tor's SOCKS port",
            b"HTTP/": "an HTTP server",
            b"<": "an HTTP server",
            b"SSH-": "an SSH server",
            b"220": "a mail server",
        }
        what = next((name for start, name in kinds.items() if first.startswith(start)), "something else")
        if not first:
            what = "something that hangs up at once, as a SOCKS port or an ORPort does"
        return ControlError(
            TorState.NOT_CONTROL_PORT,
            f"{address} is {what}, not tor's control port: set TOR_CONTROL_SOCKET or TOR_PROXY_CONTROL_PORT",
        )

    async def _authenticate(self, methods: set[str], named: Path | None, credentials: Credentials) -> None:
        if credentials.password_file is not None and "HASHEDPASSWORD" in methods:
            await self._by_password(credentials.password_file)
        elif "NULL" in methods:
            _require_no_key(credentials)
            self.open_to_all = True
            await self.tell("AUTHENTICATE")
        elif "SAFECOOKIE" in methods:
            await self._by_safe_cookie(_cookie_path(credentials, named))
        elif "COOKIE" in methods and credentials.cookie_file is not None:
            # It is sent as it is: only a file that the operator named, never one that the other side chose.
            await self._enter(_read_cookie(credentials.cookie_file), TorState.WRONG_COOKIE, credentials.cookie_file)
        elif "COOKIE" in methods:
            raise ControlError(
                TorState.UNREADABLE_COOKIE, "this tor is too old for safe cookies: set TOR_CONTROL_COOKIE_FILE"
            )
        elif "HASHEDPASSWORD" in methods:
            raise ControlError(
                TorState.PASSWORD_MISSING,
                "tor wants a password: put it into a file and set TOR_CONTROL_PASSWORD_FILE, or set "
                "CookieAuthentication 1 in the torrc",
            )
        else:
            raise ControlError(
                TorState.NOT_CONTROL_PORT, "it offers no way to authenticate that this version knows: is it tor?"
            )

    async def _by_password(self, file: Path) -> None:
        try:
            password = _read(file, _LONGEST_PASSWORD).rstrip(b"\r\n")
        except OSError as error:
            raise ControlError(
                TorState.PASSWORD_MISSING, f"TOR_CONTROL_PASSWORD_FILE {file} cannot be read: {error.strerror}"
            ) from None
        await self._enter(password, TorState.WRONG_PASSWORD, file)

    async def _by_safe_cookie(self, file: Path) -> None:
        cookie = _read_cookie(file)
        nonce = secrets.token_bytes(32)
        try:
            lines = await self.tell("AUTHCHALLENGE", "SAFECOOKIE", nonce.hex())
        except Refused as error:
            raise ControlError(TorState.WRONG_COOKIE, f"tor refused a safe cookie: {error.text}") from None
        _, pairs = fields(lines[0][1])
        try:
            theirs, their_nonce = binascii.unhexlify(pairs["SERVERHASH"]), binascii.unhexlify(pairs["SERVERNONCE"])
        except (KeyError, ValueError):
            raise ControlError(TorState.NOT_CONTROL_PORT, "its answer to AUTHCHALLENGE is not tor's") from None
        both = cookie + nonce + their_nonce
        if not hmac.compare_digest(hmac.digest(_SERVER_KEY, both, hashlib.sha256), theirs):
            raise _wrong_cookie(file)
        await self._enter(hmac.digest(_CLIENT_KEY, both, hashlib.sha256), TorState.WRONG_COOKIE, file)

    async def _enter(self, secret: bytes, wrong: TorState, file: Path) -> None:
        try:
            await self.tell("AUTHENTICATE", secret.hex())
        except Refused as error:
            if wrong is TorState.WRONG_COOKIE:
                raise _wrong_cookie(file) from None
            raise ControlError(
                wrong,
                f"tor refuses the password in {file}: write the one whose `tor --hash-password` is in the torrc "
                f"({error.text})",
            ) from None


def _wrong_cookie(file: Path) -> ControlError:
    return ControlError(
        TorState.WRONG_COOKIE,
        f"the cookie in {file} is not this tor's: another tor wrote it, or tor was restarted with another "
        "CookieAuthFile; set TOR_CONTROL_COOKIE_FILE to the right one",
    )


def _require_no_key(credentials: Credentials) -> None:
    """Refuse a control port without a lock where the operator named a key: somebody else may have taken tor's place.

    Whoever is let in by us gets the keys of onions.
    """
    for file, name, state in (
        (credentials.password_file, "TOR_CONTROL_PASSWORD_FILE", TorState.WRONG_PASSWORD),
        (credentials.cookie_file, "TOR_CONTROL_COOKIE_FILE", TorState.WRONG_COOKIE),
    ):
        if file is not None:
            raise ControlError(
                state,
                f"what listens there asks for no key, and {name} names one: set CookieAuthentication 1 or "
                "HashedControlPassword in the torrc and restart tor, or look who else listens there",
            )


def _offered(lines: Sequence[tuple[str, str]]) -> tuple[set[str], Path | None]:
    """Read the ways to authenticate, and the cookie's path, from the answer to PROTOCOLINFO."""
    methods: set[str] = set()
    cookie: Path | None = None
    for _, line in lines:
        if line.startswith("AUTH "):
            _, pairs = fields(line)
            methods |= set(pairs.get("METHODS", "").split(","))
            named = pairs.get("COOKIEFILE", "")
            cookie = Path(named) if named.isprintable() and named else cookie
    return methods - {""}, cookie


def _cookie_path(credentials: Credentials, named: Path | None) -> Path:
    file = credentials.cookie_file or named
    if file is None:
        raise ControlError(
            TorState.UNREADABLE_COOKIE, "tor does not say where its cookie is: set TOR_CONTROL_COOKIE_FILE"
        )
    return file


def _read(file: Path, most: int) -> bytes:
    """Read a regular file up to `most` bytes; nothing else, for a pipe would be waited for. Raises OSError."""
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return os.read(handle, most)
    finally:
        os.close(handle)


def _read_cookie(file: Path) -> bytes:
    try:
        cookie = _read(file, _COOKIE_BYTES + 1)
    except OSError as error:
        raise ControlError(
            TorState.UNREADABLE_COOKIE,
            f"tor's cookie {file} cannot be read ({error.strerror}): add this node's user to tor's group (on Debian: "
            "adduser <user> debian-tor) and set CookieAuthFileGroupReadable 1, or set TOR_CONTROL_COOKIE_FILE",
        ) from None
    if len(cookie) != _COOKIE_BYTES:
        raise ControlError(TorState.WRONG_COOKIE, f"{file} is no cookie of tor's: that has {_COOKIE_BYTES} bytes")
    return cookie


async def _connected(address: Address, timeout_s: float) -> socket.socket:
    """Connect a socket.

    Raises:
        ControlError: in words that say what to do.
    """
    loop = asyncio.get_running_loop()
    connection: socket.socket | None = None
    try:
        async with asyncio.timeout(timeout_s):
            if address.path is not None:
                family, where = socket.AF_UNIX, str(address.path)
                target: Any = where
            else:
                found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
                family, target = found[0][0], found[0][4]
            connection = socket.socket(family, socket.SOCK_STREAM)
            connection.setblocking(False)
            await loop.sock_connect(connection, target)
    except (OSError, TimeoutError) as error:
        if connection is not None:
            connection.close()
        raise _nobody(address, error, timeout_s) from None
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    connection.setblocking(True)
    return connection


def _nobody(address: Address, error: Exception, timeout_s: float) -> ControlError:
    if isinstance(error, PermissionError):
        return ControlError(
            TorState.UNREACHABLE,
            f"this user may not open {address}: add it to tor's group (on Debian: adduser <user> debian-tor), then "
            "start this service again",
        )
    if isinstance(error, socket.gaierror):
        return ControlError(
            TorState.UNREACHABLE, f"no host has the name {address.host}: set TOR_PROXY_HOST, or start that container"
        )
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        if address.is_local and not install.is_there():
            return ControlError(
                TorState.MISSING, f"tor is not installed: {install.INSTALL}, or set TOR_PROXY_HOST to where it runs"
            )
        return ControlError(
            TorState.NOT_RUNNING,
            f"nothing listens at {address}: start tor (systemctl start tor), with ControlSocket or ControlPort and "
            "CookieAuthentication 1 in its torrc",
        )
    if isinstance(error, TimeoutError):
        return ControlError(
            TorState.UNREACHABLE, f"{address} did not take a connection within {timeout_s:g} s: does that host run?"
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ControlError(TorState.UNREACHABLE, f"{address} cannot be reached: {reason}")
