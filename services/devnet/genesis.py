"""Where the devnet begins: block 0, the keys that everybody knows, and the accounts that are funded in block 1.

Block 0 is fixed by constants of the protocol package, so that a client can pin its id. It gives all there is to one
faucet. THE KEYS HERE ARE WORTHLESS: they are derived from sentences in this repository and protect nothing.
"""

from dataclasses import dataclass
from functools import cache

from coincurve import PrivateKey

from services.devnet.state import Account
from services.devnet.witnesses import Witness
from services.protocol.address import Address
from services.protocol.block import devnet_genesis
from services.protocol.hashes import keccak256
from services.protocol.networks import DEVNET_FAUCET_KEY, DEVNET_FAUCET_SUPPLY_SUN, DEVNET_WITNESS_KEY
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


def genesis_accounts() -> list[Account]:
    """The state after block 0."""
    accounts = [Account(faucet().address.raw, balance_sun=SUPPLY_SUN)]
    accounts += [Account(witness.address.raw, is_witness=True) for witness in _all_witnesses()]
    return accounts
