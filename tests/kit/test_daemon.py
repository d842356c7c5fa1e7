"""The daemon: its socket, its built-in routes, and every way to ask it wrongly."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import ConfigDict

from services.kit import daemon
from services.kit.client import Client
from services.kit.errors import (
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    LucidError,
    MethodNotAllowed,
    NotFound,
    Unavailable,
)
from services.kit.models import Response

ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
Little = tuple[daemon.Service, Path]
MakeService = Callable[[], daemon.Service]


class Anything(Response):
    model_config = ConfigDict(extra="allow")


async def raw(path: Path, request: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes as they are and read status, headers and JSON."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lines = head.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    writer.close()
    await writer.wait_closed()
    return int(lines[0].split()[1]), headers, json.loads(body) if body else None


def post(path: str, body: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


async def test_socket_is_closed_to_others_from_the_first_moment(little: Little) -> None:
    assert stat.S_IMODE(little[1].stat().st_mode) == 0o660
    assert stat.S_IMODE(little[1].parent.stat().st_mode) == 0o750


async def test_live_socket_is_respected(little: Little, make_service: MakeService, client: Client) -> None:
    with pytest.raises(Conflict, match="left in peace"):
        async with daemon.serving(make_service(), little[1]):
            pass
    assert (await client.health()).status == "ok"


async def test_live_socket_of_a_stranger_is_respected(tmp_path: Path, make_service: MakeService) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(Conflict, match="left in peace"):
            async with daemon.serving(make_service(), path):
                pass
    assert path.exists()


async def test_dead_socket_is_removed(tmp_path: Path, make_service: MakeService) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with daemon.serving(make_service(), path), Client(path, "little") as client:
        assert (await client.health()).status == "ok"
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path, make_service: MakeService) -> None:
    path = tmp_path / "s.sock"
    path.write_text("precious")
    with pytest.raises(Conflict, match="is no socket"):
        async with daemon.serving(make_service(), path):
            pass
    assert path.read_text() == "precious"


async def test_too_long_a_path_is_refused_with_a_way_out(tmp_path: Path, make_service: MakeService) -> None:
    with pytest.raises(Unavailable, match="use a shorter home"):
        async with daemon.serving(make_service(), tmp_path / ("x" * 120) / "s.sock"):
            pass


async def test_kernel_says_who_asks_and_the_correlation_id_is_kept(little: Little) -> None:
    body = json.dumps({"to": ADDRESS, "amount": 3}).encode()
    request = post("/orders/7", body).replace(b"Host: x", b"Host: x\r\nX-Correlation-ID: act-1")
    status, headers, answer = await raw(little[1], request)
    assert status == 200
    assert headers["x-correlation-id"] == "act-1"
    assert answer == {"id": "7", "amount": 3, "user": _me(), "correlation_id": "act-1"}


def _me() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        ({"to": ADDRESS, "amount": 1, "amuont": 2}, "amuont", "unknown field"),
        ({"to": ADDRESS}, "amount", "is missing"),
        ({"to": ADDRESS, "amount": "1"}, "amount", "integer"),
        ({"to": ADDRESS, "amount": 1.5}, "amount", "integer"),
        ({"to": ADDRESS, "amount": True}, "amount", "integer"),
        ({"to": ADDRESS[:-1] + "J", "amount": 1}, "to", "checksum"),
        ({"to": 7, "amount": 1}, "to", "string"),
        ([], "body", "object"),
    ],
)
async def test_bad_body_is_told_which_field_and_why(little: Little, body: object, field: str, why: str) -> None:
    status, headers, answer = await raw(little[1], post("/orders/7", json.dumps(body).encode()))
    assert (status, headers["content-type"], answer["code"]) == (422, "application/problem+json", "invalid")
    assert [item["field"] for item in answer["fields"]] == [field]
    assert why in answer["fields"][0]["message"].lower()


@pytest.mark.parametrize("body", [b"{", b"", b"\xff\xfe", b"nonsense"])
async def test_a_body_that_is_no_json_is_malformed(little: Little, body: bytes) -> None:
    status, _, answer = await raw(little[1], post("/orders/7", body))
    assert (status, answer["code"]) == (400, "malformed")


async def test_huge_body_is_not_read(little: Little) -> None:
    status, _, answer = await raw(little[1], post("/orders/7", b" " * 5000))
    assert (status, answer["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/nowhere", NotFound),
        ("DELETE", "/orders/7", MethodNotAllowed),
        ("GET", "/orders/7?limit=many", Invalid),
        ("GET", "/orders/7?limti=3", Invalid),
        ("GET", "/orders/7?limit=1&limit=2", Invalid),
        ("GET", "/health?x=1", Invalid),
        ("POST", "/refuse", Conflict),
        ("GET", "/defect", Internal),
    ],
)
async def test_every_failure_comes_back_as_the_same_error(
    client: Client, method: str, path: str, error: type[LucidError]
) -> None:
    with pytest.raises(error) as caught:
        await client.request(method, path, Anything)
    assert type(caught.value) is error


async def test_an_error_keeps_its_fields_and_extras_across_the_wire(client: Client) -> None:
    with pytest.raises(Conflict) as caught:
        await client.request("POST", "/refuse", Anything)
    assert caught.value.fields == (("key", "the key was used for another order"),)
    assert caught.value.extra == {"txid": "77" * 32}


async def test_defect_is_logged_without_locals_and_told_without_its_inside(
    client: Client, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    from services.kit import log

    log.configure("little")
    request.addfinalizer(structlog.reset_defaults)
    with pytest.raises(Internal) as caught:
        await client.request("GET", "/defect", Anything)
    assert "RuntimeError" not in caught.value.message
    assert "correct horse" not in capsys.readouterr().err


async def test_built_in_routes_answer(client: Client, little: Little) -> None:
    status = await client.status()
    assert (status.service, status.pid, status.status) == ("little", os.getpid(), "ok")
    assert (await client.request("GET", "/health/live", Anything)).model_extra == {"status": "ok"}
    await client.request("GET", "/orders/1", Anything)
    reader, writer = await asyncio.open_unix_connection(little[1])
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    assert (
        'http_request_duration_seconds_count{method="GET",route="/orders/{id}",service="little",status="200"} 1.0'
        in text
    )
    for name in ("retry_attempts_total", "cache_hits_total", "cache_misses_total", "network_errors_total"):
        assert f"# TYPE {name} counter" in text


async def test_not_ready_is_503_with_the_words_of_what_is_wrong(tmp_path: Path, make_service: MakeService) -> None:
    service = make_service()

    async def ready() -> dict[str, str]:
        return {"store": "ok", "node": "no endpoint answers"}

    service.ready = ready
    async with daemon.serving(service, tmp_path / "s.sock"), Client(tmp_path / "s.sock", "little") as client:
        with pytest.raises(Unavailable, match="node: no endpoint answers"):
            await client.request("GET", "/health/ready", Anything)
        assert (await client.health()).status == "degraded"


async def test_a_viewer_may_read_and_not_order(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.kit import peer

    monkeypatch.setattr(peer, "_identity", lambda _uid, _gid: ("eve", peer.Role.VIEWER))
    async with Client(little[1], "little") as client:
        await client.request("GET", "/orders/1", Anything)
        with pytest.raises(Forbidden, match="join the group lucid-operator"):
            await client.request("POST", "/orders/1", Anything, body=Anything())


SCRIPT = """
import asyncio, sys
from pathlib import Path
from services.kit import daemon, log
from services.kit.http import Endpoint
from services.kit.metrics import Metrics
from services.kit.models import Live

