"""What a contract can reach: balances, code and storage, in a layer of the chain's state.

A contract is an account with `is_contract` and two cells, its description and its code; each word of its storage is a
cell of its own. What a new layer of `World` changes is private to it until it is merged, as with `State`.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Self

from services.devnet.parameters import INT64_MAX
from services.devnet.state import Account, Source, State
from services.devnet.vm.failures import TransferFailed

ADDRESS_PREFIX = b"\x41"

_CONTRACT, _CODE, _STORAGE, _HEAT = b"contract:", b"code:", b"storage:", b"heat:"

FACTOR_UNIT = 10_000
"""Energy factors are in ten-thousandths (java-tron, `DYNAMIC_ENERGY_FACTOR_DECIMAL`)."""

_DECREASE_DIVISOR = 4


@dataclass(frozen=True, slots=True)
class Contract:
    """What the chain knows about a contract besides its code (java-tron, `SmartContract`)."""

    address: bytes
    """Its 21 bytes."""

    origin: bytes
    """Who deployed it."""

    name: str = ""
    """What it is called."""

    abi: str = ""
    """Its ABI, as the JSON that `getcontract` shows; empty without one."""

    bytecode: bytes = b""
    """The code that made it, arguments included."""

    call_value_sun: int = 0
    """TRX that its deployer sent along."""

    user_percent: int = 0
    """How much of a call's energy the caller pays (`consume_user_resource_percent`)."""

    origin_energy_limit: int = 0
    """Most energy that its deployer gives to one call."""

    trx_hash: bytes = b""
    """The transaction, for contracts made by CREATE2."""

    def dump(self) -> bytes:
        """What the store keeps."""
        values = {key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(self).items()}
        return json.dumps({key: value for key, value in values.items() if value}, separators=(",", ":")).encode()

    @classmethod
    def load(cls, data: bytes) -> Self:
        """The description that `dump` wrote."""
        values: dict[str, Any] = json.loads(data)
        for name in ("address", "origin", "bytecode", "trx_hash"):
            values[name] = bytes.fromhex(values.get(name, ""))
        return cls(**values)


_read_contract = lru_cache(maxsize=256)(Contract.load)


@dataclass(frozen=True, slots=True)
class EnergyRules:
    """How the energy price of busy contracts grows (the chain's `DynamicEnergy*` parameters)."""

    threshold: int = 5_000_000_000
    """Energy of one maintenance period beyond which a contract gets dearer."""

    increase: int = 2_000
    """By how much, in ten-thousandths, each period; a quarter of it is what quiet periods take back."""

    most: int = 34_000
    """Highest penalty, in ten-thousandths."""


@dataclass(frozen=True, slots=True)
class Heat:
    """How busy a contract is (java-tron, `ContractState`)."""

    usage: int = 0
    """Energy of its own operations in `cycle`, before penalty."""

    factor: int = 0
    """The penalty on each of its operations, in ten-thousandths."""

    cycle: int = 0
    """The maintenance period that this is as of."""

    def dump(self) -> bytes:
        """What the store keeps."""
        return b"%d %d %d" % (self.usage, self.factor, self.cycle)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """The heat that `dump` wrote."""
        usage, factor, cycle = map(int, data.split())
        return cls(usage, factor, cycle)

    def caught_up(self, cycle: int, rules: EnergyRules) -> "Heat":
        """The heat as of a later period (`ContractStateCapsule.catchUpToCycle`)."""
        if self.cycle == cycle:
            return self
        if self.cycle > cycle or self.cycle == 0:
            return Heat(cycle=cycle)
        factor, last = self.factor, self.cycle
        if self.usage > rules.threshold:
            last += 1
            grown = int((factor + FACTOR_UNIT) * (1 + rules.increase / FACTOR_UNIT)) - FACTOR_UNIT
            factor = min(rules.most, grown)
        quiet = cycle - last
        if quiet > 0:
            shrink = (1 - rules.increase / _DECREASE_DIVISOR / FACTOR_UNIT) ** quiet
            factor = max(0, int((factor + FACTOR_UNIT) * shrink) - FACTOR_UNIT)
        return Heat(factor=factor, cycle=cycle)


def contract_at(source: Source, address: bytes) -> Contract | None:
    """The contract of that address."""
    data = source.cell(_CONTRACT + address)
    return _read_contract(data) if data is not None else None


def code_at(source: Source, address: bytes) -> bytes:
    """The code of a contract; empty when there is none."""
    return source.cell(_CODE + address) or b""


def heat_at(source: Source, address: bytes) -> Heat:
    """How busy a contract is, as of the last period in which it did anything."""
    data = source.cell(_HEAT + address)
    return Heat.load(data) if data is not None else Heat()


def set_heat(state: State, address: bytes, heat: Heat) -> None:
    """Keep how busy a contract is."""
    state.set_cell(_HEAT + address, heat.dump())


def put_contract(state: State, contract: Contract, account_name: str) -> None:
    """Add a contract; an account of that address becomes its account."""
    if state.account(contract.address) is None:
        state.create(Account(contract.address, name=account_name, is_contract=True))
    else:
        state.change(contract.address).is_contract = True
    state.set_cell(_CONTRACT + contract.address, contract.dump())


