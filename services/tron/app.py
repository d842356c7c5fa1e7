"""Routes of the TRON client, one line each into `TronService`."""

from services.kit.errors import Conflict, Invalid, NotFound, Timeout, Unavailable, UpstreamError
from services.kit.http import BASE, Call, Endpoint
from services.kit.models import Query
from services.kit.peer import Role
from services.tron import api
from services.tron.service import TronService

_NETWORK, _TRANSACTIONS, _ORDERS = f"{BASE}/network", f"{BASE}/transactions", f"{BASE}/orders"


class ListOrders(Query):
    """Which orders."""

    live: bool | None = None
    """True: only those that are neither paid, failed, dead nor cancelled."""


class _Routes:
    def __init__(self, service: TronService) -> None:
        self._service = service

    async def network_status(self, _call: Call) -> api.NetworkStatus:
        return self._service.status()

    async def network_health(self, _call: Call) -> api.NetworkStatus:
        return self._service.health()

    async def network_stats(self, _call: Call) -> api.NetworkStats:
        return self._service.stats()

    async def latest_block(self, _call: Call) -> api.Block:
        return await self._service.latest_block()

    async def get_block(self, call: Call) -> api.Block:
        return await self._service.block(call.path["number"])

    async def get_account(self, call: Call) -> api.Account:
        return await self._service.account(call.path["address"])

    async def get_balance(self, call: Call) -> api.Account:
        return await self._service.account(call.path["address"])

    async def validate_address(self, call: Call) -> api.AddressCheck:
        return await self._service.validate(call.body)

    async def quote_transfer(self, call: Call) -> api.TransferQuote:
        return await self._service.quote(call.body)

    async def broadcast(self, call: Call) -> api.BroadcastResult:
        return await self._service.broadcast(call.body)

    async def get_transaction(self, call: Call) -> api.Transaction:
        return await self._service.transaction(call.path["txid"])

    async def get_receipt(self, call: Call) -> api.Receipt:
        return await self._service.receipt(call.path["txid"])

    async def wait_for_transaction(self, call: Call) -> api.Transaction:
        return await self._service.wait(call.path["txid"], call.query)

    async def retry_transaction(self, call: Call) -> api.Retried:
        return await self._service.retry_transaction(call.path["txid"])

    async def history(self, call: Call) -> api.History:
        return await self._service.history(call.path["wallet"], call.query)

    async def submit_order(self, call: Call) -> api.Job:
        return await self._service.submit(call.body)

    async def list_orders(self, call: Call) -> api.JobList:
        return await self._service.jobs(call.query.live)

    async def get_order(self, call: Call) -> api.Job:
        return await self._service.job(call.path["key"])

    async def retry_order(self, call: Call) -> api.Retried:
        return await self._service.retry(call.path["key"])

    async def cancel_order(self, call: Call) -> api.Job:
        return await self._service.cancel(call.path["key"])

    async def accept_death(self, call: Call) -> api.Job:
        return await self._service.accept_death(call.path["key"], call.body, call.peer.user)


