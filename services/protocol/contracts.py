"""The contract types that the product uses, one frozen dataclass each, with java-tron's field numbers and names.

Messages: `core/contract/{balance,smart_contract,account,witness}_contract.proto`; type ids: `ContractType` in
`core/Tron.proto`. Amounts are in sun (1 TRX = 1_000_000 sun). A contract of these classes holds valid addresses; that
its amounts make sense is checked when bytes are read strictly, because a node must be able to hold a senseless one.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from services.protocol.address import Address
from services.protocol.wire import Field, Kind


class Resource(IntEnum):
    """What stake gives (`ResourceCode` in `core/contract/common.proto`)."""

    BANDWIDTH = 0
    ENERGY = 1
    TRON_POWER = 2


class AccountType(IntEnum):
    """What an account is (`AccountType` in `core/Tron.proto`)."""

    Normal = 0
    AssetIssue = 1
    Contract = 2


class PermissionType(IntEnum):
    """Which of an account's permissions (`Permission.PermissionType` in `core/Tron.proto`)."""

    Owner = 0
    Witness = 1
    Active = 2


Owner = Annotated[Address, Field(1, "owner_address", Kind.ADDRESS)]
"""Field 1 of every contract: the account that acts, and whose permission signs."""


@dataclass(frozen=True, slots=True)
class AccountCreate:
    """Activates an account without sending it anything."""

    type_id: ClassVar[int] = 0
    """`ContractType` number."""
    type_name: ClassVar[str] = "AccountCreateContract"
    """`ContractType` and message name."""

    owner: Owner
    """Who pays for it."""
    account: Annotated[Address, Field(2, "account_address", Kind.ADDRESS)]
    """The account to activate."""
    type: Annotated[AccountType, Field(3, "type", Kind.ENUM, of=AccountType)] = AccountType.Normal
    """What it becomes."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Sends TRX."""

    type_id: ClassVar[int] = 1
    """`ContractType` number."""
    type_name: ClassVar[str] = "TransferContract"
    """`ContractType` and message name."""

    owner: Owner
    """Who pays."""
    to: Annotated[Address, Field(2, "to_address", Kind.ADDRESS)]
    """Who receives."""
    amount_sun: Annotated[int, Field(3, "amount", Kind.INT64, at_least=1)]
    """How much, in sun."""


@dataclass(frozen=True, slots=True)
class Vote:
    """Votes for one witness."""

    address: Annotated[Address, Field(1, "vote_address", Kind.ADDRESS)]
    """The witness."""
    count: Annotated[int, Field(2, "vote_count", Kind.INT64, at_least=1)]
    """How many votes (one for each whole TRX staked)."""


@dataclass(frozen=True, slots=True)
class VoteWitness:
    """Replaces all votes of the owner."""

    type_id: ClassVar[int] = 4
    """`ContractType` number."""
    type_name: ClassVar[str] = "VoteWitnessContract"
    """`ContractType` and message name."""

    owner: Owner
    """Who votes."""
    votes: Annotated[tuple[Vote, ...], Field(2, "votes", Kind.MESSAGE, of=Vote, repeated=True)]
    """The votes, at most 30 witnesses."""
    support: Annotated[bool, Field(3, "support", Kind.BOOL)] = False
    """Not used by the network, but part of the message."""


@dataclass(frozen=True, slots=True)
class WithdrawBalance:
    """Claims voting or block rewards."""

    type_id: ClassVar[int] = 13
    """`ContractType` number."""
    type_name: ClassVar[str] = "WithdrawBalanceContract"
    """`ContractType` and message name."""

    owner: Owner
    """Whose rewards."""


@dataclass(frozen=True, slots=True)
class TriggerSmartContract:
    """Calls a smart contract."""

    type_id: ClassVar[int] = 31
    """`ContractType` number."""
    type_name: ClassVar[str] = "TriggerSmartContract"
    """`ContractType` and message name."""

    owner: Owner
    """Who calls."""
    contract: Annotated[Address, Field(2, "contract_address", Kind.ADDRESS)]
    """The contract."""
    data: Annotated[bytes, Field(4, "data", Kind.BYTES)]
    """Selector and ABI-encoded arguments."""
    call_value_sun: Annotated[int, Field(3, "call_value", Kind.INT64, at_least=0)] = 0
    """TRX sent along, in sun."""
    call_token_value: Annotated[int, Field(5, "call_token_value", Kind.INT64, at_least=0)] = 0
    """TRC-10 tokens sent along, in the token's units."""
    token_id: Annotated[int, Field(6, "token_id", Kind.INT64, at_least=0)] = 0
    """Which TRC-10 token."""


