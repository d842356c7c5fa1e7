"""Nothing of a node can connect outwards but the few modules that are named here: what a reviewer has to read."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

CONNECTS = re.compile(
    r"open_connection|create_connection|create_datagram_endpoint|sock_connect\(|TCPConnector|getaddrinfo|gethostby"
    r"|socket\.socket\(|urlopen|HTTPS?Connection|ClientSession\(|import (?:requests|httpx|urllib3|smtplib|ftplib)"
)
"""How Python opens a socket, or asks for a name."""

OUTWARDS = {
    "services/kit/socks.py": "Tor's SOCKS port: the one way out",
    "services/kit/egress/tunnel.py": "connections on sockets of it; past it only where the settings say so",
    "services/kit/egress/lane.py": "HTTP on those",
    "services/kit/egress/egress.py": "the connectivity test, on those",
    "services/tor/control.py": "Tor's control port",
}

UNIX_ONLY = {
    "services/kit/client.py": "a neighbour's socket",
    "services/kit/daemon.py": "its own socket, and systemd's",
}

OUTSIDE = ("services/devnet/", "services/tor/lab/")
"""What plays the world outside, on loopback."""


def connecting() -> dict[str, list[str]]:
    """Lines of the services that open sockets, by file."""
    found: dict[str, list[str]] = {}
    for path in (REPOSITORY / "services").rglob("*.py"):
        name = path.relative_to(REPOSITORY).as_posix()
        lines = [line for line in path.read_text().splitlines() if CONNECTS.search(line)]
        if lines and not name.startswith(OUTSIDE):
            found[name] = lines
    return found


def test_only_the_way_out_connects_outwards() -> None:
    assert set(connecting()) == OUTWARDS.keys() | UNIX_ONLY.keys()


def test_neighbours_are_called_by_unix_sockets() -> None:
    text = {name: (REPOSITORY / name).read_text() for name in UNIX_ONLY}
    assert "connector = aiohttp.UnixConnector(" in text["services/kit/client.py"]
    for name in UNIX_ONLY:
        for line in connecting()[name]:
            assert re.search(r"AF_UNIX|ClientSession\(connector=connector, trust_env=False\)", line), f"{name}: {line}"
