"""Whatever tronweb and tronpy call is served, in as far as this chain has such things."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import pytest

from services.devnet.calls import SOLIDITY, WALLET

CALL = re.compile(r"""["'`](wallet|walletsolidity)/([a-z]+)\b""", re.IGNORECASE)

ABOUT_TRANSACTIONS = {"broadcasttransaction", "broadcasthex", "getsignweight", "getapprovedlist"}
"""Served by `broadcast`."""

GONE = {"createaddress"}
"""java-tron 4.8 has it no longer: a password went over the wire."""

SHIELDED = {
    "createshieldedcontractparameters",
    "createshieldedcontractparameterswithoutask",
    "getakfromask",
    "getdiversifier",
    "getexpandedspendingkey",
    "getincomingviewingkey",
    "getnewshieldedaddress",
    "getnkfromnsk",
    "getrcm",
    "getspendingkey",
    "gettriggerinputforshieldedtrc20contract",
    "getzenpaymentaddress",
    "isshieldedtrc20contractnotespent",
    "scanshieldedtrc20notesbyivk",
    "scanshieldedtrc20notesbyovk",
}
"""Calls of shielded TRC-20 transactions, which this chain has none of (nor do most public nodes serve them)."""


def calls_in(files: Iterable[Path]) -> set[tuple[str, str]]:
    texts = (path.read_text(errors="replace") for path in files)
    return {(prefix, name) for text in texts for prefix, name in CALL.findall(text)}


def missing(called: set[tuple[str, str]]) -> list[tuple[str, str]]:
    served = {("wallet", name) for name in set(WALLET) | ABOUT_TRANSACTIONS | GONE | SHIELDED}
    return sorted(called - served - {("walletsolidity", name) for name in SOLIDITY})


def test_every_call_of_tronpy_is_served() -> None:
    spec = find_spec("tronpy")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    called = calls_in(Path(spec.submodule_search_locations[0]).rglob("*.py"))
    assert len(called) > 20
    assert missing(called) == []


def test_every_call_of_tronweb_is_served(tronweb_dir: Path) -> None:
    called = calls_in((tronweb_dir / "node_modules" / "tronweb" / "lib" / "esm").rglob("*.js"))
    assert len(called) > 30
    assert missing(called) == []


@pytest.mark.parametrize("name", sorted(SOLIDITY))
def test_whatever_is_solid_can_be_asked_of_the_head_too(name: str) -> None:
    assert name in WALLET
