"""Accounts, cells and the chain's counters, in layers: a change is private to its layer until the layer is merged.

    store (head) ← pending layer ← layer of the transaction being checked

A refused transaction is a layer that is dropped; nothing has to be undone. Whatever is neither an account nor a
counter (contracts' storage, delegations, witnesses, ...) is a cell: bytes under a key of bytes.
"""

import json
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from services.devnet.permissions import Permissions
from services.protocol.contracts import Resource

SUN_PER_TRX = 1_000_000
"""Weights and votes count whole TRX."""


@dataclass(frozen=True, slots=True)
class Stake:
    """What one account has of one resource, bandwidth or energy: its stakes, and what it used of what they give.

    A value: whoever changes it puts a new one into the account (`dataclasses.replace`).
    """

    own_sun: int = 0
    """Staked by the account and not delegated (java-tron, `frozenV2`)."""

    delegated_sun: int = 0
    """Staked by the account, its resource lent to others (`delegated_frozenV2_balance_for_...`)."""

    acquired_sun: int = 0
    """Staked by others, the resource lent to this account (`acquired_delegated_frozenV2_balance_for_...`)."""

    used: int = 0
    """Units used, as of `slot`; they recover from then on (`services.devnet.resources.used`)."""

    slot: int = 0
    """Slot of the last use."""

    window: int = 0
    """Slots, in thousandths, in which `used` recovers; 0 stands for a day."""

    @property
    def usable_sun(self) -> int:
        """The stake that gives the account its share of a day's resource (`getAllFrozenBalanceFor...`)."""
        return self.own_sun + self.acquired_sun

    @property
    def weight(self) -> int:
        """Whole TRX that it adds to the chain's total weight (`getFrozenV2BalanceWithDelegated`)."""
        return (self.own_sun + self.delegated_sun) // SUN_PER_TRX

    def dump(self) -> list[int]:
        """What the store keeps."""
        return [self.own_sun, self.delegated_sun, self.acquired_sun, self.used, self.slot, self.window]


NO_STAKE = Stake()
"""Nothing staked, nothing used."""


@dataclass(frozen=True, slots=True)
class Unfreezing:
    """A stake on its way back to the balance (java-tron, `UnFreezeV2`)."""

    resource: int
    """What it was staked for (`Resource`)."""

    amount_sun: int
    """How much comes back."""

    expires_ms: int
    """Block time from which it can be withdrawn."""


Votes = tuple[tuple[bytes, int], ...]
"""Witnesses' addresses and how many votes each is given."""


@dataclass(slots=True)
class Account:
    """One account. Whoever wants to change one asks its layer for a copy first (`State.change`)."""

    address: bytes
    """Its 21 bytes."""

    balance_sun: int = 0
    """What it can spend."""

    created_ms: int = 0
    """Head block time when it was activated; 0 for accounts of block 0."""

    operated_ms: int = 0
    """Head block time of its last own transaction."""

    free_net_used: int = 0
    """Free bandwidth used, as of `free_net_slot`; it recovers from then on."""

    free_net_slot: int = 0
    """Slot of the last use of free bandwidth."""

    bandwidth: Stake = NO_STAKE
    """Its stake for bandwidth."""

    energy: Stake = NO_STAKE
    """Its stake for energy."""

    unfreezing: tuple[Unfreezing, ...] = ()
    """Stakes that are on their way back, oldest first."""

    votes: Votes = ()
    """Its votes; they count from the next maintenance on."""

    allowance_sun: int = 0
    """Rewards that were credited and not withdrawn yet."""

    withdrawn_ms: int = 0
    """Head block time of its last withdrawal of rewards."""

    begin_cycle: int = 0
    """First cycle whose voting rewards have not been credited."""

    end_cycle: int = -1
    """One after the cycle that `settled_votes` are for; -1 before the first vote (java-tron, `REMARK`)."""

    settled_votes: Votes | None = None
    """The votes that `begin_cycle` itself is rewarded for, where they may differ from the votes of later cycles."""

    is_witness: bool = False
    """Whether it is a candidate for making blocks."""

    is_contract: bool = False
    """Whether it is a smart contract: nobody has its key."""

    is_gone: bool = False
    """Whether it was a contract that destroyed itself. Nobody sees such an account: it is not there."""

    name: str = ""
    """What it is called (`account_name`); contracts are called as their deployer said."""

    has_default_permissions: bool = False
    """Whether it was given the owner and active permissions that every activated account starts with."""

    permissions: Permissions | None = None
    """Permissions that it set itself; they replace the default ones."""

    @property
    def tron_power_sun(self) -> int:
        """The stakes that its votes rest on: one vote for each whole TRX (`AccountCapsule.getTronPower`)."""
        net, energy = self.bandwidth, self.energy
        return net.own_sun + net.delegated_sun + energy.own_sun + energy.delegated_sun

    def stake(self, resource: int) -> Stake:
        """Its stake for bandwidth or for energy."""
        return self.energy if resource == Resource.ENERGY else self.bandwidth

    def set_stake(self, resource: int, stake: Stake) -> None:
        """Replace its stake for bandwidth or for energy; the account is the caller's own copy."""
        if resource == Resource.ENERGY:
            self.energy = stake
        else:
            self.bandwidth = stake


_SPECIAL = {"address", "permissions", "bandwidth", "energy", "unfreezing", "votes", "settled_votes"}
# In the order that `dump` writes; whatever is at its default is left out.
_SAVED = tuple(field.name for field in fields(Account) if field.name not in _SPECIAL)
_DEFAULTS = {field.name: field.default for field in fields(Account)}