class AbiEntryType(IntEnum):
    """What an entry of an ABI describes (`EntryType` in `core/contract/smart_contract.proto`)."""

    UnknownEntryType = 0
    Constructor = 1
    Function = 2
    Event = 3
    Fallback = 4
    Receive = 5
    Error = 6


class StateMutability(IntEnum):
    """What a function may do (`StateMutabilityType` there)."""

    UnknownMutabilityType = 0
    Pure = 1
    View = 2
    Nonpayable = 3
    Payable = 4


@dataclass(frozen=True, slots=True)
class AbiParam:
    """One argument or result."""

    indexed: Annotated[bool, Field(1, "indexed", Kind.BOOL)] = False
    """For events: whether it is a topic."""
    name: Annotated[str, Field(2, "name", Kind.STRING)] = ""
    """What it is called."""
    type: Annotated[str, Field(3, "type", Kind.STRING)] = ""
    """Its Solidity type."""


@dataclass(frozen=True, slots=True)
class AbiEntry:
    """One function, event or the like."""

    type: Annotated[AbiEntryType, Field(6, "type", Kind.ENUM, of=AbiEntryType)]
    """What it is."""
    name: Annotated[str, Field(3, "name", Kind.STRING)] = ""
    """What it is called."""
    inputs: Annotated[tuple[AbiParam, ...], Field(4, "inputs", Kind.MESSAGE, of=AbiParam, repeated=True)] = ()
    """Its arguments."""
    outputs: Annotated[tuple[AbiParam, ...], Field(5, "outputs", Kind.MESSAGE, of=AbiParam, repeated=True)] = ()
    """What it returns."""
    anonymous: Annotated[bool, Field(1, "anonymous", Kind.BOOL)] = False
    """For events: whether the first topic is missing."""
    constant: Annotated[bool, Field(2, "constant", Kind.BOOL)] = False
    """Whether it changes nothing."""
    payable: Annotated[bool, Field(7, "payable", Kind.BOOL)] = False
    """Whether it takes TRX."""
    state_mutability: Annotated[StateMutability, Field(8, "stateMutability", Kind.ENUM, of=StateMutability)] = (
        StateMutability.UnknownMutabilityType
    )
    """What it may do."""


@dataclass(frozen=True, slots=True)
class Abi:
    """What a contract offers."""

    entries: Annotated[tuple[AbiEntry, ...], Field(1, "entrys", Kind.MESSAGE, of=AbiEntry, repeated=True)] = ()
    """Its functions and events."""


@dataclass(frozen=True, slots=True)
class NewContract:
    """A contract to be made (`SmartContract`)."""

    origin: Annotated[Address, Field(1, "origin_address", Kind.ADDRESS)]
    """Who makes it; the owner of the transaction."""
    bytecode: Annotated[bytes, Field(4, "bytecode", Kind.BYTES)]
    """Its constructor and that one's arguments."""
    abi: Annotated[Abi | None, Field(3, "abi", Kind.MESSAGE, of=Abi, optional=True)] = None
    """What it offers."""
    contract_address: Annotated[bytes, Field(2, "contract_address", Kind.BYTES)] = b""
    """Ignored: the network makes the address."""
    call_value_sun: Annotated[int, Field(5, "call_value", Kind.INT64, at_least=0)] = 0
    """TRX sent along, in sun."""
    user_percent: Annotated[int, Field(6, "consume_user_resource_percent", Kind.INT64, at_least=0)] = 0
    """How much of a call's energy the caller pays, the rest is its maker's."""
    name: Annotated[str, Field(7, "name", Kind.STRING)] = ""
    """What it is called, at most 32 bytes."""
    origin_energy_limit: Annotated[int, Field(8, "origin_energy_limit", Kind.INT64, at_least=0)] = 0
    """Most energy that its maker gives to one call."""
    code_hash: Annotated[bytes, Field(9, "code_hash", Kind.BYTES)] = b""
    """Ignored: the network computes it."""
    trx_hash: Annotated[bytes, Field(10, "trx_hash", Kind.BYTES)] = b""
    """Ignored."""
    version: Annotated[int, Field(11, "version", Kind.INT32)] = 0
    """Ignored."""


