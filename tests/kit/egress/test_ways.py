"""Requests through Tor: what leaves and by which circuit, what fails and how, and slow reads that are asked twice."""

import asyncio
import ssl
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from services.kit.egress import Answer, Call, Egress, EgressError, Fault, Mode, Reason, SocksPort, Way
from services.kit.egress.lane import Lane
from services.kit.egress.models import LaneStatus
from services.kit.socks import SocksError

ONION = "http://lucidlucidlucidlucidlucidlucidlucidlucidlucidlucidlucid2.onion"

Get = Callable[..., Call]


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


def lane(way: Way) -> LaneStatus:
    """The lane of a way that was used."""
    found = way.shown().lane
    assert found is not None
    return found


# --- isolation ---


async def test_purposes_and_endpoints_have_circuits_of_their_own(
    egress: Egress, tor: Any, serve: Any, get: Get
) -> None:
    await serve(hello)
    await serve(hello, "other.onion")
    for purpose, base in (("read", ONION), ("broadcast", ONION), ("read", "http://other.onion"), ("read", ONION)):
        answer = await egress.way(purpose, base).once(get(base=base))
        assert (answer.status, answer.content) == (200, b"hello")
    assert len(tor.users) == 3, "the second read of an endpoint goes over the connection of the first"
    assert len(set(tor.users)) == 3
    assert tor.users[2] == "read:other.onion.1"
    assert {asked.kind for asked in tor.asked} == {3}


