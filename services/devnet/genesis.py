"""Where the devnet begins: block 0, the keys that everybody knows, and the accounts that are funded in block 1.

Block 0 is fixed by constants of the protocol package, so that a client can pin its id. It gives all there is to one
faucet. THE KEYS HERE ARE WORTHLESS: they are derived from sentences in this repository and protect nothing.
"""

from dataclasses import dataclass
from functools import cache

from coincurve import PrivateKey

from services.devnet.energy import DEFAULT_ORIGIN_ENERGY_LIMIT
from services.devnet.execution import Run, create, message_of
from services.devnet.rules.smart_contract import abi_text
from services.devnet.state import Account, Counters, State
from services.devnet.tokens import token
from services.devnet.vm.machine import Block
from services.devnet.vm.world import Contract
from services.devnet.witnesses import Witness
from services.protocol.address import Address
from services.protocol.block import devnet_genesis
from services.protocol.contracts import Abi
from services.protocol.hashes import keccak256
from services.protocol.json import message_from_json
from services.protocol.networks import (
    DEVNET_FAUCET_KEY,
    DEVNET_FAUCET_SUPPLY_SUN,
    DEVNET_WITNESS_KEY,
    NETWORKS,
)
from services.protocol.signature import public_address

WITNESSES = 27
"""How many make blocks in turn at first, as on mainnet."""

CANDIDATES = 3
"""How many more would make blocks if they had votes."""

FIRST_VOTES = 1_000
"""Votes of the first witness, which nobody gave; each of the others has one less, the candidates have none."""

TEST_ACCOUNTS = 10
"""How many accounts are funded in block 1 and listed at `/admin/accounts-json`."""

TEST_ACCOUNT_SUN = 1_000_000_000_000
"""What each of them is given: 1,000,000 TRX, exact in a JavaScript number too."""

USDT_SUPPLY = 50_000_000_000_000_000
"""Units of USDT in block 0, all the faucet's: 50 billion USDT."""

PLAIN_TOKEN = Address.from_evm(keccak256(b"Lucid TRON Console devnet plain token")[12:])
"""A well-behaved TRC-20 token of 18 decimals."""

PLAIN_SUPPLY = 10**27
"""Units of it in block 0, all the faucet's."""

_ENERGY_IN_GENESIS = 100_000_000

GENESIS = devnet_genesis()
"""Block 0."""

SUPPLY_SUN = DEVNET_FAUCET_SUPPLY_SUN
"""All TRX of block 0: balances, stakes and burnt fees always add up to this and the rewards since."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that everybody knows."""

    private_key: bytes
    """32 bytes."""

    address: Address
    """What it controls."""

    @property
    def signer(self) -> PrivateKey:
        """The key in the form that signs quickest."""
        return PrivateKey(self.private_key)


def _key(private_key: bytes) -> KnownKey:
    return KnownKey(private_key, public_address(private_key))


@cache
def faucet() -> KnownKey:
    """The account that block 0 gives everything to."""
    return _key(DEVNET_FAUCET_KEY)


@cache
def witnesses() -> tuple[KnownKey, ...]:
    """The makers of blocks of the beginning, in their order."""
    return _all_witnesses()[:WITNESSES]


@cache
def candidates() -> tuple[KnownKey, ...]:
    """Those who would make blocks if they had votes."""
    return _all_witnesses()[WITNESSES:]


@cache
def witness_signer(address: bytes) -> PrivateKey:
    """The key of a witness or a candidate."""
    return next(key.signer for key in _all_witnesses() if key.address.raw == address)


def is_genesis_witness(address: bytes) -> bool:
    """Whether block 0 names it as a witness; such a one never withdraws its rewards (java-tron, "guard")."""
    return any(key.address.raw == address for key in _all_witnesses())


def genesis_witnesses() -> tuple[Witness, ...]:
    """The witnesses and their votes after block 0."""
    return tuple(
        Witness(key.address.raw, FIRST_VOTES - index if index < WITNESSES else 0, f"http://sr{index}.invalid")
        for index, key in enumerate(_all_witnesses())
    )


@cache
def _all_witnesses() -> tuple[KnownKey, ...]:
    others = (keccak256(DEVNET_WITNESS_KEY + index.to_bytes(4)) for index in range(1, WITNESSES + CANDIDATES))
    return (_key(DEVNET_WITNESS_KEY), *map(_key, others))


@cache
def account_batch(batch: int, count: int) -> tuple[KnownKey, ...]:
    """The keys of one batch of test accounts: 0 is there from block 1 on, the others are made on demand."""
    seed = keccak256(b"Lucid TRON Console devnet accounts" + batch.to_bytes(4))
    return tuple(_key(keccak256(seed + index.to_bytes(4))) for index in range(count))


def genesis_state(block: Block) -> State:
    """The accounts and contracts after block 0.

    Both tokens belong to the faucet, which may issue, pause and blacklist as the real owner may.
    """
    state = State(_Nothing())
    owner = faucet().address
    state.create(Account(owner.raw, balance_sun=SUPPLY_SUN))
    for witness in _all_witnesses():
        state.create(Account(witness.address.raw, is_witness=True))
    for name, address, supply in (
        ("UsdtToken", NETWORKS["devnet"].usdt, USDT_SUPPLY),
        ("PlainToken", PLAIN_TOKEN, PLAIN_SUPPLY),
    ):
        _deploy(state, block, name, address, owner.evm.rjust(32, b"\0") + supply.to_bytes(32))
    return state


def _deploy(state: State, block: Block, name: str, address: Address, arguments: bytes) -> None:
    compiled, owner = token(name), faucet().address.raw
    contract = Contract(
        address.raw,
        owner,
        name=name,
        abi=abi_text(message_from_json(Abi, {"entrys": compiled.abi}, visible=False)),
        bytecode=compiled.bytecode + arguments,
        user_percent=100,
        origin_energy_limit=DEFAULT_ORIGIN_ENERGY_LIMIT,
    )
    run = Run(owner, block, bytes(32), _ENERGY_IN_GENESIS, head_ms=0)
    outcome = create(state, run, contract)
    if not outcome.succeeded:
        raise RuntimeError(f"{name} cannot be deployed: {message_of(outcome)}")


class _Nothing:
    """What there is before block 0."""

    counters = Counters()

    def account(self, _address: bytes) -> Account | None:
        return None

    def cell(self, _key: bytes) -> bytes | None:
        return None