def dump(account: Account) -> str:
    """An account as the text that the store keeps."""
    values = {name: value for name in _SAVED if (value := getattr(account, name)) != _DEFAULTS[name]}
    if account.permissions is not None:
        values["permissions"] = account.permissions.dump()
    if account.bandwidth != NO_STAKE:
        values["bandwidth"] = account.bandwidth.dump()
    if account.energy != NO_STAKE:
        values["energy"] = account.energy.dump()
    if account.unfreezing:
        values["unfreezing"] = [[item.resource, item.amount_sun, item.expires_ms] for item in account.unfreezing]
    if account.votes:
        values["votes"] = dump_votes(account.votes)
    if account.settled_votes is not None:
        values["settled_votes"] = dump_votes(account.settled_votes)
    return json.dumps(values, separators=(",", ":"))


def load(address: bytes, text: str) -> Account:
    """The account that `dump` wrote."""
    values: dict[str, Any] = json.loads(text)
    if "permissions" in values:
        values["permissions"] = Permissions.load(values["permissions"])
    for resource in ("bandwidth", "energy"):
        if resource in values:
            values[resource] = Stake(*values[resource])
    if "unfreezing" in values:
        values["unfreezing"] = tuple(Unfreezing(*item) for item in values["unfreezing"])
    for votes in ("votes", "settled_votes"):
        if votes in values:
            values[votes] = load_votes(values[votes])
    return Account(address, **values)


def dump_votes(votes: Votes) -> list[list[Any]]:
    """Votes as JSON keeps them."""
    return [[witness.hex(), count] for witness, count in votes]


def load_votes(values: list[list[Any]]) -> Votes:
    """The votes that `dump_votes` wrote."""
    return tuple((bytes.fromhex(witness), count) for witness, count in values)


@dataclass(frozen=True, slots=True)
class Counters:
    """What belongs to the chain and to no account."""

    burnt_sun: int = 0
    """All fees so far: they are destroyed."""

    transactions: int = 0
    """How many are in blocks."""

    total_net_weight: int = 0
    """Whole TRX that all accounts staked for bandwidth."""

    total_energy_weight: int = 0
    """Whole TRX that all accounts staked for energy."""

    minted_sun: int = 0
    """All block and standby rewards so far: they come out of nothing."""

    voters_sun: int = 0
    """The part of them that belongs to voters and has not been credited to any of them yet."""

    cycle: int = 0
    """How many maintenance periods are over (java-tron, `CURRENT_CYCLE_NUMBER`)."""

    maintenance_ms: int = 0
    """The first block at or after this time does the next maintenance; 0 before block 1."""

    was_maintenance: bool = False
    """Whether the newest block did one (java-tron, `STATE_FLAG`)."""

    def weight(self, resource: int) -> int:
        """The total weight of bandwidth or of energy."""
        return self.total_energy_weight if resource == Resource.ENERGY else self.total_net_weight

    def dump(self) -> str:
        """The text that the store keeps with a block."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps({name: value for name, value in values.items() if value}, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> "Counters":
        """The counters that `dump` wrote."""
        return cls(**json.loads(text))


class Source(Protocol):
    """Whatever accounts can be read from."""

    @property
    def counters(self) -> Counters:
        """The chain's counters."""

    def account(self, address: bytes) -> Account | None:
        """The account of that address, not to be changed; None when it was never activated."""

    def cell(self, key: bytes) -> bytes | None:
        """What is kept under a key beside the accounts, such as a word of a contract's storage."""


class State:
    """A layer of changes over a source."""

    def __init__(self, below: Source) -> None:
        self._below = below
        self._changed: dict[bytes, Account] = {}
        self._cells: dict[bytes, bytes | None] = {}
        self._counters: Counters | None = None

    @property
    def counters(self) -> Counters:
        """The chain's counters, with this layer's changes."""
        return self._counters or self._below.counters

    @property
    def changed(self) -> dict[bytes, Account]:
        """The accounts that this layer created or changed."""
        return self._changed

    @property
    def changed_cells(self) -> dict[bytes, bytes | None]:
        """The cells that this layer wrote; None where it removed one."""
        return self._cells

    def account(self, address: bytes) -> Account | None:
        """The account of that address, not to be changed; None when it was never activated."""
        found = self._changed.get(address)
        if found is None:
            return self._below.account(address)
        return None if found.is_gone else found

    def cell(self, key: bytes) -> bytes | None:
        """What is kept under a key beside the accounts; None when there is nothing."""
        return self._cells[key] if key in self._cells else self._below.cell(key)

    def set_cell(self, key: bytes, value: bytes | None) -> None:
        """Keep a value under a key, or remove it."""
        self._cells[key] = value

    def change(self, address: bytes) -> Account:
        """This layer's own copy of an account that exists.

        Raises:
            KeyError: it was never activated.
        """
        account = self._changed.get(address)
        if account is None:
            below = self._below.account(address)
            if below is None:
                raise KeyError(address)
            account = self._changed[address] = copy(below)
        if account.is_gone:
            raise KeyError(address)
        return account

    def create(self, account: Account) -> None:
        """Add an account that was not there."""
        self._changed[account.address] = account

    def count(self, **amounts: int) -> None:
        """Add to counters, by their names."""
        counters = self.counters
        values = {name: getattr(counters, name) + amount for name, amount in amounts.items() if amount}
        if values:
            self._counters = replace(counters, **values)

    def set_counters(self, counters: Counters) -> None:
        """Replace the counters."""
        self._counters = counters

    def burn(self, amount_sun: int) -> None:
        """Count a fee as destroyed; the payer's balance is the caller's business."""
        self.count(burnt_sun=amount_sun)

    def count_transaction(self) -> None:
        """One more transaction is in a block."""
        self.count(transactions=1)

    def merge(self, layer: "State") -> None:
        """Take over the changes of a layer that was made on this one."""
        self._changed |= layer.changed
        self._cells |= layer.changed_cells
        self._counters = layer.counters
