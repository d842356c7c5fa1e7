"""A tor that is odd, broken or hostile: nothing that it says ends this service, fills it, or commands anything."""

from __future__ import annotations

import asyncio
import re
import socket
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.kit.errors import BadRequest, Invalid, LucidError
from services.tor import control as control_module
from services.tor import picture, watch
from services.tor.api import CreateOnion, ExitPolicy, RemoveOnion, Rotate, TorState
from services.tor.control import Control, clean, fields, number
from services.tor.lab import names
from services.tor.picture import Picture, exits_of, relay, samples
from services.tor.settings import Address

A, B = "A" * 40, "B" * 40

VERBS = re.compile(
    r"PROTOCOLINFO 1"
    r"|AUTHENTICATE"
    r"|GETINFO [\w/ .:-]+"
    r"|GETCONF [\w ]+"
    r"|SETEVENTS [A-Z_ ]+"
    r"|SETCONF (ConfluxEnabled=0|MaxCircuitDirtiness=\d+)"
    r"|SETCONF ExitNodes(=\"\S+\")? ExcludeExitNodes(=\"\S+\")? ExcludeNodes(=\"\S+\")? StrictNodes=[01]"
    r"|CLOSECIRCUIT [A-Za-z0-9]{1,16}( IfUnused)?"
    r"|SIGNAL NEWNYM"
    r"|ADD_ONION ED25519-V3:[A-Za-z0-9+/=]+ Flags=DiscardPK,Detach Port=\d+,\S+"
    r"|DEL_ONION [a-z2-7]{56}"
)
"""Everything that this service ever says to tor."""

ODD = ["x\r\nSIGNAL HALT", "x\nSIGNAL HALT", "x SIGNAL", 'x" y="', "x\0y", "x\x1b[2J", "x\u202ey", "x" * 5000, "", "ü"]

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,12}", fullmatch=True)
PLAIN = st.text(string.ascii_letters + string.digits + ",.:/$~+-", min_size=1, max_size=20)
WORDS = [
    "BUILT",
    "FAILED",
    "NEW",
    "CLOSED",
    "SENTCONNECT",
    "BOOTSTRAP",
    "WARN",
    "NOTICE",
    "0",
    "7",
    f"${A}~a",
    "r",
    "w",
    "s",
]
LINES = st.lists(
    st.one_of(
        st.sampled_from(WORDS),
        PLAIN,
        TEXT,
        st.builds("{}={}".format, st.sampled_from(["PROGRESS", "TIME_CREATED", "Bandwidth", "SOCKS_USERNAME"]), TEXT),
    ),
    max_size=12,
).map(" ".join)


def quoted(text: str) -> str:
    """As tor's esc_for_log writes it."""
    found = ""
    for byte in text.encode():
        char = chr(byte)
        if char in '\\"':
            found += f"\\{char}"
        elif char in "\n\r\t":
            found += {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
        else:
            found += char if 32 <= byte < 127 else f"\\{byte:03o}"
    return f'"{found}"'


@given(PLAIN, st.dictionaries(NAMES, st.tuples(st.booleans(), TEXT, PLAIN), max_size=5))
def test_what_tor_wrote_is_read_as_it_was_meant(word: str, meant: dict[str, tuple[bool, str, str]]) -> None:
    line = " ".join(
        [word, *(f"{key}={quoted(text) if quote else plain}" for key, (quote, text, plain) in meant.items())]
    )
    assert fields(line) == ([word], {key: text if quote else plain for key, (quote, text, plain) in meant.items()})


def test_an_equals_sign_belongs_to_the_value() -> None:
    line = '250 AUTH METHODS=COOKIE COOKIEFILE="/a=b/c\\"d" X=1=2 9=8'
    words, pairs = fields(line)
    assert words == ["250", "AUTH", "9=8"]
    assert pairs == {"METHODS": "COOKIE", "COOKIEFILE": '/a=b/c"d', "X": "1=2"}


@given(st.one_of(TEXT, LINES))
@example('A="')
@example('A="\\')
@example("A=" + "\\" * 99)
def test_any_line_has_fields(line: str) -> None:
    words, pairs = fields(line)
    assert all(words)
    assert all(re.fullmatch(r"\w+", key) for key in pairs)


def test_a_line_without_end_takes_no_time() -> None:
    for line in ("a " * 4_000_000, 'A="' * 1_000_000, "\\" * 4_000_000, "A=" * 1_000_000):
        fields(line)


@given(st.one_of(st.integers(0, 10**18 - 1).map(str), TEXT, st.sampled_from(["9" * 5000, "٣", "-1", "1_0", " 1", "²"])))
def test_a_count_is_a_count(text: str) -> None:
    found = number(text)
    assert found == (int(text) if re.fullmatch("[0-9]{1,18}", text) else None)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(["circuit", "stream", "bootstrapped", "logged"]), LINES), max_size=20), TEXT)
