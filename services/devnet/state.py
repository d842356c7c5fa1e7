"""Accounts and the chain's counters, in layers: a change is private to its layer until the layer is merged.

    store (head) ← pending layer ← layer of the transaction being checked

A refused transaction is a layer that is dropped; nothing has to be undone.
"""

import json
from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from services.devnet.permissions import Permissions


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

    net_used: int = 0
    """Staked bandwidth used, as of `net_slot`."""

    net_slot: int = 0
    """Slot of the last use of staked bandwidth."""

    net_window: int = 0
    """Slots, in thousandths, in which `net_used` recovers; 0 stands for a day."""

    staked_net_sun: int = 0
    """What it staked for bandwidth."""

    is_witness: bool = False
    """Whether it makes blocks."""

    has_default_permissions: bool = False
    """Whether it was given the owner and active permissions that every activated account starts with."""

    permissions: Permissions | None = None
    """Permissions that it set itself; they replace the default ones."""


# In the order that `dump` writes; whatever is at its default is left out.
_SAVED = tuple(field.name for field in fields(Account) if field.name not in {"address", "permissions"})
_DEFAULTS = {field.name: field.default for field in fields(Account)}


def dump(account: Account) -> str:
    """An account as the text that the store keeps."""
    values = {name: value for name in _SAVED if (value := getattr(account, name)) != _DEFAULTS[name]}
    if account.permissions is not None:
        values["permissions"] = account.permissions.dump()
    return json.dumps(values, separators=(",", ":"))


def load(address: bytes, text: str) -> Account:
    """The account that `dump` wrote."""
    values: dict[str, Any] = json.loads(text)
    if "permissions" in values:
        values["permissions"] = Permissions.load(values["permissions"])
    return Account(address, **values)


@dataclass(frozen=True, slots=True)
class Counters:
    """What belongs to the chain and to no account."""

    burnt_sun: int = 0
    """All fees so far: they are destroyed."""

    transactions: int = 0
    """How many are in blocks."""

    total_net_weight: int = 0
    """TRX that all accounts staked for bandwidth."""

    def dump(self) -> str:
        """The text that the store keeps with a block."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)}, separators=(",", ":"))

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


class State:
    """A layer of changes over a source."""

    def __init__(self, below: Source) -> None:
        self._below = below
        self._changed: dict[bytes, Account] = {}
        self._counters: Counters | None = None

    @property
    def counters(self) -> Counters:
        """The chain's counters, with this layer's changes."""
        return self._counters or self._below.counters

    @property
    def changed(self) -> dict[bytes, Account]:
        """The accounts that this layer created or changed."""
        return self._changed

    def account(self, address: bytes) -> Account | None:
        """The account of that address, not to be changed; None when it was never activated."""
        return self._changed.get(address) or self._below.account(address)

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
        return account

    def create(self, account: Account) -> None:
        """Add an account that was not there."""
        self._changed[account.address] = account

    def burn(self, amount_sun: int) -> None:
        """Count a fee as destroyed; the payer's balance is the caller's business."""
        if amount_sun:
            counters = self.counters
            self._counters = replace(counters, burnt_sun=counters.burnt_sun + amount_sun)

    def count_transaction(self) -> None:
        """One more transaction is in a block."""
        counters = self.counters
        self._counters = replace(counters, transactions=counters.transactions + 1)

    def merge(self, layer: "State") -> None:
        """Take over the changes of a layer that was made on this one."""
        self._changed |= layer.changed
        self._counters = layer.counters
