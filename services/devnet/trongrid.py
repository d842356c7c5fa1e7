"""TronGrid's `/v1`: accounts, their transactions and token transfers, and the events of contracts.

An index for people and for hints, not part of java-tron. A page ends with a `fingerprint` that asks for the next one.
Paths, parameters and shapes: TronGrid's reference of its v1 API.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.devnet import execution, rewards
from services.devnet.answers import Json, account_json
from services.devnet.chain import Chain
from services.devnet.events import named_event, topics_of
from services.devnet.state import State
from services.devnet.store import LogPage, Page, StoredTransaction
from services.devnet.view import View
from services.devnet.vm.world import contract_at
from services.protocol.abi import (
    TRANSFER_TOPIC,
    decode_address,
    decode_string,
    decode_uint256,
    encode_balance_of,
    selector,
)
from services.protocol.address import Address, AddressError, TronAddress
from services.protocol.json import transaction_to_json
from services.protocol.wire import ProtocolError

MAX_LIMIT = 200
"""No page is longer."""

_LOOK_ENERGY = 1_000_000
Q = TypeVar("Q", bound="Paged")


class QueryError(ValueError):
    """The query makes no sense; the message says why."""


def _fingerprint(text: str) -> str:
    parts = text.split("-")
    if not (1 < len(parts) < 4 and all(part.isascii() and part.isdigit() and len(part) < 16 for part in parts)):
        raise ValueError("it is not one that this node gave")
    return text


class Paged(BaseModel):
    """What every list can be asked for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 20
    fingerprint: Annotated[str, AfterValidator(_fingerprint)] | None = None
    only_confirmed: bool = False
    only_unconfirmed: bool = False
    order_by: Literal["block_timestamp,asc", "block_timestamp,desc"] = "block_timestamp,desc"
    min_timestamp: Annotated[int, Field(ge=0)] = 0
    max_timestamp: Annotated[int, Field(ge=0)] | None = None

    @classmethod
    def of(cls, query: dict[str, str]) -> Self:
        """Read a query.

        Raises:
            QueryError: a parameter makes no sense.
        """
        try:
            return cls.model_validate(query)
        except ValidationError as error:
            first = error.errors()[0]
            words = first["msg"].removeprefix("Value error, ")
            raise QueryError(f"{'.'.join(str(part) for part in first['loc'])}: {words}") from error

    @property
    def is_ascending(self) -> bool:
        """Oldest first."""
        return self.order_by.endswith("asc")

    def after(self, length: int) -> tuple[int, ...] | None:
        """The place where the page before ended.

        Raises:
            QueryError: the fingerprint is that of another list.
        """
        if self.fingerprint is None:
            return None
        place = tuple(map(int, self.fingerprint.split("-")))
        if len(place) != length:
            raise QueryError("fingerprint: it belongs to another list")
        return place

    def heights(self, chain: Chain) -> tuple[int, int]:
        """The newest and the oldest block that the query lets through."""
        newest = chain.solid.number if self.only_confirmed else chain.head.number
        oldest = chain.solid.number + 1 if self.only_unconfirmed else 0
        if self.max_timestamp is not None:
            newest = min(newest, chain.store.first_block_at(self.max_timestamp + 1) - 1)
        return newest, max(oldest, chain.store.first_block_at(self.min_timestamp))


class AccountQuery(Paged):
    """What can be asked for of an account's transactions and token transfers."""

    only_to: bool = False
    only_from: bool = False
    contract_address: TronAddress | None = None


class EventQuery(Paged):
    """What can be asked for of events; times have names of their own here."""

    event_name: str | None = None
    block_number: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    min_timestamp: int = Field(default=0, ge=0, alias="min_block_timestamp")
    max_timestamp: int | None = Field(default=None, ge=0, alias="max_block_timestamp")


