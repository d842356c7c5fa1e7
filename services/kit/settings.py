"""Settings that every daemon has, read once from the environment and the home's `lucid.env`."""

import os
import stat
import sys
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kit import directory

NETWORKS = Literal["mainnet", "shasta", "nile", "devnet"]

EX_CONFIG = 78
"""Exit code for a setting that cannot be used (sysexits.h)."""


def default_home() -> Path:
    """`LUCID_HOME`, else `lucid-tron` in the XDG state directory; a leading `~` is the user's home."""
    if home := os.environ.get("LUCID_HOME"):
        return _expanded(Path(home))
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "lucid-tron"


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:  # no such user, or one without a home
        raise ValueError(f"{path}: {error}") from None


PRIVATE = 0o700
"""Mode of a directory that only the daemon's own user may look into."""


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

    @field_validator("*")
    @classmethod
    def _tilde_is_a_home(cls, value: object) -> object:
        """Expand `~` in every path: no shell does it in a file."""
        return _expanded(value) if isinstance(value, Path) else value

    @property
    def run_dir(self) -> Path:
        """Directory that holds one directory per service, each with its socket."""
        return self.lucid_run_dir or self.lucid_home / "run"

    def socket(self, service: str) -> Path:
        """Path of a service's socket."""
        return self.run_dir / service / f"{service}.sock"

    def state_dir(self, service: str) -> Path:
        """Directory of a service's databases and files (0700); made if missing, closed to others if it was open.

        Exits with 78 and words if it cannot be used.
        """
        path = self.lucid_home / "state" / service
        try:
            directory.make(path, PRIVATE)
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & ~PRIVATE & 0o777:
                path.chmod(mode & ~0o077)
        except OSError as error:
            _stop(f"LUCID_HOME: {path} cannot be used: {error.strerror}")
        return path


S = TypeVar("S", bound=KitSettings)


def load(kind: type[S]) -> S:
    """Read settings: the environment first, then the home's `lucid.env`. Exits with 78 and words if one is unusable."""
    try:
        env_file = default_home() / "lucid.env"
        return kind(_env_file=env_file if _is_trusted(env_file) else None)
    except ValidationError as error:
        _stop(*problems(error))
    except UnicodeDecodeError:
        _stop(f"{env_file} cannot be read: it is not UTF-8 text")
    except OSError as error:
        _stop(f"{env_file} cannot be read: {error.strerror}")
    except ValueError as error:
        _stop(f"LUCID_HOME: {error}")


def _is_trusted(env_file: Path) -> bool:
    """Whether the file is there; exits when others may write it, for it sets limits and names the endpoints."""
    try:
        found = env_file.stat()
    except FileNotFoundError:
        return False
    # A group that is our own is as good as we are: with umask 002 every file is writable for it.
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid()):
        _stop(f"others may write {env_file}: run chmod go-w {env_file}")
    return stat.S_ISREG(found.st_mode)


def problems(error: ValidationError) -> list[str]:
    """Say of each variable that cannot be used why; a finding about several names them itself."""
    return [": ".join(filter(None, (_variable(item), words(item)))) for item in error.errors()]


def _variable(item: ErrorDetails) -> str:
    return ".".join(str(part) for part in item["loc"]).upper()


def words(item: ErrorDetails) -> str:
    """What is wrong with a setting: the words of our validator as it wrote them, else pydantic's."""
    raised = item.get("ctx", {}).get("error")
    return str(raised) if isinstance(raised, ValueError) else item["msg"]


def _stop(*lines: str) -> NoReturn:
    for line in lines:
        print(f"settings: {line}", file=sys.stderr)  # noqa: T201 - nothing is configured yet, not even the log
    sys.exit(EX_CONFIG)
