"""The Tor screen against a scripted Tor service: what it shows, what its keys do, its words when Tor is not well."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from lucid_tron_console.dialogs.exits import countries
from lucid_tron_console.screens.tor import event_fits
from lucid_tron_console.widgets.graph import BLOCKS, bar, graph
from services.tor.api import BandwidthSample, Bootstrap, CircuitState, GuardCounts, GuardInfo, Stream, TorState
from tests.console.fakes import FORBIDDEN, HOSTILE, Driver, FakeNode, Seconds, circuit, hop, said, until

Drive = Callable[..., AbstractAsyncContextManager[Driver]]


@pytest.fixture
async def with_tor(node: FakeNode) -> FakeNode:
    """The node, with a Tor service."""
    await node.start_tor()
    return node


async def test_a_node_without_tor_says_so_and_how_to_turn_it_on(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.see("tor off", "nothing leaves")
        await console.press("6")
        await console.see("the Tor service is not part of this node", "lucid-tron up --tor lab", "nothing leaves it")
        for key in ("N", "K", "X", "E", "space"):
            await console.press(key)
            await console.see("Tor is not part of this node")
        await console.press("y", "e", "escape")
    assert node.calls == []


async def test_circuits_streams_traffic_and_events_are_pushed(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see(
            "tor OK", "v0.4.8.16", "up 3d 02h", "guards 2 of 2", "NEWNYM ready", "100%", "Circuits (2)", "12  BUILT",
            "rpc-1", "rtt  412ms", "├─ 1 guard Quetzal", "DE", "└─ 3 exit", "3.9 MB/s", "Streams (3)", "Guard Quetzal",
        )  # fmt: skip
        reads = with_tor.tor.reads
        with_tor.change_circuit(circuit(14, "read-2", state=CircuitState.EXTENDED, rtt_ms=None, age_s=0.0))
        await console.see("Circuits (2) - 1 others")
        with_tor.change_circuit(circuit(12, state=CircuitState.CLOSED))
        with_tor.change_circuit(circuit(14, "read-2", state=CircuitState.FAILED, reason="TIMEOUT"))
        await console.see("Circuits (1) - 1 others")
        with_tor.push("tor", "bandwidth", BandwidthSample(read=5_200_000, written=10))
        await console.see("down 5.2 MB/s")
        with_tor.push("tor", "stream", Stream(id="9", state="NEW", target="a:1", isolation="broadcast-1"))
        await console.see("Streams (4)", "broadcast-1")
        with_tor.push("tor", "log", said("a new line", "err"))
        await console.see("Events (3)", "err    a new line")
        await console.press("slash")
        await console.type("level:warn slow")
        await console.press("enter")
        await console.see("Events (1 matching")
        await console.gone("a new line")
        await console.press("escape")
        await console.see("a new line")
        assert with_tor.tor.reads == reads
        assert with_tor.count("bandwidth") == 1


async def test_space_folds_a_circuit_and_the_cursor_stays_with_it(with_tor: FakeNode, drive: Drive) -> None:
    async with drive((120, 40), target="tor") as console:
        await console.see("Circuits (2)", "v 12  BUILT", "127.0.77.3:9003")
        await console.press("down", "down", "space")
        await console.see("> 12  BUILT", "v 13  BUILT")
        await console.press("y")
        await console.see("offered to the terminal's clipboard: 0000")
        await console.press("enter")
        await console.see("v 12  BUILT")


async def test_what_acts_is_typed_first(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("Circuits (2)")
        await console.press("N")
        await console.see("NEW IDENTITY")
        await console.press("ctrl+s")
        assert with_tor.count("newnym") == 0
        await console.type("identity")
        await console.press("ctrl+s")
        await console.see("a new identity; moved: rpc-1", "NEWNYM ready in 10s")
        await console.press("N")
        await console.see("tor takes a new identity every ten seconds: ready in 10s")
        await console.press("X")
        await console.see("ROTATE rpc-1")
        await console.type("rotate")
        await console.press("ctrl+s")
        await console.see("rpc-1 is at generation 2")
        await console.press("K")
        await console.see("CLOSE CIRCUIT 12")
        await console.type("12")
        await console.press("ctrl+s")
        await console.see("circuit 12 is being closed", "Circuits (1)")
        await console.press("E")
        await console.see("EXIT COUNTRIES", "3 of 3")
        await console.type("DE, xyz")
        await console.see("'xyz' is no country")
        await console.press("backspace", "backspace", "backspace")
        await console.type("nl")
        await console.press("enter", "enter")
        await console.type("exits")
        await console.press("ctrl+s")
        await console.see("the exits are chosen: 1 of 3")
        assert with_tor.calls[-1][2].countries == ("de", "nl")
        assert [what for _, what, _ in with_tor.calls if what != "bandwidth"] == ["newnym", "rotate", "close", "exits"]


async def test_read_only_refuses_what_acts_on_tor(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor", read_only=True) as console:
        await console.see("Circuits (2)")
        for key in ("N", "K", "X", "E"):
            await console.press(key)
            await console.see("this console is read-only")


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (TorState.MISSING, {"detail": "tor is not installed: apt-get install -y tor", "bootstrap": None},
         ("tor MISSING", "missing: tor is not installed: apt-get install -y tor")),
        (TorState.WRONG_COOKIE, {"detail": "the cookie is of another tor", "bootstrap": None, "retry_in_s": 8.0,
         "attempts": 3}, ("tor COOKIE", "wrong cookie: the cookie is of another tor", "attempt 3 failed")),
        (TorState.NOT_CONTROL_PORT, {"detail": "SSH answers there", "bootstrap": None},
         ("tor DOWN", "not control port: SSH answers there")),
        (TorState.STUCK, {"detail": "it does not go on", "bootstrap": Bootstrap(percent=14, tag="handshake",
         summary="Handshaking with a relay", reason="CLOCK_SKEW at 127.0.77.2:9002")},
         ("tor STUCK", "14%", "handshake: Handshaking", "reason CLOCK_SKEW at 127.0.77.2:9002", "stuck: it does not")),
        (TorState.GUARDS_DOWN, {"detail": "every guard is down", "guards": GuardCounts(total=2, up=0, down=2)},
         ("tor NO GUARD", "guards down: every guard is down", "guards 0 of 2", "Quetzal down")),
    ],
)  # fmt: skip
async def test_each_trouble_has_its_words_and_goes_away_by_itself(
    with_tor: FakeNode, drive: Drive, state: TorState, changes: dict[str, object], words: tuple[str, ...]
) -> None:
    well = with_tor.tor.status
    async with drive(target="tor") as console:
        await console.see("tor OK")
        with_tor.tor.guards = (GuardInfo(nickname="Quetzal", fingerprint="A" * 40, state="down"),)
        with_tor.change_tor(state=state, **changes)
        await console.see(*words, "▲1")
        await console.press("1")
        await console.see(f"CRIT tor is {state.replace('_', ' ')}")
        with_tor.tor.status = well
        with_tor.push("tor", "tor", well)
        await console.see("tor OK", "nothing needs you", "circ 2")


async def test_the_service_can_go_and_come_back_and_blocks_no_payout(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("Circuits (2)")
        await with_tor.stop("tor")
        await console.see("tor DOWN", "the tor service is DOWN", "last good", "Circuits (2)")
        await console.press("1")
        await console.see("WARN the tor service is DOWN; calls go on through Tor")
        await console.press("n")
        await console.see("step 1/4")
        await console.press("escape")
        await with_tor.start("tor")
        await console.press("6", "r")
        await console.see("tor OK")
        with_tor.change_tor(state=TorState.NOT_RUNNING, detail="nothing listens", bootstrap=None)
        await console.see("not running: nothing listens")
        await console.press("r")
        await until(lambda: with_tor.count("reconnect") == 1)


async def test_calls_in_the_clear_are_red_on_every_screen(node: FakeNode, drive: Drive) -> None:
    await node.stop("tron")
    node.egress = {"mode": "clear", "detail": "calls go past Tor: set USE_TOR_FOR_EXTERNAL_CALLS to true"}
    await node.start("tron")
    async with drive() as console:
        for key in ("1", "2", "3", "7"):
            await console.press(key)
            await console.see("tor CLEAR")
        await console.press("6")
        await console.see("CALLS GO IN THE CLEAR: calls go past Tor")
        await console.press("1")
        await console.see("CRIT in the CLEAR")


async def test_a_hostile_relay_cannot_touch_the_terminal(with_tor: FakeNode, drive: Drive) -> None:
    bad = circuit(12, hops=(hop(1, HOSTILE, HOSTILE), hop(2, HOSTILE)), purpose=HOSTILE, reason=HOSTILE)
    with_tor.tor.circuits = {"12": bad, "13": circuit(13, None, user=HOSTILE)}
    with_tor.tor.log = (said(HOSTILE, HOSTILE),)
    with_tor.tor.streams = (Stream(id="1", state="NEW", target=HOSTILE, user=HOSTILE),)
    with_tor.tor.status = with_tor.tor.status.model_copy(
        update={"state": TorState.STUCK, "detail": HOSTILE, "version": HOSTILE, "warnings": (HOSTILE,),
                "bootstrap": Bootstrap(percent=5, tag=HOSTILE, summary=HOSTILE, reason=HOSTILE)}
    )  # fmt: skip
    for size in ((80, 24), (120, 40)):
        async with drive(size, target="tor") as console:
            shown = await console.see("Circuits (2)", "stuck: ?]52")
            assert not FORBIDDEN.search(shown)
            await console.press("1")
            assert not FORBIDDEN.search(await console.see("tor is stuck"))


async def test_poor_terminals_get_ascii(with_tor: FakeNode, drive: Drive, seconds: Seconds) -> None:
    async with drive(target="tor", poor=True) as console:
        shown = await console.see("|- 1 guard", "'- 3 exit", "####################", "max 38.0 KB")
        assert not set(BLOCKS[1:]) & set(shown)
        seconds.now += 50
        await until(lambda: with_tor.count("bandwidth") == 2)


def test_a_graph_is_as_wide_as_asked_and_reaches_the_top() -> None:
    assert graph([0, 1, 8], 5, 1) == ["   ▁█"]
    assert graph([4, 8], 2, 2) == [" █", "██"]
    assert graph([4, 8], 2, 2, poor=True) == [" #", "##"]
    assert graph([], 3, 1) == ["   "]
    assert graph([1], 0, 1) == [""]
    assert bar(50, 4, poor=True) == "##--"


def test_countries_and_filters_are_read() -> None:
    assert countries("DE, nl de") == ("de", "nl")
    assert countries(" ") == ()
    with pytest.raises(ValueError, match="no country"):
        countries("germany")
    assert event_fits(said("Guard x is slow", "warn"), "level:warn SLOW")
    assert not event_fits(said("Guard x is slow", "warn"), "level:err")
