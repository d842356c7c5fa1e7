"""Networks are what the world knows them as."""

import pytest

from services.protocol.address import Address
from services.protocol.block import devnet_genesis
from services.protocol.contracts import Transfer
from services.protocol.networks import (
    DEVNET_FAUCET_KEY,
    DEVNET_FAUCET_SUPPLY_SUN,
    DEVNET_WITNESS_KEY,
    NETWORKS,
    network,
)
from services.protocol.signature import public_address


@pytest.mark.parametrize(
    ("name", "chain_id", "usdt"),
    [
        ("mainnet", 0x2B6653DC, "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
        ("shasta", 0x94A9059E, "TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs"),
        ("nile", 0xCD8690DC, "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"),
    ],
)
def test_public_networks(name: str, chain_id: int, usdt: str) -> None:
    found = network(name)
    assert (found.name, found.chain_id, found.usdt.base58) == (name, chain_id, usdt)
    assert found.usdt_decimals == 6


def test_only_mainnet_is_no_test_network() -> None:
    assert [name for name, known in NETWORKS.items() if not known.is_test] == ["mainnet"]


def test_only_usdt_addresses_seen_on_chain_count_as_verified() -> None:
    assert {name for name, known in NETWORKS.items() if known.usdt_verified} == {"mainnet", "devnet"}


def test_testnet_is_shasta() -> None:
    assert network("testnet") is network(" Shasta ") is NETWORKS["shasta"]


def test_an_unknown_network_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'manet': choose one of mainnet, shasta, nile, devnet"):
        network("manet")


def test_the_devnet_has_the_genesis_that_is_pinned() -> None:
    genesis = devnet_genesis()
    assert genesis.block_id.hex() == NETWORKS["devnet"].genesis_id
    assert genesis.number == 0
    assert Address(genesis.header.witness_address) == public_address(DEVNET_WITNESS_KEY)


def test_the_devnets_faucet_owns_everything_at_first() -> None:
    (transaction,) = devnet_genesis().transactions
    contract = transaction.raw_data.contract
    assert isinstance(contract, Transfer)
    assert (contract.to, contract.amount_sun) == (public_address(DEVNET_FAUCET_KEY), DEVNET_FAUCET_SUPPLY_SUN)
