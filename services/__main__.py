"""`python -m services SERVICE…`: one daemon, or several in this process, each with its own socket and its own store.

`python -m services --settings [NAME]` prints what the daemons would be configured with, as JSON, and where each value
is from; and the way out that follows from it, with the proxies for another program that is called NAME.
"""

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings

from services.devnet.settings import DevnetSettings
from services.kit import daemon, log
from services.kit.clock import SystemClock
from services.kit.egress import Egress
from services.kit.metrics import Metrics
from services.kit.settings import KitSettings, default_home, load, words
from services.payout.settings import PayoutSettings
from services.tor.settings import TorSettings
from services.tron.settings import TronSettings
from services.wallet.settings import WalletSettings

TOGETHER: dict[str, type[KitSettings]] = {"tor": TorSettings, "tron": TronSettings, "payout": PayoutSettings}
"""Daemons that may share a process."""

ALONE: dict[str, type[BaseSettings]] = {"wallet": WalletSettings, "devnet": DevnetSettings}
"""Daemons that never do: the one with the keys, and the one that imitates the outside world."""

ALL: dict[str, type[BaseSettings]] = {**ALONE, **TOGETHER}

PREFIXES = ("DEVNET_", "I_ACCEPT_", "LUCID_", "PAYOUT_", "TOR_", "TRON_", "USE_TOR_", "WALLET_")
"""A variable of the environment that begins so is meant for us; one that nobody reads is a slip of the pen."""

HIDDEN = "**********"
"""Stands for a secret's value."""


def main(arguments: Sequence[str]) -> int:
    """Serve what the arguments name; returns the exit code."""
    if arguments[:1] == ["--settings"]:
        sys.stdout.write(json.dumps(report(os.environ, *arguments[1:2])) + "\n")
        return 0
    wrong = refusal(arguments)
    if wrong:
        sys.stderr.write(f"{wrong}\n")
        return 2
    if len(arguments) == 1:
        code = importlib.import_module(f"services.{arguments[0]}.__main__").main()
        return int(code or 0)
    return _serve_together(arguments)


def refusal(names: Sequence[str]) -> str:
    """Say why these daemons cannot be served in one process; empty if they can."""
    known = ", ".join(ALL)
    if not names:
        return f"usage: python -m services SERVICE… (of {known}), or --settings"
    for name in names:
        if name not in ALL:
            return f"there is no service {name!r}: choose of {known}"
        if name in ALONE and len(names) > 1:
            return f"{name} stands alone: give it a process of its own"
    return f"{names[0]} is named twice" if len(set(names)) < len(names) else ""


def _serve_together(names: Sequence[str]) -> int:
    pairs = []
    for name in names:
        settings = load(TOGETHER[name])
        build = importlib.import_module(f"services.{name}.__main__").build
        pairs.append((build(settings), settings.socket(name)))
        log.configure("+".join(names), settings.lucid_log_level)
    return daemon.main(*pairs)


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable as a daemon would read it now."""

    name: str
    value: str
    """As text; a secret only as stars."""
    source: str
    """`environment`, `lucid.env` or `default`."""
    services: tuple[str, ...]
    """Who reads it."""


def report(environ: Mapping[str, str], program: str = "program") -> dict[str, Any]:
    """Show every setting of every daemon, what is wrong with them, names that nobody reads, and the way out.

    `program` is the name of another program that is to go the same way out: it gets circuits of its own.
    """
    path = default_home() / "lucid.env"
    in_file = {name.upper(): value or "" for name, value in dotenv_values(path).items()} if path.is_file() else {}
    in_environment = {name.upper(): value for name, value in environ.items()}
    known: dict[str, Setting] = {}
    problems: dict[str, str] = {}
    for service, kind in ALL.items():
        values, wrong = _read(kind, path if in_file else None, {**in_file, **in_environment})
        problems |= wrong
        for name, value in values.items():
            source = _source(name, in_environment, in_file, kind)
            readers = (*(known[name].services if name in known else ()), service)
            known[name] = Setting(name, value, source, readers)
    given = [*in_file, *(name for name in in_environment if name.startswith(PREFIXES))]
    unknown = sorted(set(given) - set(known) - {"LUCID_HOME"})
    return {
        "settings": [
            {"name": one.name, "value": one.value, "source": one.source, "services": list(one.services)}
            for one in sorted(known.values(), key=lambda one: one.name)
        ],
        "problems": [{"name": name, "message": message} for name, message in sorted(problems.items())],
        "unknown": unknown,
        "way_out": way_out(path if in_file else None, program),
    }


def way_out(env_file: Path | None, program: str) -> dict[str, Any] | None:
    """How the TRON client would leave, and what makes another program leave in the same way; None: it could not start.

    `mode` is `tor`, `loopback` or `clear`; `proxies` are by protocol, and empty without Tor.
    """
    try:
        tron, tor = TronSettings(_env_file=env_file), TorSettings(_env_file=env_file)
    except ValidationError:
        return None
    egress = Egress(tron.egress_policy(), SystemClock(), Metrics("settings"))
    proxies = {protocol: egress.proxy_url(protocol, program) for protocol in ("http", "https", "socks5h")}
    return {
        "mode": egress.policy.mode.value,
        "detail": "" if egress.words() == "ok" else egress.words(),
        "socks": str(egress.policy.socks or ""),
        "control": str(tor.control_address),
        "proxies": {protocol: url for protocol, url in proxies.items() if url},
        "environment": egress.subprocess_env(program),
    }


def _read(
    kind: type[BaseSettings], env_file: Path | None, given: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Values by variable name, and what is wrong by variable name; broken settings are shown as they were given."""
    prefix = str(kind.model_config.get("env_prefix") or "")
    fields = {f"{prefix}{name}".upper(): name for name in kind.model_fields}
    try:
        read = kind(_env_file=env_file)
    except ValidationError as error:
        wrong = {_variable(kind, prefix, one["loc"]): words(one) for one in error.errors()}
        return {name: _as_given(kind, field, given.get(name)) for name, field in fields.items()}, wrong
    return {name: _text(getattr(read, field)) for name, field in fields.items()}, {}


def _as_given(kind: type[BaseSettings], name: str, text: str | None) -> str:
    field = kind.model_fields[name]
    if text is None:
        return _text(field.get_default(call_default_factory=False))
    return HIDDEN if field.annotation is SecretStr else text


def _variable(kind: type[BaseSettings], prefix: str, loc: tuple[int | str, ...]) -> str:
    """Name the variable that an error is about; an error about several is given the daemon's name."""
    first = str(loc[0]) if loc else ""
    if not first:
        return kind.__name__.removesuffix("Settings").lower()
    return (f"{prefix}{first}" if first in kind.model_fields else first).upper()


def _source(name: str, in_environment: Mapping[str, str], in_file: Mapping[str, str], kind: type[BaseSettings]) -> str:
    ignore_empty = bool(kind.model_config.get("env_ignore_empty"))
    for source, values in (("environment", in_environment), ("lucid.env", in_file)):
        if name in values and (values[name] or not ignore_empty):
            return source
    return "default"


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return HIDDEN if value.get_secret_value() else ""
        case frozenset() | set() | tuple() | list():
            return ",".join(sorted(str(item) for item in value))
        case bool():
            return str(value).lower()
    return str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
