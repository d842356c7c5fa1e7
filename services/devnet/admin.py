"""`/admin/*`: known accounts, the faucet, blocks and forks on demand, time, snapshots and the fault switchboard.

`accounts-json` and `temporary-accounts-generation` are those of the common TRON test images; the rest is ours and
answers errors as problem details. The switchboard itself is never struck by faults.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.devnet.chain import Chain, Fate
from services.devnet.deployed import PLAIN_SUPPLY, PLAIN_TOKEN
from services.devnet.faults import FaultBoard, FaultRequest
from services.devnet.genesis import TEST_ACCOUNT_SUN, TEST_ACCOUNTS, KnownKey, account_batch, faucet
from services.devnet.incoming import Incoming
from services.devnet.parameters import SLOT_MS
from services.devnet.refusals import Refusal
from services.devnet.requests import MAX_BODY_BYTES
from services.devnet.vm.world import contract_at
from services.kit.errors import Conflict, Invalid, LucidError, Malformed, NotFound, TooLarge, Unavailable
from services.kit.models import Request
from services.protocol.abi import encode_transfer
from services.protocol.address import Address, AddressError, TronAddress
from services.protocol.contracts import TriggerSmartContract

MAX_MINED = 10_000
"""Most blocks that one request makes."""

MAX_TEMPORARY_ACCOUNTS = 100
"""Most accounts that one request makes."""

FAUCET_SUN = 10_000_000_000
"""What the faucet gives unless told otherwise: 10,000 TRX."""

TOKEN_FEE_LIMIT_SUN = 1_000_000_000
"""What the faucet pays at most for the energy of a token transfer: 1,000 TRX."""

TEMPORARY_ACCOUNT_SUN = 10_000_000_000
"""What a temporary account begins with: 10,000 TRX, as in the test images."""

MAX_SKIPPED_S = 10 * 365 * 86_400
"""Farthest that one request moves chain time: ten years."""

_YIELD_EVERY = 50
_SNAPSHOT = re.compile("[a-z0-9-]{1,40}")

Handler = Callable[[HttpRequest], Awaitable[Response]]
M = TypeVar("M", bound=BaseModel)


class FaucetRequest(Request):
    """Who is to get how much."""

    address: TronAddress
    """The receiver; activated if it is new, at the faucet's cost."""

    amount_sun: Annotated[int, Field(ge=1, le=TEST_ACCOUNT_SUN * 1_000)] = FAUCET_SUN
    """How much, in sun, if TRX is wanted."""

    token: Literal["USDT", "PLAIN"] | None = None
    """Which token is wanted instead of TRX."""

    amount: Annotated[int, Field(ge=1, le=PLAIN_SUPPLY)] | None = None
    """How much of it, in its smallest units."""

    @model_validator(mode="after")
    def _token_and_amount(self) -> Self:
        if (self.token is None) != (self.amount is None):
            raise ValueError("token and amount come together; TRX is asked for with amount_sun")
        return self


class FactorRequest(Request):
    """How dear a contract becomes."""

    factor: Annotated[int, Field(ge=0, le=100_000)]
    """Penalty on its energy, in ten-thousandths; 34000 is mainnet's highest."""


class ForkRequest(Request):
    """How far back another branch begins, and what it does with the transactions that were there."""

    blocks: Annotated[int, Field(ge=1, le=MAX_MINED)]
    """How many blocks are undone; the new branch has one more."""

    transactions: Literal["again", "pool", "lost"] = "again"
    """`Fate` of their transactions."""


