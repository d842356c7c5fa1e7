"""Every refusal of a broadcast reaches tronweb and tronpy, both unmodified, with java-tron's code and words."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tronpy import AsyncTron
from tronpy.async_tron import AsyncTransaction
from tronpy.exceptions import BadSignature, TaposError, TransactionError, UnknownError, ValidationError
from tronpy.providers.async_http import AsyncHTTPProvider

from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.devnet.refusals import STOCK_MESSAGES, Code
from services.protocol.json import transaction_to_json

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
HERE = Path(__file__).parent
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Refused:
    """A transaction that no node takes, and what each says."""

    transaction: Incoming
    code: str
    message: str


@pytest.fixture
def refused(node: DevnetNode, accounts: Keys, strangers: Keys, build: Build) -> list[Refused]:
    """One transaction for each reason that a transaction itself can give."""
    chain, own, other, new = node.chain, accounts[0], accounts[1], strangers[0]
    poor = strangers[1]
    chain.submit(build(chain, own, poor.address, 10))
    node.mine()
    known = build(chain, own, other.address, 5)
    chain.submit(known)
    forged = build(chain, own, other.address, signers=(other,))

    def made(to: Any = other.address, amount_sun: int = 1, sender: KnownKey = own, **fields: Any) -> Incoming:
        return build(chain, sender, to, amount_sun, **fields)

    def signature(words: str) -> tuple[str, str]:
        return "SIGERROR", f"Validate signature error: {words}"

    def contract(words: str) -> tuple[str, str]:
        return "CONTRACT_VALIDATE_ERROR", f"Contract validate error : {words}"

    large = made(new.address, memo=b"x" * 2_000)
    stranger = (
        f"{forged.signatures[0].hex()} is signed by {other.address.base58} but it is not contained of permission."
    )
    too_large = (
        f"Too big new account transaction, TxId {large.txid.hex()}, the size is {large.size - 65} bytes, maxTxSize 1000"
    )
    expired = ("TRANSACTION_EXPIRATION_ERROR", "Transaction expired")
    table = [
        (known, ("DUP_TRANSACTION_ERROR", "Dup transaction.")),
        (forged, signature(stranger)),
        (made(permission_id=3), signature("permission isn't exit")),
        (
            made(signers=(own, other)),
            signature("Signature count is 2 more than key counts of permission : 1"),
        ),
        (made(amount_sun=10**15), contract("Validate TransferContract error, balance is not sufficient.")),
        (made(own.address), contract("Cannot transfer TRX to yourself.")),
        (made(amount_sun=0), contract("Amount must be greater than 0.")),
        (made(sender=strangers[2]), contract(f"account [{strangers[2].address.base58}] does not exist")),
        (made(sender=poor, memo=b"x"), ("BANDWITH_ERROR", "Account resource insufficient error.")),
        (made(ref_block_hash=bytes(8)), ("TAPOS_ERROR", "Tapos check error.")),
        (large, ("TOO_BIG_TRANSACTION_ERROR", too_large)),
        (made(expiration_ms=chain.head.time_ms), expired),
        (made(expiration_ms=chain.head.time_ms + DAY_MS + 1), expired),
    ]
    return [Refused(transaction, *answer) for transaction, answer in table]


EXCEPTIONS: dict[str, type[Exception]] = {
    "SIGERROR": BadSignature,
    "TAPOS_ERROR": TaposError,
    "CONTRACT_VALIDATE_ERROR": ValidationError,
    "TRANSACTION_EXPIRATION_ERROR": TransactionError,
    "TOO_BIG_TRANSACTION_ERROR": TransactionError,
}
"""What tronpy makes of the codes that it knows."""


async def _told_to_tronpy(node: DevnetNode, transaction: Incoming) -> Exception:
    sent = transaction_to_json(transaction.signed(), visible=False)
    async with AsyncTron(AsyncHTTPProvider(node.url + "/", client=httpx.AsyncClient(timeout=10))) as tron:
        read = await AsyncTransaction.from_json(sent | {"permission": None}, client=tron)
        try:
            await read.broadcast()
        except (BadSignature, TaposError, TransactionError, UnknownError, ValidationError) as error:
            found: Exception = error
            return found
    pytest.fail("it was taken")


async def _told_to_tronweb(node: DevnetNode, tronweb_dir: Path, folder: Path, sent: list[Incoming]) -> Any:
    file = folder / "transactions.json"
    file.write_text(json.dumps([transaction_to_json(one.signed(), visible=False) for one in sent]))
    command = ("node", str(HERE / "refusals.mjs"), str(tronweb_dir), node.url, str(file))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


def _checked(found: Exception, code: str, message: str) -> None:
    assert type(found) is EXCEPTIONS.get(code, UnknownError)
    assert found.args[0] == message
    if code not in EXCEPTIONS:
        assert found.args[1] == code


async def test_tronpy_is_told_why(node: DevnetNode, refused: list[Refused]) -> None:
    for one in refused:
        _checked(await _told_to_tronpy(node, one.transaction), one.code, one.message)


async def test_tronweb_is_told_why(node: DevnetNode, refused: list[Refused], tronweb_dir: Path, tmp_path: Path) -> None:
    answers = await _told_to_tronweb(node, tronweb_dir, tmp_path, [one.transaction for one in refused])
    for one, answer in zip(refused, answers, strict=True):
        assert not answer.get("result")
        assert (answer["code"], bytes.fromhex(answer["message"]).decode()) == (one.code, one.message)


OF_THE_NODE = [
    Code.SERVER_BUSY,
    Code.NO_CONNECTION,
    Code.NOT_ENOUGH_EFFECTIVE_CONNECTION,
    Code.BLOCK_UNSOLIDIFIED,
    Code.CONTRACT_EXE_ERROR,
    Code.OTHER_ERROR,
]
"""Refusals that are no fault of the transaction."""


@pytest.mark.parametrize("code", OF_THE_NODE)
async def test_both_are_told_what_the_node_lacks(
    node: DevnetNode, refused: list[Refused], tronweb_dir: Path, tmp_path: Path, code: Code
) -> None:
    transaction = refused[0].transaction
    fault = {"kind": "answer", "path": "/wallet/broadcasttransaction", "code": code.name}
    async with httpx.AsyncClient(base_url=node.url) as http:
        assert (await http.post("/admin/faults", json=fault)).is_success
    _checked(await _told_to_tronpy(node, transaction), code.name, STOCK_MESSAGES[code])
    (answer,) = await _told_to_tronweb(node, tronweb_dir, tmp_path, [transaction])
    assert (answer["code"], bytes.fromhex(answer["message"]).decode()) == (code.name, STOCK_MESSAGES[code])


def test_every_code_has_a_refusal_here(refused: list[Refused]) -> None:
    covered = {one.code for one in refused} | {code.name for code in OF_THE_NODE}
    assert covered == {code.name for code in Code} - {"SUCCESS"}