def test_no_line_breaks_the_picture(told: list[tuple[str, str]], more: str) -> None:
    seen = Picture(lambda: 1.0, lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda _user: None)
    for what, line in told:
        if what == "logged":
            seen.logged("NOTICE", line)
        else:
            getattr(seen, what)(line)
    text = "\n".join([*(line for _, line in told), more])
    seen.circuits_read(text)
    seen.streams_read(text)
    seen.guards_read(text)
    for stream in list(seen.streams.values()):
        seen.judge_exit(stream)
        assert re.fullmatch("[A-Za-z0-9]{1,16}", stream.id)
    shown = [each.model_dump_json() for each in (*seen.listed(), *seen.streams.values())]
    assert not any(char in text for text in shown for char in "\x1b\x9b\u202e")
    assert all(re.fullmatch("[A-Za-z0-9]{1,16}", circuit_id) for circuit_id in seen.circuits)
    assert seen.bootstrap is None or 0 <= seen.bootstrap.percent <= 100
    relay(text)
    samples(text)
    list(exits_of(text))


@given(st.binary(max_size=100), st.booleans())
@example(b"\0\0\x01\0\0\x01\0\0\0\0\0\0" + b"\x3f" * 70, False)
def test_no_datagram_ends_the_labs_name_server(data: bytes, asks: bool) -> None:
    query = b"\0\7\1\0\0\1\0\0\0\0\0\0" + data if asks else data
    reply = names.answer(query)
    assert reply is None or (reply[:2] == query[:2] and len(reply) <= len(query) + 16)


@given(TEXT)
def test_what_is_shown_is_one_printable_line(text: str) -> None:
    assert clean(text, 50).isprintable()
    assert len(clean(text, 50)) <= 50


def test_a_flood_of_circuits_and_streams_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "MOST", 50)
    seen = Picture(lambda: 1.0, lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda _user: None)
    for number_ in range(500):
        seen.circuit(f"{number_} FAILED ${A}~a REASON=TIMEOUT")
        seen.circuit(f"{number_} BUILT ${A}~a,${number_:040X}~b")
        seen.stream(f"{number_} SUCCEEDED {number_} x:1")
        seen.logged("notice", "x")
        failed = seen.stream(f"{1000 + number_} CLOSED {number_} x:1 REASON=TIMEOUT")
        assert failed is not None
        seen.judge_exit(failed)
    assert (len(seen.circuits), len(seen.streams), len(seen.log)) == (50, 50, picture.LOG_LINES)
    assert len(seen.exits) <= 101
    assert len(seen.listed()) < 60
    # One that is known still changes, and makes room when it ends.
    seen.circuit(f"7 CLOSED ${A}~a")
    seen.circuit(f"999 BUILT ${A}~a")
    assert "999" in seen.circuits


