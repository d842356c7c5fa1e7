"""The tokens of the devnet, compiled: their sources stand beside this, `compile.mjs` made the rest of them."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Token:
    """A compiled contract."""

    abi: list[dict[str, Any]]
    """Its ABI, as the compiler wrote it."""

    bytecode: bytes
    """Its constructor, without arguments."""


@cache
def token(name: str) -> Token:
    """The contract of that name, `UsdtToken` or `PlainToken`."""
    made = json.loads(files(__package__).joinpath(f"{name}.json").read_text())
    return Token(made["abi"], bytes.fromhex(made["bytecode"]))
