"""Reads of the chain for people and other services: one call upstream however many ask, each answer with its source.

What is read here decides nothing about money: that is the business of `evidence`. Transactions are decoded from their
bytes, and an endpoint that shows bytes of another id is not believed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from services.kit.cache import Cache
from services.kit.errors import NotFound, Unavailable
from services.protocol.address import Address, AddressError
from services.protocol.contracts import Transfer
from services.protocol.signature import SIGNATURE_BYTES
from services.protocol.transaction import RESULT_RESERVE_BYTES, ProtocolError, RawData, SignedTransaction, txid
from services.tron import api
from services.tron.api import TxState
from services.tron.chain import Chain
from services.tron.endpoints import Endpoints, Said, Upstream, read_block
from services.tron.node import Kind, NodeError, clean
from services.tron.provider import tronpy_over

T = TypeVar("T")

FRESH_S = 3.0
"""Age that a read of the newest state may have: one block."""
SETTLED_S = 300.0
"""Age that a read of a solid block may have; it does not change."""
PARAMETERS_S = 600.0
"""Age that chain parameters may have; they change by votes of the witnesses, every six hours at most."""

SCANNED_BLOCKS = 2_000
"""How far back a history is looked for in blocks, where an endpoint keeps no index."""
_BLOCKS_PER_CALL = 100
_MOST_PER_PAGE = 200
_MOST_PAGES = 60
"""More than the longest history takes that can be asked for; an index may go on for ever."""


class Reads:
    """Accounts, blocks, transactions, receipts, histories and prices."""

    def __init__(self, endpoints: Endpoints, chain: Chain, cache: Cache) -> None:
        """Read from `endpoints` through `cache`."""
        self._endpoints = endpoints
        self._chain = chain
        self._cache = cache

    async def _cached(
        self, key: str, ttl_s: float, load: Callable[[Upstream], Awaitable[T]]
    ) -> tuple[T, str, datetime]:
        async def ask() -> Said[T]:
            return await self._endpoints.ask(load)

        found = await self._cache.get(key, ttl_s, ask)
        return found.value.value, found.value.endpoint, found.read_at

    # --- accounts ---

    async def account(self, address: str) -> api.Account:
        """Return an account; one that the chain does not know is not activated.

        Raises:
            Unavailable: no endpoint answered.
        """
        return (await self._account(address))[0]

    async def _account(self, address: str) -> tuple[api.Account, int]:
        """Return an account, and a block that it is not older than."""
        loaded, endpoint, read_at = await self._cached(
            f"account:{address}", FRESH_S, lambda up: _load_account(up, address)
        )
        if loaded.shown is None:
            loaded.shown = _read_account(address, loaded, endpoint, read_at)
        return loaded.shown, loaded.block_number

    async def validate(self, text: str) -> api.AddressCheck:
        """Say whether a text is an address, and if so whether the chain knows it. Never fails."""
        try:
            address = Address.parse(text)
        except AddressError as error:
            return api.AddressCheck(valid=False, reason=str(error))
        try:
            activated = (await self.account(address.base58)).activated
        except (Unavailable, NodeError):
            activated = None
        return api.AddressCheck(valid=True, base58=address.base58, hex=address.hex, activated=activated)

    async def quote(self, wanted: api.QuoteTransfer) -> api.TransferQuote:
        """Price a transfer by the chain's own parameters and the payer's bandwidth.

        Bandwidth is all or nothing per pool: staked, else free, else every byte is burnt (java-tron,
        `BandwidthProcessor.consume`). A transfer to an account that the chain does not know creates it: then only
        staked bandwidth counts, and a fee stands in for it otherwise (`consumeForCreateNewAccount`).

        Raises:
            Unavailable: no endpoint answered.
        """
        (owner, block_number), to, prices = await asyncio.gather(
            self._account(wanted.owner), self.account(wanted.to), self._parameters()
        )
        size = transfer_bandwidth(wanted)
        staked = owner.bandwidth_staked >= size
        activation_fee = bandwidth_fee = burn = 0
        if not to.activated:
            activation_fee = prices["getCreateNewAccountFeeInSystemContract"]
            activation_fee += 0 if staked else prices["getCreateAccountFee"]
            burn = prices["getCreateAccountFee"] if staked else 0
        elif not staked and owner.bandwidth_free < size:
            bandwidth_fee = size * prices["getTransactionFee"]
        else:
            burn = size * prices["getTransactionFee"]
        memo_fee = prices["getMemoFee"] if wanted.memo else 0
        return api.TransferQuote(
            bandwidth=size,
            bandwidth_fee_sun=bandwidth_fee,
            activation_fee_sun=activation_fee,
            memo_fee_sun=memo_fee,
            fee_sun=bandwidth_fee + activation_fee + memo_fee,
            burn_sun=burn,
            owner_balance_sun=owner.balance_sun,
            to_activated=to.activated,
            block_number=block_number,
            endpoint=owner.endpoint,
            read_at=owner.read_at,
        )

    async def _parameters(self) -> dict[str, int]:
        value, endpoint, _ = await self._cached("parameters", PARAMETERS_S, _load_parameters)
        missing = [name for name in _PRICES if name not in value]
        if missing:
            raise Unavailable(f"{endpoint} does not tell the price {missing[0]}")
        return value

    # --- blocks ---

    async def latest_block(self) -> api.Block:
        """Return the head as it was last seen, by two endpoints where two are configured.

        Raises:
            Unavailable: no endpoint has shown a block yet.
        """
        head = self._chain.sure_head()
        if head is None:
            raise Unavailable(f"no endpoint has shown a block yet: {self._endpoints.why_none()}")
        return head.shown()

    async def block(self, number: int) -> api.Block:
        """Return a block.

        Raises:
            NotFound: there is no such block yet.
            Unavailable: no endpoint answered.
        """
        best = self._chain.best()
        settled = best is not None and best.solid is not None and number <= best.solid.number

        async def load(upstream: Upstream) -> api.Block | None:
            answer = await upstream.post("wallet/getblockbynum", {"num": number})
            return read_block(answer, upstream.name).shown() if answer else None

        block, _, _ = await self._cached(f"block:{number}", SETTLED_S if settled else FRESH_S, load)
        if block is None:
            raise NotFound(f"there is no block {number} yet")
        return block

    # --- transactions ---

    async def transaction(self, id_: str) -> api.Transaction:
        """Return a transaction as one endpoint shows it; UNKNOWN if that endpoint does not know it.

        Raises:
            Unavailable: no endpoint answered.
        """
        value, endpoint, _ = await self._cached(f"tx:{id_}", FRESH_S, lambda upstream: _load_transaction(upstream, id_))
        return value.model_copy(update={"endpoint": endpoint})

    async def receipt(self, id_: str) -> api.Receipt:
        """Return what a transaction cost.

        Raises:
            NotFound: no block has it, as far as the endpoint knows.
            Unavailable: no endpoint answered.
        """
        value, endpoint, _ = await self._cached(
            f"receipt:{id_}", FRESH_S, lambda upstream: _load_receipt(upstream, id_)
        )
        if value is None:
            raise NotFound(f"no block has {id_} yet: there is no receipt")
        return value.model_copy(update={"endpoint": endpoint})

    async def history(self, address: str, query: api.HistoryQuery) -> api.History:
        """Return transactions of an address, newest first: from the endpoint's index, else from its last blocks.

        Raises:
            Unavailable: no endpoint answered.
        """
        key = f"history:{address}:{query.model_dump_json()}"
        try:
            value, endpoint, _ = await self._cached(
                key, FRESH_S, lambda upstream: _load_index(upstream, address, query)
            )
        except NodeError:
            value, endpoint, _ = await self._cached(
                f"scan:{key}", FRESH_S, lambda upstream: _scan(upstream, address, query)
            )
        items, more = value
        shown = tuple(item.model_copy(update={"endpoint": endpoint}) for item in items)
        return api.History(address=address, items=shown, more=more, endpoint=endpoint)


def transfer_bandwidth(wanted: api.QuoteTransfer) -> int:
    """Bytes that a transfer takes: its signed size and the room that nodes reserve for the result."""
    raw = RawData(
        contract=Transfer(Address.parse(wanted.owner), Address.parse(wanted.to), wanted.amount_sun),
        ref_block_bytes=bytes(2),
        ref_block_hash=bytes(8),
        # Any time of this decade takes as many bytes as any other.
        expiration_ms=1_800_000_000_000,
        timestamp_ms=1_800_000_000_000,
        memo=wanted.memo.encode(),
    )
    return SignedTransaction(raw.encode(), (bytes(SIGNATURE_BYTES),)).size + RESULT_RESERVE_BYTES


# --- loading from one endpoint ---

_PRICES = ("getTransactionFee", "getCreateNewAccountFeeInSystemContract", "getCreateAccountFee", "getMemoFee")


@dataclass(slots=True)
class _LoadedAccount:
    """What the cache keeps of an account."""

    account: dict[str, Any]
    resource: dict[str, Any]
    block_number: int
    shown: api.Account | None = None
    """Made once for as long as the cache keeps it, not at each hit: it never changes."""


async def _load_account(upstream: Upstream, address: str) -> _LoadedAccount:
    tron = await tronpy_over(upstream)
    # Looked at before the balance is: a payout in a later block may have left it or not.
    number = upstream.head.number if upstream.head else 0
    account, resource = await asyncio.gather(
        _found(tron.get_account(address)), _found(tron.get_account_resource(address))
    )
    return _LoadedAccount(account, resource, number)


def _read_account(address: str, loaded: _LoadedAccount, endpoint: str, read_at: datetime) -> api.Account:
    account, resource = loaded.account, loaded.resource
    return api.Account(
        address=address,
        activated=bool(account),
        balance_sun=_number(account, "balance"),
        bandwidth_free=max(0, _number(resource, "freeNetLimit") - _number(resource, "freeNetUsed")),
        bandwidth_staked=max(0, _number(resource, "NetLimit") - _number(resource, "NetUsed")),
        energy=max(0, _number(resource, "EnergyLimit") - _number(resource, "EnergyUsed")),
        endpoint=endpoint,
        read_at=read_at,
    )


async def _found(call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Return what tronpy found, or nothing where it says that there is nothing."""
    from tronpy.exceptions import AddressNotFound  # noqa: PLC0415 - tronpy is loaded by now

    try:
        return await call
    except AddressNotFound:
        return {}


