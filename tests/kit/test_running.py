"""Starting and stopping: signals at any moment, failures told in words, and what systemd hears."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.kit import daemon
from services.kit.client import Client
from services.kit.errors import Conflict, Invalid
from services.kit.metrics import Metrics

MakeService = Callable[[], daemon.Service]

SCRIPT = """
import asyncio, sys
from pathlib import Path
from services.kit import daemon, log
from services.kit.errors import Invalid
from services.kit.metrics import Metrics

async def hang():
    print("starting", flush=True)
    await asyncio.Event().wait()

async def refuse():
    raise Invalid("the endpoint is of another network: set TRON_HTTP_ENDPOINT")

async def started():
    print("starting", flush=True)

async def stopped():
    print("stopped", flush=True)

log.configure("script")
hook = {"hang": hang, "refuse": refuse, "start": started}[sys.argv[2]]
service = daemon.Service("script", "A script.", "1", [], Metrics("script"), on_start=[hook], on_stop=[stopped])
sys.exit(daemon.main((service, Path(sys.argv[1]))))
"""


@contextlib.asynccontextmanager
async def script(path: Path, what: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SCRIPT, str(path), what,
        env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextlib.contextmanager
def systemd(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.settimeout(10)
        yield heard


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_starting_stops_the_start(tmp_path: Path, number: signal.Signals) -> None:
    with systemd(tmp_path / "notify") as heard:
        async with script(tmp_path / "s.sock", "hang", NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"starting\n"
            process.send_signal(number)
            out, _ = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, out) == (0, b"stopped\n")
        heard.setblocking(False)
        assert heard.recv(64) == b"STOPPING=1"  # it was never ready
    assert not (tmp_path / "s.sock").exists()


async def test_whatever_keeps_a_service_from_starting_is_told_in_its_words(tmp_path: Path) -> None:
    async with script(tmp_path / "s.sock", "refuse") as process:
        out, words = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 1
    assert out == b"stopped\n"
    assert words.decode().splitlines()[-1] == "the endpoint is of another network: set TRON_HTTP_ENDPOINT"
    assert "Traceback" not in words.decode()


async def test_the_watchdog_is_fed_at_half_its_interval(tmp_path: Path) -> None:
    with systemd(tmp_path / "notify") as heard:
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        async with script(tmp_path / "s.sock", "start", **environment) as process:
            said = [await asyncio.to_thread(heard.recv, 64) for _ in range(4)]
            process.terminate()
            await asyncio.wait_for(process.communicate(), 10)
    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


@pytest.mark.parametrize("environment", [{"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}])
async def test_a_watchdog_that_is_not_ours_is_not_fed(tmp_path: Path, environment: dict[str, str]) -> None:
    with systemd(tmp_path / "notify") as heard:
        async with script(
            tmp_path / "s.sock", "start", NOTIFY_SOCKET=str(tmp_path / "notify"), **environment
        ) as process:
            assert await asyncio.to_thread(heard.recv, 64) == b"READY=1"
            await asyncio.sleep(0.15)
            process.terminate()
            out, words = await asyncio.wait_for(process.communicate(), 10)
        assert (process.returncode, out, b"Traceback" in words) == (0, b"starting\nstopped\n", False)
        assert heard.recv(64) == b"STOPPING=1"


async def test_a_start_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    reached, stopped = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def stop() -> None:
        stopped.set()

    service = daemon.Service("x", "X.", "1", [], Metrics("x"), on_start=[hang], on_stop=[stop])

    async def serve() -> None:
        async with daemon.serving(service, tmp_path / "s.sock"):
            pass

    task = asyncio.create_task(serve())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()
    assert not (tmp_path / "s.sock").exists()


async def test_of_several_services_one_that_cannot_start_takes_the_others_down_cleanly(
    tmp_path: Path, make_service: MakeService
) -> None:
    stopped: list[str] = []

    async def stop() -> None:
        stopped.append("first")

    async def refuse() -> None:
        raise Invalid("no endpoint is set")

    first = daemon.Service("a", "A.", "1", [], Metrics("a"), on_stop=[stop])
    second = daemon.Service("b", "B.", "1", [], Metrics("b"), on_start=[refuse])
    with pytest.raises(Invalid):
        await daemon.run([(first, tmp_path / "a.sock"), (second, tmp_path / "b.sock")])
    assert stopped == ["first"]
    assert not (tmp_path / "a.sock").exists()
    assert not (tmp_path / "b.sock").exists()
    with pytest.raises(Conflict):  # the same socket twice
        await daemon.run([(make_service(), tmp_path / "c.sock"), (make_service(), tmp_path / "c.sock")])


async def test_a_reader_that_does_not_read_holds_up_no_stop_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "GRACE_S", 0.3)
    service = daemon.Service("x", "X.", "1", [], Metrics("x"))
    async with asyncio.timeout(10):
        async with daemon.serving(service, tmp_path / "s.sock"):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock", limit=1024)
            writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readline()
            for _ in range(50):
                service.bus.publish("job", {"filler": "x" * 100_000})
                await asyncio.sleep(0)
        writer.close()


async def test_events_end_when_the_daemon_stops_and_new_readers_end_at_once(tmp_path: Path) -> None:
    service = daemon.Service("x", "X.", "1", [], Metrics("x"))
    async with daemon.serving(service, tmp_path / "s.sock"), Client(tmp_path / "s.sock", "x") as client:
        service.bus.close()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s.sock")
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"0\r\n\r\n")
        writer.close()
        assert (await client.health()).status == "ok"
