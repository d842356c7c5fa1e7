"""The README's commands do what it says, and what it names is there."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
FAST = {"DEVNET_BLOCK_INTERVAL_MS": "250", "DEVNET_SOLID_LAG": "3", "TRON_CONFIRMATION_CHECK_INTERVAL": "0.2"}
OWN = ("TRON_", "LUCID_", "WALLET_", "PAYOUT_", "DEVNET_")


def test_the_script_pays_once() -> None:
    scripts = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert len(scripts) == 1
    # These tests may run from another environment than .venv.
    script = scripts[0].replace("$PWD/.venv/bin", str(Path(sys.executable).parent))
    create = re.search(r"^lucid-tron payouts create.*?-o json$", script, re.MULTILINE | re.DOTALL)
    assert create is not None
    script = script.replace("lucid-tron down", f"{create[0]}\nlucid-tron payouts list -o json\nlucid-tron down")
    with tempfile.TemporaryDirectory(prefix="lucid-", dir="/tmp") as folder:
        env = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
        env |= {**FAST, "TMPDIR": folder}
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            command, env=env, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    first, again, listed = (json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", "[")))
    assert first["state"] == again["state"] == "paid"
    assert (first["id"], first["txid"], first["amount"]) == (again["id"], again["txid"], 12_500_000)
    assert len(listed["items"]) == 1


def test_what_it_names_is_there() -> None:
    # Paths of a home, and of this repository as the tree shows it, are not files here.
    names = re.findall(r"`((?:compose|services|lucid_tron_console|tests)/[\w./-]+)`", README)
    names += re.findall(r"\]\((?!#|http)([^)]+)\)", README)
    assert len(names) > 8
    assert [name for name in names if not (REPOSITORY / name).exists()] == []


def test_every_make_target_that_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", README)) <= targets
    helped = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "run", "test", "test-long", "check", "bench"):
        assert re.search(rf"^  make {target}\b", helped, re.MULTILINE)


def test_every_command_that_it_names_exists() -> None:
    commands = set(re.findall(r"`lucid-tron ([a-z]+(?: [a-z]+)?)`", README))
    assert len(commands) >= 3
    for words in commands:
        command = [sys.executable, "-m", "lucid_tron_console", *words.split(), "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, words


def test_the_changelog_has_this_version_or_says_that_it_is_coming() -> None:
    assert "## [Unreleased]" in (REPOSITORY / "CHANGELOG.md").read_text()
