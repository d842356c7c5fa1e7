"""What tests of several parts share."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test may fail because the machine is busy.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a real Tor network, so that `make check` can leave it away: modules that import the lab."""
    for item in items:
        if hasattr(getattr(item, "module", None), "Lab"):
            item.add_marker(pytest.mark.real_tor)


_TRONWEB = Path(__file__).parent / "protocol" / "tronweb"


@pytest.fixture(scope="session")
def tronweb_dir() -> Path:
    """The folder whose `node_modules` hold tronweb exactly as its lock file says; installed there when it is not yet.

    A script in it imports "tronweb"; one elsewhere uses `createRequire` with this folder.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: install Node.js 20 or later (on Debian: apt install nodejs npm)")
    lock_file = _TRONWEB / "package-lock.json"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    stamp = _TRONWEB / "node_modules" / ".installed-from"
    # Two runs of the tests at once must not install over each other.
    with lock_file.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            _npm_ci()
            stamp.write_text(wanted)
    return _TRONWEB


def _npm_ci() -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=_TRONWEB, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"tronweb could not be installed, is the npm registry in reach?\n{done.stderr[-2000:]}")
