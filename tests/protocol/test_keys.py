"""Key derivation: BIP-32's own vectors, and the addresses that TRON wallets show for known words."""

import pytest
from mnemonic import Mnemonic

from services.protocol.keys import DEFAULT_PATH, derive, parse_path
from services.protocol.signature import public_address
from services.protocol.wire import ProtocolError

WORDS_SEED = Mnemonic.to_seed("abandon " * 11 + "about")
SEED_1 = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
SEED_2 = bytes.fromhex(
    "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a2"
    "9f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542"
)
SEED_3 = bytes.fromhex(
    "4b381541583be4423346c643850da4b320e46a87ae3d2a4e6da11eba819cd4ac"
    "ba45d239319ac14f863b8d5ab5a0d0c64d2e8a1e7d1457df2e5a3c51c73235be"
)


def test_addresses_that_wallets_show_for_well_known_words() -> None:
    key = derive(WORDS_SEED)
    assert key.hex() == "b5a4cea271ff424d7c31dc12a3e43e401df7a40d7412a15750f3f0b6b5449a28"
    assert public_address(key).base58 == "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
    assert public_address(derive(WORDS_SEED, "m/44'/195'/0'/0/1")).base58 == "TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK"


@pytest.mark.parametrize(
    ("seed", "path", "key"),
    [
        (SEED_1, "m", "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35"),
        (SEED_1, "m/0'", "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"),
        (SEED_1, "m/0h/1", "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368"),
        (SEED_1, "m/0'/1/2'", "cbce0d719ecf7431d88e6a89fa1483e02e35092af60c042b1df2ff59fa424dca"),
        (SEED_1, "m/0'/1/2'/2", "0f479245fb19a38a1954c5c7c0ebab2f9bdfd96a17563ef28a6a4b1a2a764ef4"),
        (SEED_1, "m/0'/1/2'/2/1000000000", "471b76e389e528d6de6d816857e012c5455051cad6660850e58372a6c3e6e7c8"),
        (SEED_2, "m", "4b03d6fc340455b363f51020ad3ecca4f0850280cf436c70c727923f6db46c3e"),
        (SEED_2, "m/0", "abe74a98f6c7eabee0428f53798f0ab8aa1bd37873999041703c742f15ac7e1e"),
        (SEED_2, "m/0/2147483647'", "877c779ad9687164e9c2f4f0f4ff0340814392330693ce95a58fe18fd52e6e93"),
        # Keys with leading zeros, which careless implementations lose.
        (SEED_3, "m", "00ddb80b067e0d4993197fe10f2657a844a384589847602d56f0c629c81aae32"),
        (SEED_3, "m/0'", "491f7a2eebc7b57028e0d3faa0acda02e75c33b03c48fb288c41e2ea44e1daef"),
    ],
)
def test_vectors_of_bip_32(seed: bytes, path: str, key: str) -> None:
    assert derive(seed, path).hex() == key


def test_the_default_path_is_trons() -> None:
    hardened = 1 << 31
    assert parse_path(DEFAULT_PATH) == (hardened + 44, hardened + 195, hardened, 0, 0)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "44'/195'",
        "M/0",
        "m/",
        "m//0",
        "m/0''",
        "m/0h'",
        "m/-1",
        "m/+1",
        "m/ 1",
        "m/1_0",
        "m/x",
        "m/'",
        "m/2147483648",
        "m/99999999999",
        "m/\u0661",
        "m" + "/0" * 256,
    ],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ProtocolError, match="path"):
        derive(SEED_1, path)


@pytest.mark.parametrize("length", [0, 15, 65])
def test_a_seed_has_16_to_64_bytes(length: int) -> None:
    with pytest.raises(ProtocolError, match="16 to 64 bytes"):
        derive(bytes(length))
