"""Ours against tronweb: hundreds of random transactions of every contract type, the same bytes in both directions."""

import json
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.protocol.address import Address
from services.protocol.contracts import (
    CONTRACT_TYPES_BY_NAME,
    Abi,
    AccountCreate,
    AccountPermissionUpdate,
    CancelAllUnfreezeV2,
    Contract,
    CreateSmartContract,
    DelegateResource,
    FreezeBalanceV2,
    Key,
    NewContract,
    Permission,
    PermissionType,
    Resource,
    Transfer,
    TriggerSmartContract,
    UnDelegateResource,
    UnfreezeBalanceV2,
    Vote,
    VoteWitness,
    WithdrawBalance,
    WithdrawExpireUnfreeze,
)
from services.protocol.json import message_from_json, raw_from_json, transaction_to_json
from services.protocol.signature import public_address, recover, sign
from services.protocol.transaction import RawData, SignedTransaction, txid

PER_TYPE = 25
# Numbers in JavaScript are exact only up to here.
MAX_SAFE = (1 << 53) - 1


@dataclass
class Case:
    """One transaction: as we say it, and as tronweb's builder is called for it."""

    raw: RawData
    key: bytes
    call: str
    args: list[Any]


Options = dict[str, Any]
"""Options of tronweb's builder; a maker may add its own."""

Made = tuple[Contract, str, list[Any]]
"""A contract, the builder's method, and its arguments."""

Maker = Callable[[random.Random, Address, Options], Made]


def _amount(rng: random.Random) -> int:
    """Of any magnitude, the ends included."""
    return rng.choice([1, MAX_SAFE, min(rng.randint(1, 1 << rng.randint(1, 53)), MAX_SAFE)])


def _address(rng: random.Random) -> Address:
    return Address.from_evm(rng.randbytes(20))


def _resource(rng: random.Random) -> Resource:
    return rng.choice([Resource.BANDWIDTH, Resource.ENERGY])


def _transfer(rng: random.Random, owner: Address, options: Options) -> Made:
    contract = Transfer(owner, _address(rng), _amount(rng))
    return contract, "sendTrx", [contract.to.base58, contract.amount_sun, owner.base58, options]


def _account_create(rng: random.Random, owner: Address, options: Options) -> Made:
    contract = AccountCreate(owner, _address(rng))
    return contract, "createAccount", [contract.account.base58, owner.base58, options]


def _trigger(rng: random.Random, owner: Address, options: Options) -> Made:
    contract = TriggerSmartContract(
        owner,
        _address(rng),
        rng.randbytes(rng.choice([4, 36, 68, 300])),
        call_value_sun=rng.choice([0, _amount(rng)]),
        call_token_value=rng.choice([0, _amount(rng)]),
        token_id=rng.choice([0, 1_000_001]),
    )
    options |= {
        "txLocal": True,
        "input": contract.data.hex(),
        "callValue": contract.call_value_sun,
        "tokenValue": contract.call_token_value,
        "tokenId": contract.token_id,
        "feeLimit": rng.choice([1, 30_000_000, 15_000_000_000]),
    }
    return contract, "triggerSmartContract", [contract.contract.base58, "", options, [], owner.base58]


ABI: list[dict[str, Any]] = [
    {"type": "constructor", "inputs": [], "stateMutability": "payable", "payable": True},
    {
        "type": "function",
        "name": "balanceOf",
        "constant": True,
        "inputs": [{"name": "who", "type": "address"}],
        "outputs": [{"name": "", "type": "uint256"}],
        "stateMutability": "view",
    },
    {
        "type": "event",
        "name": "Seen",
        "anonymous": True,
        "inputs": [{"indexed": True, "name": "who", "type": "address"}],
    },
    {"type": "fallback", "stateMutability": "nonpayable"},
    {"type": "receive", "stateMutability": "payable", "payable": True},
]


