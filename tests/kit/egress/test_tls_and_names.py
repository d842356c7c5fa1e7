"""Nothing is said to a stranger, and nobody but Tor is asked for a name."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.kit.egress import Call, EgressError, Fault

BASE = "https://api.example.org"

Get = Callable[..., Call]


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.fixture
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a name is looked up on this machine."""

    def refuse(host: str, *_rest: Any, **_options: Any) -> None:
        pytest.fail(f"{host} was looked up on this machine")

    for function in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo"):
        monkeypatch.setattr(socket, function, refuse)
    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_names")
async def test_https_goes_through_tor_by_name(make_egress: Any, tor: Any, serve: Any, get: Get, authority: Any) -> None:
    await serve(hello, "api.example.org", authority.server("api.example.org"))
    egress = make_egress(tls=authority.client())
    for purpose in ("read", "broadcast"):
        assert (await egress.way(purpose, BASE).read(get(base=BASE))).content == b"hello"
    assert {(asked.host, asked.port, asked.kind) for asked in tor.asked} == {("api.example.org", 443, 3)}
    probe = await egress.probe(BASE)
    assert (probe.ok, probe.target, probe.slow) == (True, "api.example.org", False)


@pytest.mark.parametrize(
    "bad",
    [
        ("api.example.org", 30, False),
        ("evil.example.org", 30, True),
        ("api.example.org", -1, True),
    ],
    ids=["unknown authority", "another name", "expired"],
)
async def test_a_bad_certificate_gets_not_one_byte_of_a_request(
    make_egress: Any, serve: Any, authority: Any, bad: tuple[str, int, bool]
) -> None:
    (name, days, trusted), seen = bad, 0

    async def count(_request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        return web.Response()

    await serve(count, "api.example.org", authority.server(name, days))
    egress = make_egress(tls=authority.client() if trusted else None)
    for ask in (egress.way("read", BASE).read, egress.way("broadcast", BASE).once):
        with pytest.raises(EgressError, match="certificate") as caught:
            await ask(Call("GET", BASE, 5, 1000, headers={"TRON-PRO-API-KEY": "canary"}))
        assert (caught.value.reason, caught.value.sent) == (Fault.TLS, False)
    assert seen == 0
    probe = await egress.probe(BASE)
    assert not probe.ok
    assert "certificate" in probe.detail


async def test_an_exit_that_strips_tls_hears_nothing_but_a_handshake(
    make_egress: Any, tor: Any, get: Get, authority: Any
) -> None:
    heard = b""

    async def strip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += await reader.read(65_536)
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
            heard += await reader.read()
        writer.close()

    server = await asyncio.start_server(strip, "127.0.0.1", 0)
    tor.targets["api.example.org"] = server.sockets[0].getsockname()[1]
    egress = make_egress(tls=authority.client())
    call = Call("POST", f"{BASE}/wallet/broadcasthex", 5, 1000, {"transaction": "canary"}, headers={"KEY": "canary"})
    with pytest.raises(EgressError) as caught:
        await egress.way("broadcast", BASE).once(call)
    assert (caught.value.reason, caught.value.sent) == (Fault.TLS, False)
    assert heard[:1] == b"\x16", "a TLS handshake record"
    assert b"canary" not in heard
    assert b"HTTP" not in heard
    server.close()


async def test_a_bad_exit_is_left_for_a_good_one(
    make_egress: Any, tor: Any, serve: Any, get: Get, authority: Any
) -> None:
    good = await serve(hello, "api.example.org", authority.server("api.example.org"))
    bad = await serve(hello, "elsewhere", authority.server("evil.example.org"))
    egress = make_egress(tls=authority.client())
    way = egress.way("read", BASE)
    tor.targets["api.example.org"] = bad
    first = asyncio.create_task(way.read(get(base=BASE)))
    while not tor.asked:
        await asyncio.sleep(0)
    tor.targets["api.example.org"] = good
    assert (await first).user == f"{way.name}.2"


_IN_A_NAMESPACE = textwrap.dedent("""
    import asyncio, json, sys, uvloop
    from pathlib import Path
    from services.kit.clock import SystemClock
    from services.kit.egress import Call, Egress, EgressError, EgressPolicy, Mode, SocksPort
    from services.kit.metrics import Metrics

    async def main(socks, url):
        policy = EgressPolicy(Mode.TOR, SocksPort(path=Path(socks)), retries=0)
        egress = Egress(policy, SystemClock(), Metrics("test"))
        try:
            said = (await egress.way("read", url).read(Call("GET", url, 10, 1000))).content.decode()
        except EgressError as error:
            said = error.message
        await egress.close()
        names = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
        lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Ip:")]
        packets = dict(zip(*lines))["OutRequests"]
        print(json.dumps({"said": said, "interfaces": names, "packets": packets}))

    run = uvloop.run if sys.argv[3] == "uvloop" else asyncio.run
    run(main(*sys.argv[1:3]))
    """)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_process_without_any_route_gets_out_through_the_socket_alone(tor: Any, serve: Any, loop: str) -> None:
    if shutil.which("unshare") is None:
        pytest.fail("unshare is missing: install util-linux")
    # Root needs no user namespace, which a changed root would not get.
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]
    await serve(hello, "lonely.onion")

    async def run() -> dict[str, Any]:
        command = [sys.executable, "-c", _IN_A_NAMESPACE, str(tor.path), "http://lonely.onion", loop]
        child = await asyncio.create_subprocess_exec(
            *unshare, *command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        out, _ = await child.communicate()
        return json.loads(out)  # type: ignore[no-any-return]

    assert await run() == {"said": "hello", "interfaces": ["lo"], "packets": "0"}
    await tor.stop()
    found = await run()
    assert "is Tor running?" in found["said"]
    assert found["packets"] == "0"


async def test_a_silent_tls_handshake_ends_in_time(make_egress: Any, tor: Any, get: Get) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    tor.targets["api.example.org"] = server.sockets[0].getsockname()[1]
    with pytest.raises(EgressError) as caught:
        await make_egress().way("broadcast", BASE).once(get(base=BASE, timeout_s=0.3))
    assert not caught.value.sent
    server.close()


async def test_the_default_context_checks_names_and_certificates(make_egress: Any) -> None:
    context = make_egress()._tls
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