async def _load_parameters(upstream: Upstream) -> dict[str, int]:
    tron = await tronpy_over(upstream)
    listed = await tron.get_chain_parameters()
    return {
        item["key"]: item.get("value", 0)
        for item in listed
        if isinstance(item, dict) and isinstance(item.get("key"), str) and isinstance(item.get("value", 0), int)
    }


async def _load_transaction(upstream: Upstream, id_: str) -> api.Transaction:
    shown, info = await asyncio.gather(
        upstream.post("wallet/gettransactionbyid", {"value": id_}),
        upstream.post("wallet/gettransactioninfobyid", {"value": id_}),
    )
    if not shown:
        pending = await _pending(upstream, id_)
        if not pending:
            return api.Transaction(txid=id_, state=TxState.UNKNOWN)
        return _read_transaction(pending, upstream, id_, None, TxState.PENDING)
    number = info.get("blockNumber")
    return _read_transaction(
        shown, upstream, id_, info, await _state(upstream, id_, number) if number is not None else TxState.PENDING
    )


async def _pending(upstream: Upstream, id_: str) -> dict[str, Any]:
    try:
        return await upstream.post("wallet/gettransactionfrompending", {"value": id_})
    except NodeError as error:
        if error.about_the_question:  # not every node tells what is in its pool
            return {}
        raise


