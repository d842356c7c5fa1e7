"""The devnet's HTTP application: TRON's paths in front of the calls, the history, and `/admin`."""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.devnet.admin import Admin
from services.devnet.answers import JavaError, reply
from services.devnet.broadcast import Broadcasts
from services.devnet.building import NO_GET
from services.devnet.calls import POST_ONLY, SOLIDITY, WALLET, Call
from services.devnet.chain import Chain
from services.devnet.faults import FaultBoard
from services.devnet.interference import FaultMiddleware
from services.devnet.requests import MAX_BODY_BYTES, Params
from services.devnet.trongrid import TronGrid
from services.devnet.view import View
from services.kit.clock import Clock
from services.kit.log import get_logger

log = get_logger()


def build_app(chain: Chain, faults: FaultBoard, clock: Clock) -> ASGIApp:
    """The application over one chain."""
    handlers = _Handlers(chain, faults)
    methods = ["GET", "POST"]
    routes = [
        Route("/wallet/{call}", handlers.wallet, methods=methods),
        Route("/walletsolidity/{call}", handlers.solidity, methods=methods),
        Route("/net/listnodes", handlers.wallet_as("listnodes"), methods=methods),
        Route("/monitor/getnodeinfo", handlers.wallet_as("getnodeinfo"), methods=methods),
        Route("/healthcheck", handlers.health, methods=["GET"]),
        *TronGrid(chain).routes(),
        *Admin(chain, faults).routes(),
    ]
    app = Starlette(routes=routes, exception_handlers={Exception: _unexpected})
    return FaultMiddleware(app, faults, clock.sleep)


class _Handlers:
    """From HTTP to the calls and back."""

    def __init__(self, chain: Chain, faults: FaultBoard) -> None:
        self._chain = chain
        self._faults = faults
        self._broadcasts = Broadcasts(chain, faults)

    async def wallet(self, request: HttpRequest) -> Response:
        """`/wallet/*`."""
        name = request.path_params["call"]
        if name in {"broadcasttransaction", "broadcasthex", "getsignweight", "getapprovedlist"}:
            return await self._about_transaction(name, request)
        return await self._read(name, WALLET, request)

    async def solidity(self, request: HttpRequest) -> Response:
        """`/walletsolidity/*`."""
        return await self._read(request.path_params["call"], SOLIDITY, request, solid=True)

    def wallet_as(self, name: str) -> Callable[[HttpRequest], Awaitable[Response]]:
        """A call of `/wallet` at another path."""

        async def handler(request: HttpRequest) -> Response:
            return await self._read(name, WALLET, request)

        return handler

    async def health(self, _request: HttpRequest) -> Response:
        """`/healthcheck`, which tronweb asks of an event server."""
        return JSONResponse({"status": "ok", "head": self._chain.head.number})

    async def _read(self, name: str, calls: dict[str, Call], request: HttpRequest, *, solid: bool = False) -> Response:
        call = calls.get(name)
        if call is None:
            return reply({"Error": f"this devnet does not serve {request.url.path}"}, 404)
        if name in POST_ONLY and request.method == "GET":
            return PlainTextResponse("", 405 if name in NO_GET else 200)
        try:
            params = await _params(request)
            view = View(self._chain, solid=solid, lens=self._faults.lens(request.url.path, _port(request)))
            return reply(call(view, params))
        except JavaError as error:
            return reply(error.body())

    async def _about_transaction(self, name: str, request: HttpRequest) -> Response:
        if request.method == "GET":
            status = 405 if name.startswith("broadcast") else 200
            return PlainTextResponse("", status)
        path, port = request.url.path, _port(request)
        try:
            params = await _params(request)
            match name:
                case "broadcasttransaction":
                    body = self._broadcasts.from_json(params, path, port)
                case "broadcasthex":
                    body = self._broadcasts.from_hex(params, path, port)
                case "getsignweight":
                    body = self._broadcasts.sign_weight(params)
                case _:
                    body = self._broadcasts.approved_list(params)
        except JavaError as error:
            return reply(error.body())
        return reply(body)


def _port(request: HttpRequest) -> int | None:
    """Which of the devnet's endpoints was asked."""
    server = request.scope.get("server")
    return server[1] if server else None


async def _params(request: HttpRequest) -> Params:
    if request.method == "GET":
        return Params.of_query(request.url.query)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise JavaError("java.lang.Exception", f"body size is too big, the limit is {MAX_BODY_BYTES}")
    return Params.of_body(bytes(body), request.headers.get("content-type", ""), request.url.query)


async def _unexpected(request: HttpRequest, error: Exception) -> Response:
    """A defect of ours: logged here, told to the caller without its inside."""
    log.error("devnet.failed", path=request.url.path, exc_info=error)
    return reply({"Error": "class java.lang.RuntimeException : the devnet failed, its log says why"}, 500)