def endpoints(service: TronService) -> list[Endpoint]:
    """The table of routes."""
    on = _Routes(service)
    operator = Role.OPERATOR
    asked = (Unavailable, UpstreamError)
    return [
        Endpoint(
            "GET", f"{_NETWORK}/status", on.network_status, response=api.NetworkStatus,
            summary="The chain and its endpoints as last seen",
        ),
        Endpoint(
            "GET", f"{_NETWORK}/health", on.network_health, response=api.NetworkStatus, errors=(Unavailable,),
            summary="200 when transactions can be built and followed, 503 when not",
        ),
        Endpoint(
            "GET", f"{_NETWORK}/stats", on.network_stats, response=api.NetworkStats, summary="Counters since the start",
        ),
        Endpoint(
            "GET", f"{_NETWORK}/latest-block", on.latest_block, response=api.Block, errors=(Unavailable,),
            summary="The head",
        ),
        Endpoint(
            "GET", f"{_NETWORK}/block/{{number}}", on.get_block, response=api.Block, errors=(NotFound, Invalid, *asked),
            summary="A block",
        ),
        Endpoint(
            "GET", f"{_NETWORK}/account/{{address}}", on.get_account, response=api.Account, errors=(Invalid, *asked),
            summary="An account",
        ),
        Endpoint(
            "GET", f"{_NETWORK}/account/{{address}}/balance", on.get_balance, response=api.Account,
            errors=(Invalid, *asked), summary="An account, under the name that its balance is known by",
        ),
        Endpoint(
            "POST", f"{_NETWORK}/validate-address", on.validate_address, request=api.ValidateAddress,
            response=api.AddressCheck, summary="Whether a text is an address, and whether the chain knows it",
        ),
        Endpoint(
            "POST", f"{_NETWORK}/quote-transfer", on.quote_transfer, request=api.QuoteTransfer,
            response=api.TransferQuote, errors=asked, summary="What a transfer of TRX would cost now",
        ),
        Endpoint(
            "POST", f"{_TRANSACTIONS}/broadcast", on.broadcast, request=api.Broadcast, response=api.BroadcastResult,
            role=operator, errors=(Conflict, Unavailable), max_body=1_100_000,
            summary="Send signed bytes that were made elsewhere",
        ),
        Endpoint(
            "GET", f"{_TRANSACTIONS}/{{txid}}", on.get_transaction, response=api.Transaction, errors=(Invalid, *asked),
            summary="A transaction, decoded from its bytes",
        ),
        Endpoint(
            "GET", f"{_TRANSACTIONS}/{{txid}}/receipt", on.get_receipt, response=api.Receipt,
            errors=(NotFound, Invalid, *asked), summary="What a transaction cost",
        ),
        Endpoint(
            "GET", f"{_TRANSACTIONS}/{{txid}}/wait", on.wait_for_transaction, query=api.WaitQuery,
            response=api.Transaction, errors=(Timeout, Invalid, *asked), summary="Wait until a block has it",
        ),
        Endpoint(
            "POST", f"{_TRANSACTIONS}/{{txid}}/retry", on.retry_transaction, response=api.Retried, role=operator,
            errors=(NotFound, Conflict, Invalid), summary="Send the same bytes of an order's transaction again",
        ),
        Endpoint(
            "GET", f"{_TRANSACTIONS}/{{wallet}}/history", on.history, query=api.HistoryQuery, response=api.History,
            errors=(NotFound, Invalid, *asked), summary="Transactions of a wallet or an address",
        ),
        Endpoint(
            "POST", _ORDERS, on.submit_order, request=api.Order, response=api.Job, status=201, role=operator,
            errors=(Conflict, Unavailable), summary="Have something done on the chain, once",
        ),
        Endpoint("GET", _ORDERS, on.list_orders, query=ListOrders, response=api.JobList, summary="Orders"),
        Endpoint("GET", f"{_ORDERS}/{{key}}", on.get_order, response=api.Job, errors=(NotFound,), summary="One order"),
        Endpoint(
            "POST", f"{_ORDERS}/{{key}}/retry", on.retry_order, response=api.Retried, role=operator,
            errors=(NotFound,), summary="Send the same bytes again now",
        ),
        Endpoint(
            "POST", f"{_ORDERS}/{{key}}/cancel", on.cancel_order, response=api.Job, role=operator,
            errors=(NotFound, Conflict), summary="Withdraw an order before anything left",
        ),
        Endpoint(
            "POST", f"{_ORDERS}/{{key}}/accept-death", on.accept_death, request=api.AcceptDeath, response=api.Job,
            role=operator, errors=(NotFound, Conflict, Unavailable),
            summary="Take a death proof that rests on one endpoint",
        ),
    ]  # fmt: skip