class Admin:
    """The handlers of one devnet."""

    def __init__(self, chain: Chain, faults: FaultBoard) -> None:
        self._chain = chain
        self._faults = faults

    def routes(self) -> list[Route]:
        """Where they are."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/admin/status", self.status),
            ("GET", "/admin/accounts-json", self.accounts),
            ("GET", "/admin/temporary-accounts-generation", self.temporary_accounts),
            ("POST", "/admin/faucet", self.give),
            ("POST", "/admin/contracts/{address}/energy-factor", self.set_factor),
            ("POST", "/admin/mine", self.mine),
            ("POST", "/admin/fork", self.fork),
            ("GET", "/admin/snapshots", self.list_snapshots),
            ("POST", "/admin/snapshots/{name}", self.save_snapshot),
            ("POST", "/admin/snapshots/{name}/load", self.load_snapshot),
            ("DELETE", "/admin/snapshots/{name}", self.remove_snapshot),
            ("GET", "/admin/faults", self.list_faults),
            ("POST", "/admin/faults", self.add_fault),
            ("DELETE", "/admin/faults", self.clear_faults),
            ("DELETE", "/admin/faults/{id}", self.remove_fault),
        ]
        return [Route(path, _with_problems(handler), methods=[method]) for method, path, handler in table]

    async def status(self, _request: HttpRequest) -> Response:
        """Where the chain is."""
        chain = self._chain
        return JSONResponse(
            {
                "network": chain.network.name,
                "head": _named(chain),
                "solid": {"number": chain.solid.number, "id": chain.solid.id.hex(), "time_ms": chain.solid.time_ms},
                "pool": len(chain.pool),
                "transactions": chain.head.counters.transactions,
                "burnt_sun": chain.head.counters.burnt_sun,
                "faults": len(self._faults.all()),
            }
        )

    async def accounts(self, _request: HttpRequest) -> Response:
        """The private keys that everybody knows: of the accounts in block 1, and of each batch made since."""
        batches = self._chain.store.batches()
        more = [_batch_json(account_batch(number, count)) for number, count in enumerate(batches, start=1)]
        return JSONResponse({**_batch_json(account_batch(0, TEST_ACCOUNTS)), "more": more})

    async def temporary_accounts(self, request: HttpRequest) -> Response:
        """Make funded accounts; they are in a block when this answers."""
        count = _count(request, "accounts", default=TEST_ACCOUNTS, most=MAX_TEMPORARY_ACCOUNTS)
        keys = account_batch(len(self._chain.store.batches()) + 1, count)
        transfers = [self._give(key.address, TEMPORARY_ACCOUNT_SUN) for key in keys]
        self._chain.store.add_batch(count)
        missing = [txid for txid in transfers if bytes.fromhex(txid) in self._chain.pool]
        if missing:
            self._chain.produce()
        return JSONResponse(_batch_json(keys))

    async def give(self, request: HttpRequest) -> Response:
        """Send TRX from the faucet, as a real transfer that a block still has to take."""
        wanted = _validated(FaucetRequest, await _body(request))
        if wanted.token is not None and wanted.amount is not None:
            return JSONResponse(self._give_token(Address.parse(wanted.address), wanted.token, wanted.amount))
        txid = self._give(Address.parse(wanted.address), wanted.amount_sun)
        body = {"txid": txid, "from": faucet().address.base58, "to": wanted.address, "amount_sun": wanted.amount_sun}
        return JSONResponse(body)

    async def mine(self, request: HttpRequest) -> Response:
        """Make blocks at once; chain time runs ahead of the clock where it must, and by `skip_s` before the first."""
        count = _count(request, "blocks", default=1, most=MAX_MINED)
        skip_s = _count(request, "skip_s", default=0, most=MAX_SKIPPED_S, least=0)
        for made in range(count):
            self._chain.produce(missed=0 if made else skip_s * 1000 // SLOT_MS)
            if made % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
        return JSONResponse({"blocks": count, "head": _named(self._chain), "solid": self._chain.solid.number})

    async def fork(self, request: HttpRequest) -> Response:
        """Let a longer branch replace the newest blocks."""
        wanted = _validated(ForkRequest, await _body(request))
        try:
            undone = self._chain.fork(wanted.blocks, Fate(wanted.transactions))
        except ValueError as error:
            raise Invalid(str(error), field="blocks") from error
        return JSONResponse({"undone": [txid.hex() for txid in undone], "head": _named(self._chain)})

    async def list_snapshots(self, _request: HttpRequest) -> Response:
        """The names under which the whole state was saved."""
        return JSONResponse({"snapshots": self._chain.store.snapshots()})

    async def save_snapshot(self, request: HttpRequest) -> Response:
        """Save the whole state under a name; what waits in the pool is not part of it."""
        name = _name(request)
        self._chain.store.save(name)
        return JSONResponse({"saved": name, "head": _named(self._chain)}, 201)

    async def load_snapshot(self, request: HttpRequest) -> Response:
        """Go back to a saved state; what has happened since then never was."""
        name = self._saved(request)
        self._chain.store.restore(name)
        self._chain.reload()
        return JSONResponse({"loaded": name, "head": _named(self._chain)})

    async def remove_snapshot(self, request: HttpRequest) -> Response:
        """Remove a saved state."""
        name = self._saved(request)
        self._chain.store.forget(name)
        return JSONResponse({"removed": name})

    def _saved(self, request: HttpRequest) -> str:
        """The name of a snapshot that is there."""
        name = _name(request)
        if name not in self._chain.store.snapshots():
            raise NotFound(f"there is no snapshot {name}; GET /admin/snapshots lists them")
        return name

    async def list_faults(self, _request: HttpRequest) -> Response:
        """The faults that are switched on, and how often each has struck."""
        return JSONResponse({"faults": [fault.shown() for fault in self._faults.all()]})

    async def add_fault(self, request: HttpRequest) -> Response:
        """Switch a fault on."""
        wanted = _validated(FaultRequest, await _body(request))
        if wanted.block is None:
            wanted = wanted.model_copy(update={"block": self._chain.solid.number})
        try:
            fault = self._faults.add(wanted)
        except ValueError as error:
            raise Unavailable(str(error)) from error
        return JSONResponse(fault.shown(), 201)

    async def clear_faults(self, _request: HttpRequest) -> Response:
        """Switch all faults off."""
        return JSONResponse({"removed": self._faults.clear()})

    async def remove_fault(self, request: HttpRequest) -> Response:
        """Switch one fault off."""
        number = request.path_params["id"]
        if not number.isdigit() or not self._faults.remove(int(number)):
            raise NotFound(f"there is no fault {number}; GET /admin/faults lists them")
        return JSONResponse({"removed": 1})

    async def set_factor(self, request: HttpRequest) -> Response:
        """Make a contract's energy dearer, as if it had been busy for long; quiet periods take that back."""
        wanted = _validated(FactorRequest, await _body(request))
        try:
            address = Address.parse(request.path_params["address"])
        except AddressError as error:
            raise Invalid(str(error), field="address") from error
        if self._chain.energy_rules is None:
            raise Conflict("contracts do not get dearer on this devnet: start it with DEVNET_DYNAMIC_ENERGY=true")
        if contract_at(self._chain.pending, address.raw) is None:
            raise NotFound(f"there is no contract at {address.base58}")
        self._chain.set_energy_factor(address.raw, wanted.factor)
        return JSONResponse({"address": address.base58, "factor": wanted.factor})

    def _give(self, to: Address, amount_sun: int) -> str:
        return self._submit(self._chain.transfer(faucet(), to, amount_sun))

    def _give_token(self, to: Address, name: str, amount: int) -> dict[str, Any]:
        token = self._chain.network.usdt if name == "USDT" else PLAIN_TOKEN
        call = TriggerSmartContract(faucet().address, token, encode_transfer(to, amount))
        txid = self._submit(self._chain.signed(faucet(), call, TOKEN_FEE_LIMIT_SUN))
        sender = faucet().address.base58
        return {
            "txid": txid,
            "from": sender,
            "to": to.base58,
            "token": name,
            "contract": token.base58,
            "amount": amount,
        }

    def _submit(self, transaction: Incoming) -> str:
        try:
            self._chain.submit(transaction)
        except Refusal as refusal:
            raise Unavailable(f"the faucet's transfer was refused: {refusal.code.name} {refusal.reason}") from refusal
        return transaction.txid.hex()