async def slow(call):
    await asyncio.sleep(0.5)
    return Live()

log.configure("script")
service = daemon.Service("script", "A script.", "1", [Endpoint("GET", "/slow", slow, response=Live)], Metrics("script"))
sys.exit(daemon.main((service, Path(sys.argv[1]))))
"""


async def test_sigterm_finishes_what_is_in_flight_tells_systemd_and_leaves_nothing(tmp_path: Path) -> None:
    path, notify = tmp_path / "d" / "s.sock", tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(notify))
        systemd.settimeout(20)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(SCRIPT), str(path),
            env={**os.environ, "NOTIFY_SOCKET": str(notify)}, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert await asyncio.to_thread(systemd.recv, 64) == b"READY=1"
        async with Client(path, "script") as client:
            stream = client.events()
            await anext(stream)
            request = asyncio.create_task(client.request("GET", "/slow", Anything))
            await asyncio.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            assert (await request).model_extra == {"status": "ok"}
        assert await asyncio.to_thread(systemd.recv, 64) == b"STOPPING=1"
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert not path.exists()


async def test_after_kill_minus_nine_the_next_one_takes_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "d" / "s.sock"
    for last in (False, True):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), stderr=subprocess.DEVNULL
        )
        async with Client(path, "script") as client:
            for _ in range(200):
                try:
                    await client.health()
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
            else:
                pytest.fail("the daemon did not come up")
        process.send_signal(signal.SIGTERM if last else signal.SIGKILL)
        await process.wait()
        assert path.exists() is not last