def _create_contract(rng: random.Random, owner: Address, options: Options) -> Made:
    abi = rng.sample(ABI[1:], rng.randint(0, 4))
    new = NewContract(
        owner,
        rng.randbytes(rng.choice([1, 100, 5_000])),
        abi=message_from_json(Abi, {"entrys": [ABI[0], *abi]}, visible=False),
        call_value_sun=rng.choice([0, _amount(rng)]),
        user_percent=rng.choice([0, 1, 100]),
        name=rng.choice(["", "Token", "Größe"]),
        origin_energy_limit=rng.choice([1, 10_000_000]),
    )
    contract = CreateSmartContract(owner, new, call_token_value=rng.choice([0, 1]), token_id=rng.choice([0, 1_000_001]))
    options |= {
        "abi": [ABI[0], *abi],
        "bytecode": new.bytecode.hex(),
        "callValue": new.call_value_sun,
        "userFeePercentage": new.user_percent,
        "originEnergyLimit": new.origin_energy_limit,
        "name": new.name,
        "tokenValue": contract.call_token_value,
        "tokenId": contract.token_id,
        "feeLimit": rng.choice([1, 30_000_000, 15_000_000_000]),
    }
    return contract, "createSmartContract", [options, owner.base58]


def _freeze(rng: random.Random, owner: Address, options: Options) -> Made:
    contract = FreezeBalanceV2(owner, _amount(rng), _resource(rng))
    return contract, "freezeBalanceV2", [contract.amount_sun, contract.resource.name, owner.base58, options]


def _unfreeze(rng: random.Random, owner: Address, options: Options) -> Made:
    contract = UnfreezeBalanceV2(owner, _amount(rng), _resource(rng))
    return contract, "unfreezeBalanceV2", [contract.amount_sun, contract.resource.name, owner.base58, options]


def _withdraw_unfrozen(rng: random.Random, owner: Address, options: Options) -> Made:
    return WithdrawExpireUnfreeze(owner), "withdrawExpireUnfreeze", [owner.base58, options]


def _cancel_unfreeze(rng: random.Random, owner: Address, options: Options) -> Made:
    return CancelAllUnfreezeV2(owner), "cancelUnfreezeBalanceV2", [owner.base58, options]


def _withdraw_rewards(rng: random.Random, owner: Address, options: Options) -> Made:
    return WithdrawBalance(owner), "withdrawBlockRewards", [owner.base58, options]


def _delegate(rng: random.Random, owner: Address, options: Options) -> Made:
    lock = rng.random() < 0.5
    period = rng.choice([0, 1, 28_800, 864_000]) if lock else 0
    contract = DelegateResource(owner, _resource(rng), _amount(rng), _address(rng), lock, period)
    args = [contract.balance_sun, contract.receiver.base58, contract.resource.name, owner.base58, lock, period, options]
    return contract, "delegateResource", args


def _undelegate(rng: random.Random, owner: Address, options: Options) -> Made:
    contract = UnDelegateResource(owner, _resource(rng), _amount(rng), _address(rng))
    args = [contract.balance_sun, contract.receiver.base58, contract.resource.name, owner.base58, options]
    return contract, "undelegateResource", args


def _vote(rng: random.Random, owner: Address, options: Options) -> Made:
    votes = tuple(Vote(_address(rng), _amount(rng)) for _ in range(rng.randint(1, 30)))
    return (
        VoteWitness(owner, votes),
        "vote",
        [{vote.address.base58: vote.count for vote in votes}, owner.base58, options],
    )


def _permission(rng: random.Random, kind: PermissionType) -> Permission:
    return Permission(
        type=kind,
        name=rng.choice(["owner", "a", "Kasse für Löhne", "五"]),
        threshold=rng.randint(1, 1 << rng.randint(1, 40)),
        keys=tuple(Key(_address(rng), rng.randint(1, 1 << rng.randint(1, 40))) for _ in range(rng.randint(1, 5))),
        operations=rng.randbytes(32) if kind is PermissionType.Active else b"",
        id=rng.choice([0, 2, 9]) if kind is PermissionType.Active else 0,
    )


def _permission_argument(permission: Permission) -> dict[str, Any]:
    argument: dict[str, Any] = {
        "type": int(permission.type),
        "permission_name": permission.name,
        "threshold": permission.threshold,
        "keys": [{"address": key.address.base58, "weight": key.weight} for key in permission.keys],
    }
    if permission.id:
        argument["id"] = permission.id
    if permission.operations:
        argument["operations"] = permission.operations.hex()
    return argument


