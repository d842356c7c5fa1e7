"""The networks we know: their chain ids, genesis blocks and USDT contracts.

A chain id is the last four bytes of the id of block 0 (TIP-474), so a node that claims to be on a network
can be held to it. The USDT addresses of shasta and nile were not verified on chain.
"""

from dataclasses import dataclass

from services.protocol.address import Address
from services.protocol.hashes import keccak256

USDT_DECIMALS = 6
"""Digits behind the point of USDT on TRON: 1 USDT = 1_000_000 units."""

DEVNET_GENESIS_TIMESTAMP_MS = 1_767_225_600_000
"""Time of the devnet's block 0: 2026-01-01T00:00:00Z."""

DEVNET_WITNESS_KEY = keccak256(b"Lucid TRON Console devnet witness")
"""Private key that signs the devnet's blocks. Everybody knows it: it protects nothing."""

DEVNET_FAUCET_KEY = keccak256(b"Lucid TRON Console devnet faucet")
"""Private key of the devnet's faucet. Everybody knows it: it protects nothing."""

DEVNET_FAUCET_SUPPLY_SUN = 99_000_000_000_000_000
"""What the faucet owns in the devnet's block 0, in sun (99 billion TRX, as mainnet's first account had)."""


@dataclass(frozen=True, slots=True)
class Network:
    """One TRON network, as far as it is fixed for ever."""

    name: str
    """The word used in settings: mainnet, shasta, nile or devnet."""

    genesis_id: str
    """Id of block 0, 64 lower-case hex digits."""

    usdt: Address
    """The USDT (TRC-20) contract."""

    usdt_verified: bool
    """Whether the address is beyond doubt: mainnet's is Tether's published one, the devnet's is our own. The others
    are hearsay, to be compared with the chain before money is worth anything there."""

    usdt_decimals: int = USDT_DECIMALS
    """Digits behind the point of USDT."""

    @property
    def chain_id(self) -> int:
        """The last four bytes of the genesis id, as contracts and wallets know it (mainnet: 0x2b6653dc)."""
        return int(self.genesis_id[-8:], 16)

    @property
    def is_test(self) -> bool:
        """Whether its coins are worth nothing."""
        return self.name != "mainnet"


_ALL = (
    Network(
        name="mainnet",
        genesis_id="00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc",
        usdt=Address.parse("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
        usdt_verified=True,
    ),
    Network(
        name="shasta",
        genesis_id="0000000000000000de1aa88295e1fcf982742f773e0419c5a9c134c994a9059e",
        usdt=Address.parse("TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs"),
        usdt_verified=False,
    ),
    Network(
        name="nile",
        genesis_id="0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc",
        usdt=Address.parse("TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"),
        usdt_verified=False,
    ),
    Network(
        name="devnet",
        genesis_id="00000000000000009ffe180822a60a0f3f7b34a51050433b2f4542e9b0d4a4f1",
        usdt=Address.from_evm(keccak256(b"Lucid TRON Console devnet USDT")[12:]),
        usdt_verified=True,
    ),
)

NETWORKS: dict[str, Network] = {known.name: known for known in _ALL}
"""Every known network by its name."""

_ALIASES = {"testnet": "shasta"}


def network(name: str) -> Network:
    """The network of that name; `testnet` is another word for shasta.

    Raises:
        ValueError: there is none of that name.
    """
    wanted = name.strip().lower()
    found = NETWORKS.get(_ALIASES.get(wanted, wanted))
    if found is None:
        raise ValueError(f"unknown network {name!r}: choose one of {', '.join(NETWORKS)}")
    return found
