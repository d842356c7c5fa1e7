"""TronGrid's history of an account: `/v1/accounts/{address}/transactions`.

An index for people and for hints, not part of java-tron. A page ends with a `fingerprint` that asks for the next one.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.devnet.answers import Json
from services.devnet.chain import Chain
from services.devnet.store import Page, StoredBlock, StoredTransaction
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
    page = Page(
        # One more than wanted tells whether there is a next page.
        limit=wanted.limit + 1,
        after=_read_fingerprint(wanted.fingerprint),
        newest_block=chain.solid.number if wanted.only_confirmed else None,
        oldest_block=chain.solid.number + 1 if wanted.only_unconfirmed else None,
        sent=None if wanted.only_from == wanted.only_to else wanted.only_from,
        ascending=wanted.order_by.endswith("asc"),
        min_ms=wanted.min_timestamp,
        max_ms=wanted.max_timestamp,
    )
    found = chain.store.account_transactions(address.raw, page)
    shown, more = found[: wanted.limit], len(found) > wanted.limit
    meta: Json = {"at": chain.now_ms()}
    if more:
        last = shown[-1][0]
        meta["fingerprint"] = fingerprint = f"{last.block}-{last.position}"
        rest = "&".join(f"{key}={value}" for key, value in query.items() if key != "fingerprint")
        meta["links"] = {"next": f"{url}?{rest}{'&' if rest else ''}fingerprint={fingerprint}"}
    meta["page_size"] = len(shown)
    return {"data": [_entry(stored, block) for stored, block in shown], "success": True, "meta": meta}


def _read_fingerprint(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    block, _, position = text.partition("-")
    if not (block.isascii() and block.isdigit() and position.isascii() and position.isdigit()):
        raise HistoryError("fingerprint: it is not one that this node gave")
    return int(block), int(position)


def _entry(stored: StoredTransaction, block: StoredBlock) -> dict[str, Any]:
    receipt = stored.receipt
    shown = transaction_to_json(stored.signed, visible=False)
    shown["ret"] = [{"contractRet": receipt.result, "fee": receipt.fee_sun}]
    return shown | {
        "blockNumber": block.number,
        "block_timestamp": block.time_ms,
        "energy_fee": 0,
        "energy_usage": 0,
        "energy_usage_total": 0,
        "internal_transactions": [],
        "net_fee": receipt.net_fee_sun,
        "net_usage": receipt.net_usage,
    }
