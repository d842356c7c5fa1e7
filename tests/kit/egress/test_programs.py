"""What other programs are told: proxies by protocol, the environment, and a test of the way out."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from services.kit.egress import Mode, SocksPort


def test_proxies_by_protocol(make_egress: Any) -> None:
    egress = make_egress(socks=SocksPort(host="127.0.0.1", port=9050), http_proxy="127.0.0.1:8888")
    assert egress.proxy_url("socks5h", "tronweb") == "socks5h://program.tronweb:lucid@127.0.0.1:9050"
    assert egress.proxy_url("https", "tronweb") == "http://program.tronweb:lucid@127.0.0.1:8888"
    assert make_egress(socks=SocksPort(host="::1", port=9050)).proxy_url("http", "a").endswith("@[::1]:9050")
    unix = make_egress(socks=SocksPort(path=Path("/run/tor/socks")))
    assert unix.proxy_url("https", "curl") == "socks5h://program.curl:lucid@localhost/run/tor/socks"
    with pytest.raises(ValueError, match="no proxy for gopher"):
        egress.proxy_url("gopher")


def test_a_program_is_told_by_every_variable_it_may_read(make_egress: Any) -> None:
    found = make_egress(socks=SocksPort(host="127.0.0.1", port=9050)).subprocess_env("tronweb")
    url = "socks5h://program.tronweb:lucid@127.0.0.1:9050"
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        assert found[variable] == found[variable.lower()] == url
    assert found["NO_PROXY"] == found["no_proxy"] == ""


def test_without_tor_an_inherited_proxy_is_taken_away(make_egress: Any) -> None:
    found = make_egress(mode=Mode.CLEAR, socks=None).subprocess_env("tronweb")
    assert set(found.values()) == {""}


async def test_curl_obeys(make_egress: Any, tor: Any, serve: Any) -> None:
    if shutil.which("curl") is None:
        pytest.fail("curl is missing: apt-get install curl")

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    await serve(hello, "api.example.org")
    for port in (SocksPort(host="127.0.0.1", port=tor.tcp_port), SocksPort(path=tor.path)):
        environment = {**os.environ, **make_egress(socks=port).subprocess_env("curl")}
        child = await asyncio.create_subprocess_exec(
            "curl", "-sS", "http://api.example.org/", env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert (await child.communicate())[0] == b"hello"
    assert [(asked.user, asked.host) for asked in tor.asked] == [("program.curl", "api.example.org")] * 2


async def test_a_test_of_the_way_out_never_fails_and_says_what_is_wrong(make_egress: Any, tor: Any) -> None:
    egress = make_egress(connect_timeout_s=0.3)
    found = await egress.probe("https://api.example.org")
    assert (found.ok, found.target, found.latency_ms) == (False, "api.example.org", None)
    assert "no exit finds its name" in found.detail
    await tor.stop()
    assert "is Tor running?" in (await egress.probe("https://api.example.org")).detail


async def test_every_test_has_a_circuit_of_its_own(make_egress: Any, tor: Any, serve: Any) -> None:
    async def count(_request: web.Request) -> web.Response:
        raise AssertionError("a test says nothing to the endpoint")

    await serve(count, "short.onion")
    egress = make_egress()
    for _ in range(2):
        assert (await egress.probe("http://short.onion")).ok
    assert tor.users == ["probe:short.onion.1", "probe:short.onion.2"]
    assert tor.sent == 0


async def test_a_test_without_tor_connects_directly(make_egress: Any, serve: Any) -> None:
    async def hello(_request: web.Request) -> web.Response:
        return web.Response()

    port = await serve(hello)
    egress = make_egress(mode=Mode.LOOPBACK, socks=None, devnet=True)
    assert (await egress.probe(f"http://127.0.0.1:{port}")).ok
    found = await egress.probe("http://127.0.0.1:1")
    assert "cannot be reached" in found.detail