async def _state(upstream: Upstream, id_: str, number: int) -> TxState:
    if upstream.solid is None or number > upstream.solid.number:
        return TxState.SEEN
    solid = await upstream.post("walletsolidity/gettransactioninfobyid", {"value": id_})
    return TxState.SOLID if solid.get("id") == id_ else TxState.SEEN


def _read_transaction(
    shown: Mapping[str, Any], upstream: Upstream, id_: str, info: Mapping[str, Any] | None, state: TxState
) -> api.Transaction:
    try:
        raw = bytes.fromhex(shown["raw_data_hex"])
        well = txid(raw).hex() == id_
    except (KeyError, TypeError, ValueError):
        well = False
    if not well:
        raise NodeError(f"it shows other bytes under {id_}", Kind.GARBLED, upstream.name)
    info = info or {}
    number = info.get("blockNumber")
    results = shown.get("ret") or [{}]
    return api.Transaction(
        txid=id_,
        state=state,
        result=clean(results[0].get("contractRet", "")) if isinstance(results[0], dict) else "",
        block_number=number,
        block_time_ms=info.get("blockTimeStamp"),
        confirmations=_confirmations(upstream, number),
        fee_sun=info.get("fee", 0) if number is not None else None,
        **_decoded(raw),
    )


def _decoded(raw: bytes) -> dict[str, Any]:
    """What the bytes say; nothing if they hold a contract that we do not know."""
    try:
        data = RawData.decode(raw, strict=False)
    except ProtocolError:
        return {}
    fields: dict[str, Any] = {
        "type": data.contract.type_name,
        "owner": data.contract.owner.base58,
        "memo": clean(data.memo.decode("utf-8", "replace")),
    }
    if isinstance(data.contract, Transfer):
        fields |= {"to": data.contract.to.base58, "amount_sun": data.contract.amount_sun}
    return fields


def _confirmations(upstream: Upstream, number: int | None) -> int:
    if number is None or upstream.head is None:
        return 0
    return max(1, upstream.head.number - number + 1)