@dataclass(frozen=True, slots=True)
class CreateSmartContract:
    """Makes a smart contract."""

    type_id: ClassVar[int] = 30
    """`ContractType` number."""
    type_name: ClassVar[str] = "CreateSmartContract"
    """`ContractType` and message name."""

    owner: Owner
    """Who makes it."""
    new_contract: Annotated[NewContract, Field(2, "new_contract", Kind.MESSAGE, of=NewContract)]
    """The contract."""
    call_token_value: Annotated[int, Field(3, "call_token_value", Kind.INT64, at_least=0)] = 0
    """TRC-10 tokens sent along, in the token's units."""
    token_id: Annotated[int, Field(4, "token_id", Kind.INT64, at_least=0)] = 0
    """Which TRC-10 token."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a permission."""

    address: Annotated[Address, Field(1, "address", Kind.ADDRESS)]
    """Whose signature counts."""
    weight: Annotated[int, Field(2, "weight", Kind.INT64, at_least=1)]
    """How much it counts."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Who may act for an account (`Permission` in `core/Tron.proto`)."""

    type: Annotated[PermissionType, Field(1, "type", Kind.ENUM, of=PermissionType)]
    """Owner, witness or active."""
    name: Annotated[str, Field(3, "permission_name", Kind.STRING)]
    """A name for people, at most 32 bytes."""
    threshold: Annotated[int, Field(4, "threshold", Kind.INT64, at_least=1)]
    """The weight that signatures must reach together."""
    keys: Annotated[tuple[Key, ...], Field(7, "keys", Kind.MESSAGE, of=Key, repeated=True)]
    """The keys, at most five."""
    operations: Annotated[bytes, Field(6, "operations", Kind.BYTES)] = b""
    """For active permissions: 32 bytes, one bit for each contract type it may sign."""
    id: Annotated[int, Field(2, "id", Kind.INT32, at_least=0)] = 0
    """0 owner, 1 witness, 2 and up active; in an update the network assigns it."""
    parent_id: Annotated[int, Field(5, "parent_id", Kind.INT32, at_least=0)] = 0
    """Not used by the network."""


@dataclass(frozen=True, slots=True)
class AccountPermissionUpdate:
    """Replaces all permissions of an account."""

    type_id: ClassVar[int] = 46
    """`ContractType` number."""
    type_name: ClassVar[str] = "AccountPermissionUpdateContract"
    """`ContractType` and message name."""

    owner: Owner
    """Whose permissions."""
    owner_permission: Annotated[Permission, Field(2, "owner", Kind.MESSAGE, of=Permission)]
    """The permission that may do everything."""
    witness_permission: Annotated[Permission | None, Field(3, "witness", Kind.MESSAGE, of=Permission, optional=True)]
    """The permission that signs blocks, for witnesses only."""
    actives: Annotated[tuple[Permission, ...], Field(4, "actives", Kind.MESSAGE, of=Permission, repeated=True)]
    """The active permissions, one to eight."""


@dataclass(frozen=True, slots=True)
class FreezeBalanceV2:
    """Stakes TRX for a resource (Stake 2.0)."""

    type_id: ClassVar[int] = 54
    """`ContractType` number."""
    type_name: ClassVar[str] = "FreezeBalanceV2Contract"
    """`ContractType` and message name."""

    owner: Owner
    """Who stakes."""
    amount_sun: Annotated[int, Field(2, "frozen_balance", Kind.INT64, at_least=1)]
    """How much, in sun."""
    resource: Annotated[Resource, Field(3, "resource", Kind.ENUM, of=Resource)]
    """For what."""


