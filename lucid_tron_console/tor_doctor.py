"""What the doctor says of Tor: do calls go through it, is it installed, can it be entered and steered, how is it."""

import contextlib
import getpass
import grp
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lucid_tron_console import daemon_settings, lab, node
from lucid_tron_console.finding import Finding, Verdict
from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.probe import ask
from lucid_tron_console.tor_state import tor_state
from services.kit.errors import LucidError

_LOOK_S = 2.0
_LONGEST_REPLY = 65_536

_COOKIE = re.compile(r'COOKIEFILE="((?:[^"\\]|\\.)*)"')
_METHODS = re.compile(r"METHODS=([A-Z,]+)")
_START = (
    "start tor (systemctl start tor); its torrc needs ControlSocket /run/tor/control (or ControlPort 9051) and "
    "CookieAuthentication 1"
)


def examine(home: Home, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at Tor in the order in which things have to work."""
    record = home.record()
    yield from _program(record)
    if home.holder() is not None or record.network is not None:
        state = tor_state(home, record)
        if state["past"]:
            yield Finding(
                "past Tor",
                Verdict.RISK,  # no daemon starts so unless a setting says it, on mainnet two
                "calls to the TRON network show this node's address"
                + (f": {record.tor.past}" if record.tor.past else ""),
                "set USE_TOR_FOR_EXTERNAL_CALLS and TOR_ROUTE_RPC to true, and start the node again",
            )
    if record.tor.mode == "lab":
        yield from _lab(home)
    if record.tor.mode == "system":
        yield from _system(home, record, environ)
    if record.tor.mode != "off":
        yield from _service(home)


def _program(record: NodeRecord) -> Iterator[Finding]:
    path = shutil.which("tor") or shutil.which("tor", path="/usr/sbin:/usr/local/sbin")
    if path is not None:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = done.stdout.partition("\n")[0].removeprefix("Tor version ").rstrip(".")
        yield Finding("tor", Verdict.OK, f"{path}, {version}")
        return
    words = {"off": "not installed; this node does without it", "lab": "not installed"}
    advice = "apt-get install -y tor" if record.tor.mode != "off" else ""
    # The machine's tor may well run on another one, or in a container.
    verdict = Verdict.BAD if record.tor.mode == "lab" else Verdict.NOTE
    yield Finding("tor", verdict, words.get(record.tor.mode, "not installed on this machine"), advice)


def _lab(home: Home) -> Iterator[Finding]:
    if home.holder() is None:
        found = lab.available()
        yield Finding("tor lab", Verdict.OK if found.ok else Verdict.BAD, found.message)


def _system(home: Home, record: NodeRecord, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at the machine's tor as it is now, whether the node runs or not."""
    report = daemon_settings.read(home, environ, node.decided_by(home, record, environ))
    way = report["way_out"]
    if way is None:
        words = "; ".join(f"{one['name']}: {one['message']}" for one in report["problems"])
        yield Finding("settings", Verdict.BAD, words, f"`{home.command('config validate')}`")
        return
    if way["socks"]:
        yield _entrance(way["socks"].removeprefix("unix:"))
    told = {one["name"]: one["value"] for one in report["settings"]}
    files = (told["TOR_CONTROL_PASSWORD_FILE"], told["TOR_CONTROL_COOKIE_FILE"])
    yield from control(way["control"], *(Path(file) if file else None for file in files))


def _entrance(where: str) -> Finding:
    """The SOCKS port: somebody listens there, and this user may come in."""
    try:
        _connect(where).close()
    except PermissionError:
        return Finding("tor socks", Verdict.BAD, f"this user may not open {where}", group_advice(Path(where)))
    except OSError as error:
        advice = "start tor (systemctl start tor), or say where its SOCKS port is: TOR_SOCKS_SOCKET, or TOR_PROXY_HOST"
        return Finding("tor socks", Verdict.BAD, f"nothing answers at {where}: {error.strerror or error}", advice)
    return Finding("tor socks", Verdict.OK, where)


def control(where: str, password_file: Path | None, cookie_file: Path | None = None) -> Iterator[Finding]:
    """Look at the control port: is it one, and is there a key to it that this user can read."""
    try:
        with _connect(where) as opened:
            opened.sendall(b"PROTOCOLINFO 1\r\nQUIT\r\n")
            reply = _read(opened)
    except PermissionError:
        yield Finding("tor control", Verdict.BAD, f"this user may not open {where}", group_advice(Path(where)))
        return
    except TimeoutError:
        yield Finding("tor control", Verdict.BAD, f"{where} says nothing", "is that tor, and does it hang? restart it")
        return
    except OSError as error:
        yield Finding("tor control", Verdict.BAD, f"nothing answers at {where}: {error.strerror or error}", _START)
        return
    if "250-PROTOCOLINFO" not in reply:
        advice = "set TOR_CONTROL_SOCKET, or TOR_PROXY_HOST and TOR_PROXY_CONTROL_PORT, to tor's control port"
        yield Finding("tor control", Verdict.BAD, f"what listens at {where} is no control port", advice)
        return
    yield Finding("tor control", Verdict.OK, where)
    yield _key(reply, password_file, cookie_file)


def _key(reply: str, password_file: Path | None, cookie_file: Path | None) -> Finding:
    found = _METHODS.search(reply)
    methods = set(found[1].split(",")) if found else set()
    if "NULL" in methods:
        words = "the control port takes anybody"
        return Finding("tor cookie", Verdict.BAD, words, "set CookieAuthentication 1 in the torrc and reload tor")
    if password_file is not None and "HASHEDPASSWORD" in methods:
        if os.access(password_file, os.R_OK):
            return Finding("tor password", Verdict.OK, str(password_file))
        return Finding("tor password", Verdict.BAD, f"{password_file} cannot be read", "see TOR_CONTROL_PASSWORD_FILE")
    cookie = _COOKIE.search(reply)
    if cookie is None:
        advice = "set CookieAuthentication 1 in the torrc, or TOR_CONTROL_PASSWORD_FILE"
        return Finding("tor cookie", Verdict.BAD, "the control port has no cookie", advice)
    offered = Path(re.sub(r"\\(.)", r"\1", cookie[1]))
    path = cookie_file or offered
    if _differ(path, offered):
        words = f"{path} is not this tor's cookie, which is {offered}"
        return Finding("tor cookie", Verdict.BAD, words, "take TOR_CONTROL_COOKIE_FILE out, or set it to that")
    if os.access(path, os.R_OK):
        return Finding("tor cookie", Verdict.OK, str(path))
    return Finding("tor cookie", Verdict.BAD, f"this user may not read {path}", group_advice(path))


def _differ(one: Path, other: Path) -> bool:
    """Whether two files can be read and are not the same."""
    with contextlib.suppress(OSError):
        return one != other and one.read_bytes() != other.read_bytes()
    return False


def group_advice(path: Path) -> str:
    """Say which group to join to get at a file of tor's, or what to set when no group may."""
    # Of what is hidden from us the nearest directory that we see tells the group.
    for place in (path, *path.parents):
        with contextlib.suppress(OSError, KeyError):
            found = place.stat()
            group = grp.getgrgid(found.st_gid).gr_name
            if found.st_mode & 0o040 and group != "root":
                return f"usermod -aG {group} {_user()}, then log in again (a service: restart it)"
            if place == path or group == "root":
                break
            return f"usermod -aG {group} {_user()}, then log in again (a service: restart it)"
    return (
        "no group may read it: set CookieAuthFileGroupReadable 1 (a cookie), ControlSocketsGroupWritable 1 or "
        "GroupWritable behind SocksPort (a socket) in the torrc, and join tor's group (Debian: debian-tor)"
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _service(home: Home) -> Iterator[Finding]:
    """How Tor is, as the node's Tor service sees it; its state and what to do are told with the services."""
    try:
        seen: dict[str, Any] = ask(home.socket("tor"), "/api/v1/tron/tor/status", timeout_s=2.0)
    except LucidError:
        return
    boot = seen.get("bootstrap")
    if boot is not None:
        done = boot["percent"] == 100
        words = f"{boot['percent']} %, {boot['summary'] or boot['tag']} {boot['reason']}".rstrip()
        advice = (
            "" if done else "wait; when it stands still: this machine's network, its clock (timedatectl), tor's log"
        )
        yield Finding("tor bootstrap", Verdict.OK if done else Verdict.BAD, words, advice)
        guards, circuits = seen["guards"], seen["circuits"]
        words = f"{guards['up']} of {guards['total']} guards up, {circuits['built']} circuits"
        yield Finding("tor circuits", Verdict.OK if guards["up"] and circuits["built"] else Verdict.NOTE, words)
    for words in seen.get("warnings", []):
        yield Finding("tor clock" if "clock" in words else "tor warning", Verdict.NOTE, words)


def _connect(where: str) -> socket.socket:
    if where.startswith("/"):
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(_LOOK_S)
        try:
            opened.connect(where)
        except BaseException:
            opened.close()
            raise
        return opened
    host, _, port = where.rpartition(":")
    opened = socket.create_connection((host.strip("[]"), int(port)), _LOOK_S)
    opened.settimeout(_LOOK_S)
    return opened


def _read(opened: socket.socket) -> str:
    """What comes until the other side hangs up, within bounds."""
    found = b""
    while len(found) < _LONGEST_REPLY and (chunk := opened.recv(4096)):
        found += chunk
        if b"\r\n250 OK\r\n" in found:
            break
    return found.decode("latin-1")
