"""SOCKS5 with a user name, over a Unix socket or TCP: a connection to somewhere else, and the name looked up there.

Only user name and password are offered (RFC 1929), never an anonymous session: Tor keeps streams of different users on
different circuits (`IsolateSOCKSAuth`), and a proxy that takes no user would put them all on one without a word.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SOCKS_PASSWORD = "lucid"
"""The same for every program of the node: the user alone tells circuits apart."""

GREETING_TIMEOUT_S = 5.0
"""How long a proxy on this machine or the next may take to say that it speaks SOCKS; Tor answers at once."""

_VERSION, _USER_AND_PASSWORD, _AUTH_VERSION, _CONNECT = 5, 2, 1, 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LONGEST = 255


class Reason(StrEnum):
    """Why there is no connection. Nothing of a request has left in any of these cases."""

    NO_PROXY = "no SOCKS port"
    """Nothing listens where the SOCKS port should be."""
    SILENT = "silent SOCKS port"
    """Something accepts connections there and says nothing."""
    NOT_SOCKS = "not a SOCKS port"
    """Something else listens there."""
    NO_ISOLATION = "no isolation"
    """The proxy does not take a user name, so that every endpoint would share one circuit."""
    CLOSED = "SOCKS port closed"
    """The proxy hung up before it answered: it stops or starts."""
    NO_CIRCUIT = "no circuit"
    """The proxy gave no answer in time about this destination."""
    FAILED = "general failure"
    """Reply 1. Tor: refused by the target, port not allowed by any exit, private address, invalid onion address."""
    NOT_ALLOWED = "not allowed"
    """Reply 2. Tor: `SafeSocks` wants a name and got an address."""
    NETWORK_UNREACHABLE = "network unreachable"
    """Reply 3."""
    HOST_UNREACHABLE = "host unreachable"
    """Reply 4. Tor: the exit finds no such name, or the onion service is not published."""
    TARGET_REFUSED = "refused by the target"
    """Reply 5."""
    EXPIRED = "TTL expired"
    """Reply 6. Tor: no circuit before `SocksTimeout`."""
    UNSUPPORTED = "not supported"
    """Replies 7 and 8, and any that RFC 1928 does not know."""


PROXY_TROUBLE = frozenset({Reason.NO_PROXY, Reason.SILENT, Reason.NOT_SOCKS, Reason.NO_ISOLATION, Reason.CLOSED})
"""Reasons that say nothing of the destination: it was never asked for."""

_REPLIES = {
    1: (Reason.FAILED, "Tor could not connect: it refuses, no exit allows its port, or its address is private"),
    2: (Reason.NOT_ALLOWED, "Tor's settings do not allow it; with SafeSocks, use a name and not an address"),
    3: (Reason.NETWORK_UNREACHABLE, "its network cannot be reached from the exit"),
    4: (Reason.HOST_UNREACHABLE, "no exit finds its name, or its onion service is not published"),
    5: (Reason.TARGET_REFUSED, "it refuses connections"),
    6: (Reason.EXPIRED, "Tor built no circuit to it in time (TTL expired)"),
    7: (Reason.UNSUPPORTED, "the SOCKS port does not do CONNECT"),
    8: (Reason.UNSUPPORTED, "the SOCKS port does not take this kind of address"),
}


class SocksError(Exception):
    """There is no connection, and nothing of a request has left."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Say `message`, words that tell what to do."""
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class SocksPort:
    """Where the SOCKS port is: a Unix socket, else host and TCP port."""

    path: Path | None = None
    host: str = ""
    """An address; or a name, which is the only one that is ever looked up on this machine."""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class User:
    """Whose connections may share a circuit."""

    name: str
    """1 to 255 ASCII characters; Tor's control port shows it on the circuit."""
    password: str
    """1 to 255 ASCII characters; part of the isolation, no secret."""

    def login(self) -> bytes:
        """The request of RFC 1929."""
        name, password = self.name.encode("ascii"), self.password.encode("ascii")
        if not (0 < len(name) <= _LONGEST and 0 < len(password) <= _LONGEST):
            raise ValueError("a SOCKS user and its password have 1 to 255 characters each")
        return bytes([_AUTH_VERSION, len(name)]) + name + bytes([len(password)]) + password


async def connect(proxy: SocksPort, host: str, port: int, user: User, timeout_s: float) -> socket.socket:
    """Return a connected, non-blocking socket to `host`:`port` as the proxy sees it, within `timeout_s`.

    Raises:
        SocksError: there is none; the reason says whose fault it is.
    """
    opened: socket.socket | None = None
    try:
        async with asyncio.timeout(timeout_s) as overall:
            opened = await _greet(proxy, user)
            await _ask(opened, proxy, host, port)
    except TimeoutError:
        _close(opened)
        if not overall.expired():
            raise
        raise SocksError(Reason.NO_CIRCUIT, f"Tor built no circuit to {host} in {timeout_s:g} s") from None
    except BaseException:
        _close(opened)
        raise
    return opened


