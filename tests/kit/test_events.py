"""Events: nothing is missed without being told, and a slow reader holds nobody up."""

import asyncio
import contextlib
import json
import random
from pathlib import Path

import pytest

from services.kit import daemon
from services.kit.client import PING, Client, follow
from services.kit.errors import Unavailable, UpstreamError
from services.kit.events import HEARTBEAT, RESET, Event, EventBus
from services.kit.metrics import Metrics

Little = tuple[daemon.Service, Path]


async def collect(client: Client, count: int, last: str | None = None) -> list[Event]:
    found: list[Event] = []
    stream = client.events(last)
    async for event in stream:
        if event.name != PING:
            found.append(event)
        if len(found) == count:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return found


async def test_events_come_in_order_and_resume_after_the_last_id(little: Little, client: Client) -> None:
    service, _ = little
    reading = asyncio.create_task(collect(client, 2))
    await _until_subscribed(service)
    for number in range(3):
        service.bus.publish("job", {"n": number})
    first = await reading
    assert [event.data for event in first] == ['{"n":0}', '{"n":1}']
    assert [event.data for event in await collect(client, 1, first[-1].id)] == ['{"n":2}']


@pytest.mark.parametrize("last", ["deadbeef-1", "nonsense", "-", "deadbeef-²"])
async def test_an_unknown_position_is_told_to_read_everything_again(client: Client, last: str) -> None:
    assert (await collect(client, 1, last))[0].name == RESET


async def test_who_was_away_too_long_is_told(little: Little, client: Client) -> None:
    service, _ = little
    reading = asyncio.create_task(collect(client, 1))
    await _until_subscribed(service)
    service.bus.publish("job", {})
    last = (await reading)[0].id
    for _ in range(2000):
        service.bus.publish("job", {})
    assert (await collect(client, 1, last))[0].name == RESET


async def test_slow_reader_falls_off_and_is_told() -> None:
    bus = EventBus(size=4)
    stream = bus.stream()
    assert await anext(stream) == HEARTBEAT
    for number in range(10):
        bus.publish("job", {"n": number})
    assert b"event: reset" in await anext(stream)
    bus.publish("job", {"n": 10})
    assert b'data: {"n":10}' in await anext(stream)


async def test_quiet_stream_shows_that_it_lives() -> None:
    stream = EventBus().stream(heartbeat_s=0.01)
    assert [await anext(stream), await anext(stream)] == [HEARTBEAT, HEARTBEAT]


async def test_stream_ends_when_the_daemon_stops(tmp_path: Path) -> None:
    service = daemon.Service("x", "X.", "1", [], Metrics("x"))
    client = Client(tmp_path / "s.sock", "x")
    async with daemon.serving(service, tmp_path / "s.sock"):
        stream = client.events()
        assert (await anext(stream)).name == PING
    with pytest.raises(Unavailable, match="ended the stream"):
        await anext(stream)
    await client.close()


async def test_follow_comes_back_after_a_restart_and_says_that_something_was_missed(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def watch(client: Client) -> None:
        async for event in follow(client, retry_s=0.01):
            if event.name != PING:
                await seen.put(event.name)

    async with Client(path, "x") as client:
        task = asyncio.create_task(watch(client))
        for _ in range(2):
            service = daemon.Service("x", "X.", "1", [], Metrics("x"))
            async with daemon.serving(service, path):
                assert await asyncio.wait_for(seen.get(), 5) == RESET
                service.bus.publish("job", {})
                assert await asyncio.wait_for(seen.get(), 5) == "job"
        task.cancel()


async def test_no_descriptor_is_left_behind(little: Little) -> None:
    before = _open_descriptors()
    for _ in range(20):
        async with Client(little[1], "little") as client:
            stream = client.events()
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)
    assert _open_descriptors() <= before + 2


async def _until_subscribed(service: daemon.Service) -> None:
    while "event_subscribers{" not in service.metrics.text().decode() or service.metrics.subscribers._value.get() < 1:
        await asyncio.sleep(0.005)


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("last", ["9" * 5000, "-" + "9" * 5000, "x" * 20_000], ids=["long", "negative", "letters"])
async def test_absurd_position_is_told_to_read_everything_again(last: str) -> None:
    bus = EventBus()
    boot = bus._boot
    stream = bus.stream(f"{boot}-{last}")
    assert b"event: reset" in await anext(stream)


