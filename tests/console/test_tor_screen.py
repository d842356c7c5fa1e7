"""The Tor screen against a scripted Tor service: what it shows, what its keys do, its words when Tor is not well."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from rich.cells import cell_len

from lucid_tron_console.dialogs.exits import countries, relays
from lucid_tron_console.format import Span, middle
from lucid_tron_console.screens.tor import TorScreen
from lucid_tron_console.screens.tor_rows import event_fits
from lucid_tron_console.tor_picture import TorPicture
from lucid_tron_console.widgets.graph import BLOCKS, bar, graph
from lucid_tron_console.widgets.lines import Lines
from services.payout.api import PayoutState
from services.tor.api import (
    BandwidthSample,
    Bootstrap,
    CircuitState,
    GuardCounts,
    GuardInfo,
    Isolation,
    Stream,
    TorState,
    TorStatus,
)
from tests.console.fakes import FORBIDDEN, HOSTILE, START, Driver, FakeNode, Seconds, circuit, hop, said, until

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
            "tor OK", "OK  calls leave through Tor; round trip 412 ms (12:00Z)", "v0.4.8.16 up 3d 02h",
            "guards 2 of 2", "newnym ready", "rotate 5m", "100%", "circuits 2", "12   BUILT", "rpc-1", "6m     412ms",
            "├─ 1 guard Quetzal", "DE", "└─ 3 exit", "3.9 MB/s", "Streams by name", "Guard Quetzal", "max 38.0 KB",
            "5.2 GB down, 104 KB up",
        )  # fmt: skip
        assert streams_of(console, "rpc-1") == 3
        reads = with_tor.tor.reads
        with_tor.change_circuit(circuit(14, "read-2", state=CircuitState.EXTENDED, rtt_ms=None, age_s=0.0))
        with_tor.change_circuit(circuit(12, state=CircuitState.CLOSED))
        await console.see("14   extend")
        await console.gone("12   BUILT")
        with_tor.change_circuit(circuit(14, "read-2", state=CircuitState.FAILED, reason="TIMEOUT"))
        await console.see("14   FAILED", "TIMEOUT")
        with_tor.push("tor", "bandwidth", BandwidthSample(read=5_200_000, written=10))
        await console.see("down 5.2 MB/s  max 5.2 MB")
        with_tor.push("tor", "stream", Stream(id="9", state="NEW", target="a:1", isolation="broadcast-1"))
        await until(lambda: streams_of(console, "broadcast-1") == 1)
        with_tor.push("tor", "log", said("a new line", "err"))
        await console.see("err    a new line")
        await console.press("slash")
        await console.type("level:warn slow")
        await console.press("enter")
        await console.see("Events matching")
        await console.gone("a new line")
        await console.press("escape")
        await console.see("a new line")
        assert with_tor.tor.reads == reads
        assert with_tor.count("bandwidth") == 1


def streams_of(console: Driver, name: str) -> int:
    """The number behind a name in the panel of streams; -1: it is not there."""
    found = re.search(rf"{re.escape(name)} +(\d+) *│", console.screen())
    return int(found[1]) if found else -1


async def test_space_folds_a_circuit_and_the_cursor_stays_with_it(with_tor: FakeNode, drive: Drive) -> None:
    with_tor.tor.circuits |= {"7": circuit(7, None, user=None)}
    async with drive((120, 40), target="tor") as console:
        await console.see("v 12   BUILT", "v 13   BUILT", "> 7    BUILT", "127.0.77.3:9003")  # Tor's own are folded
        await console.press("down", "down", "space")
        await console.see("> 13   BUILT", "v 12   BUILT")  # broadcast-1 comes before rpc-1
        await console.press("y")
        await console.see("offered to the terminal's clipboard: 0000")
        await console.press("enter")
        await console.see("v 13   BUILT")
        await console.press("z")
        await console.see("> 13   BUILT", "> 12   BUILT", "> 7    BUILT")
        await console.press("z")
        await console.see("v 13   BUILT", "v 12   BUILT", "v 7    BUILT")


async def test_a_line_of_the_log_is_shown_once_with_its_number_and_in_full(with_tor: FakeNode, drive: Drive) -> None:
    long = "Your application is giving Tor only an IP address. " + "word " * 30
    with_tor.tor.log = (said(long), said("else"), said(f"{long} [41 similar message(s) suppressed in last 60 seconds]"))
    async with drive(target="tor") as console:
        await console.see("notice 43x Your application", "notice else")
        await console.press("shift+tab", "enter")
        await console.see("word word word word word word word word word word word word word")
        await console.press("escape", "y")
        await console.see("offered to the terminal's clipboard: 12:00:00 notice 43x Your")
        for number in range(10):
            with_tor.push("tor", "log", said(f"line {number}"))
        await console.see("line 9")  # the end is followed


async def test_what_acts_is_typed_first(with_tor: FakeNode, drive: Drive) -> None:
    with_tor.tor.circuits = {"12": circuit(12)}
    with_tor.tor.names = ("broadcast-1", "rpc-1")
    async with drive(target="tor") as console:
        await console.see("12   BUILT")
        await console.press("N")
        await console.see("NEW IDENTITY")
        await console.press("ctrl+s")
        assert with_tor.count("newnym") == 0
        await console.type("identity")
        await console.press("ctrl+s")
        await console.see("a new identity; moved: rpc-1", "newnym in 10s")
        await console.press("N")
        await console.see("tor takes a new identity every ten seconds: ready in 10s")
        await console.press("X")
        await console.see("ROTATE rpc-1")
        await console.type("rotate")
        await console.press("ctrl+s")
        await console.see("rpc-1 is at generation 2")
        await console.type(":rotate all")
        await console.press("enter")
        await console.see("ROTATE everybody")
        await console.type("rotate")
        await console.press("ctrl+s")
        await console.see("broadcast-1 is at generation 2, rpc-1 is at generation 2")
        await console.press("E")
        await console.see("EXITS", "3 of 3")
        await console.type("DE, xyz")
        await console.see("'xyz' is no country")
        await console.press("backspace", "backspace", "backspace")
        await console.type("nl")
        await console.press("enter", "enter", "enter")
        await console.type("exits")
        await console.press("ctrl+s")
        await console.see("the exits are chosen: 1 of 3", "exits only in de nl: 1 of 3 may be used")
        assert with_tor.calls[-1][2].countries == ("de", "nl")
        await console.press("B")
        await console.see("no relay is chosen")
        await console.press("down", "down", "B")
        await console.see("New among the relays: midway", f"{2:040X}")
        await console.type("exits")
        await console.press("ctrl+s")
        await console.see("1 relays excluded")
        assert with_tor.calls[-1][2].countries == ("de", "nl")
        assert with_tor.calls[-1][2].excluded_nodes == (f"{2:040X}",)
        await console.press("K")
        await console.see("CLOSE CIRCUIT 12")
        await console.type("12")
        await console.press("ctrl+s")
        await console.see("circuit 12 is being closed", "no circuits")
        assert [what for _, what, _ in with_tor.calls if what != "bandwidth"] == [
            "newnym", "rotate", "rotate", "rotate", "exits", "exits", "close",
        ]  # fmt: skip


async def test_read_only_refuses_what_acts_on_tor(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor", read_only=True) as console:
        await console.see("12   BUILT")
        for key in ("N", "X", "K", "E", "B"):
            await console.press(key)
            await console.see("this console is read-only")
            await console.press("r")
            await console.see("every service is connected")
        with_tor.change_tor(state=TorState.SILENT, detail="it says nothing", bootstrap=None)
        await console.see("SILENT  it says nothing")
        await console.press("r")
        await console.see("this console is read-only: the tor service looks again by itself")
    assert {what for _, what, _ in with_tor.calls} == {"bandwidth"}


async def test_what_cannot_be_done_now_says_why(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("12   BUILT")
        with_tor.change_tor(state=TorState.NOT_RUNNING, detail="nothing listens", bootstrap=None)
        await console.see("NOT RUNNING  nothing listens")
        for key in ("N", "K"):
            await console.press(key)
            await console.see("there is no tor to talk to (not running): r looks again")
            await console.press("escape")
        await with_tor.stop("tor")
        await console.see("tor DOWN")
        for key in ("N", "X", "K", "E"):
            await console.press(key)
            await console.see("the tor service is not heard (DOWN): r tries again")
            await console.press("escape")


async def test_the_service_can_die_under_an_open_dialog(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("12   BUILT")
        await console.press("N")
        await console.type("identity")
        await with_tor.stop("tor")
        await console.see("tor DOWN")
        await console.press("ctrl+s")
        await console.see("tor does not run: nothing answers")
        await with_tor.start("tor")
        await console.press("r")
        await console.see("tor OK", "12   BUILT")
        await console.press("E")
        await console.see("EXITS")
        await console.press("enter", "enter", "enter")
        await console.type("exits")
        with_tor.write_record(tor="off")
        await with_tor.stop("tor")
        await console.see("tor DOWN")
        await console.press("ctrl+s")
        await console.see("nothing answers at", "EXITS")  # what was typed is still there
        await console.press("escape")
        await console.see("the tor service is not heard")


STUCK = Bootstrap(percent=14, tag="handshake", summary="Handshaking with a relay", reason="CLOCK_SKEW at 127.0.77.2")


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        (TorState.MISSING, {"detail": "tor is not installed: apt-get install -y tor", "bootstrap": None},
         ("tor MISSING", "MISSING  tor is not installed: apt-get install -y tor")),
        (TorState.NOT_RUNNING, {"detail": "start it", "bootstrap": None}, ("tor NOT RUNNING", "NOT RUNNING  start it")),
        (TorState.UNREACHABLE, {"detail": "no such host", "bootstrap": None}, ("UNREACHABLE  no such host",)),
        (TorState.WRONG_COOKIE, {"detail": "the cookie is of another tor", "bootstrap": None, "retry_in_s": 8.0,
         "attempts": 3}, ("tor COOKIE", "COOKIE  the cookie is of another tor", "r looks again now; attempt 3 failed")),
        (TorState.UNREADABLE_COOKIE, {"detail": "join its group", "bootstrap": None}, ("COOKIE  join its group",)),
        (TorState.PASSWORD_MISSING, {"detail": "set one", "bootstrap": None}, ("PASSWORD  set one",)),
        (TorState.WRONG_PASSWORD, {"detail": "another one", "bootstrap": None}, ("PASSWORD  another one",)),
        (TorState.NOT_CONTROL_PORT, {"detail": "SSH answers there", "bootstrap": None},
         ("tor NOT TOR", "NOT TOR  SSH answers there")),
        (TorState.SILENT, {"detail": "restart it", "bootstrap": None}, ("tor SILENT", "SILENT  restart it")),
        (TorState.NETWORK_DISABLED, {"detail": "take it out"}, ("tor DISABLED", "DISABLED  take it out")),
        (TorState.BOOTSTRAPPING, {"detail": "it starts", "bootstrap": Bootstrap(percent=45, tag="loading",
         summary="Loading descriptors")}, ("tor 45%", "loading: Loading descriptors", "it goes on by itself")),
        (TorState.STUCK, {"detail": "it does not go on", "bootstrap": STUCK},
         ("tor STUCK", "14%", "handshake: Handshaking", "reason CLOCK_SKEW at 127.0.77.2", "STUCK  it does not")),
        (TorState.GUARDS_DOWN, {"detail": "every guard is down", "guards": GuardCounts(total=2, up=0, down=2)},
         ("tor NO GUARD", "NO GUARD  every guard is down", "guards 0 of 2", "Quetzal down")),
        (TorState.NO_EXITS, {"detail": "the policy leaves none"}, ("tor NO EXIT", "E chooses other exits")),
        (TorState.CIRCUITS_FAILING, {"detail": "8 of 9 failed"}, ("tor FAILING", "N moves everybody to new circuits")),
        (TorState.NO_ANSWER, {"detail": "a round trip failed"}, ("tor NO ANSWER", "N moves everybody")),
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
        mild = state.usable or state is TorState.BOOTSTRAPPING
        await console.see(f"{'WARN' if mild else 'CRIT'} tor is {state.replace('_', ' ')}")
        if not state.usable:
            await console.see("6 says why")
        with_tor.tor.status = well
        with_tor.push("tor", "tor", well)
        await console.see("tor OK", "nothing needs you", "circ 2")


async def test_the_service_can_go_and_come_back_and_blocks_no_payout(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("12   BUILT")
        await with_tor.stop("tor")
        await console.see("tor DOWN", "DOWN  the tor service is not heard", "last good", "12   BUILT", "~2 of 2")
        await console.press("1")
        await console.see("WARN the tor service is DOWN; calls go on through Tor")
        await console.press("n")
        await console.see("step 1/4")
        await console.press("escape")
        await with_tor.start("tor")
        await console.press("6", "r")
        await console.see("tor OK")
        with_tor.change_tor(state=TorState.NOT_RUNNING, detail="nothing listens", bootstrap=None)
        await console.see("NOT RUNNING  nothing listens")
        await console.press("r")
        await until(lambda: with_tor.count("reconnect") == 1)


async def test_calls_in_the_clear_are_red_on_every_screen(node: FakeNode, drive: Drive) -> None:
    node.add_payout(PayoutState.SENDING)
    await node.stop("tron")
    node.egress = {"mode": "clear", "detail": "calls go past Tor: set USE_TOR_FOR_EXTERNAL_CALLS to true"}
    await node.start("tron")

    async def is_red(what: str) -> None:
        shown = (await console.see(what, " CLEAR ")).splitlines()[0]
        assert " CLEAR " in shown
        spans = console.app.screen.query_one("#header", Lines).lines[0]
        assert Span(" CLEAR ", "mainnet") in spans  # white on red
        assert Span("CLEAR", "bad") in spans or "tor " not in shown

    async with drive() as console:
        for keys, what in (
            ("1", "Open payouts"), ("2", "Wallets ("), ("enter", "Wallet hot"), ("3", "Payouts (1)"),
            ("enter", "Payout P-1"), ("4", "not in this version"), ("5", "not in this version"),
            ("7", "TRON endpoints"),
            ("8", "not in this version"), ("6", "CALLS GO IN THE CLEAR: calls go past Tor"), ("question_mark", "Help"),
        ):  # fmt: skip
            await console.press(keys)
            await is_red(what)
        await console.press("escape")
        await console.see("take that setting back, lucid-tron")
        for key, what in (("n", "step 1/4"), ("F", "FREEZE"), ("2", "Wallets ("), ("c", "DEVNET"), ("Y", "DEVNET")):
            await console.press(key)
            await is_red(what)
            await console.press("escape")
        await console.press("1")
        await console.see("CRIT in the CLEAR", "CLEAR  calls show this node")
    async with drive((40, 10), network="mainnet") as console:
        await is_red("MAINNET")


async def test_the_chain_tells_of_a_dead_exit_before_tor_does(
    with_tor: FakeNode, drive: Drive, seconds: Seconds
) -> None:
    async with drive(target="tor") as console:
        await console.see("OK  calls leave through Tor")
        seconds.now += 14
        with_tor.push("tor", "log", said("still there"))
        with_tor.push("tron", "job", {})
        await console.see("still there")
        await until(lambda: console.app.backend.snapshot.feeds["tron"].heard_at == seconds.now)
        seconds.now += 6
        await console.see("OK?  Tor tells of no trouble, but no block has come through it for 20s", "N moves everybody")


async def test_exits_chosen_elsewhere_are_seen(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("OK  calls leave through Tor")
        with_tor.tor.policy = with_tor.tor.policy.model_copy(update={"countries": ("de",), "exits_left": 1})
        with_tor.push("tor", "isolation", Isolation(name="rpc-1", user="rpc-1.2", generation=2, reason="policy"))
        await console.see("exits only in de: 1 of 3 may be used")


async def test_in_the_clear_the_state_of_tor_is_told_all_the_same(with_tor: FakeNode, drive: Drive) -> None:
    with_tor.egress = {"mode": "clear", "detail": "set USE_TOR_FOR_EXTERNAL_CALLS to true"}
    with_tor.tor.status = with_tor.tor.status.model_copy(update={"state": TorState.NO_EXITS, "detail": "none is left"})
    async with drive(target="tor") as console:
        shown = await console.see(
            "tor CLEAR", "CALLS GO IN THE CLEAR", "NO EXIT  none is left", "E chooses other exits"
        )
        assert shown.splitlines()[0].count("CLEAR") == 2


async def test_a_client_that_does_not_use_tor_is_told(with_tor: FakeNode, drive: Drive) -> None:
    with_tor.egress = {"mode": "loopback", "detail": ""}
    async with drive(target="tor") as console:
        await console.see("OK  Tor works; the TRON client does not use it (its way out: loopback)")


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
            shown = await console.see("STUCK  ?]52", "13   BUILT")
            assert not FORBIDDEN.search(shown)
            await console.press("1")
            assert not FORBIDDEN.search(await console.see("tor is stuck"))


async def test_wide_and_turned_characters_keep_the_columns(with_tor: FakeNode, drive: Drive) -> None:
    names = ("中繼站" * 9, "\u05d0\u05d1\u202e\u05d2", "e\u0301" * 30)
    hops = tuple(hop(number, name, "中") for number, name in enumerate(names, start=1))
    with_tor.tor.circuits = {"12": circuit(12, "rpc-1", hops=hops)}
    with_tor.tor.log = (said("中繼站 " * 40),)
    for size in ((80, 24), (120, 40)):
        async with drive(size, target="tor") as console:
            shown = await console.see("中繼站中繼", "12   BUILT")
            assert not FORBIDDEN.search(shown)
            assert {cell_len(row) for row in shown.splitlines()} == {size[0]}
            rows = [row for row in shown.splitlines() if "guard" in row or "mid" in row or "exit" in row]
            assert len({cell_len(row[: row.index("MB/s")]) for row in rows if "MB/s" in row}) == 1


async def test_crowds_are_shown_without_delay(with_tor: FakeNode, drive: Drive) -> None:
    with_tor.tor.circuits = {str(number): circuit(number, f"rpc-{number % 40}") for number in range(500)}
    with_tor.tor.streams = tuple(
        Stream(id=str(number), state="SUCCEEDED", circuit="1", target="a:1", isolation=f"rpc-{number % 40}")
        for number in range(4000)
    )
    with_tor.tor.log = tuple(said(f"line {number}") for number in range(500))
    async with drive((120, 40), target="tor") as console:
        await console.see("rpc-0", "line 499")
        assert streams_of(console, "rpc-0") == 100
        began = time.process_time()
        for number in range(500):
            with_tor.push("tor", "stream", Stream(id="1", state="SUCCEEDED", target=f"b:{number}", isolation="rpc-0"))
            with_tor.push("tor", "circuit", circuit(number, "rpc-0"))
        await until(lambda: streams_of(console, "rpc-0") == 101)
        await until(lambda: console.app.backend.snapshot.tor.circuits["499"].circuit.isolation == "rpc-0")
        assert time.process_time() - began < 3
        await console.press("end")
        await console.press("tab", "tab", "m")
        await console.see("a:1", "SUCCEEDED on circuit 1")
        await console.press("pagedown")
        await console.see("and 51 more")


async def test_a_service_of_another_version_is_understood_or_named(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("OK  calls leave through Tor")
        newer = {**with_tor.tor.status.model_dump(mode="json"), "colour": "blue"}
        with_tor.push("tor", "tor", {**newer, "version": "0.5.0.1"})
        with_tor.push("tor", "weather", {"sun": True})
        await console.see("v0.5.0.1")
        # What cannot be read makes it read everything; it is not asked for again and again.
        reads = with_tor.tor.reads
        with_tor.push("tor", "circuit", {"id": "99", "state": "TELEPORTED", "purpose": "GENERAL"})
        with_tor.push("tor", "log", said("after it"))
        await console.see("after it", "tor OK")
        assert with_tor.tor.reads == reads + 1
        with_tor.push("tor", "log", {"at": START.isoformat(), "level": "warn", "text": "x" * 600_000})
        with_tor.push("tor", "log", said("after the long one"))
        with_tor.tor.log = (said("read again"),)
        await console.see("read again")
        await until(lambda: console.app.backend.snapshot.feeds["tor"].open)
        assert console.app.backend.snapshot.feeds["tor"].attempts == 0


class OddStatus(TorStatus):
    """As another version may have it."""

    state: str  # type: ignore[assignment]


async def test_a_state_of_another_version_is_named(with_tor: FakeNode, drive: Drive) -> None:
    well = with_tor.tor.status
    with_tor.tor.status = OddStatus(**{**well.model_dump(), "state": "hibernating"})
    async with drive(target="tor", ready=False) as console:
        await console.see("run the same version on both sides", "not read yet")
        with_tor.tor.status = well
        await console.press("r")
        await console.see("OK  calls leave through Tor")


async def test_a_small_terminal_shows_the_verdict_and_the_circuits(with_tor: FakeNode, drive: Drive) -> None:
    async with drive((40, 10), target="tor") as console:
        shown = await console.see("OK  calls leave through Tor", "DEVNET", "BUILT")
        assert {cell_len(row) for row in shown.splitlines()} == {40}
        with_tor.change_tor(state=TorState.GUARDS_DOWN, detail="no guard answers " * 20)
        await console.see("tor NO GUARD", "NO GUARD  no guard")
        for key in ("N", "K", "E", "question_mark"):
            await console.press(key)
            await console.press("escape")
        await console.see("NO GUARD  no guard")
        await console.pilot.resize_terminal(120, 40)
        await console.see("Streams by name", "Events")
        await console.pilot.resize_terminal(80, 24)
        await console.see("NO GUARD  no guard", "Streams by name")


async def test_without_tor_installed_it_says_how_to_install_it(
    node: FakeNode, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucid_tron_console.screens.tor.shutil.which", lambda *_args, **_kw: None)
    async with drive() as console:
        await console.press("6")
        await console.see("tor is not installed on this machine: sudo apt-get install -y tor", "up --tor lab")


async def test_every_key_of_the_screen_is_told(with_tor: FakeNode, drive: Drive) -> None:
    async with drive(target="tor") as console:
        await console.see("N new identity", "X rotate", "K close", "E exits", "space fold", "? help")
        await console.press("question_mark")
        shown = await console.see("Help")
        for command in TorScreen.TAKES:
            assert re.search(rf"{re.escape(command.label())} +{command.name()[:14]}", shown), command
        await console.press("escape", "ctrl+p")
        await console.type("rotate")
        await console.see("rotate-isolation  (X)")


async def test_poor_terminals_get_ascii(with_tor: FakeNode, drive: Drive, seconds: Seconds) -> None:
    async with drive(target="tor", poor=True) as console:
        shown = await console.see("|- 1 guard", "'- 3 exit", "########", "max 38.0 KB")
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


def test_the_columns_of_the_graph_stand_still_for_five_seconds() -> None:
    picture = TorPicture()
    for number in range(13):
        picture = picture.with_sample(BandwidthSample(read=number, written=0))
    assert picture.traffic(5) == [(2.0, 0.0), (7.0, 0.0)]
    for _ in range(400):
        picture = picture.with_sample(BandwidthSample(read=5, written=10))
    assert picture.seconds == 413
    assert len(picture.samples) == 300
    assert picture.traffic(5) == [(5.0, 10.0)] * 59
    assert replace(picture, samples=picture.samples[-3:]).traffic(5) == []


def test_long_names_are_cut_in_their_middle() -> None:
    assert middle("broadcast:127.0.0.1:9090", 12) == "broad…1:9090"
    assert middle("rpc-1", 7) == "rpc-1  "
    assert cell_len(middle("中" * 30, 11)) == 11


def test_relays_are_read() -> None:
    assert relays(f"${'a' * 40}, {'B' * 40} {'a' * 40}") == ("A" * 40, "B" * 40)
    with pytest.raises(ValueError, match="no fingerprint"):
        relays("Quetzal")


def test_countries_and_filters_are_read() -> None:
    assert countries("DE, nl de") == ("de", "nl")
    assert countries(" ") == ()
    with pytest.raises(ValueError, match="no country"):
        countries("germany")
    assert event_fits(said("Guard x is slow", "warn"), "level:warn SLOW")
    assert not event_fits(said("Guard x is slow", "warn"), "level:err")