def _named(chain: Chain) -> dict[str, Any]:
    return {"number": chain.head.number, "id": chain.head.id.hex(), "time_ms": chain.head.time_ms}


def _batch_json(keys: tuple[KnownKey, ...]) -> dict[str, list[str]]:
    return {
        "privateKeys": [key.private_key.hex() for key in keys],
        "addresses": [key.address.base58 for key in keys],
    }


def _count(request: HttpRequest, name: str, *, default: int, most: int, least: int = 1) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise Invalid(f"{name} must be a number from {least} to {most}, not {text!r}", field=name)
    return int(text)


def _name(request: HttpRequest) -> str:
    name: str = request.path_params["name"]
    if not _SNAPSHOT.fullmatch(name):
        raise Invalid("a snapshot's name has 1 to 40 of a-z, 0-9 and -", field="name")
    return name


async def _body(request: HttpRequest) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"the body has more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _validated(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if any(item["type"] == "json_invalid" for item in error.errors()):
            raise Malformed("the body must be a JSON object") from error
        fields = [
            (".".join(str(part) for part in item["loc"]), item["msg"].removeprefix("Value error, "))
            for item in error.errors()
        ]
        raise Invalid("; ".join(f"{name}: {why}" for name, why in fields), fields=fields) from error


def _with_problems(handler: Handler) -> Handler:
    async def guarded(request: HttpRequest) -> Response:
        try:
            return await handler(request)
        except LucidError as error:
            return JSONResponse(error.problem(), error.status, media_type="application/problem+json")

    return guarded