@pytest.mark.parametrize("content", [b"data: " + b"x" * 1_000_000, b"data: \xff\xfe\n\n"], ids=["huge", "no text"])
async def test_a_stream_that_is_none_of_ours_is_one_of_our_errors(tmp_path: Path, content: bytes) -> None:
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n" + content)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        done.set()

    server = await asyncio.start_unix_server(answer, tmp_path / "s.sock")
    async with Client(tmp_path / "s.sock", "x") as client:
        stream = client.events()
        assert (await anext(stream)).name == PING
        with pytest.raises(UpstreamError, match="event"):
            await anext(stream)
    await done.wait()
    server.close()


async def test_after_an_event_that_cannot_be_read_everything_is_read_again(tmp_path: Path) -> None:
    """Coming back with the old position would bring the same event again and again."""
    path = tmp_path / "s.sock"
    async with Client(path, "x") as client:
        following = follow(client, retry_s=0.01)
        service = daemon.Service("x", "X.", "1", [], Metrics("x"))
        async with daemon.serving(service, path):
            assert [(await anext(following)).name for _ in range(2)] == [RESET, PING]
            service.bus.publish("job", {"n": 1})
            assert (await anext(following)).name == "job"
            service.bus.publish("job", {"n": "x" * 1_000_000})
            assert (await anext(following)).name == RESET
            service.bus.publish("job", {"n": 3})
            assert [(await anext(following)).data for _ in range(2)] == ["{}", '{"n":3}']
            await following.aclose()  # type: ignore[attr-defined]


async def test_who_stops_following_leaves_no_connection(tmp_path: Path) -> None:
    service, path = daemon.Service("x", "X.", "1", [], Metrics("x")), tmp_path / "s.sock"
    async with daemon.serving(service, path), Client(path, "x") as client:
        following = follow(client)
        await anext(following)
        await following.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            while service.metrics.subscribers._value.get():
                await asyncio.sleep(0.005)


@pytest.mark.parametrize("seed", range(2))
async def test_no_event_is_missed_without_a_reset(tmp_path: Path, seed: int) -> None:
    """A model of the state, read at each reset and moved on by each event, is always right in the end."""
    chance = random.Random(seed)
    path, truth, model, heard = tmp_path / "s.sock", {"n": 0}, {"n": -1}, {"resets": 0, "jobs": 0}

    async def watch(client: Client) -> None:
        async for event in follow(client, retry_s=0.005, most_s=0.02):
            if event.name == RESET:
                heard["resets"] += 1
                model["n"] = truth["n"]
            elif event.name == "job":
                number = json.loads(event.data)["n"]
                heard["jobs"] += 1
                # Older ones may come after a reset; a gap may never.
                assert number <= model["n"] + 1, "an event was missed"
                model["n"] = max(model["n"], number)
            if chance.random() < 0.05:
                await asyncio.sleep(chance.random() * 0.02)  # a slow reader

    async with Client(path, "x") as client:
        watching = asyncio.create_task(watch(client))
        for _ in range(6):
            service = daemon.Service("x", "X.", "1", [], Metrics("x"), EventBus(size=32))
            async with daemon.serving(service, path):
                for _ in range(chance.randrange(40)):
                    for _ in range(chance.choice([0, 1, 1, 5, 60])):
                        truth["n"] += 1
                        service.bus.publish("job", {"n": truth["n"], "filler": "x" * chance.choice([0, 20_000])})
                    await asyncio.sleep(chance.choice([0, 0, 0.001, 0.01]))
            truth["n"] += chance.randrange(2)  # something that happened while nobody told
        async with daemon.serving(daemon.Service("x", "X.", "1", [], Metrics("x")), path), asyncio.timeout(10):
            while model != truth:
                assert not watching.done(), watching.exception()
                await asyncio.sleep(0.005)
        watching.cancel()
    assert heard["resets"] >= 7
    assert heard["jobs"]


async def test_a_number_of_another_run_of_the_daemon_means_nothing() -> None:
    bus = EventBus()
    for number in range(5):
        bus.publish("job", {"n": number})
    assert b"event: reset" in await anext(bus.stream("00000000-3"))
