"""What the console is started with: read once, frozen, handed on."""

import getpass
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lucid_tron_console.home import Home
from services.kit.errors import Invalid

_KEY = re.compile(r"[a-z0-9_+]{1,24}(,[a-z0-9_+]{1,24})*|[A-Z]", re.ASCII)

POOR_TERMINALS = ("linux", "vt100", "vt102", "vt220", "ansi", "cons25")
"""Terminals with 16 colours at most and without block, braille or arrow characters."""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """The console's own settings."""

    home: Home
    network: str
    """The network of the home, always on the screen."""
    host: str
    """The machine's name, and the home's if it is not the usual one."""
    operator: str
    """Login name; the daemons ask the kernel, this one is for the eye."""
    read_only: bool = False
    """Refuses whatever changes something, before a daemon is asked."""
    target: str | None = None
    """Screen to open, such as `payouts/P-1043`."""
    poor: bool = False
    """16 colours and ASCII only."""
    no_color: bool = False
    """NO_COLOR is set: the terminal's own two colours."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys of commands that the operator rebound: name to key."""
    guard_s: float = 0.6
    """For how long a money screen ignores keys after it appeared."""


def load(home: Path, network: str, target: str | None, read_only: bool) -> ConsoleSettings:
    """Read the surroundings once.

    Raises:
        Invalid: `console.toml` of the home cannot be used.
    """
    at = Home.at(home)
    host = socket.gethostname().split(".")[0] or "node"
    usual = at.path.name in {"lucid-tron", "lucid-tron-demo"}
    return ConsoleSettings(
        home=at,
        network=network,
        host=host if usual else f"{host}:{at.path.name}",
        operator=_operator(),
        read_only=read_only,
        target=target,
        poor=os.environ.get("TERM", "") in POOR_TERMINALS,
        no_color="NO_COLOR" in os.environ,
        keys=load_keys(at.path / "console.toml"),
    )


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def load_keys(path: Path) -> dict[str, str]:
    """Read `[keys]` of a TOML file: a command's name and its key, `new-payout = "f2"`; {} if there is no file.

    Raises:
        Invalid: it is no TOML, or an entry is not a key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Invalid(f"{path} cannot be read: {error}", field="console.toml") from error
    keys = content.get("keys", {})
    if not isinstance(keys, dict):
        raise Invalid(f"{path}: [keys] must be a table of names and keys", field="keys")
    for name, key in keys.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise Invalid(f"{path}: keys.{name} is not a key: write for example f2, ctrl+t or P", field=f"keys.{name}")
    return {str(name): str(key) for name, key in keys.items()}