def test_only_a_network_without_any_exit_has_none() -> None:
    seen = Picture(lambda: 1.0, lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda _user: None)
    few = "and can only build 45% of likely paths. (We have 60% of guards bw, 75% of midpoint bw, and {}% of exit bw)"
    for share, hopeless in (("100", False), ("0", True), ("10", False)):
        seen.logged("NOTICE", f"We need more microdescriptors: we have 4/6, {few.format(share)}")
        assert seen.hopeless_exits is hopeless


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=300), LINES.map(lambda line: f"650 {line}\r\n".encode())), max_size=8))
@example([b"250 OK\r\n" * 3])
@example([b"650 \r\n", b"250+x=\r\n..\r\n.\r\n250 OK\r\n"])
@example([b"650-\r\n650 OK\r\n", b"\xff\xff\xff\r\n"])
def test_whatever_comes_over_the_wire_the_connection_ends_when_tor_does(said: list[bytes]) -> None:
    async def talk() -> None:
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))
        ours, theirs = socket.socketpair()
        control = Control(ours, 0.5)
        control._on_event = lambda _name, _text: None
        for part in said:
            theirs.sendall(part)
        theirs.close()
        await asyncio.wait_for(control.ended, 5)
        await control.close()
        assert not problems

    asyncio.run(talk())


async def test_a_flood_of_events_waits_in_the_socket_and_hides_no_answer(
    peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "_MOST_UNREAD", 10)
    heard = 0

    def hear(_name: str, _text: str) -> None:
        nonlocal heard
        heard += 1

    control = await Control.connect(Address(host="127.0.0.1", port=peer.port), control_module.Credentials(), hear)
    for writer in peer._writers:
        writer.write(b"650 BW 1 2\r\n" * 20_000)
    assert await control.get("version") == {"version": "0.4.9.11"}
    assert heard == 20_000
    await control.close()


async def test_a_command_that_tor_does_not_take_whole_ends_the_connection() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    control = Control(ours, 60)
    async with asyncio.timeout(5):  # at once: half a command gets no answer
        with pytest.raises(control_module.ControlError, match="it hangs"):
            await control.tell("SETCONF", "x" * 500_000)
    assert control.ended.done()
    theirs.close()


@pytest.mark.parametrize("word", ["x\r\nSIGNAL HALT", "x\n", "x\0", "ü", "x\x7f"])
async def test_a_command_is_one_line_of_printable_ascii(peer: Any, word: str) -> None:
    control = await Control.connect(
        Address(host="127.0.0.1", port=peer.port), control_module.Credentials(), lambda *_: None
    )
    with pytest.raises(ValueError, match="one line"):
        await control.tell("GETINFO", word)
    await control.close()


async def test_no_caller_commands_tor_by_the_words_that_it_gives(start_at: Any, peer: Any) -> None:
    """Every field of every verb, with line breaks, quotes, spaces and what a terminal obeys."""
    peer.info |= {"ip-to-country/ipv4-available": "1", "circuit-status": f"7 BUILT ${A}~a PURPOSE=GENERAL"}
    refused = (LucidError, ValidationError, ValueError)
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        client = tor.client
        made = await client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
        for odd in ODD:
            for verb in (client.isolation, client.close_circuit, client.publish_onion, client.withdraw_onion):
                with pytest.raises(LucidError):
                    await verb(odd)
            with pytest.raises(refused):
                await client.remove_onion("gateway", odd)
            for field in ("countries", "excluded_countries", "excluded_nodes"):
                with pytest.raises(refused):
                    await client.set_exit_policy(ExitPolicy(**{field: (odd,)}))
            for name, target in ((odd, "127.0.0.1:1"), ("other", f"unix:/{odd}")):
                with pytest.raises(refused):
                    await client.create_onion(CreateOnion(name=name, target=target))
            # A reason is words for people: it is kept, and says nothing to tor.
            if 0 < len(odd) <= 120:
                assert (await client.rotate("rpc-1", odd)).reason.isprintable()
        assert made.state == "failed"
    assert [command for command in peer.commands if not VERBS.fullmatch(command)] == []


