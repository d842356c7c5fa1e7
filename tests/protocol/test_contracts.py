"""Contracts field by field, as java-tron's `.proto` files number and name them."""

import pytest

from services.protocol import wire
from services.protocol.address import Address
from services.protocol.block import BlockHeader
from services.protocol.contracts import (
    CONTRACT_TYPES,
    Abi,
    AbiEntry,
    AbiParam,
    AccountCreate,
    AccountPermissionUpdate,
    AccountType,
    Contract,
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
)
from services.protocol.wire import ProtocolError

OWNER = Address.from_evm(b"\x01" * 20)
OTHER = Address.from_evm(b"\x02" * 20)
OWNER_FIELD = "0a15" + OWNER.hex


def fields(message: type) -> str:
    return " ".join(f"{slot.field.number}:{slot.field.name}:{slot.field.kind.value}" for slot in wire.slots_of(message))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Vote, "1:vote_address:address 2:vote_count:int64"),
        (Key, "1:address:address 2:weight:int64"),
        (
            Permission,
            "1:type:enum 2:id:int32 3:permission_name:string 4:threshold:int64 5:parent_id:int32 6:operations:bytes "
            "7:keys:message",
        ),
        (
            BlockHeader,
            "1:timestamp:int64 2:txTrieRoot:bytes 3:parentHash:bytes 7:number:int64 8:witness_id:int64 "
            "9:witness_address:bytes 10:version:int32 11:accountStateRoot:bytes",
        ),
        (
            NewContract,
            "1:origin_address:address 2:contract_address:bytes 3:abi:message 4:bytecode:bytes 5:call_value:int64 "
            "6:consume_user_resource_percent:int64 7:name:string 8:origin_energy_limit:int64 9:code_hash:bytes "
            "10:trx_hash:bytes 11:version:int32",
        ),
        (Abi, "1:entrys:message"),
        (
            AbiEntry,
            "1:anonymous:bool 2:constant:bool 3:name:string 4:inputs:message 5:outputs:message 6:type:enum "
            "7:payable:bool 8:stateMutability:enum",
        ),
        (AbiParam, "1:indexed:bool 2:name:string 3:type:string"),
    ],
)
def test_parts_are_numbered_and_named_as_in_tron_proto(message: type, expected: str) -> None:
    assert fields(message) == expected


def test_contracts_are_numbered_and_named_as_in_their_proto_files() -> None:
    assert {
        kind.type_name: fields(kind).removeprefix("1:owner_address:address").strip() for kind in CONTRACT_TYPES.values()
    } == {
        "AccountCreateContract": "2:account_address:address 3:type:enum",
        "TransferContract": "2:to_address:address 3:amount:int64",
        "VoteWitnessContract": "2:votes:message 3:support:bool",
        "WithdrawBalanceContract": "",
        "CreateSmartContract": "2:new_contract:message 3:call_token_value:int64 4:token_id:int64",
        "TriggerSmartContract": "2:contract_address:address 3:call_value:int64 4:data:bytes 5:call_token_value:int64 "
        "6:token_id:int64",
        "AccountPermissionUpdateContract": "2:owner:message 3:witness:message 4:actives:message",
        "FreezeBalanceV2Contract": "2:frozen_balance:int64 3:resource:enum",
        "UnfreezeBalanceV2Contract": "2:unfreeze_balance:int64 3:resource:enum",
        "WithdrawExpireUnfreezeContract": "",
        "DelegateResourceContract": "2:resource:enum 3:balance:int64 4:receiver_address:address 5:lock:bool "
        "6:lock_period:int64",
        "UnDelegateResourceContract": "2:resource:enum 3:balance:int64 4:receiver_address:address",
        "CancelAllUnfreezeV2Contract": "",
    }


def test_enums_have_javas_numbers() -> None:
    assert [(code.name, code.value) for code in Resource] == [("BANDWIDTH", 0), ("ENERGY", 1), ("TRON_POWER", 2)]
    assert [(kind.name, kind.value) for kind in AccountType] == [("Normal", 0), ("AssetIssue", 1), ("Contract", 2)]
    assert [(kind.name, kind.value) for kind in PermissionType] == [("Owner", 0), ("Witness", 1), ("Active", 2)]


@pytest.mark.parametrize(
    ("contract", "data"),
    [
        # What tronweb never fills, so that no comparison with it covers it.
        (VoteWitness(OWNER, (), support=True), OWNER_FIELD + "1801"),
        (AccountCreate(OWNER, OTHER, AccountType.Contract), OWNER_FIELD + "1215" + OTHER.hex + "1802"),
        (FreezeBalanceV2(OWNER, 1, Resource.TRON_POWER), OWNER_FIELD + "10011802"),
        (
            AccountPermissionUpdate(OWNER, Permission(PermissionType.Owner, "", 1, (), parent_id=3), None, ()),
            OWNER_FIELD + "120420012803",
        ),
    ],
)
def test_rare_fields(contract: Contract, data: str) -> None:
    assert wire.encode(contract).hex() == data
    assert wire.decode(type(contract), bytes.fromhex(data)) == contract


def _update(threshold: int = 1, weight: int = 1, permission_id: int = 0, parent_id: int = 0) -> AccountPermissionUpdate:
    keys = (Key(OWNER, weight),)
    permission = Permission(PermissionType.Owner, "o", threshold, keys, id=permission_id, parent_id=parent_id)
    return AccountPermissionUpdate(OWNER, permission, None, ())


@pytest.mark.parametrize(
    ("contract", "field"),
    [
        (Transfer(OWNER, OTHER, 0), "amount"),
        (FreezeBalanceV2(OWNER, 0, Resource.ENERGY), "frozen_balance"),
        (UnfreezeBalanceV2(OWNER, 0, Resource.ENERGY), "unfreeze_balance"),
        (DelegateResource(OWNER, Resource.ENERGY, 0, OTHER), "balance"),
        (DelegateResource(OWNER, Resource.ENERGY, 1, OTHER, lock_period=-1), "lock_period"),
        (UnDelegateResource(OWNER, Resource.ENERGY, 0, OTHER), "balance"),
        (VoteWitness(OWNER, (Vote(OTHER, 1), Vote(OTHER, 0))), "vote_count"),
        (TriggerSmartContract(OWNER, OTHER, b"", call_value_sun=-1), "call_value"),
        (TriggerSmartContract(OWNER, OTHER, b"", call_token_value=-1), "call_token_value"),
        (TriggerSmartContract(OWNER, OTHER, b"", token_id=-1), "token_id"),
        (_update(threshold=0), "threshold"),
        (_update(weight=0), "weight"),
        (_update(permission_id=-1), "id"),
        (_update(parent_id=-1), "parent_id"),
    ],
)
def test_a_signer_refuses_every_senseless_amount(contract: Contract, field: str) -> None:
    with pytest.raises(ProtocolError, match="out of range") as caught:
        wire.decode(type(contract), wire.encode(contract))
    assert caught.value.field == field
    assert wire.decode(type(contract), wire.encode(contract), strict=False) == contract


def test_contracts_without_fields_of_their_own_are_just_the_owner() -> None:
    assert wire.encode(WithdrawBalance(OWNER)).hex() == OWNER_FIELD