class TronGrid:
    """The handlers over one chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def routes(self) -> list[Route]:
        """Where they are."""
        table = [
            ("/v1/accounts/{address}", self.account),
            ("/v1/accounts/{address}/transactions", self.transactions),
            ("/v1/accounts/{address}/transactions/trc20", self.transfers),
            ("/v1/contracts/{address}/events", self.contract_events),
            ("/v1/transactions/{txid}/events", self.transaction_events),
            ("/v1/blocks/{block}/events", self.block_events),
        ]
        return [Route(path, _with_errors(handler), methods=["GET"]) for path, handler in table]

    def account(self, request: HttpRequest) -> Json:
        """An account, with its tokens; an empty list if it was never activated."""
        address, wanted = _address(request), Paged.of(dict(request.query_params))
        view = View(self._chain, solid=wanted.only_confirmed)
        found = view.state.account(address.raw)
        data = []
        if found is not None:
            shown = account_json(found, view.slot, rewards.allowance_sun(view.state, found), visible=False)
            data.append(shown | {"trc20": self._tokens(address)})
        return self._answer(data, None, request)

    def transactions(self, request: HttpRequest) -> Json:
        """An account's own transactions, and those that name it as receiver."""
        address, wanted = _address(request), AccountQuery.of(dict(request.query_params))
        newest, oldest = wanted.heights(self._chain)
        page = Page(
            # One more than wanted tells whether there is a next page.
            limit=wanted.limit + 1,
            after=_pair(wanted.after(2)),
            newest_block=newest,
            oldest_block=oldest,
            sent=None if wanted.only_from == wanted.only_to else wanted.only_from,
            ascending=wanted.is_ascending,
        )
        found = self._chain.store.account_transactions(address.raw, page)
        shown = found[: wanted.limit]
        last = f"{shown[-1].block}-{shown[-1].position}" if len(found) > wanted.limit else None
        return self._answer([self._transaction(stored) for stored in shown], last, request)

    def transfers(self, request: HttpRequest) -> Json:
        """Transfers of TRC-20 tokens from and to an account, by their events."""
        address, wanted = _address(request), AccountQuery.of(dict(request.query_params))
        both = wanted.only_from == wanted.only_to
        page = LogPage(
            limit=wanted.limit,
            contract=Address.parse(wanted.contract_address).evm if wanted.contract_address else None,
            sender=address.evm if both or wanted.only_from else None,
            receiver=address.evm if both or wanted.only_to else None,
            topics=(TRANSFER_TOPIC,),
        )
        found, last = self._logs(page, wanted)
        # Each token is asked once for an answer, however many of its transfers are in it.
        token = cache(self._token_info)
        shown = [self._transfer(stored, stored.receipt.logs[number], token) for stored, number in found]
        return self._answer(shown, last, request)

    def contract_events(self, request: HttpRequest) -> Json:
        """A contract's events."""
        address, wanted = _address(request), EventQuery.of(dict(request.query_params))
        contract = contract_at(self._chain.pending, address.raw)
        topics = _topics(contract.abi if contract else "", wanted.event_name)
        page = LogPage(limit=wanted.limit, contract=address.evm, topics=topics)
        found, last = self._logs(page, wanted, wanted.block_number)
        return self._answer([self._event(stored, number) for stored, number in found], last, request)

    def transaction_events(self, request: HttpRequest) -> Json:
        """A transaction's events, in their order."""
        wanted = EventQuery.of({"order_by": "block_timestamp,asc", **request.query_params, "limit": str(MAX_LIMIT)})
        try:
            txid = bytes.fromhex(request.path_params["txid"])
        except ValueError as error:
            raise QueryError("Not a valid transaction id") from error
        stored = self._chain.store.transaction(txid)
        if stored is None:
            return self._answer([], None, request)
        page = LogPage(limit=wanted.limit, transaction=(stored.block, stored.position))
        found, last = self._logs(page, wanted)
        return self._answer([self._event(each, number) for each, number in found], last, request)

    def block_events(self, request: HttpRequest) -> Json:
        """A block's events; of the newest block for `latest`."""
        wanted = EventQuery.of({"order_by": "block_timestamp,asc", **request.query_params})
        text = request.path_params["block"]
        if text != "latest" and not (text.isascii() and text.isdigit() and len(text) < 16):
            raise QueryError("Not a valid block number")
        top = self._chain.solid if wanted.only_confirmed else self._chain.head
        found, last = self._logs(LogPage(limit=wanted.limit), wanted, top.number if text == "latest" else int(text))
        return self._answer([self._event(stored, number) for stored, number in found], last, request)

    # --- how ---

    def _logs(
        self, page: LogPage, wanted: Paged, block: int | None = None
    ) -> tuple[list[tuple[StoredTransaction, int]], str | None]:
        """The logs of one page, and the fingerprint that asks for the next one."""
        newest, oldest = wanted.heights(self._chain)
        if block is not None:
            newest, oldest = min(newest, block), max(oldest, block)
        place = wanted.after(3)
        bounded = replace(
            page,
            # One more than wanted tells whether there is a next page.
            limit=page.limit + 1,
            after=(place[0], place[1], place[2]) if place else None,
            newest_block=newest,
            oldest_block=oldest,
            ascending=wanted.is_ascending,
        )
        found = self._chain.store.logs(bounded)
        if len(found) <= page.limit:
            return found, None
        stored, number = found[page.limit - 1]
        return found[: page.limit], f"{stored.block}-{stored.position}-{number}"

    def _answer(self, data: list[Json], fingerprint: str | None, request: HttpRequest) -> Json:
        meta: Json = {"at": self._chain.now_ms()}
        if fingerprint is not None:
            meta["fingerprint"] = fingerprint
            following = request.url.include_query_params(fingerprint=fingerprint)
            meta["links"] = {"next": str(following)}
        meta["page_size"] = len(data)
        return {"data": data, "success": True, "meta": meta}

    def _transaction(self, stored: StoredTransaction) -> Json:
        receipt = stored.receipt
        shown = transaction_to_json(stored.signed, visible=False)
        shown["ret"] = [{"contractRet": receipt.result, "fee": receipt.fee_sun}]
        return shown | {
            "blockNumber": stored.block,
            "block_timestamp": self._time_ms(stored),
            "energy_fee": receipt.energy_fee_sun,
            "energy_usage": receipt.energy_usage,
            "energy_usage_total": receipt.energy_total,
            "internal_transactions": [],
            "net_fee": receipt.net_fee_sun,
            "net_usage": receipt.net_usage,
        }

    def _transfer(self, stored: StoredTransaction, log: Sequence[Any], token: Callable[[Address], Json]) -> Json:
        address, topics, data = log
        contract = Address.from_evm(bytes.fromhex(address))
        return {
            "transaction_id": stored.signed.txid,
            "token_info": {"address": contract.base58, **token(contract)},
            "block_timestamp": self._time_ms(stored),
            "from": decode_address(bytes.fromhex(topics[1])).base58,
            "to": decode_address(bytes.fromhex(topics[2])).base58,
            "type": "Transfer",
            "value": str(decode_uint256(bytes.fromhex(data))),
        }

    def _event(self, stored: StoredTransaction, number: int) -> Json:
        address, topics, data = stored.receipt.logs[number]
        contract = Address.from_evm(bytes.fromhex(address))
        known = contract_at(self._chain.pending, contract.raw)
        named = named_event(known.abi if known else "", topics, data)
        called = Address(bytes.fromhex(stored.receipt.contract)).base58 if stored.receipt.contract else ""
        shown: Json = {
            "block_number": stored.block,
            "block_timestamp": self._time_ms(stored),
            "caller_contract_address": called,
            "contract_address": contract.base58,
            "event_index": number,
            "event_name": named.name,
            "result": named.result,
            "result_type": named.types,
            "event": named.signature,
            "transaction_id": stored.signed.txid,
        }
        if stored.block > self._chain.solid.number:
            shown["_unconfirmed"] = True
        return shown

    def _time_ms(self, stored: StoredTransaction) -> int:
        block = self._chain.store.block(stored.block)
        return block.time_ms if block else 0

    def _token_info(self, contract: Address) -> Json:
        info: Json = {}
        for name in ("symbol", "name"):
            try:
                info[name] = decode_string(self._look(contract, selector(f"{name}()")))
            except ProtocolError:
                info[name] = ""
        try:
            info["decimals"] = decode_uint256(self._look(contract, selector("decimals()")))
        except ProtocolError:
            info["decimals"] = 0
        return info

    def _tokens(self, holder: Address) -> list[dict[str, str]]:
        """What an account has of each token that was ever sent to it."""
        contracts = self._chain.store.tokens_of(holder.evm)
        balances = []
        for evm in contracts:
            contract = Address.from_evm(evm)
            try:
                amount = decode_uint256(self._look(contract, encode_balance_of(holder)))
            except ProtocolError:
                continue
            if amount:
                balances.append({contract.base58: str(amount)})
        return balances

    def _look(self, contract: Address, data: bytes) -> bytes:
        """What a call returns, on a state that is thrown away; empty if it fails."""
        head = self._chain.head
        block = self._chain.block_facts(head.number, head.time_ms, head.header.witness_address)
        run = execution.Run(contract.raw, block, bytes(32), _LOOK_ENERGY, head.time_ms)
        outcome = execution.call(State(self._chain.pending), run, contract.raw, 0, data)
        return outcome.returned if outcome.succeeded else b""


def _with_errors(handler: Any) -> Any:
    async def guarded(request: HttpRequest) -> Response:
        try:
            return JSONResponse(handler(request))
        except QueryError as error:
            return JSONResponse({"success": False, "error": str(error), "statusCode": 400}, 400)

    return guarded


def _address(request: HttpRequest) -> Address:
    try:
        return Address.parse(request.path_params["address"])
    except AddressError as error:
        raise QueryError(f"Not a valid address: {error}") from error


def _pair(place: tuple[int, ...] | None) -> tuple[int, int] | None:
    return (place[0], place[1]) if place else None


def _topics(abi: str, event_name: str | None) -> tuple[bytes, ...] | None:
    """First topics of the events of a name; None for all events."""
    if event_name is None:
        return None
    # No event of that name: a topic that no log has.
    return topics_of(abi, event_name) or (b"none",)
