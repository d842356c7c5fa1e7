"""Requests as no typed client sends them: each gets one answer in the usual form, and costs little."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.kit import daemon, http
from services.kit.client import Client
from services.kit.http import Call, Endpoint, Raw
from services.kit.metrics import Metrics
from services.kit.models import Live, Request, Response

ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
Little = tuple[daemon.Service, Path]


async def ask(path: Path, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; returns status, headers and content of the first answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            content = await reader.readexactly(int(headers.get("content-length", 0)))
    finally:
        writer.close()
    return int(head[0].split()[1]), headers, content


def get(path: str, *headers: bytes) -> bytes:
    return b"".join([b"GET %s HTTP/1.1\r\nHost: x\r\n" % path.encode(), *(h + b"\r\n" for h in headers), b"\r\n"])


def post(body: bytes, path: bytes = b"/orders/7") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body)


def problem(content: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(content)
    assert {"type", "title", "status", "detail", "code"} <= set(found)
    return found


# --- heads ---


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nX: ", b"GET /", b"GET / HTTP/1.1\r\n"], ids=["value", "target", "many"]
)
async def test_an_endless_head_is_cut_off(little: Little, start: bytes) -> None:
    piece = b"X: y\r\n" * 5000 if start.endswith(b"1.1\r\n") else b"a" * 30_000
    assert await _sent_before_the_cut(little[1], start, piece) < 4_000_000


async def test_a_long_head_that_ends_is_read(little: Little) -> None:
    status, _, _ = await ask(little[1], get("/orders/1", b"X: " + b"a" * 50_000))
    assert status == 200


async def test_endless_trailers_are_cut_off(little: Little) -> None:
    start = b"POST /orders/7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    assert await _sent_before_the_cut(little[1], start, b"X: y\r\n" * 5000) < 4_000_000


async def _sent_before_the_cut(path: Path, start: bytes, piece: bytes) -> int:
    """Send a beginning, then a piece again and again, until the other side closes; returns the bytes sent."""
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(start)
    sent = 0
    while sent < 30_000_000:
        try:
            writer.write(piece)
            await writer.drain()
        except ConnectionError:
            break
        sent += len(piece)
        await asyncio.sleep(0.001)
    writer.close()
    return sent


async def test_a_long_body_in_pieces_is_no_long_head(little: Little) -> None:
    status, _, content = await ask(little[1], post(b" " * 900_000)[:200], *[b" " * 10_000 for _ in range(90)])
    assert (status, problem(content)["code"]) == (413, "too_large")


async def test_many_requests_in_one_piece_are_answered_in_order(little: Little) -> None:
    reader, writer = await asyncio.open_unix_connection(little[1])
    writer.write(b"".join(get(f"/orders/{number}") for number in range(200)))
    for number in range(200):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert json.loads(await reader.readexactly(length))["id"] == str(number)
    writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /orders/\xc3\xa9 HTTP/1.1\r\n\r\n",
        get("/orders/1", b"X-Correlation-ID: a\x1b[31m"),
        b"POST /orders/7 HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}",
        b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    ],
    ids=["nonsense", "not-ascii", "control", "two-lengths", "length-and-chunks", "connect"],
)
async def test_what_is_no_request_is_refused_in_the_usual_form(little: Little, request_: bytes) -> None:
    status, headers, content = await ask(little[1], request_)
    assert (status, headers["content-type"], headers["connection"]) == (400, "application/problem+json", "close")
    assert problem(content)["code"] == "malformed"


# --- correlation ids ---


@pytest.mark.parametrize(
    "value",
    [b"a" * 65, b"a" * 10_000, b"two words", b"caf\xe9", b'"quoted"', b"a\tb", b""],
    ids=["long", "endless", "space", "letter", "quotes", "tab", "none"],
)
async def test_a_correlation_id_of_another_form_is_not_taken_over(little: Little, value: bytes) -> None:
    _, headers, content = await ask(little[1], get("/orders/1", b"X-Correlation-ID: " + value))
    assert headers["x-correlation-id"].encode("latin-1") != value
    assert headers["x-correlation-id"] == json.loads(content)["correlation_id"]
    assert headers["x-correlation-id"].isascii()


async def test_every_answer_has_a_correlation_id_of_its_own(little: Little) -> None:
    seen = [(await ask(little[1], get(path)))[1]["x-correlation-id"] for path in ("/orders/1", "/nowhere", "/orders/2")]
    assert len(set(seen)) == 3
    _, headers, _ = await ask(little[1], get("/nowhere", b"X-Correlation-ID: act-1"))
    assert headers["x-correlation-id"] == "act-1"


# --- methods ---


async def test_head_is_get_without_content(little: Little) -> None:
    reader, writer = await asyncio.open_unix_connection(little[1])
    writer.write(b"HEAD /orders/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: 0" not in answer
    writer.close()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/orders/1", "GET, HEAD, POST"),
        ("GET", "/refuse", "POST"),
        ("POST", "/events", "GET"),
        ("PURGE", "/health", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(little: Little, method: str, path: str, allow: str) -> None:
    status, headers, content = await ask(little[1], f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (status, headers["allow"], problem(content)["code"]) == (405, allow, "method_not_allowed")


async def test_head_of_the_stream_ends(little: Little) -> None:
    reader, writer = await asyncio.open_unix_connection(little[1])
    writer.write(b"HEAD /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 405")
    writer.close()


async def test_made_up_methods_are_counted_as_one(little: Little) -> None:
    for method in ("PURGE", "LOCK", "COPY"):
        await ask(little[1], f"{method} /health HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    text = little[0].metrics.text().decode()
    assert (
        'http_request_duration_seconds_count{method="other",route="/health",service="little",status="405"} 3.0' in text
    )
    assert "PURGE" not in text


async def test_the_histogram_is_one_that_prometheus_reads(little: Little) -> None:
    await ask(little[1], get("/orders/1"))
    lines = [
        line for line in little[0].metrics.text().decode().splitlines() if line.startswith("http_request_duration")
    ]
    buckets = [float(line.rsplit(" ", 1)[1]) for line in lines if "_bucket{" in line]
    assert len(buckets) == 9
    assert buckets == sorted(buckets)
    assert 'le="+Inf"' in lines[8]
    assert buckets[-1] == 1.0
    assert float(next(line for line in lines if "_sum{" in line).rsplit(" ", 1)[1]) > 0


# --- paths ---


@pytest.mark.parametrize(
    ("path", "id_"),
    [
        ("/orders/a%20b", "a b"),
        ("/orders/%ff", "\ufffd"),
        ("/orders/%zz", "%zz"),
        ("/orders/a%0a", "a\n"),
        ("/orders/%C3%A9", "é"),
    ],
)
async def test_a_parameter_is_decoded_once(little: Little, path: str, id_: str) -> None:
    status, _, content = await ask(little[1], get(path))
    assert (status, json.loads(content)["id"]) == (200, id_)


@pytest.mark.parametrize(
    "path", ["/orders/a%2Fb", "/orders/", "/orders/1/", "/orders", "/health%0a", "//health", "/Health"]
)
async def test_a_path_that_is_nearly_one_of_ours_is_not_found(little: Little, path: str) -> None:
    status, _, content = await ask(little[1], get(path))
    assert (status, problem(content)["code"]) == (404, "not_found")


# --- bodies ---


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ('{"to": "%s", "amount": 1, "amount": 100}', 422, "amount"),
        ('{"to": "%s", "amount": 1, "\\u0061mount": 100}', 422, "amount"),
        ('{"to": "%s", "amount": ' + "9" * 3800 + "}", 200, None),
        ('{"to": "%s", "amount": NaN}', 422, "amount"),
        ('{"to": "%s", "amount": 1e3}', 422, "amount"),
        ('{"to": "\\ud800", "amount": 1}', 400, None),
        ('{"to": ' + "[" * 500 + "]" * 500 + "}", 400, None),
        ('\ufeff{"to": "%s", "amount": 1}', 400, None),
    ],
    ids=["twice", "twice-escaped", "long-integer", "nan", "float", "half-a-character", "deep", "byte-order-mark"],
)
async def test_odd_json(little: Little, body: str, status: int, field: str | None) -> None:
    found, _, content = await ask(little[1], post(body.replace("%s", ADDRESS).encode()))
    assert found == status, content
    if field:
        assert [item["field"] for item in problem(content)["fields"]] == [field]


async def test_an_integer_beyond_what_python_converts_is_refused(tmp_path: Path) -> None:
    class Amount(Request):
        amount: int | None = None
        seconds: float = 0.0

    async def take(_call: Call) -> Live:
        return Live()

    service = daemon.Service("x", "X.", "1", [Endpoint("POST", "/x", take, request=Amount)], Metrics("x"))
    async with daemon.serving(service, tmp_path / "s.sock"):
        status, _, content = await ask(tmp_path / "s.sock", post(b'{"amount": ' + b"9" * 5000 + b"}", b"/x"))
        assert status in {400, 422}, content
        problem(content)
        status, _, content = await ask(tmp_path / "s.sock", post(b'{"seconds": ' + b"9" * 5000 + b"}", b"/x"))
        assert status in {200, 400, 422}, content


async def test_only_the_parameter_that_stands_twice_is_named(little: Little) -> None:
    status, _, content = await ask(little[1], get("/orders/1?limit=1&other=2&limit=3"))
    assert status == 422
    assert [item["field"] for item in problem(content)["fields"]] == ["limit"]


async def test_a_body_that_does_not_come_is_not_waited_for(little: Little, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_TIMEOUT_S", 0.05)
    status, _, content = await ask(little[1], post(b"x" * 100)[:-50])
    assert (status, problem(content)["code"]) == (400, "malformed")
    assert "0.05 s" in problem(content)["detail"]


async def test_a_caller_that_leaves_in_the_middle_breaks_nothing(little: Little, client: Client) -> None:
    for cut in (10, 40, 80, 120):
        _, writer = await asyncio.open_unix_connection(little[1])
        writer.write(post(json.dumps({"to": ADDRESS, "amount": 3}).encode())[:cut])
        await writer.drain()
        writer.transport.abort()
    assert (await client.health()).status == "ok"


# --- answers ---


async def test_an_answer_that_cannot_be_written_is_a_defect_in_the_usual_form(tmp_path: Path) -> None:
    class Odd(Response):
        text: str

    async def odd(_call: Call) -> Odd:
        return Odd(text="half a character: \ud800")

    async def none(_call: Call) -> None:
        return None

    async def raw(_call: Call) -> Raw:
        return Raw(b"x", "text/plain", 202)

    rows = [Endpoint("GET", "/odd", odd), Endpoint("GET", "/none", none, status=204), Endpoint("GET", "/raw", raw)]
    service = daemon.Service("x", "X.", "1", rows, Metrics("x"))
    async with daemon.serving(service, tmp_path / "s.sock"):
        status, headers, content = await ask(tmp_path / "s.sock", get("/odd"))
        assert (status, problem(content)["code"]) == (500, "internal")
        status, headers, content = await ask(tmp_path / "s.sock", get("/none"))
        assert (status, content, "content-length" in headers, "content-type" in headers) == (204, b"", False, False)
        status, headers, content = await ask(tmp_path / "s.sock", get("/raw"))
        assert (status, content, headers["content-type"]) == (202, b"x", "text/plain")


async def test_many_routes_find_their_own(tmp_path: Path) -> None:
    class Which(Response):
        route: str
        path: dict[str, str]

    def handler(route: str) -> Callable[[Call], Any]:
        async def which(call: Call) -> Which:
            return Which(route=route, path=dict(call.scope.get("path_params", {})))

        return which

    paths = ["/a", "/a/{x}", "/a/{x}/b", "/a/stats", "/a/{x}/{y}", "/a/{x}/b/{y}"]
    rows = [Endpoint("GET", path, handler(path), response=Which) for path in paths]
    wanted = {
        "/a": ("/a", {}),
        "/a/stats": ("/a/stats", {}),
        "/a/1": ("/a/{x}", {"x": "1"}),
        "/a/1/b": ("/a/{x}/b", {"x": "1"}),
        "/a/1/c": ("/a/{x}/{y}", {"x": "1", "y": "c"}),
        "/a/1/b/2": ("/a/{x}/b/{y}", {"x": "1", "y": "2"}),
    }
    service = daemon.Service("x", "X.", "1", rows, Metrics("x"))
    async with daemon.serving(service, tmp_path / "s.sock"):
        for path, (route, params) in wanted.items():
            _, _, content = await ask(tmp_path / "s.sock", get(path))
            assert json.loads(content) == {"route": route, "path": params}
