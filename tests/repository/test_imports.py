"""The import contracts of pyproject.toml hold, and each of them breaks when somebody violates it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

VIOLATIONS = [
    ("layers", "services/wallet/service.py", "from services.tron import api"),
    ("layers", "services/tron/service.py", "from services.payout.client import PayoutClient"),
    ("services", "services/payout/service.py", "from services.tron import service"),
    ("services", "services/tron/service.py", "from services.wallet.keystore import Keystore"),
    ("kit", "services/kit/http.py", "from services.protocol.address import Address"),
    ("protocol", "services/protocol/address.py", "from services.kit.money import parse_units"),
    ("protocol", "services/protocol/address.py", "import os"),
    ("api", "services/payout/api.py", "from services.kit.errors import Conflict"),
    ("api", "services/payout/api.py", "from services.tron.api import Job"),
    ("client", "services/payout/client.py", "from services.payout.service import PayoutService"),
    ("client", "services/payout/client.py", "from services.tron.api import Job"),
    ("app", "services/payout/app.py", "from services.payout.store import PayoutStore"),
    ("app", "services/tron/app.py", "from services.wallet.client import WalletClient"),
    ("client", "services/tor/client.py", "from services.tor.service import TorService"),
    ("app", "services/tor/app.py", "from services.tor.store import TorStore"),
    ("services", "services/tron/service.py", "from services.tor.service import TorService"),
    ("service", "services/payout/service.py", "import sqlite3"),
    ("service", "services/tron/service.py", "from services.kit.http import Call"),
    ("service", "services/wallet/service.py", "from services.wallet import app"),
    ("console", "lucid_tron_console/backend.py", "from services.kit.store import Store"),
    ("console", "lucid_tron_console/backend.py", "from services.protocol.address import Address"),
    ("console", "lucid_tron_console/backend.py", "from services.tron.service import TronService"),
    ("textual", "services/kit/daemon.py", "import textual"),
    ("tronpy", "services/payout/service.py", "import tronpy"),
    ("tronpy", "services/devnet/server.py", "from tronpy.keys import PrivateKey"),
    ("keys", "services/wallet/service.py", "import aiohttp"),
    ("keys", "services/wallet/signer.py", "from services.wallet.client import WalletClient"),
    ("keys", "services/kit/daemon.py", "import requests"),
]
"""Contract, file, and the line in it that must break the contract."""


def contracts() -> list[str]:
    """Ids of all contracts."""
    config = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return [contract["id"] for contract in config["tool"]["importlinter"]["contracts"]]


def lint(folder: Path, contract: str) -> subprocess.CompletedProcess[str]:
    """Check one contract over the tree in `folder`."""
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--no-logo", "--contract", contract]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, to be spoilt."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    for package in ("lucid_tron_console", "services"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("contract", contracts())
def test_the_code_keeps_the_contract(tree: Path, contract: str) -> None:
    done = lint(tree, contract)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("contract", "file", "line"), VIOLATIONS)
def test_a_violation_breaks_the_contract(tree: Path, contract: str, file: str, line: str) -> None:
    path = tree / file
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        done = lint(tree, contract)
    finally:
        path.write_text(before)
    assert done.returncode == 1, f"{line} in {file} went unnoticed"
    assert "1 broken" in done.stdout


def test_every_contract_has_a_violation_that_breaks_it() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == set(contracts())