def _permission_update(rng: random.Random, owner: Address, options: Options) -> Made:
    contract = AccountPermissionUpdate(
        owner,
        _permission(rng, PermissionType.Owner),
        rng.choice([None, _permission(rng, PermissionType.Witness)]),
        tuple(_permission(rng, PermissionType.Active) for _ in range(rng.randint(1, 8))),
    )
    witness = contract.witness_permission
    args = [
        owner.base58,
        _permission_argument(contract.owner_permission),
        witness and _permission_argument(witness),
        [_permission_argument(active) for active in contract.actives],
        options,
    ]
    return contract, "updateAccountPermissions", args


MAKERS: list[Maker] = [
    _transfer,
    _account_create,
    _create_contract,
    _trigger,
    _freeze,
    _unfreeze,
    _withdraw_unfrozen,
    _cancel_unfreeze,
    _withdraw_rewards,
    _delegate,
    _undelegate,
    _vote,
    _permission_update,
]


def _case(rng: random.Random, make: Maker) -> Case:
    key = rng.randbytes(32)
    timestamp_ms = rng.choice([0, rng.randint(1, 1 << 41)])
    header: dict[str, Any] = {
        "ref_block_bytes": rng.randbytes(2).hex(),
        "ref_block_hash": rng.randbytes(8).hex(),
        "expiration": timestamp_ms + 60_000,
        "timestamp": timestamp_ms,
    }
    options: Options = {"blockHeader": header, "permissionId": rng.choice([0, 0, 2, 9])}
    contract, call, args = make(rng, public_address(key), options)
    raw = RawData(
        contract=contract,
        ref_block_bytes=bytes.fromhex(header["ref_block_bytes"]),
        ref_block_hash=bytes.fromhex(header["ref_block_hash"]),
        expiration_ms=timestamp_ms + 60_000,
        timestamp_ms=timestamp_ms,
        fee_limit_sun=options.get("feeLimit", 0),
        memo=rng.choice([b"", "Bestellung 42 ✓".encode(), rng.randbytes(300)]),
        permission_id=options["permissionId"],
    )
    return Case(raw, key, call, args)


CASES = [_case(random.Random(f"{make.__name__} {number}"), make) for make in MAKERS for number in range(PER_TYPE)]


def _ours(case: Case) -> dict[str, Any]:
    raw = case.raw.encode()
    signature = sign(txid(raw), case.key)
    transaction = transaction_to_json(SignedTransaction(raw, (signature,)), visible=False)
    return {"transaction": transaction, "signature": signature.hex()}


@pytest.fixture(scope="module")
def answers(tronweb_dir: Path) -> list[dict[str, Any]]:
    """What tronweb makes of every case, in one go."""
    batch = [
        {
            "call": case.call,
            "args": case.args,
            "memo": case.raw.memo.hex(),
            "key": case.key.hex(),
            "ours": _ours(case),
        }
        for case in CASES
    ]
    done = subprocess.run(
        ["node", "build.mjs"], cwd=tronweb_dir, input=json.dumps(batch), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(found) == len(CASES)
    return found


def test_every_contract_type_is_compared() -> None:
    assert {case.raw.contract.type_name for case in CASES} == set(CONTRACT_TYPES_BY_NAME)


def test_our_bytes_and_txids_are_tronwebs(answers: list[dict[str, Any]]) -> None:
    for case, theirs in zip(CASES, answers, strict=True):
        data = case.raw.encode()
        assert data.hex() == theirs["raw_data_hex"], case.call
        assert txid(data).hex() == theirs["txID"], case.call


def test_we_read_tronwebs_bytes_and_json(answers: list[dict[str, Any]]) -> None:
    for case, theirs in zip(CASES, answers, strict=True):
        assert RawData.decode(bytes.fromhex(theirs["raw_data_hex"])) == case.raw, case.call
        assert raw_from_json(theirs["raw_data"], visible=False) == case.raw, case.call


def test_tronweb_makes_the_same_bytes_of_our_json(answers: list[dict[str, Any]]) -> None:
    for case, theirs in zip(CASES, answers, strict=True):
        assert theirs["reread"] == case.raw.encode().hex(), case.call


def test_each_recovers_the_others_signature_and_both_are_the_same(answers: list[dict[str, Any]]) -> None:
    for case, theirs in zip(CASES, answers, strict=True):
        signature = bytes.fromhex(theirs["signature"])
        digest = txid(case.raw.encode())
        assert recover(digest, signature) == case.raw.contract.owner, case.call
        assert signature == sign(digest, case.key), case.call
        assert theirs["recovered"].lower() == case.raw.contract.owner.hex, case.call
