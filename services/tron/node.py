"""One TRON node: JSON over HTTP, with every failure turned into one error that says of which kind it is."""

import asyncio
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit

from services.kit.egress import Answer, Call, Egress, EgressError, Fault, Reason
from services.kit.errors import UpstreamError

MAX_BODY_BYTES = 8 * 1024 * 1024
"""No answer that is longer is read to its end."""

_MESSAGE_LENGTH = 200

_READS = ("get", "list", "estimate", "triggerconstant", "validate")
"""How the calls begin that change nothing; any other is made once, on a circuit that no read uses."""


class Kind(StrEnum):
    """How a call to a node failed."""

    REFUSED = "refused"
    """No connection: nothing was sent."""
    NO_WAY_OUT = "no way out"
    """Tor cannot be used, or reaches nobody: nothing was sent, and the node is not to blame."""
    TIMEOUT = "timeout"
    """No whole answer in time; the request may have been carried out."""
    RESET = "reset"
    """The connection broke; the request may have been carried out."""
    HTTP = "http"
    """A status other than 200."""
    RATE_LIMITED = "rate limited"
    """Status 429."""
    TOO_LARGE = "too large"
    """The answer is longer than we read."""
    GARBLED = "garbled"
    """The answer is cut, or is not the JSON object that it should be."""
    NODE = "node error"
    """Status 200 with `{"Error": …}`: the node's own exception (java-tron's `Util.printErrorMsg`)."""


class NodeError(UpstreamError):
    """A call to one node failed."""

    code = "node_error"

    def __init__(
        self, message: str, kind: Kind = Kind.GARBLED, endpoint: str = "", status: int = 0, retry_after_s: float = 0.0
    ) -> None:
        """Say what happened in `message`; `status` is the HTTP status if there was one.

        `retry_after_s` is how long the node asked to be left alone.
        """
        super().__init__(f"{endpoint}: {message}" if endpoint else message, kind=kind.value, endpoint=endpoint)
        self.kind = kind
        self.endpoint = endpoint
        self.http_status = status
        self.retry_after_s = retry_after_s

    @property
    def about_the_question(self) -> bool:
        """Whether the node is well and only this call displeases it, as one that it does not have."""
        return self.kind is Kind.NODE or self.http_status in {400, 404, 405}

    @property
    def label(self) -> str:
        """The kind in a word or two, as it stands in an order's answers: `timeout`, `http 503`."""
        return f"http {self.http_status}" if self.kind in {Kind.HTTP, Kind.RATE_LIMITED} else self.kind.value


class Node(Protocol):
    """What a node can be asked; tests bring their own."""

    @property
    def name(self) -> str:
        """host:port, unique among the configured nodes."""

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call `wallet/…` or `walletsolidity/…`; raises NodeError."""

    async def get(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Call `v1/…`; raises NodeError."""

    async def close(self) -> None:
        """Close its connections."""


_KINDS: dict[Reason | Fault, Kind] = {
    Fault.TIMEOUT: Kind.TIMEOUT,
    Fault.BROKEN: Kind.RESET,
    Fault.TOO_LARGE: Kind.TOO_LARGE,
}


class HttpNode:
    """A node behind a URL, reached by the one way out: bounded answers, no redirects, reads asked twice when slow."""

    def __init__(self, url: str, egress: Egress, timeout_s: float, api_key: str = "") -> None:
        """Reach the node at `url` (no final slash); every call ends within `timeout_s`.

        Raises:
            ValueError: `egress` does not go there.
        """
        self._url = url
        self._name = urlsplit(url).netloc
        self._reads = egress.way("read", url)
        self._sends = egress.way("broadcast", url)
        self._timeout_s = timeout_s
        self._headers = {"TRON-PRO-API-KEY": api_key} if api_key else {}

    @property
    def name(self) -> str:
        """host:port."""
        return self._name

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a JSON object and read one.

        Raises:
            NodeError: anything but a JSON object with status 200 and without `Error`.
        """
        return await self._call("POST", path, body=dict(body))

    async def get(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """GET a JSON object; the same errors as `post`."""
        return await self._call("GET", path, params=dict(params))

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(self._reads.close(), self._sends.close())

    async def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        call = Call(method, f"{self._url}/{path}", self._timeout_s, MAX_BODY_BYTES, headers=self._headers, **content)
        try:
            answer = await (self._reads.read(call) if _is_read(path) else self._sends.once(call))
        except EgressError as error:
            raise NodeError(error.message, _kind(error), self._name) from None
        if answer.status != 200:
            kind = Kind.RATE_LIMITED if answer.status == 429 else Kind.HTTP
            raise NodeError(_status_words(answer), kind, self._name, answer.status, _retry_after_s(answer))
        return self._parse(answer.content)

    def _parse(self, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise NodeError("its answer is cut or is not JSON", Kind.GARBLED, self._name) from None
        return checked_answer(answer, self._name)


def _is_read(path: str) -> bool:
    return path.startswith("v1/") or path.rpartition("/")[2].startswith(_READS)


def _kind(error: EgressError) -> Kind:
    # First of all: what may have left is never called refused, whatever else is known of it.
    if error.sent:
        return _KINDS.get(error.reason, Kind.RESET)
    return Kind.NO_WAY_OUT if error.blames_nobody else Kind.REFUSED


def _status_words(answer: Answer) -> str:
    words = f"HTTP status {answer.status}"
    return f"{words}, a redirect, and redirects are not followed" if 300 <= answer.status < 400 else words


def _retry_after_s(answer: Answer) -> float:
    """Read a Retry-After in seconds (RFC 9110, 10.2.3); one that names a date says nothing, for our clock may be wrong.

    A number of nine digits is more than anybody waits.
    """
    text = next((value for name, value in answer.headers.items() if name.lower() == "retry-after"), "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


def checked_answer(answer: Any, endpoint: str) -> dict[str, Any]:
    """Accept a JSON object that is not java-tron's way of saying that it threw an exception.

    Raises:
        NodeError: it is something else.
    """
    if not isinstance(answer, dict):
        raise NodeError("its answer is not a JSON object", Kind.GARBLED, endpoint)
    if "Error" in answer:
        raise NodeError(f"it says: {clean(answer['Error'])}", Kind.NODE, endpoint)
    return answer


def clean(text: object) -> str:
    """Make a node's words safe for logs and screens: printable characters only, and not many of them."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))
    return shown if len(shown) <= _MESSAGE_LENGTH else f"{shown[: _MESSAGE_LENGTH - 1]}…"
