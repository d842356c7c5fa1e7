"""Events: nothing is missed without being told, and a slow reader holds nobody up."""

import asyncio
from pathlib import Path

import pytest

from services.kit import daemon
from services.kit.client import PING, Client, follow
from services.kit.errors import Unavailable
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