@dataclass(frozen=True, slots=True)
class UnfreezeBalanceV2:
    """Begins to unstake; the TRX can be withdrawn 14 days later."""

    type_id: ClassVar[int] = 55
    """`ContractType` number."""
    type_name: ClassVar[str] = "UnfreezeBalanceV2Contract"
    """`ContractType` and message name."""

    owner: Owner
    """Who unstakes."""
    amount_sun: Annotated[int, Field(2, "unfreeze_balance", Kind.INT64, at_least=1)]
    """How much, in sun."""
    resource: Annotated[Resource, Field(3, "resource", Kind.ENUM, of=Resource)]
    """From what."""


@dataclass(frozen=True, slots=True)
class WithdrawExpireUnfreeze:
    """Takes back TRX whose unstaking time is over."""

    type_id: ClassVar[int] = 56
    """`ContractType` number."""
    type_name: ClassVar[str] = "WithdrawExpireUnfreezeContract"
    """`ContractType` and message name."""

    owner: Owner
    """Whose TRX."""


@dataclass(frozen=True, slots=True)
class DelegateResource:
    """Lends the resource of staked TRX to another account."""

    type_id: ClassVar[int] = 57
    """`ContractType` number."""
    type_name: ClassVar[str] = "DelegateResourceContract"
    """`ContractType` and message name."""

    owner: Owner
    """Who lends."""
    resource: Annotated[Resource, Field(2, "resource", Kind.ENUM, of=Resource)]
    """What is lent."""
    balance_sun: Annotated[int, Field(3, "balance", Kind.INT64, at_least=1)]
    """The staked TRX whose resource is lent, in sun."""
    receiver: Annotated[Address, Field(4, "receiver_address", Kind.ADDRESS)]
    """Who may use it."""
    lock: Annotated[bool, Field(5, "lock", Kind.BOOL)] = False
    """Whether it cannot be taken back for a while."""
    lock_period: Annotated[int, Field(6, "lock_period", Kind.INT64, at_least=0)] = 0
    """For how long, in blocks of 3 s; 0 with a lock means three days."""


@dataclass(frozen=True, slots=True)
class UnDelegateResource:
    """Takes a lent resource back."""

    type_id: ClassVar[int] = 58
    """`ContractType` number."""
    type_name: ClassVar[str] = "UnDelegateResourceContract"
    """`ContractType` and message name."""

    owner: Owner
    """Who lent it."""
    resource: Annotated[Resource, Field(2, "resource", Kind.ENUM, of=Resource)]
    """What was lent."""
    balance_sun: Annotated[int, Field(3, "balance", Kind.INT64, at_least=1)]
    """The staked TRX whose resource comes back, in sun."""
    receiver: Annotated[Address, Field(4, "receiver_address", Kind.ADDRESS)]
    """Who has it now."""


@dataclass(frozen=True, slots=True)
class CancelAllUnfreezeV2:
    """Stakes again whatever is being unstaked."""

    type_id: ClassVar[int] = 59
    """`ContractType` number."""
    type_name: ClassVar[str] = "CancelAllUnfreezeV2Contract"
    """`ContractType` and message name."""

    owner: Owner
    """Whose TRX."""


Contract = (
    AccountCreate
    | Transfer
    | VoteWitness
    | WithdrawBalance
    | CreateSmartContract
    | TriggerSmartContract
    | AccountPermissionUpdate
    | FreezeBalanceV2
    | UnfreezeBalanceV2
    | WithdrawExpireUnfreeze
    | DelegateResource
    | UnDelegateResource
    | CancelAllUnfreezeV2
)
"""Any contract that we build, sign or judge."""

CONTRACT_TYPES: dict[int, type[Contract]] = {
    kind.type_id: kind
    for kind in (
        AccountCreate,
        Transfer,
        VoteWitness,
        WithdrawBalance,
        CreateSmartContract,
        TriggerSmartContract,
        AccountPermissionUpdate,
        FreezeBalanceV2,
        UnfreezeBalanceV2,
        WithdrawExpireUnfreeze,
        DelegateResource,
        UnDelegateResource,
        CancelAllUnfreezeV2,
    )
}
"""The class of each contract type by its `ContractType` number."""

CONTRACT_TYPES_BY_NAME: dict[str, type[Contract]] = {kind.type_name: kind for kind in CONTRACT_TYPES.values()}
"""The class of each contract type by its name in JSON."""
