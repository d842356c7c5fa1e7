"""The README's commands do what it says, and what it names is there."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lucid_tron_console.cli.tor import tor
from services.tor.settings import TorSettings
from services.tron.settings import TronSettings

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


def test_every_command_of_tor_is_named_and_no_other() -> None:
    table = README.partition("| `lucid-tron tor …`")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(re.findall(r"`([a-z-]+)`", " ".join(rows))) == sorted(tor.commands)


def test_every_setting_of_tor_is_named_with_its_default() -> None:
    told: dict[str, str] = {}
    for row in re.findall(r"^\| `(?:TOR|USE_TOR|I_ACCEPT)_.*", README, re.MULTILINE):
        _, names, defaults, *_ = row.split("|")
        found, parts = re.findall(r"`(\w+)`", names), [part.strip() for part in defaults.split(",")]
        told |= dict(zip(found, parts if len(parts) > 1 else parts * len(found), strict=True))
    fields = {**TorSettings.model_fields, **TronSettings.model_fields}
    ours = {name.upper(): field.default for name, field in fields.items() if re.match("tor_|use_tor_|i_accept_", name)}
    assert told.keys() == ours.keys()
    for name, default in ours.items():
        if default not in {None, ""}:
            assert told[name].partition(" ")[0] == f"{default:g}" if type(default) is float else str(default).lower()


def test_the_changelog_has_this_version_or_says_that_it_is_coming() -> None:
    assert "## [Unreleased]" in (REPOSITORY / "CHANGELOG.md").read_text()
