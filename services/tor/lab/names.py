"""The name server of a lab's exits: it knows what is on this machine and asks nobody, so that no name leaves it."""

import asyncio
import struct
from typing import Self, cast

_HEADER = struct.Struct(">HHHHHH")
"""Id, flags, and how many questions, answers, authorities and additional records (RFC 1035, 4.1.1)."""

_RESPONSE, _AUTHORITATIVE, _RECURSION_WANTED, _RECURSION = 0x8000, 0x0400, 0x0100, 0x0080
_NO_ERROR, _FORMAT_ERROR, _NO_SUCH_NAME = 0, 1, 3
_A, _IN = 1, 1

_LOCAL = b"test"
"""Names under this top level domain, which the internet never will have (RFC 6761), are 127.0.0.1."""


def answer(query: bytes) -> bytes | None:
    """Answer one datagram: `test` and everything under it is 127.0.0.1, nothing else exists. None: not a query."""
    if len(query) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & _RESPONSE:
        return None
    try:
        if questions != 1:
            raise ValueError("one question is what everybody asks")
        labels, end = _name(query, _HEADER.size)
        kind, family = struct.unpack_from(">HH", query, end)
    except (ValueError, IndexError, struct.error):
        return _HEADER.pack(number, _RESPONSE | _FORMAT_ERROR, 0, 0, 0, 0)
    known = labels[-1:] == [_LOCAL]
    # The name is copied from the question and pointed to, with the asker's own mix of cases: tor checks it.
    record = struct.pack(">HHHIH4s", 0xC000 | _HEADER.size, _A, _IN, 60, 4, bytes((127, 0, 0, 1)))
    answers = record if known and (kind, family) == (_A, _IN) else b""
    code = _NO_ERROR if known else _NO_SUCH_NAME
    head = _RESPONSE | _AUTHORITATIVE | _RECURSION | flags & _RECURSION_WANTED | code
    return _HEADER.pack(number, head, 1, 1 if answers else 0, 0, 0) + query[_HEADER.size : end + 4] + answers


def _name(message: bytes, at: int) -> tuple[list[bytes], int]:
    """Read a name that is not compressed: its labels in lower case, and where it ends."""
    labels = []
    while (length := message[at]) != 0:
        if length > 63:
            raise ValueError("a question's name is not compressed")
        labels.append(message[at + 1 : at + 1 + length].lower())
        at += 1 + length
    return labels, at + 1


class NameServer(asyncio.DatagramProtocol):
    """Listens on one UDP address until it is closed."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def listen(cls, host: str, port: int) -> Self:
        """Bind and serve.

        Raises:
            OSError: the address is taken.
        """
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=(host, port))
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        # A cast, because uvloop's transports are datagram transports by what they do only.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer."""
        reply = answer(data)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()
