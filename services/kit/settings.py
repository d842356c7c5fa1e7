"""Settings that every daemon has, read once from the environment and the home's `lucid.env`."""

import os
import sys
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

NETWORKS = Literal["mainnet", "shasta", "nile", "devnet"]

EX_CONFIG = 78
"""Exit code for a setting that cannot be used (sysexits.h)."""


def default_home() -> Path:
    """`LUCID_HOME`, else `lucid-tron` in the XDG state directory."""
    if home := os.environ.get("LUCID_HOME"):
        return Path(home)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "lucid-tron"


class KitSettings(BaseSettings):
    """What every daemon reads; a field's name is its variable's name in lower case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    lucid_home: Path = Field(default_factory=default_home)
    """Where this node keeps its state, sockets and logs."""
    lucid_run_dir: Path | None = None
    """Directory of the socket directories; `run` in the home unless set."""
    lucid_log_level: Literal["debug", "info", "warning", "error"] = "info"
    tron_network: NETWORKS = "mainnet"
    """`testnet` means shasta."""

    @field_validator("tron_network", mode="before")
    @classmethod
    def _testnet_is_shasta(cls, value: object) -> object:
        return "shasta" if value == "testnet" else value

    @property
    def run_dir(self) -> Path:
        """Directory that holds one directory per service, each with its socket."""
        return self.lucid_run_dir or self.lucid_home / "run"

    def socket(self, service: str) -> Path:
        """Path of a service's socket."""
        return self.run_dir / service / f"{service}.sock"

    def state_dir(self, service: str) -> Path:
        """Directory of a service's databases and files (0700); made if missing."""
        path = self.lucid_home / "state" / service
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


S = TypeVar("S", bound=KitSettings)


def load(kind: type[S]) -> S:
    """Read settings: the environment first, then the home's `lucid.env`. Exits with 78 and words if one is unusable."""
    env_file = default_home() / "lucid.env"
    try:
        return kind(_env_file=env_file if env_file.is_file() else None)
    except ValidationError as error:
        _refuse(error)


def problems(error: ValidationError) -> list[str]:
    """Name each variable that cannot be used, and why."""
    return [f"{'.'.join(str(part) for part in item['loc']).upper()}: {item['msg']}" for item in error.errors()]


def _refuse(error: ValidationError) -> NoReturn:
    for line in problems(error):
        print(f"settings: {line}", file=sys.stderr)  # noqa: T201 - nothing is configured yet, not even the log
    sys.exit(EX_CONFIG)
