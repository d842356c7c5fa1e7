"""TronGrid's history of an account: `/v1/accounts/{address}/transactions`.

An index for people and for hints, not part of java-tron. A page ends with a `fingerprint` that asks for the next one.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.devnet.answers import Json
from services.devnet.chain import Chain
from services.devnet.store import Page, StoredTransaction
from services.protocol.address import Address, AddressError
from services.protocol.json import transaction_to_json

MAX_LIMIT = 200
"""No page is longer."""


class HistoryError(ValueError):
    """The query makes no sense; the message says why."""


class HistoryQuery(BaseModel):
    """What can be asked for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 20
    fingerprint: str | None = None
    only_confirmed: bool = False
    only_unconfirmed: bool = False
    only_to: bool = False
    only_from: bool = False
    order_by: Literal["block_timestamp,asc", "block_timestamp,desc"] = "block_timestamp,desc"
    min_timestamp: Annotated[int, Field(ge=0)] = 0
    max_timestamp: Annotated[int, Field(ge=0)] | None = None


def account_history(chain: Chain, address_text: str, query: dict[str, str], url: str) -> Json:
    """One page of an account's transactions.

    Raises:
        HistoryError: the address or a parameter makes no sense.
    """
    try:
        address, wanted = Address.parse(address_text), HistoryQuery.model_validate(query)
    except AddressError as error:
        raise HistoryError(f"Not a valid address: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise HistoryError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error
    newest, oldest = _heights(chain, wanted)
    page = Page(
        # One more than wanted tells whether there is a next page.
        limit=wanted.limit + 1,
        after=_read_fingerprint(wanted.fingerprint),
        newest_block=newest,
        oldest_block=oldest,
        sent=None if wanted.only_from == wanted.only_to else wanted.only_from,
        ascending=wanted.order_by.endswith("asc"),
    )
    found = chain.store.account_transactions(address.raw, page)
    shown, more = found[: wanted.limit], len(found) > wanted.limit
    meta: Json = {"at": chain.now_ms()}
    if more:
        last = shown[-1]
        meta["fingerprint"] = fingerprint = f"{last.block}-{last.position}"
        rest = "&".join(f"{key}={value}" for key, value in query.items() if key != "fingerprint")
        meta["links"] = {"next": f"{url}?{rest}{'&' if rest else ''}fingerprint={fingerprint}"}
    meta["page_size"] = len(shown)
    return {"data": [_entry(chain, stored) for stored in shown], "success": True, "meta": meta}


def _heights(chain: Chain, wanted: HistoryQuery) -> tuple[int, int]:
    """The newest and the oldest block that the query lets through."""
    newest = chain.solid.number if wanted.only_confirmed else chain.head.number
    oldest = chain.solid.number + 1 if wanted.only_unconfirmed else 0
    if wanted.max_timestamp is not None:
        newest = min(newest, chain.store.first_block_at(wanted.max_timestamp + 1) - 1)
    return newest, max(oldest, chain.store.first_block_at(wanted.min_timestamp))


def _read_fingerprint(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    block, _, position = text.partition("-")
    if not (block.isascii() and block.isdigit() and position.isascii() and position.isdigit()):
        raise HistoryError("fingerprint: it is not one that this node gave")
    return int(block), int(position)


def _entry(chain: Chain, stored: StoredTransaction) -> dict[str, Any]:
    receipt, block = stored.receipt, chain.store.block(stored.block)
    shown = transaction_to_json(stored.signed, visible=False)
    shown["ret"] = [{"contractRet": receipt.result, "fee": receipt.fee_sun}]
    return shown | {
        "blockNumber": stored.block,
        "block_timestamp": block.time_ms if block else 0,
        "energy_fee": 0,
        "energy_usage": 0,
        "energy_usage_total": 0,
        "internal_transactions": [],
        "net_fee": receipt.net_fee_sun,
        "net_usage": receipt.net_usage,
    }