async def _greet(proxy: SocksPort, user: User) -> socket.socket:
    """Connect to the proxy and log in; the proxy alone answers this, nothing else is involved."""
    opened: socket.socket | None = None
    try:
        async with asyncio.timeout(GREETING_TIMEOUT_S) as greeting:
            opened = await _open(proxy)
            await _send(opened, bytes([_VERSION, 1, _USER_AND_PASSWORD]), proxy)
            version, method = await _receive(opened, 2, proxy)
            if version != _VERSION:
                raise SocksError(Reason.NOT_SOCKS, f"what listens at {proxy} is no SOCKS port: see TOR_SOCKS_SOCKET")
            if method != _USER_AND_PASSWORD:
                raise SocksError(
                    Reason.NO_ISOLATION,
                    f"the SOCKS port {proxy} takes no user name, endpoints would share a circuit: use Tor's own port",
                )
            await _send(opened, user.login(), proxy)
            _, status = await _receive(opened, 2, proxy)
            if status != 0:
                raise SocksError(Reason.NO_ISOLATION, f"the SOCKS port {proxy} wants a password of its own")
    except TimeoutError:
        _close(opened)
        if not greeting.expired():
            raise
        raise SocksError(
            Reason.SILENT, f"the SOCKS port {proxy} says nothing: is that Tor, and does it still run?"
        ) from None
    except BaseException:
        _close(opened)
        raise
    return opened


def _why(error: OSError) -> str:
    """The kernel's words; asyncio's name the address again, as Python writes it."""
    return os.strerror(error.errno) if error.errno else str(error)


async def _open(proxy: SocksPort) -> socket.socket:
    loop = asyncio.get_running_loop()
    family, address = await _place(proxy)
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setblocking(False)
    try:
        if family != socket.AF_UNIX:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(opened, address)
    except PermissionError:
        opened.close()
        raise SocksError(
            Reason.NO_PROXY, f"this user may not open {proxy}: add it to Tor's group (on Debian: debian-tor)"
        ) from None
    except OSError as error:
        opened.close()
        raise SocksError(
            Reason.NO_PROXY, f"there is no SOCKS port at {proxy} ({_why(error)}): is Tor running?"
        ) from None
    except BaseException:
        opened.close()
        raise
    return opened


async def _place(proxy: SocksPort) -> tuple[int, str | tuple[str, int]]:
    """Family and address of the proxy; only its own name is looked up, and only when it is one."""
    if proxy.path is not None:
        return socket.AF_UNIX, str(proxy.path)
    with contextlib.suppress(ValueError):
        version = ipaddress.ip_address(proxy.host).version
        return (socket.AF_INET if version == 4 else socket.AF_INET6), (proxy.host, proxy.port)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise SocksError(
            Reason.NO_PROXY, f"the SOCKS port's host {proxy.host} is not known ({error.strerror}): see TOR_PROXY_HOST"
        ) from None
    family, _, _, _, address = found[0]
    return family, (str(address[0]), proxy.port)


async def _ask(opened: socket.socket, proxy: SocksPort, host: str, port: int) -> None:
    """Have the proxy connect to the destination."""
    await _send(opened, bytes([_VERSION, _CONNECT, 0]) + _address(host) + port.to_bytes(2, "big"), proxy)
    version, reply = await _receive(opened, 2, proxy)
    if version != _VERSION:
        raise SocksError(Reason.NOT_SOCKS, f"what listens at {proxy} is no SOCKS port: see TOR_SOCKS_SOCKET")
    if reply != 0:
        reason, words = _REPLIES.get(reply, (Reason.UNSUPPORTED, f"the SOCKS port answers with code {reply:#04x}"))
        raise SocksError(reason, f"{host}: {words}")
    _, kind = await _receive(opened, 2, proxy)
    length = {_IPV4: 4, _IPV6: 16}.get(kind) or (await _receive(opened, 1, proxy))[0]
    await _receive(opened, length + 2, proxy)


def _address(host: str) -> bytes:
    """The destination as RFC 1928 writes it: a name stays a name."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return bytes([_IPV4 if address.version == 4 else _IPV6]) + address.packed
    name = host.encode("ascii")
    if not 0 < len(name) <= _LONGEST:
        raise SocksError(Reason.UNSUPPORTED, "a host name has 1 to 255 characters")
    return bytes([_NAME, len(name)]) + name


async def _send(opened: socket.socket, data: bytes, proxy: SocksPort) -> None:
    try:
        await asyncio.get_running_loop().sock_sendall(opened, data)
    except OSError:
        raise _hung_up(proxy) from None


async def _receive(opened: socket.socket, length: int, proxy: SocksPort) -> bytes:
    """Read exactly so many bytes: the first byte after the reply belongs to the destination."""
    loop, found = asyncio.get_running_loop(), b""
    while len(found) < length:
        try:
            chunk = await loop.sock_recv(opened, length - len(found))
        except OSError:
            chunk = b""
        if not chunk:
            raise _hung_up(proxy)
        found += chunk
    return found


def _hung_up(proxy: SocksPort) -> SocksError:
    return SocksError(Reason.CLOSED, f"the SOCKS port {proxy} hung up before it answered: Tor stops or starts")


def _close(opened: socket.socket | None) -> None:
    if opened is not None:
        opened.close()