async def test_no_relay_commands_tor_by_the_words_that_it_gives(start_at: Any, peer: Any) -> None:
    """Nicknames, purposes, users, ids and addresses come from strangers."""
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        await tor.client.isolation("rpc-1")
        for odd in ['7"', "7;SIGNAL", "7=8", "ü", "7\x1b", "x" * 17, "7\tSIGNAL"]:
            peer.tell(f'CIRC {odd} BUILT ${A}~{odd} PURPOSE={odd} BUILD_FLAGS={odd} SOCKS_USERNAME="rpc-1.1"')
            peer.tell(f'STREAM {odd} NEW {odd} {odd}:1 PURPOSE={odd} SOCKS_USERNAME="rpc-1.1"')
            peer.tell(f'CIRC 7 BUILT ${A}~{odd} PURPOSE=CONFLUX_{odd} SOCKS_USERNAME="{odd}"')
            peer.tell(f"HS_DESC UPLOADED {odd} UNKNOWN {odd}")
            peer.tell(f'STATUS_GENERAL WARN CLOCK_SKEW SKEW="{odd}" SOURCE={odd}')
            peer.info[f"ns/id/{A}"] = f"r {odd} {odd} {odd} 2038-01-01 00:00:00 {odd} 9001 0\ns Exit\nw Bandwidth={odd}"
        await tor.client.rotate("rpc-1", "drill")
        for one in (await tor.client.circuits()).items:
            await tor.client.close_circuit(one.id)
        await asyncio.sleep(0.5)
        status = await tor.client.tor()
        assert (status.state, status.attempts) == (TorState.OK, 0)
    assert [command for command in peer.commands if not VERBS.fullmatch(command)] == []
    assert not any(command.startswith("SIGNAL") for command in peer.commands)


async def test_a_relay_that_nobody_knows_is_asked_for_once(start_at: Any, peer: Any) -> None:
    peer.info["circuit-status"] = f"7 BUILT ${A}~a,${B}~b PURPOSE=GENERAL"
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        for number_ in range(3):
            peer.tell(f"CIRC {8 + number_} BUILT ${A}~a,${B}~b PURPOSE=GENERAL")
            await asyncio.sleep(0.3)
        assert peer.commands.count(f"GETINFO ns/id/{B}") == 1
        assert [hop.country for hop in (await tor.client.circuits()).items[0].hops] == [None, None]


async def test_a_stream_that_ends_between_two_looks_is_told(
    start_at: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that comes before the end was told must not swallow it: a screen would show that stream for ever."""
    monkeypatch.setattr(watch, "_FLUSH_S", 0.6)
    async with start_at(peer.port, tor_health_check_interval=0.2) as tor:
        await tor.until(TorState.OK)
        heard: set[str] = set()

        async def listen() -> None:
            async for event in tor.client.events():
                heard.add(f"{event.name} {event.data}")

        async def told(what: str) -> bool:
            return any(one.startswith("stream") and what in one for one in heard)

        listening = asyncio.create_task(listen())
        peer.info["stream-status"] = "9 SUCCEEDED 7 x.example:443 PURPOSE=USER"
        peer.tell(f"STREAM {peer.info['stream-status']}")
        await tor.eventually(lambda: told("SUCCEEDED"))
        peer.info["stream-status"] = ""
        peer.tell("STREAM 9 CLOSED 7 x.example:443 REASON=DONE")
        await tor.eventually(lambda: told("CLOSED"), timeout_s=3)
        listening.cancel()


def test_models_refuse_what_is_no_name() -> None:
    for odd in ODD:
        with pytest.raises(ValidationError):
            CreateOnion(name=odd, target="127.0.0.1:1")
        with pytest.raises(ValidationError):
            RemoveOnion(address=odd)
    for values in ({"reason": ""}, {"reason": "x" * 121}, {"to": 0}, {"to": 2**53 + 1}):
        with pytest.raises(ValidationError):
            Rotate.model_validate(values)
    assert issubclass(Invalid, LucidError)
    assert issubclass(BadRequest, LucidError)