async def test_both_kinds_of_socks_port_serve(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    await serve(hello)
    for port in (SocksPort(path=tor.path), SocksPort(host="127.0.0.1", port=tor.tcp_port)):
        answer = await make_egress(socks=port).way("read", ONION).read(get())
        assert answer.content == b"hello"


def test_a_long_name_stays_unique_and_short(egress: Egress) -> None:
    names = {egress.way("read", f"http://{'a' * 56}{n}.onion").name for n in range(20)}
    assert len(names) == 20
    assert max(len(each) for each in names) <= 64


# --- what comes back ---


async def test_a_redirect_is_an_answer_and_nobody_goes_there(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    async def elsewhere(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://evil.example/"})

    await serve(elsewhere)
    answer = await egress.way("read", ONION).read(get())
    assert (answer.status, answer.headers["Location"]) == (302, "http://evil.example/")
    assert {asked.host for asked in tor.asked} == {ONION.removeprefix("http://")}


async def test_an_answer_without_end_is_not_read_to_its_end(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(65_536))

    await serve(endless)
    with pytest.raises(EgressError) as caught:
        await egress.way("read", ONION).read(get())
    assert caught.value.reason is Fault.TOO_LARGE
    assert len(tor.asked) == 1, "it would be as long on another circuit"


async def test_the_environments_proxy_is_not_used(
    egress: Egress, serve: Any, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    await serve(hello)
    assert (await egress.way("read", ONION).read(get())).content == b"hello"


# --- failures ---


async def test_a_failure_before_the_request_left_says_so(egress: Egress, tor: Any, get: Get) -> None:
    with pytest.raises(EgressError) as caught:
        await egress.way("read", ONION).once(get())
    assert (caught.value.reason, caught.value.sent, caught.value.is_ours) == (Reason.HOST_UNREACHABLE, False, False)


async def test_without_tor_no_call_leaves_and_the_words_say_why(egress: Egress, tor: Any, get: Get) -> None:
    await tor.stop()
    with pytest.raises(EgressError, match=r"is Tor running\?") as caught:
        await egress.way("read", ONION).read(get())
    assert (caught.value.reason, caught.value.sent, caught.value.is_ours) == (Reason.NO_PROXY, False, True)
    assert "is Tor running?" in egress.words()
    assert egress.shown().detail == egress.words()


async def test_a_dead_socks_port_is_waited_for_once_and_then_fails_at_once(
    make_egress: Any, tor: Any, serve: Any, get: Get
) -> None:
    egress = make_egress(retries=3, retry_delay_s=0.01)
    way, tries = egress.way("broadcast", ONION), 0

    async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1

    tor.behaviour = hang_up
    for expected in (4, 5, 6):
        with pytest.raises(EgressError, match="hung up"):
            await way.once(get())
        assert tries == expected
    tor.behaviour = None
    await serve(hello)
    assert (await way.once(get())).status == 200
    assert egress.words() == "ok"
    tor.behaviour = hang_up
    with pytest.raises(EgressError, match="hung up"):
        await egress.way("another", ONION).once(get())
    assert tries == 6 + 4, "it was there meanwhile, and may soon be again"


async def test_what_is_said_of_the_destination_is_final_for_its_circuit(make_egress: Any, tor: Any, get: Get) -> None:
    with pytest.raises(EgressError, match="no exit finds its name"):
        await make_egress(retries=3, retry_delay_s=0.01).way("broadcast", ONION).once(get())
    assert len(tor.asked) == 1


async def test_tor_that_starts_meanwhile_answers_the_call_that_waited(
    make_egress: Any, tor: Any, serve: Any, get: Get
) -> None:
    await serve(hello)
    await tor.stop()
    egress = make_egress(retries=100, retry_delay_s=0.01, max_retry_delay_s=0.02)
    waiting = asyncio.create_task(egress.way("read", ONION).once(get()))
    while egress.words() == "ok":
        await asyncio.sleep(0.005)
    await tor.start()
    assert (await waiting).status == 200


async def test_a_call_that_waited_for_tor_in_vain_says_what_it_waited_for(make_egress: Any, tor: Any, get: Get) -> None:
    await tor.stop()
    egress = make_egress(retries=100, retry_delay_s=10.0)
    with pytest.raises(EgressError, match=r"is Tor running\?"):
        await egress.way("read", ONION).once(get(timeout_s=0.1))


async def test_silence_after_the_request_left_is_a_timeout(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    way = egress.way("broadcast", ONION)
    tor.stalled.add(f"{way.name}.1")
    await serve(hello)
    with pytest.raises(EgressError) as caught:
        await way.once(get(timeout_s=0.2))
    assert (caught.value.reason, caught.value.sent) == (Fault.TIMEOUT, True)


async def test_silence_before_it_left_is_no_circuit(egress: Egress, tor: Any, get: Get) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x05\x02\x01\x00")
        await reader.read()

    tor.behaviour = never
    with pytest.raises(EgressError) as caught:
        await egress.way("broadcast", ONION).once(get(timeout_s=0.2))
    assert (caught.value.reason, caught.value.sent) == (Reason.NO_CIRCUIT, False)


async def test_a_broken_connection_may_have_carried_the_request(egress: Egress, serve: Any, get: Get) -> None:
    async def abort(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    await serve(abort)
    with pytest.raises(EgressError) as caught:
        await egress.way("broadcast", ONION).once(Call("POST", ONION, 5, 1000, body={}))
    assert (caught.value.reason, caught.value.sent) == (Fault.BROKEN, True)


AFTERWARDS = [
    ssl.SSLError(1, "bad record"),
    aiohttp.ClientConnectorError(cast("Any", SimpleNamespace(ssl=True)), OSError(111, "refused")),
    aiohttp.ServerDisconnectedError(),
    aiohttp.ClientPayloadError(),
    ConnectionResetError(),
    TimeoutError(),
    SocksError(Reason.CLOSED, "hung up"),
    SocksError(Reason.EXPIRED, "no circuit"),
]


@pytest.mark.parametrize("error", AFTERWARDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("sent", [True, False])
async def test_whatever_breaks_it_is_known_whether_anything_had_left(
    egress: Egress, get: Get, monkeypatch: pytest.MonkeyPatch, error: Exception, sent: bool
) -> None:
    async def breaks(_lane: Lane, _call: Call, trail: Any) -> Answer:
        trail.sent = sent
        raise error

    monkeypatch.setattr(Lane, "_exchange", breaks)
    with pytest.raises(EgressError) as caught:
        await egress.way("broadcast", ONION).once(get())
    assert caught.value.sent is sent
    assert not (sent and caught.value.blames_nobody)


# --- hedging and scores ---


async def test_a_slow_read_is_asked_on_a_second_circuit_and_the_first_answer_wins(
    make_egress: Any, tor: Any, serve: Any, get: Get
) -> None:
    way = make_egress(max_latency_s=0.05).way("read", ONION)
    tor.stalled.add(f"{way.name}.1")
    await serve(hello)
    answer = await way.read(get())
    assert answer.user == f"{way.name}.2"
    shown = way.shown()
    assert (shown.hedged, shown.hedges_won, lane(way).points) == (1, 1, 1.0)
    assert lane(way).in_flight == 0, "the loser was given up"


async def test_what_is_no_read_is_never_asked_twice(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    seen = 0

    async def slow(_request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        await asyncio.sleep(0.1)
        return web.Response(status=403)

    await serve(slow)
    way = make_egress(max_latency_s=0.01).way("broadcast", ONION)
    assert (await way.once(get())).status == 403
    assert seen == 1
    assert way.shown().hedged == 0


async def test_slow_reads_use_up_a_budget(make_egress: Any, serve: Any, get: Get) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response()

    await serve(slow)
    way = make_egress(max_latency_s=60.0, watch_circuits=False).way("read", ONION)
    for _ in range(100):
        way._pace.learn(0.02)
    for _ in range(20):
        await way.read(get())
    assert 3 <= way.shown().hedged <= 7, "five saved, and one in ten"


async def test_circuits_that_die_one_after_the_other_are_left_until_one_answers(
    make_egress: Any, tor: Any, serve: Any, get: Get
) -> None:
    await serve(hello)
    way = make_egress(max_latency_s=0.05).way("read", ONION)
    tor.stalled |= {f"{way.name}.{generation}" for generation in range(1, 7)}
    answer = await way.read(get())
    assert answer.user == f"{way.name}.7"
    shown = way.shown()
    assert shown.spare is not None
    assert shown.spare.user == answer.user, "the one that works is kept"
    while way.shown().draining:
        await asyncio.sleep(0.005)


async def test_however_many_reads_wait_for_tor_few_circuits_are_asked_for(
    make_egress: Any, tor: Any, serve: Any, get: Get
) -> None:
    await serve(hello)
    way = make_egress(max_latency_s=0.05).way("read", ONION)
    tor.stalled |= {f"{way.name}.{generation}" for generation in range(1, 1000)}
    waiting = []
    for _ in range(60):  # one after the other, so that no two are at the same point
        waiting.append(asyncio.create_task(way.read(get(timeout_s=0.6))))
        await asyncio.sleep(0.02)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in found} == {EgressError}
    assert 4 < len(set(tor.users)) <= 4 + 5, "four at first, then one after 50, 100, 200, 400 and 800 ms"
    tor.stalled.clear()
    answers = await asyncio.gather(*(way.read(get()) for _ in range(30)))
    assert {answer.status for answer in answers} == {200}
    assert len(set(tor.users)) <= 4 + 6, "those that there are serve again"


async def test_circuits_that_break_at_once_are_not_replaced_without_end(
    make_egress: Any, clock: Any, tor: Any, get: Get
) -> None:
    tor.reply["*"] = 6
    way = make_egress(clock=clock).way("read", ONION)
    for _ in range(300):
        with pytest.raises(EgressError):
            await way.read(get())
        clock.seconds += 2
    assert len(set(tor.users)) <= 4 + 4 + 10, "four at once, then after 5, 10, 20 and 40 s, then one a minute"


async def test_a_read_that_is_given_up_leaves_no_circuit_open(
    make_egress: Any, tor: Any, serve: Any, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes: set[Lane] = set()
    hold = Lane.hold
    monkeypatch.setattr(Lane, "hold", lambda lane: lanes.add(lane) or hold(lane))  # type: ignore[func-returns-value]
    await serve(hello)
    way = make_egress(max_latency_s=0.02, watch_circuits=False).way("read", ONION)
    tor.stalled |= {f"{way.name}.{generation}" for generation in range(1, 9)}
    reading = asyncio.create_task(way.read(get()))
    while len(lanes) < 4:
        await asyncio.sleep(0.005)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    kept = {way.shown().lane, way.shown().spare}
    assert {lane.shown() for lane in lanes if not lane.retired} == kept
    while way.shown().draining:
        await asyncio.sleep(0.005)


async def test_a_read_is_on_three_circuits_at_once_at_most(
    make_egress: Any, tor: Any, serve: Any, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = [0]
    hold, release = Lane.hold, Lane.release
    monkeypatch.setattr(Lane, "hold", lambda lane: held.append(held[-1] + 1) or hold(lane))  # type: ignore[func-returns-value]
    monkeypatch.setattr(Lane, "release", lambda lane: held.append(held[-1] - 1) or release(lane))  # type: ignore[func-returns-value]
    await serve(hello)
    way = make_egress(max_latency_s=0.05).way("read", ONION)
    tor.stalled |= {f"{way.name}.{generation}" for generation in range(1, 9)}
    assert (await way.read(get())).status == 200
    assert 3 <= max(held) <= 4, "three, and one that is being given up"


async def test_the_pace_is_learned_from_answers(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    async def steady(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.03)
        return web.Response()

    await serve(steady)
    way = egress.way("read", ONION)
    for _ in range(9):
        await way.read(get())
    assert way.shown().p95_ms is None
    for _ in range(3):
        await way.read(get())
    shown = way.shown()
    assert shown.p50_ms is not None
    assert shown.p95_ms is not None
    assert 29 <= shown.p50_ms <= shown.p95_ms


async def test_a_spare_that_is_no_quicker_is_left(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.4)
        return web.Response()

    await serve(slow)
    way = make_egress(max_latency_s=60.0).way("read", ONION)
    way._pace._first_guess_s = 0.05
    tor.stalled.add(f"{way.name}.2")
    for _ in range(3):
        await way.read(get())
    assert (way.shown().spare, lane(way).generation) == (None, 1)


async def test_the_loser_is_given_up(make_egress: Any, serve: Any, get: Get) -> None:
    seen: list[web.Request] = []

    async def first_hangs(request: web.Request) -> web.Response:
        seen.append(request)
        if len(seen) == 1:
            await asyncio.sleep(60)
        return web.Response()

    await serve(first_hangs)
    way = make_egress(max_latency_s=0.05).way("read", ONION)
    assert (await way.read(get())).status == 200
    while seen[0].transport is not None and not seen[0].transport.is_closing():
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("status", [403, 429])
async def test_an_exit_that_is_not_welcome_is_left_at_once_and_the_read_succeeds(
    egress: Egress, tor: Any, serve: Any, get: Get, status: int
) -> None:
    way = egress.way("read", ONION)
    seen = 0

    async def choosy(_request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        return web.Response(status=status if seen == 1 else 200)

    await serve(choosy)
    answer = await way.read(get())
    assert (answer.status, answer.user) == (200, f"{way.name}.2")
    assert lane(way).user == f"{way.name}.2"
    assert str(status) in way.shown().last_rotation


async def test_only_the_bad_pair_moves(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    async def choosy(request: web.Request) -> web.Response:
        return web.Response(status=403 if request.path == "/bad" else 200)

    await serve(choosy)
    await serve(hello, "other.onion")
    bad, good = egress.way("read", ONION), egress.way("read", "http://other.onion")
    await good.read(get(base="http://other.onion"))
    assert (await bad.read(get("/bad"))).status == 403
    assert bad.shown().rotations == 1
    assert (good.shown().rotations, lane(good).generation) == (0, 1)


async def test_an_endpoint_that_refuses_every_exit_does_not_burn_circuits(
    make_egress: Any, clock: Any, tor: Any, serve: Any, get: Get
) -> None:
    async def never(_request: web.Request) -> web.Response:
        return web.Response(status=429)

    await serve(never)
    way = make_egress(clock=clock).way("read", ONION)
    for _ in range(30):
        assert (await way.read(get())).status == 429
        clock.seconds += 2
    assert len(set(tor.users)) <= 8


async def test_circuits_are_kept_when_they_are_not_watched(make_egress: Any, serve: Any, get: Get) -> None:
    async def never(_request: web.Request) -> web.Response:
        return web.Response(status=403)

    await serve(never)
    way = make_egress(watch_circuits=False).way("broadcast", ONION)
    for _ in range(3):
        await way.once(get())
    assert way.shown().rotations == 0


async def test_answers_that_are_too_slow_count_against_the_circuit(
    make_egress: Any, clock: Any, serve: Any, get: Get
) -> None:
    async def slow(_request: web.Request) -> web.Response:
        clock.seconds += 6
        return web.Response()

    await serve(slow)
    way = make_egress(clock=clock, max_latency_s=5.0).way("broadcast", ONION)
    for _ in range(3):
        await way.once(get())
    assert way.shown().rotations == 1
    assert "slow" in way.shown().last_rotation


async def test_good_answers_make_up_for_slow_ones(make_egress: Any, clock: Any, serve: Any, get: Get) -> None:
    async def as_asked(request: web.Request) -> web.Response:
        clock.seconds += 6 if request.path == "/slow" else 0
        return web.Response()

    await serve(as_asked)
    way = make_egress(clock=clock, max_latency_s=5.0).way("broadcast", ONION)
    for _ in range(3):
        for path in ("/slow", *["/"] * 20):
            await way.once(get(path))
    assert way.shown().rotations == 0


async def test_a_circuit_that_dies_under_a_read_costs_nothing(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    way, seen = egress.way("read", ONION), 0

    async def dies_once(request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        if seen == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.Response()

    await serve(dies_once)
    for _ in range(3):
        assert (await way.read(Call("POST", ONION, 5, 1000, body={}))).status == 200


async def test_when_both_circuits_fail_the_first_failure_is_told(egress: Egress, tor: Any, get: Get) -> None:
    tor.reply["*"] = 6
    with pytest.raises(EgressError) as caught:
        await egress.way("read", ONION).read(get())
    assert caught.value.reason is Reason.EXPIRED
    assert len(tor.users) == 2


async def test_a_broken_way_out_is_nobody_elses_fault(egress: Egress, tor: Any, get: Get) -> None:
    await tor.stop()
    way = egress.way("read", ONION)
    for _ in range(5):
        with pytest.raises(EgressError):
            await way.read(get())
    assert lane(way).points == 0
    assert way.shown().hedged == 0


# --- the quicker of two ---


async def test_the_first_read_is_asked_on_two_circuits_and_stays_with_the_quicker(
    make_egress: Any, tor: Any, serve: Any, get: Get
) -> None:
    await serve(hello)
    told: list[tuple[str, int, str]] = []
    egress = make_egress(quicker_of_two=True, max_latency_s=60.0)
    egress.on_move = lambda *move: told.append(move)
    way = egress.way("read", ONION)
    tor.stalled.add(f"{way.name}.1")
    for _ in range(3):
        assert (await way.read(get())).user == f"{way.name}.2"
    assert len(tor.asked) == 2, "only the first read"
    assert [move[:2] for move in told] == [(way.name, 2)]
    assert (way.shown().hedged, way.shown().spare) == (0, None)
    while way.shown().draining:
        await asyncio.sleep(0.005)


async def test_a_rotation_takes_the_circuit_that_stands_first(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    await serve(hello)
    egress = make_egress(quicker_of_two=True)
    way = egress.way("broadcast", ONION)
    await way.once(get())
    tor.reply[f"{way.name}.2"] = 6
    await egress.rotate()
    assert (await way.once(get())).user == f"{way.name}.3"


# --- rotation ---


async def test_a_rotation_moves_new_requests_and_lets_the_others_finish(
    egress: Egress, tor: Any, serve: Any, get: Get
) -> None:
    finish = asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        if request.path == "/long":
            await finish.wait()
        return web.Response()

    await serve(wait)
    way = egress.way("broadcast", ONION)
    long = asyncio.create_task(way.once(get("/long")))
    while not tor.sent:
        await asyncio.sleep(0.005)
    assert await egress.rotate(way.endpoint) == [way.name]
    assert (await way.once(get())).user == f"{way.name}.2"
    assert way.shown().draining == 1
    finish.set()
    assert (await long).user == f"{way.name}.1"
    while way.shown().draining:
        await asyncio.sleep(0.005)


async def test_rotations_under_load_fail_no_read_and_no_send(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    async def quick(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.001)
        return web.Response()

    await serve(quick)
    read, send = egress.way("read", ONION), egress.way("broadcast", ONION)
    done = 0

    async def worker(index: int) -> None:
        nonlocal done
        for _ in range(20):
            answer = await (read.read(get()) if index % 2 else send.once(get()))
            assert answer.status == 200
            done += 1

    workers = asyncio.gather(*(worker(index) for index in range(10)))
    while not workers.done():
        await asyncio.sleep(0.01)
        await egress.rotate()
    await workers
    assert done == 200
    assert read.shown().rotations > 2
    while read.shown().draining or send.shown().draining:
        await asyncio.sleep(0.005)


async def test_a_rotation_that_finds_no_circuit_changes_nothing(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    await serve(hello)
    way = egress.way("read", ONION)
    await way.read(get())
    tor.reply["*"] = 6
    with pytest.raises(EgressError, match="stays on its circuit"):
        await egress.rotate()
    assert lane(way).user == f"{way.name}.1"
    assert (await way.read(get())).content == b"hello"


async def test_a_rotation_tries_other_circuits_when_one_cannot_be_built(
    egress: Egress, tor: Any, serve: Any, get: Get
) -> None:
    await serve(hello)
    way = egress.way("read", ONION)
    await way.read(get())
    tor.reply |= {f"{way.name}.2": 6, f"{way.name}.3": 4}
    await egress.rotate()
    assert (await way.read(get())).user == f"{way.name}.4"


async def test_a_rotation_says_nothing_to_the_endpoint(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    seen = 0

    async def count(_request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        return web.Response()

    await serve(count)
    way = egress.way("read", ONION)
    await way.read(get())
    sent = tor.sent
    await egress.rotate()
    assert (seen, tor.sent, len(tor.users)) == (1, sent, 2)


async def test_every_used_way_is_rotated_on_schedule(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    await serve(hello)
    egress = make_egress(rotation_interval_s=0.05)
    used, unused = egress.way("read", ONION), egress.way("broadcast", ONION)
    await used.read(get())
    await egress.start()
    while used.shown().rotations < 2:
        await asyncio.sleep(0.01)
    assert used.shown().last_rotation == "schedule"
    assert unused.shown().lane is None


async def test_a_move_that_somebody_else_made_is_followed(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    await serve(hello)
    told: list[tuple[str, int, str]] = []
    egress.on_move = lambda *move: told.append(move)
    way = egress.way("read", ONION)
    assert egress.generations == {way.name: 0}
    egress.moved(way.name, 5, "restart")
    assert (await way.read(get())).user == f"{way.name}.5", "the first generation after a restart is a new one"
    for generation in (7, 6, 7):
        egress.moved(way.name, generation, "newnym")
    egress.moved("nobody", 9, "newnym")
    assert (await way.read(get())).user == f"{way.name}.7"
    assert (way.shown().rotations, way.shown().last_rotation, told) == (1, "newnym", [])
    await egress.rotate(why="operator")
    assert (egress.generations, told) == ({way.name: 8}, [(way.name, 8, "operator")])


async def test_a_spare_that_was_warm_is_what_a_move_goes_to(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    await serve(hello)
    egress = make_egress(max_latency_s=0.05)
    way = egress.way("read", ONION)
    tor.stalled.add(f"{way.name}.1")
    await way.read(get())
    egress.moved(way.name, 2, "schedule")
    asked = len(tor.asked)
    assert (await way.read(get())).user == f"{way.name}.2"
    assert len(tor.asked) == asked, "on the connection that the spare had"


async def test_a_closed_way_out_ends_what_is_in_flight(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    await serve(never)
    way = egress.way("broadcast", ONION)
    long = asyncio.create_task(way.once(get()))
    while not tor.sent:
        await asyncio.sleep(0.005)
    await egress.close()
    with pytest.raises(EgressError):
        await long


async def test_a_closed_way_out_opens_nothing_any_more(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    await serve(never)
    way = egress.way("read", ONION)
    long = asyncio.create_task(way.read(get()))
    while not tor.sent:
        await asyncio.sleep(0.005)
    await egress.close()
    for ask in (long, way.read(get()), way.once(get())):
        with pytest.raises(EgressError, match="stopping") as caught:
            await ask
        assert (caught.value.reason, caught.value.is_ours) == (Fault.CLOSING, True)
    await egress.rotate()
    assert len(tor.asked) == 1


async def test_a_rotation_that_was_overtaken_does_not_go_back(egress: Egress, tor: Any, serve: Any, get: Get) -> None:
    await serve(hello)
    way = egress.way("read", ONION)
    await way.read(get())
    rotation = asyncio.create_task(egress.rotate())
    await asyncio.sleep(0)
    egress.moved(way.name, 5, "operator")
    await rotation
    assert (way.generation, way.shown().last_rotation) == (5, "operator")
    assert (await way.read(get())).user == f"{way.name}.5"


async def test_to_be_refused_again_costs_budget(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    seen = 0

    async def never(_request: web.Request) -> web.Response:
        nonlocal seen
        seen += 1
        return web.Response(status=429)

    await serve(never)
    way = make_egress(watch_circuits=False).way("read", ONION)
    for _ in range(40):
        assert (await way.read(get())).status == 429
    assert 40 + 5 <= seen <= 40 + 10, "five saved, and one in ten"


# --- who is to blame ---


@pytest.mark.parametrize(("code", "tor_is"), [(6, True), (4, False), (1, False)])
async def test_without_a_circuit_to_anybody_nobody_is_to_blame(
    egress: Egress, tor: Any, get: Get, code: int, tor_is: bool
) -> None:
    tor.reply["*"] = code
    with pytest.raises(EgressError) as caught:
        await egress.way("broadcast", ONION).once(get())
    assert (caught.value.blames_nobody, caught.value.is_ours) == (tor_is, False)


async def test_when_others_are_reached_who_is_not_reached_is_to_blame(
    egress: Egress, tor: Any, serve: Any, get: Get
) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if tor.asked:
            writer.write(b"\x05\x02\x01\x00")
            await reader.read()
        else:
            await tor._socks(reader, writer)

    await serve(hello)
    other = egress.way("read", ONION)
    tor.behaviour = slow
    await other.once(get())
    lost = asyncio.create_task(
        egress.way("read", "http://other.onion").once(get(base="http://other.onion", timeout_s=0.3))
    )
    await asyncio.sleep(0.1)
    await other.once(get())
    with pytest.raises(EgressError) as caught:
        await lost
    assert (caught.value.reason, caught.value.blames_nobody) == (Reason.NO_CIRCUIT, False)


# --- without Tor ---


async def test_without_tor_the_environments_proxy_is_not_used_either(
    make_egress: Any, serve: Any, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    base = f"http://127.0.0.1:{await serve(hello)}"
    way = make_egress(mode=Mode.LOOPBACK, socks=None, devnet=True).way("read", base)
    assert (await way.read(get(base=base))).content == b"hello"


async def test_a_devnet_on_this_machine_needs_no_tor(make_egress: Any, tor: Any, serve: Any, get: Get) -> None:
    port = await serve(hello)
    egress = make_egress(mode=Mode.LOOPBACK, socks=None, devnet=True)
    base = f"http://127.0.0.1:{port}"
    assert (await egress.way("read", base).read(get(base=base))).content == b"hello"
    assert tor.asked == []
    assert (egress.words(), egress.shown().mode) == ("ok", "loopback")


async def test_calls_past_tor_are_shown_as_such(make_egress: Any) -> None:
    egress = make_egress(mode=Mode.CLEAR, socks=None)
    await egress.start()
    assert "show this node's address" in egress.shown().detail
    with pytest.raises(ValueError, match="through Tor only"):
        egress.way("read", ONION)


async def test_tor_without_a_socks_port_is_refused(make_egress: Any) -> None:
    with pytest.raises(ValueError, match="SOCKS port"):
        make_egress(socks=None)