def put_code(state: State, address: bytes, code: bytes) -> None:
    """Set the code of a contract."""
    state.set_cell(_CODE + address, code or None)


def put_word(state: State, address: bytes, key: int, value: int) -> None:
    """Set a word of a contract's storage."""
    state.set_cell(_STORAGE + address + key.to_bytes(32), value.to_bytes(32) if value else None)


class World:
    """The state as the frames of one transaction see and change it."""

    def __init__(self, state: State, created_ms: int, above: "World | None" = None) -> None:
        self.state = state
        """The layer that takes the changes."""
        self._created_ms = created_ms
        self._above = above
        self._words: dict[tuple[bytes, int], int] = {}
        self._transient: dict[tuple[bytes, int], int] = {}

    def layer(self) -> "World":
        """A world over this one, for a call that may be undone."""
        return World(State(self.state), self._created_ms, self)

    def merge(self, layer: "World") -> None:
        """Take over what a layer of this world changed."""
        self.state.merge(layer.state)
        self._words |= layer._words
        self._transient |= layer._transient

    def finish(self) -> None:
        """Write the storage into the state; words that became zero are forgotten (`Storage.commit`)."""
        for (address, key), value in self._words.items():
            put_word(self.state, address, key, value)

    # --- storage ---

    def load(self, address: bytes, key: int) -> int | None:
        """A word of storage; None when there is none, which is not the same as a zero written just now."""
        place = (address, key)
        world: World | None = self
        while world is not None:
            if place in world._words:
                return world._words[place]
            world = world._above
        cell = self.state.cell(_STORAGE + address + key.to_bytes(32))
        return int.from_bytes(cell) if cell is not None else None

    def save(self, address: bytes, key: int, value: int) -> None:
        """Write a word of storage."""
        self._words[address, key] = value

    def load_transient(self, address: bytes, key: int) -> int:
        """A word that lasts as long as the transaction."""
        place = (address, key)
        world: World | None = self
        while world is not None:
            if place in world._transient:
                return world._transient[place]
            world = world._above
        return 0

    def save_transient(self, address: bytes, key: int, value: int) -> None:
        """Write a word that lasts as long as the transaction."""
        self._transient[address, key] = value

    # --- accounts ---

    def exists(self, address: bytes) -> bool:
        """Whether the account was ever activated."""
        return self.state.account(address) is not None

    def balance(self, address: bytes) -> int:
        """What an account owns, in sun."""
        account = self.state.account(address)
        return account.balance_sun if account else 0

    def contract(self, address: bytes) -> Contract | None:
        """The contract of that address."""
        return contract_at(self.state, address)

    def code(self, address: bytes) -> bytes:
        """The code of a contract."""
        return code_at(self.state, address)

    def activate(self, address: bytes) -> None:
        """Create an account for a receiver that has none; a contract pays nothing for that but energy."""
        if not self.exists(address):
            self.state.create(Account(address, created_ms=self._created_ms, has_default_permissions=True))

    def transfer(self, sender: bytes, receiver: bytes, amount_sun: int) -> None:
        """Move TRX (`VMUtils.validateForSmartContract`, `MUtil.transfer`).

        Raises:
            TransferFailed: it may not be moved; the message says why, in java-tron's words.
        """
        if sender == receiver:
            raise TransferFailed("Cannot transfer TRX to yourself.")
        if not self.exists(sender):
            raise TransferFailed("Validate InternalTransfer error, no OwnerAccount.")
        if not self.exists(receiver):
            raise TransferFailed(
                "Validate InternalTransfer error, no ToAccount. And not allowed to create an account in a "
                "smartContract."
            )
        if self.balance(sender) < amount_sun:
            raise TransferFailed("Validate InternalTransfer error, balance is not sufficient.")
        if self.balance(receiver) + amount_sun > INT64_MAX:
            raise TransferFailed("long overflow")
        self.state.change(sender).balance_sun -= amount_sun
        self.state.change(receiver).balance_sun += amount_sun

    def put_contract(self, contract: Contract, account_name: str) -> None:
        """Add a contract."""
        put_contract(self.state, contract, account_name)

    def put_code(self, address: bytes, code: bytes) -> None:
        """Set the code of a contract."""
        put_code(self.state, address, code)

    def destroy(self, address: bytes) -> None:
        """Remove a contract for good, at the end of the transaction in which it destroyed itself."""
        self.state.set_cell(_CONTRACT + address, None)
        self.state.set_cell(_CODE + address, None)
        account = self.state.change(address)
        # What it was paid after it had given everything away is nobody's.
        self.state.burn(account.balance_sun)
        self.state.create(Account(address, is_gone=True))

    # --- heat ---

    def heat(self, address: bytes, cycle: int, rules: EnergyRules) -> Heat:
        """How busy a contract is in this period."""
        return heat_at(self.state, address).caught_up(cycle, rules)

    def add_heat(self, address: bytes, heat: Heat, usage: int) -> None:
        """Count energy of a contract's own operations."""
        set_heat(self.state, address, replace(heat, usage=heat.usage + usage))
