"""What a lab keeps on the disk: the nodes' identities, and caches that make a start warm while they are fresh."""

import asyncio
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.kit.errors import Unavailable
from services.tor.install import find, gencert_of
from services.tor.lab.claim import PLAN_FILE
from services.tor.lab.plan import Plan, Role, Server

CLIENT = "client"
"""Name of the client's directory."""

_FORMAT = 1
_STALE = timedelta(hours=12)
"""After its end a consensus serves clients for a day more ("reasonably live" in dir-spec): half of it is for work."""
_RENEW = timedelta(days=7)
"""The authority's certificate, made for a year, is made anew this long before its end."""
_MAKING_S = 60.0


@dataclass(frozen=True, slots=True)
class Identities:
    """Who the servers are to each other."""

    fingerprints: dict[str, str]
    """By name of the server: 40 upper-case hex digits."""
    authority: str
    """The v3 identity of the authority, 40 upper-case hex digits."""


def remembered(directory: Path, relays: int, exits: int) -> Plan | None:
    """Read the plan of the lab that was here; None if there is none, or not of this shape."""
    try:
        body = json.loads((directory / PLAN_FILE).read_text())
        if body.pop("format") != _FORMAT:
            return None
        plan = Plan(**body)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return plan if (plan.relays, plan.exits) == (relays, exits) else None


def remember(directory: Path, plan: Plan) -> None:
    """Write the plan down, all of it or nothing."""
    half = directory / f"{PLAN_FILE}.new"
    half.write_text(json.dumps({"format": _FORMAT, **asdict(plan)}, indent=2) + "\n")
    half.replace(directory / PLAN_FILE)


def is_fresh(directory: Path, plan: Plan, now: datetime) -> bool:
    """Tell whether every node has a consensus of the network that is good at `now` and for some hours more."""
    names = {CLIENT: "cached-microdesc-consensus", plan.servers()[0].name: "cached-consensus"}
    for name, file in names.items():
        try:
            with (directory / name / file).open(errors="replace") as consensus:
                head = consensus.read(2_000)
        except OSError:
            return False
        since, until = _time(head, "valid-after"), _time(head, "valid-until")
        if since is None or until is None or not since <= now <= until + _STALE:
            return False
    return True


def _time(document: str, keyword: str) -> datetime | None:
    found = re.search(rf"^{keyword} (\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d)$", document, re.MULTILINE)
    return datetime.strptime(f"{found[1]}Z", "%Y-%m-%d %H:%M:%S%z") if found else None


def forget(directory: Path) -> None:
    """Remove what the nodes learned: everything in their directories but their identities."""
    for node in directory.iterdir():
        if not node.is_dir():
            continue
        for entry in node.iterdir():
            if entry.name in {"keys", "fingerprint", "fingerprint-ed25519"}:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


async def identities(tor: str, directory: Path, plan: Plan) -> Identities:
    """Read the identities of all servers; those that are missing are made (a second for a whole network).

    Raises:
        Unavailable: tor could not make them, in its words.
    """
    servers = plan.servers()
    authority, *prints = await asyncio.gather(
        _authority(find(gencert_of(tor)), directory / servers[0].name / "keys"),
        *(_fingerprint(find(tor), directory, server) for server in servers),
    )
    return Identities({server.name: print_ for server, print_ in zip(servers, prints, strict=True)}, authority)


async def _fingerprint(tor: str, directory: Path, server: Server) -> str:
    home = directory / server.name
    known = home / "fingerprint"
    if not known.exists():
        empty = str(directory / "empty")
        options = {
            "-f": empty,
            "--defaults-torrc": empty,
            "--DataDirectory": str(home),
            "--Nickname": server.name,
            "--ORPort": f"{server.address}:{server.or_port}",
            "--ExitRelay": "1" if server.role is Role.EXIT else "0",
        }
        await run((tor, *itertools.chain(*options.items()), "--hush", "--list-fingerprint"))
    try:
        name, digits = known.read_text().split()
    except (OSError, ValueError) as error:
        raise Unavailable(f"{known} is not what tor writes: remove {home} and start again") from error
    if name != server.name:
        raise Unavailable(f"{known} is another node's: remove {home} and start again")
    return digits.upper()


async def _authority(gencert: str, keys: Path) -> str:
    certificate = keys / "authority_certificate"
    try:
        text = certificate.read_text()
    except OSError:
        text = ""
    ends = _time(text, "dir-key-expires")
    if ends is None or ends - _RENEW < datetime.now(UTC):
        await asyncio.to_thread(keys.mkdir, mode=0o700, parents=True, exist_ok=True)
        await _certify(gencert, keys)
        text = certificate.read_text()
    found = re.search(r"^fingerprint ([0-9A-F]{40})$", text, re.MULTILINE)
    if found is None:
        raise Unavailable(f"{certificate} is not what tor-gencert writes: remove {keys} and start again")
    return found[1]


async def _certify(gencert: str, keys: Path) -> None:
    parts = ("authority_identity_key", "authority_signing_key", "authority_certificate")
    with tempfile.TemporaryDirectory(dir=keys) as name:
        made = [Path(name) / part for part in parts]
        flags = [text for flag, path in zip(("-i", "-s", "-c"), made, strict=True) for text in (flag, str(path))]
        # Without the address (-a): with it tor would believe the certificate's more than its torrc's.
        await run((gencert, "--create-identity-key", "--passphrase-fd", "0", "-m", "12", *flags), b"lab\n")
        # The certificate last: where it is, the keys are.
        for path in made:
            path.replace(keys / path.name)


async def run(argv: Sequence[str], given: bytes = b"") -> None:
    """Run a program of Tor's to its end.

    Raises:
        Unavailable: it failed; its last words are in the message.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.defpath},
    )
    try:
        async with asyncio.timeout(_MAKING_S):
            said, _ = await process.communicate(given)
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if process.returncode != 0:
        raise Unavailable(f"{Path(argv[0]).name} failed ({process.returncode}): {said.decode(errors='replace')[-500:]}")
