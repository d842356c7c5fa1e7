"""Whether Tor is installed here, and how to install it if not."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

INSTALL = "apt-get install -y tor"
"""What installs tor on Debian and Raspberry Pi OS."""

PLACES = ("/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin")
"""Where daemons are, beside PATH: an ordinary user's may lack these."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a lab can be run on this machine; true when it can."""

    ok: bool
    message: str
    """tor's version; or what is missing and how it is installed."""

    def __bool__(self) -> bool:
        return self.ok


def installed(tor: str) -> Availability:
    """Look for `tor` (a name or a path) and tor-gencert, and run `tor --version`."""
    wanted = (tor, gencert_of(tor))
    missing = [name for name in wanted if not is_there(name)]
    if missing:
        return Availability(
            False,
            f"{' and '.join(missing)} cannot be found: install Tor (on Debian and its kin: {INSTALL}; "
            "its own service need not run: systemctl disable --now tor)",
        )
    try:
        said = subprocess.run((find(tor), "--version"), capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Availability(
            False, f"{find(tor)} does not run ({error}): install Tor anew (apt-get install --reinstall tor)"
        )
    return Availability(True, said.partition("\n")[0].strip().rstrip("."))


def is_there(program: str = "tor") -> bool:
    """Whether a program (a name or a path) can be run."""
    return shutil.which(find(program)) is not None


def find(program: str) -> str:
    """Find a program's path; its name, when it is nowhere."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *PLACES))
    return shutil.which(program, path=places) or program


def gencert_of(tor: str) -> str:
    """Name the tor-gencert that belongs to `tor`: the one beside it, where `tor` is a path and there is one."""
    beside = Path(tor).with_name("tor-gencert")
    return str(beside) if os.sep in tor and beside.exists() else "tor-gencert"
