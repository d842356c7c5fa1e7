"""One endpoint over real HTTP: whatever it does becomes one error of the right kind, and nothing else gets out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from services.kit.clock import SystemClock
from services.kit.egress import Answer, Call, Egress, EgressError, EgressPolicy, Fault, Mode, Reason
from services.kit.metrics import Metrics
from services.tron.node import MAX_BODY_BYTES, HttpNode, Kind, NodeError, clean

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def local_egress() -> Egress:
    """The way to a devnet on this machine, without Tor."""
    return Egress(EgressPolicy(mode=Mode.LOOPBACK, devnet=True), SystemClock(), Metrics("test"))


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Handler], Awaitable[HttpNode]]]:
    """Start a server with one handler for every path; returns a node that asks it."""
    runners: list[web.AppRunner] = []
    nodes: list[HttpNode] = []

    async def start(handler: Handler) -> HttpNode:
        app = web.Application(client_max_size=2**20)
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        nodes.append(HttpNode(f"http://{host}:{port}", local_egress(), timeout_s=0.4, api_key="k-1"))
        return nodes[-1]

    yield start
    for node in nodes:
        await node.close()
    for runner in runners:
        await runner.cleanup()


async def test_a_call_is_json_and_carries_the_api_key(serve: Callable[[Handler], Awaitable[HttpNode]]) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(
            {"path": request.path, "key": request.headers["TRON-PRO-API-KEY"], "body": await request.json()}
        )

    node = await serve(handler)
    answer = await node.post("wallet/getblockbynum", {"num": 0})
    assert answer == {"path": "/wallet/getblockbynum", "key": "k-1", "body": {"num": 0}}


def _text(text: str, status: int = 200) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(text=text, status=status, content_type="application/json")

    return handler


@pytest.mark.parametrize(
    ("handler", "kind", "label"),
    [
        (_text('{"result": tr'), Kind.GARBLED, "garbled"),
        (_text(""), Kind.GARBLED, "garbled"),
        (_text("[1]"), Kind.GARBLED, "garbled"),
        (_text("null"), Kind.GARBLED, "garbled"),
        (_text("[" * 100_000), Kind.GARBLED, "garbled"),
        (_text('{"Error": "class java.lang.NullPointerException : null"}'), Kind.NODE, "node error"),
        (_text("{}", 500), Kind.HTTP, "http 500"),
        (_text("{}", 503), Kind.HTTP, "http 503"),
        (_text("{}", 403), Kind.HTTP, "http 403"),
        (_text("{}", 429), Kind.RATE_LIMITED, "http 429"),
    ],
)
async def test_a_bad_answer_is_named(
    serve: Callable[[Handler], Awaitable[HttpNode]], handler: Handler, kind: Kind, label: str
) -> None:
    node = await serve(handler)
    with pytest.raises(NodeError) as caught:
        await node.post("wallet/getnowblock", {})
    assert (caught.value.kind, caught.value.label) == (kind, label)
    assert caught.value.endpoint == node.name
    assert node.name in caught.value.message


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (" 120 ", 120.0), ("", 0.0), ("-3", 0.0), ("9" * 40, 0.0), ("Wed, 21 Oct 2037 07:28:00 GMT", 0.0)],
)
async def test_a_node_says_how_long_to_leave_it_alone(
    serve: Callable[[Handler], Awaitable[HttpNode]], header: str, seconds: float
) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": header})

    with pytest.raises(NodeError) as caught:
        await (await serve(handler)).post("wallet/getnowblock", {})
    assert caught.value.retry_after_s == seconds


async def test_a_redirect_is_not_followed(serve: Callable[[Handler], Awaitable[HttpNode]]) -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    node = await serve(handler)
    with pytest.raises(NodeError, match="302"):
        await node.post("wallet/broadcasthex", {"transaction": "00"})
    assert seen == ["/wallet/broadcasthex"]


async def test_silence_is_a_timeout(serve: Callable[[Handler], Awaitable[HttpNode]]) -> None:
    async def handler(_request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.json_response({})

    node = await serve(handler)
    with pytest.raises(NodeError) as caught:
        await node.post("wallet/getnowblock", {})
    assert caught.value.kind is Kind.TIMEOUT


async def test_an_answer_that_drips_is_a_timeout(serve: Callable[[Handler], Awaitable[HttpNode]]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    node = await serve(handler)
    with pytest.raises(NodeError) as caught:
        await node.post("wallet/getnowblock", {})
    assert caught.value.kind is Kind.TIMEOUT


async def test_a_huge_answer_is_not_read_to_its_end(serve: Callable[[Handler], Awaitable[HttpNode]]) -> None:
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 1_048_576)
            sent += 1_048_576

    node = await serve(handler)
    patient = HttpNode(f"http://{node.name}", local_egress(), timeout_s=20)
    with pytest.raises(NodeError) as caught:
        await patient.post("wallet/getnowblock", {})
    await patient.close()
    assert caught.value.kind is Kind.TOO_LARGE
    assert sent < 4 * MAX_BODY_BYTES


async def test_a_broken_connection_is_a_reset(serve: Callable[[Handler], Awaitable[HttpNode]]) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    node = await serve(handler)
    with pytest.raises(NodeError) as caught:
        await node.post("wallet/broadcasthex", {"transaction": "00"})
    assert caught.value.kind is Kind.RESET


async def test_nobody_there_is_a_refused_connection() -> None:
    node = HttpNode("http://127.0.0.1:1", local_egress(), timeout_s=2)
    with pytest.raises(NodeError) as caught:
        await node.post("wallet/getnowblock", {})
    await node.close()
    assert caught.value.kind is Kind.REFUSED


async def test_the_environments_proxy_is_not_used(
    serve: Callable[[Handler], Awaitable[HttpNode]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    node = await serve(_text("{}"))
    assert await node.post("wallet/getnowblock", {}) == {}


@pytest.mark.parametrize("text", ["\x1b]52;c;cm0=\x07", "a\x00b", "\x9b31m", "\u202egpj.exe", "x" * 5_000])
def test_a_nodes_words_are_printable_and_short(text: str) -> None:
    shown = clean(text)
    assert len(shown) <= 200
    assert shown.isprintable() or "\N{REPLACEMENT CHARACTER}" in shown
    assert not any(letter in shown for letter in "\x1b\x07\x00\x9b\u202e")


async def test_only_what_is_known_to_change_nothing_is_a_read() -> None:
    """A read may be asked twice; anything else goes its own way, once."""
    asked: list[str] = []

    class Way:
        def __init__(self, purpose: str) -> None:
            self.purpose = purpose

        async def ask(self, _call: Call) -> Answer:
            asked.append(self.purpose)
            return Answer(200, b"{}", {}, "")

        read = once = ask

    class Ways:
        def way(self, purpose: str, _url: str) -> Way:
            return Way(purpose)

    node = HttpNode("https://api.example.org", Ways(), timeout_s=1)  # type: ignore[arg-type]
    for path in ("wallet/getnowblock", "walletsolidity/getaccount", "wallet/triggerconstantcontract"):
        await node.post(path, {})
    await node.get("v1/accounts/T/transactions", {})
    assert set(asked) == {"read"}
    asked.clear()
    for path in ("wallet/broadcasthex", "wallet/broadcasttransaction", "wallet/easytransfer", "wallet/unheardof"):
        await node.post(path, {})
    assert set(asked) == {"broadcast"}


@pytest.mark.parametrize(
    ("reason", "sent", "cut_off", "kind"),
    [
        (Fault.TLS, True, False, Kind.RESET),
        (Fault.REFUSED, True, False, Kind.RESET),
        (Fault.CLOSING, True, False, Kind.RESET),
        (Fault.TIMEOUT, True, True, Kind.TIMEOUT),
        (Reason.CLOSED, True, True, Kind.RESET),
        (Reason.CLOSED, False, False, Kind.NO_WAY_OUT),
        (Reason.NO_CIRCUIT, False, True, Kind.NO_WAY_OUT),
        (Reason.NO_CIRCUIT, False, False, Kind.REFUSED),
        (Fault.TLS, False, False, Kind.REFUSED),
    ],
)
async def test_what_may_have_left_is_never_called_refused(
    reason: Reason | Fault, sent: bool, cut_off: bool, kind: Kind
) -> None:
    class Ways:
        def way(self, _purpose: str, _url: str) -> "Ways":
            return self

        async def once(self, _call: Call) -> Answer:
            raise EgressError(reason, "words", sent=sent, cut_off=cut_off)

    with pytest.raises(NodeError) as caught:
        await HttpNode("https://api.example.org", Ways(), 1).post("wallet/broadcasthex", {})  # type: ignore[arg-type]
    assert caught.value.kind is kind
