"""What a node's daemons have open to the outside: their sockets as the kernel lists them, and which may not be."""

import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TABLES = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")
"""Tables of /proc/<pid>/net with one inet socket a line (proc_pid_net(5))."""

_LISTEN = "0A"
"""State of a listening TCP socket (include/net/tcp_states.h)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a socket."""

    protocol: str
    """tcp, udp, raw, icmp or packet, with a 6 for IPv6."""
    host: str
    """An address; empty: nobody yet, or it listens."""
    port: int

    def __str__(self) -> str:
        shown = f"[{self.host}]" if ":" in self.host else self.host or "nobody yet"
        return f"{self.protocol} to {shown}{f':{self.port}' if self.port else ''}"

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine."""
        return bool(self.host) and ipaddress.ip_address(self.host).is_loopback


@dataclass(slots=True)
class Seen:
    """What was seen of the sockets of some processes."""

    looks: int = 0
    """How often each process was looked at."""
    unix: int = 0
    """The most Unix sockets that were open at one time."""
    loopback: int = 0
    """The most connections within this machine at one time."""
    others: int = 0
    """The most that were in no table of the kernel's at one time: not connected yet, or over just then."""
    leaks: tuple[str, ...] = ()
    """Each socket that may not be there, with its owner, once."""
    unreadable: tuple[str, ...] = ()
    """Processes that this user may not look into; the wallet lets nobody but root, for its keys."""


def watch(
    pids: Mapping[str, int],
    seconds: float,
    ways_in: Collection[tuple[str, int]],
    *,
    loopback: bool,
    busy: Callable[[], object],
) -> Seen:
    """Look at the sockets of processes again and again, and collect those that may not be there.

    A Unix socket may be there, and a connection to one of `ways_in` (Tor's ports, when they are on TCP); one within
    this machine only if `loopback`: past Tor to a devnet is past Tor. `busy` is called between looks, so that there is
    something to see. What is opened and closed between two looks is not seen: the namespace test is for that.
    """
    seen, leaks = Seen(), dict[str, None]()
    ends = time.monotonic() + seconds
    while seen.looks == 0 or time.monotonic() < ends:
        unix = inside = others = 0
        for name, pid in pids.items():
            try:
                inodes = _sockets(pid)
            except PermissionError:
                seen.unreadable = tuple(dict.fromkeys((*seen.unreadable, name)))
                continue
            except OSError:
                continue  # it ended, and the supervisor starts it again
            peers, local = list(_peers(pid, inodes)), _of(pid, "unix", 6, inodes)
            unix += local
            others += max(0, len(inodes) - len(peers) - local - _of(pid, "netlink", 9, inodes))
            for peer in peers:
                inside += peer.loopback
                if (peer.host, peer.port) not in ways_in and not (loopback and peer.loopback):
                    leaks[f"{name}: {peer}"] = None
        seen.looks += 1
        seen.unix, seen.loopback = max(seen.unix, unix), max(seen.loopback, inside)
        seen.others = max(seen.others, others)
        busy()
    seen.leaks = tuple(leaks)
    return seen


def _sockets(pid: int) -> set[str]:
    """Inodes of the sockets that a process has open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def _peers(pid: int, inodes: set[str]) -> Iterator[Peer]:
    for table in _TABLES:
        for fields in _lines(pid, table):
            if len(fields) > 9 and fields[9] in inodes:
                # Nothing leaves by a TCP socket that listens, but none of ours should.
                host, port = ("", 0) if fields[3] == _LISTEN else _address(fields[2])
                yield Peer(table, host, port)
    for fields in _lines(pid, "packet"):
        if fields[-1] in inodes:
            yield Peer("packet", "", 0)


def _of(pid: int, table: str, column: int, inodes: set[str]) -> int:
    """How many of these sockets are in a table that has the inode in that column."""
    return sum(len(fields) > column and fields[column] in inodes for fields in _lines(pid, table))


def _lines(pid: int, table: str) -> Iterator[list[str]]:
    with contextlib.suppress(OSError):  # this kernel has no such protocol
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
            yield line.split()


def _address(text: str) -> tuple[str, int]:
    """Read `0100007F:2382` as the kernel prints it: words of 32 bits in the machine's order, then the port."""
    digits, _, port = text.partition(":")
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    raw = b"".join(socket.htonl(word).to_bytes(4, "big") for word in words)
    address = ipaddress.ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    shown = mapped or address
    return ("" if shown.is_unspecified else str(shown)), int(port, 16)
