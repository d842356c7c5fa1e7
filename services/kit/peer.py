"""Who is asking: the kernel's word for the process on the other end of a Unix socket (SO_PEERCRED)."""

import functools
import grp
import os
import pwd
import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Role(IntEnum):
    """What a caller may do; each role includes those below it."""

    VIEWER = 0
    """Reads."""
    OPERATOR = 1
    """Proposes payouts, opens wallets."""
    APPROVER = 2
    """Approves what another proposed."""
    ADMIN = 3
    """Changes policy, lifts a freeze."""


GROUPS = {"lucid-operator": Role.OPERATOR, "lucid-approver": Role.APPROVER, "lucid-admin": Role.ADMIN}
"""Unix groups that give a role. Root and the daemon's own user are admins; whoever else can connect is a viewer."""


IDENTITY_TTL_S = 10
"""How long a user's name and groups are believed: a new connection after that sees what was changed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The caller of a request, as the kernel saw it when it connected."""

    pid: int
    uid: int
    gid: int
    user: str
    """Login name, or the uid in digits when it has none."""
    role: Role


NOBODY = Peer(pid=0, uid=-1, gid=-1, user="unknown", role=Role.VIEWER)
"""A caller without credentials: not on a Unix socket."""


def peer_of(connection: Any) -> Peer:
    """Read the credentials of a connected Unix socket (anything with `family` and `getsockopt`)."""
    if connection is None or connection.family != socket.AF_UNIX:
        return NOBODY
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", raw)
    user, role = _identity(uid, gid)
    return Peer(pid, uid, gid, user, role)


def _identity(uid: int, gid: int) -> tuple[str, Role]:
    return _looked_up(uid, gid, int(time.monotonic() // IDENTITY_TTL_S))


@functools.lru_cache(maxsize=256)
def _looked_up(uid: int, gid: int, _period: int) -> tuple[str, Role]:
    try:
        user = pwd.getpwuid(uid).pw_name
        groups = os.getgrouplist(user, gid)
    except KeyError:
        user, groups = str(uid), [gid]
    if uid in {0, os.geteuid()}:
        return user, Role.ADMIN
    roles = [GROUPS.get(_group_name(group), Role.VIEWER) for group in groups]
    return user, max(roles, default=Role.VIEWER)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
