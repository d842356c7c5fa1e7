"""Who may do what, and that there is no verb but the fixed ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from services.kit.http import BASE
from services.kit.peer import Role
from services.tor import app
from services.tor.service import TorService

WHO_MAY = {
    Role.VIEWER: {
        "GET status", "GET circuits", "GET streams", "GET guards", "GET bandwidth", "GET log", "GET isolation",
        "GET exit-policy", "GET onions", "GET onions/{name}",
    },
    Role.OPERATOR: {
        "POST newnym", "POST reconnect", "POST test", "POST circuits/{id}/close", "POST isolation/{name}",
        "POST isolation/{name}/rotate",
    },
    Role.ADMIN: {
        "POST exit-policy", "POST onions", "POST onions/{name}/publish", "POST onions/{name}/withdraw",
        "POST onions/{name}/remove",
    },
}  # fmt: skip


def test_who_sees_does_not_steer_and_who_steers_makes_no_onions() -> None:
    routes: list[Any] = app.endpoints(TorService.__new__(TorService))
    found: dict[Role, set[str]] = {}
    for route in routes:
        found.setdefault(route.role, set()).add(f"{route.method} {route.path.removeprefix(f'{BASE}/tor/')}")
    assert found == WHO_MAY


def test_what_is_said_to_tor_stands_in_the_code() -> None:
    """A verb is always a literal: no caller's words, and nothing of tor's, can be one."""
    said = set()
    for file in Path(app.__file__).parent.glob("*.py"):
        calls = re.findall(r"\.tell\(\s*([^,)]+)", file.read_text())
        assert all(re.fullmatch(r'"[A-Z]+_?[A-Z]+"', call) for call in calls), (file.name, calls)
        said |= set(calls)
    assert {word.strip('"') for word in said} == {
        "PROTOCOLINFO", "AUTHENTICATE", "AUTHCHALLENGE", "GETINFO", "GETCONF", "SETCONF", "SETEVENTS", "SIGNAL",
        "CLOSECIRCUIT", "ADD_ONION", "DEL_ONION",
    }  # fmt: skip