async def _load_receipt(upstream: Upstream, id_: str) -> api.Receipt | None:
    info = await upstream.post("wallet/gettransactioninfobyid", {"value": id_})
    if not info:
        return None
    if info.get("id") != id_ or not isinstance(info.get("blockNumber"), int):
        raise NodeError(f"it shows a receipt that is not that of {id_}", Kind.GARBLED, upstream.name)
    costs = info.get("receipt") or {}
    failed = info.get("result") == "FAILED"
    return api.Receipt(
        txid=id_,
        state=await _state(upstream, id_, info["blockNumber"]),
        result=clean(costs.get("result") or ("FAILED" if failed else "SUCCESS")),
        block_number=info["blockNumber"],
        block_time_ms=_number(info, "blockTimeStamp"),
        fee_sun=_number(info, "fee"),
        bandwidth_used=_number(costs, "net_usage"),
        bandwidth_fee_sun=_number(costs, "net_fee"),
        energy_used=_number(costs, "energy_usage_total"),
        energy_fee_sun=_number(costs, "energy_fee"),
        confirmations=_confirmations(upstream, info["blockNumber"]),
    )


Page = tuple[tuple[api.Transaction, ...], bool]
"""Transactions, and whether there are more."""


async def _load_index(upstream: Upstream, address: str, query: api.HistoryQuery) -> Page:
    """Read TronGrid's index, page by page; raises NodeError where an endpoint has none."""
    wanted = query.skip + query.limit + 1
    found: list[api.Transaction] = []
    params = {"limit": str(min(wanted, _MOST_PER_PAGE)), "order_by": "block_timestamp,desc"}
    if query.from_timestamp is not None:
        params["min_timestamp"] = str(query.from_timestamp)
    if query.to_timestamp is not None:
        params["max_timestamp"] = str(query.to_timestamp)
    pages, done = 0, False
    while len(found) < wanted and not done and pages < _MOST_PAGES:
        pages += 1
        page = await upstream.get(f"v1/accounts/{address}/transactions", params)
        data = page.get("data")
        if not isinstance(data, list):
            raise NodeError("it has no history", Kind.NODE, upstream.name)
        found += [item for shown in data if (item := _indexed(shown, upstream))]
        meta = page.get("meta")
        fingerprint = meta.get("fingerprint") if isinstance(meta, dict) else None
        done = not fingerprint or not data
        params = {**params, "fingerprint": str(fingerprint)}
    return _page(found, query, unfinished=not done and len(found) < wanted)


def _page(found: list[api.Transaction], query: api.HistoryQuery, *, unfinished: bool = False) -> Page:
    end = query.skip + query.limit
    return tuple(found[query.skip : end]), unfinished or len(found) > end


def _indexed(shown: Any, upstream: Upstream) -> api.Transaction | None:
    """Read one entry of an index; None if its bytes are not those of its id."""
    if not isinstance(shown, dict):
        return None
    number, id_ = shown.get("blockNumber"), str(shown.get("txID", ""))
    results = shown.get("ret")
    fee = results[0].get("fee", 0) if isinstance(results, list) and results and isinstance(results[0], dict) else 0
    info = {"blockNumber": number, "blockTimeStamp": shown.get("block_timestamp"), "fee": fee}
    try:
        return _read_transaction(shown, upstream, id_, info, _solidity(upstream, number))
    except (NodeError, ValueError):
        return None


def _solidity(upstream: Upstream, number: int | None) -> TxState:
    if number is None:
        return TxState.PENDING
    return TxState.SOLID if upstream.solid and number <= upstream.solid.number else TxState.SEEN


async def _scan(upstream: Upstream, address: str, query: api.HistoryQuery) -> Page:
    """Look through the newest blocks, for endpoints without an index."""
    head = await upstream.newest("wallet")
    found: list[api.Transaction] = []
    end, lowest = head.number + 1, max(0, head.number + 1 - SCANNED_BLOCKS)
    while end > lowest and len(found) <= query.skip + query.limit:
        start = max(lowest, end - _BLOCKS_PER_CALL)
        answer = await upstream.post("wallet/getblockbylimitnext", {"startNum": start, "endNum": end})
        blocks = answer.get("block")
        for block in reversed(blocks if isinstance(blocks, list) else []):
            found += _of_block(block, upstream, address, query)
        end = start
    return _page(found, query, unfinished=end > 0)


def _of_block(
    block: Mapping[str, Any], upstream: Upstream, address: str, query: api.HistoryQuery
) -> list[api.Transaction]:
    ref = read_block(block, upstream.name)
    if ref.time_ms < (query.from_timestamp or 0) or (
        query.to_timestamp is not None and ref.time_ms > query.to_timestamp
    ):
        return []
    info = {"blockNumber": ref.number, "blockTimeStamp": ref.time_ms}
    found = []
    for shown in reversed(block.get("transactions") or ()):
        item = _read_transaction(shown, upstream, str(shown.get("txID")), info, _solidity(upstream, ref.number))
        if address in {item.owner, item.to}:
            found.append(item.model_copy(update={"fee_sun": None}))
    return found


def _number(value: Mapping[str, Any], name: str) -> int:
    """A whole number of an answer; left out means zero, as java-tron does."""
    found = value.get(name, 0)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0
