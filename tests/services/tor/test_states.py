"""How Tor is, in a word: each state is seen, said in words, and gone when its cause is. The peer speaks tor's lines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.kit.errors import Conflict, NotFound, TooManyRequests, Unavailable, UpstreamError
from services.tor import install
from services.tor.api import CircuitState, ExitPolicy, TorState

A, B, C = "A" * 40, "B" * 40, "C" * 40
PATH = f"${A}~alice,${B}~bob,${C}~carol"
RELAY = (
    "r carol zMzMzMzMzMzMzMzMzMzMzMzMzMw AAAAAAAAAAAAAAAAAAAAAAAAAAA 2038-01-01 00:00:00 1.2.3.4 9001 0\n"
    "s Exit Fast Running Valid\nw Bandwidth=5200"
)


async def test_a_healthy_tor(peer: Any, start_at: Any) -> None:
    peer.info |= {f"ns/id/{C}": RELAY, "ip-to-country/1.2.3.4": "us"}
    peer.info["circuit-status"] = f"7 BUILT {PATH} PURPOSE=GENERAL TIME_CREATED=2026-01-01T00:00:00.5"
    async with start_at(peer.port) as tor:
        status = await tor.until(TorState.OK)
        assert (status.version, status.pid, status.guards.up, status.circuits.built) == ("0.4.9.11", 4242, 2, 1)
        assert status.detail == ""
        health = await tor.client.health()
        assert health.checks == {"tor": "ok"}
        circuit = (await tor.client.circuits()).items[0]
        assert [hop.nickname for hop in circuit.hops] == ["alice", "bob", "carol"]
        exit_hop = circuit.hops[-1]
        assert (exit_hop.country, exit_hop.bandwidth, exit_hop.address, exit_hop.port) == (
            "us", 5_200_000, "1.2.3.4", 9001,
        )  # fmt: skip
        guards = (await tor.client.guards()).items
        assert [(guard.nickname, guard.state) for guard in guards] == [("alice", "up"), ("bob", "never-connected")]
        assert any("METHODS" in command or "AUTHENTICATE" in command for command in peer.commands)
        assert any("takes anybody" in words for words in status.warnings)


async def test_no_tor_is_a_state_and_it_comes_by_itself(peer: Any, start_at: Any) -> None:
    port = peer.port
    await peer.close()
    async with start_at(port) as tor:
        status = await tor.until(TorState.NOT_RUNNING, TorState.MISSING)
        assert status.attempts >= 1
        assert status.retry_in_s is not None
        assert (await tor.client.health()).status == "degraded"
        with pytest.raises(Unavailable, match=r"nothing listens|not installed"):
            await tor.client.newnym()
        # What a program needs for its own connections works without tor.
        assert (await tor.client.isolation("rpc-1")).user == "rpc-1.1"
        await peer.listen(port)
        assert (await tor.until(TorState.OK)).attempts == 0


async def test_without_tor_the_service_runs_and_says_how_to_install_it(
    peer: Any, start_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "PLACES", ())
    monkeypatch.setenv("PATH", "/nowhere")
    await peer.close()
    async with start_at(peer.port) as tor:
        await tor.until(TorState.MISSING)
        health = await tor.client.health()
        assert health.status == "degraded"
        assert "apt-get install -y tor" in health.checks["tor"]
        assert (await tor.client.circuits()).items == ()
        assert (await tor.client.bandwidth()).samples == ()
        assert (await tor.client.exit_policy()).applied is False


async def test_a_tor_that_ends_and_comes_back(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        await peer.close()
        status = await tor.until(TorState.NOT_RUNNING)
        assert status.bootstrap is None
        assert status.version is None
        await peer.listen(peer.port)
        await tor.until(TorState.OK)


async def test_a_tor_that_hangs(peer: Any, start_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.tor.control import Control

    connect = Control.connect
    monkeypatch.setattr(Control, "connect", lambda where, who, hear: connect(where, who, hear, 0.3))
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.replies |= {"GETINFO": "", "PROTOCOLINFO": ""}
        assert "restart it" in (await tor.until(TorState.SILENT)).detail
        peer.replies.clear()
        await tor.until(TorState.OK)


async def test_reconnect_does_not_wait_for_the_pause(peer: Any, start_at: Any) -> None:
    port = peer.port
    await peer.close()
    slow = {"tor_connection_retry_delay_ms": 60_000, "tor_connection_max_retry_delay_ms": 60_000}
    async with start_at(port, **slow) as tor:
        await tor.until(TorState.NOT_RUNNING, TorState.MISSING)
        await peer.listen(port)
        await tor.client.reconnect()
        await tor.until(TorState.OK, timeout_s=5)


async def test_pauses_grow_up_to_the_longest(peer: Any, start_at: Any) -> None:
    port = peer.port
    await peer.close()
    pauses = {"tor_connection_retry_delay_ms": 20, "tor_connection_max_retry_delay_ms": 5000}
    async with start_at(port, tor_connection_max_retries=2, **pauses) as tor:

        async def given_up() -> bool:
            return bool((await tor.client.tor()).attempts == 3)

        await tor.eventually(given_up)
        assert 4.0 < ((await tor.client.tor()).retry_in_s or 0) <= 5.0


@pytest.mark.parametrize(
    ("line", "state", "words"),
    [
        ('NOTICE BOOTSTRAP PROGRESS=45 TAG=requesting_descriptors SUMMARY="Asking"', TorState.BOOTSTRAPPING, "45 %"),
        (
            'WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="Connecting to a relay" WARNING="Connection refused" '
            'REASON=CONNECTREFUSED COUNT=12 RECOMMENDATION=warn HOSTID="AA" HOSTADDR="10.0.0.1:443"',
            TorState.STUCK,
            "CONNECTREFUSED: Connection refused (at 10.0.0.1:443)",
        ),
    ],
)
async def test_bootstrap(peer: Any, start_at: Any, line: str, state: TorState, words: str) -> None:
    peer.info["status/bootstrap-phase"] = line
    async with start_at(peer.port) as tor:
        assert words in (await tor.until(state)).detail
        peer.info["status/bootstrap-phase"] = 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"'
        peer.tell('STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"')
        await tor.until(TorState.OK)


async def test_a_bootstrap_that_stands_still_is_stuck_without_a_warning(peer: Any, start_at: Any) -> None:
    peer.info["status/bootstrap-phase"] = 'NOTICE BOOTSTRAP PROGRESS=14 TAG=handshake SUMMARY="Handshaking"'
    async with start_at(peer.port, tor_connectivity_timeout=0.5) as tor:
        await tor.until(TorState.BOOTSTRAPPING)
        peer.tell("STATUS_GENERAL WARN CLOCK_SKEW SKEW=-259200 MIN_SKEW=30 SOURCE=OR:1.2.3.4:9001")
        status = await tor.until(TorState.STUCK)
        assert "-259200 s off" in status.detail
        assert "timedatectl" in status.detail


async def test_disabled_network(peer: Any, start_at: Any) -> None:
    peer.options["DisableNetwork"] = "1"
    async with start_at(peer.port) as tor:
        assert "DisableNetwork" in (await tor.until(TorState.NETWORK_DISABLED)).detail
        peer.options["DisableNetwork"] = "0"
        peer.tell("CONF_CHANGED")
        await tor.until(TorState.OK)


async def test_all_guards_down_while_tor_says_that_all_is_well(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port, tor_health_check_interval=60) as tor:
        await tor.until(TorState.OK)
        peer.info["entry-guards"] = f"${A}~alice down 2026-01-01 00:00:00\n${B}~bob never-connected"
        peer.tell(f"GUARD ENTRY ${A}~alice DOWN")
        status = await tor.until(TorState.GUARDS_DOWN, timeout_s=5)
        assert status.circuit_established is True
        assert status.network_live is True
        peer.info["entry-guards"] = f"${A}~alice up\n${B}~bob down 2026-01-01 00:00:00"
        peer.tell(f"GUARD ENTRY ${A}~alice UP")
        await tor.until(TorState.OK, timeout_s=5)


async def test_no_exits(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.tell(
            "NOTICE We need more microdescriptors: we have 5/6, and can only build 0% of likely paths. (We have 100% "
            "of guards bw, 100% of midpoint bw, and 0% of exit bw = 0% of path bw.)"
        )
        await tor.until(TorState.NO_EXITS)
        peer.tell("NOTICE We now have enough directory information to build circuits.")
        await tor.until(TorState.OK)


async def test_most_circuits_fail(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        for number in range(10):
            peer.tell(f"CIRC {number} LAUNCHED PURPOSE=GENERAL")
            peer.tell(f"CIRC {number} FAILED ${A}~alice PURPOSE=GENERAL REASON=TIMEOUT")
        await tor.until(TorState.CIRCUITS_FAILING)

        async def all_counted() -> bool:
            words = (await tor.client.tor()).detail
            return "10 of the last 10" in words and "TIMEOUT" in words

        await tor.eventually(all_counted)
        failed = [circuit for circuit in (await tor.client.circuits()).items if circuit.state is CircuitState.FAILED]
        assert failed
        assert failed[-1].reason == "TIMEOUT"


async def test_circuits_that_nobody_waits_for_do_not_count(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        before = (await tor.client.tor()).circuits.recent
        for number in range(10):
            peer.tell(f"CIRC {100 + number} LAUNCHED PURPOSE=HS_VANGUARDS")
            peer.tell(f"CIRC {100 + number} FAILED ${A}~alice PURPOSE=HS_VANGUARDS REASON=DESTROYED")
        peer.tell(f"CIRC 200 FAILED ${A}~alice PURPOSE=GENERAL REASON=TIMEOUT")

        async def counted() -> bool:
            return bool((await tor.client.tor()).circuits.recent_failed == 1)

        await tor.eventually(counted)
        found = await tor.client.tor()
        assert (found.state, found.circuits.recent - before) == (TorState.OK, 1)


async def test_failing_circuits_are_no_state_when_nobody_wants_to_know(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port, tor_detect_circuit_failures=False) as tor:
        await tor.until(TorState.OK)
        for number in range(10):
            peer.tell(f"CIRC {number} FAILED ${A}~alice PURPOSE=GENERAL REASON=TIMEOUT")
        await asyncio.sleep(0.5)
        assert (await tor.client.tor()).state is TorState.OK


async def test_a_failing_exit_is_named(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.info["circuit-status"] = f"7 BUILT {PATH} PURPOSE=GENERAL"
        peer.tell(f"CIRC 7 BUILT {PATH} PURPOSE=GENERAL")
        for number in range(3):
            for state in ("DETACHED", "FAILED", "CLOSED"):
                peer.tell(f'STREAM {number} {state} 7 x.example:443 REASON=TIMEOUT SOCKS_USERNAME="rpc-1.1"')

        async def named() -> bool:
            return any(
                "exit carol" in words and "failed 3 streams" in words for words in (await tor.client.tor()).warnings
            )

        await tor.eventually(named)


async def test_a_target_that_refuses_is_not_the_exits_fault(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.tell(f"CIRC 7 BUILT {PATH} PURPOSE=GENERAL")
        for number in range(5):
            peer.tell(f"STREAM {number} CLOSED 7 x.example:443 REASON=END REMOTE_REASON=CONNECTREFUSED")
        await asyncio.sleep(0.4)
        assert not any("exit" in words for words in (await tor.client.tor()).warnings)


async def test_events_tell_what_happens(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port, tor_health_check_interval=60) as tor:
        await tor.until(TorState.OK)
        await tor.client.isolation("rpc-1")
        heard: dict[str, list[str]] = {}

        async def listen() -> None:
            async for event in tor.client.events():
                heard.setdefault(event.name, []).append(event.data)

        listening = asyncio.create_task(listen())

        async def open_() -> bool:
            return "ping" in heard

        await tor.eventually(open_)
        await tor.client.bandwidth()
        peer.tell("BW 1500 700")
        peer.tell(f"CIRC 7 BUILT {PATH} PURPOSE=GENERAL")
        peer.tell('STREAM 9 NEW 0 node.example:443 PURPOSE=USER SOCKS_USERNAME="rpc-1.1" SOCKS_PASSWORD="lucid"')
        peer.tell('STREAM 9 SENTCONNECT 7 node.example:443 SOCKS_USERNAME="rpc-1.1"')
        peer.tell("WARN something \x1b[31m odd")
        await tor.client.rotate("rpc-1", "because")

        async def all_heard() -> bool:
            return {"bandwidth", "circuit", "stream", "log", "isolation", "tor"} <= heard.keys()

        await tor.eventually(all_heard)
        assert '"read":1500' in heard["bandwidth"][0]
        assert '"isolation":"rpc-1"' in heard["stream"][0]
        assert '"user":"rpc-1.1"' in heard["circuit"][-1]
        assert '"user":"rpc-1.2"' in heard["isolation"][-1]
        assert "\\u001b" not in heard["log"][0]
        listening.cancel()
        streams = (await tor.client.streams()).items
        assert [(stream.circuit, stream.target) for stream in streams] == [("7", "node.example:443")]
        assert (await tor.client.log()).items[-1].text == "something  [31m odd"


async def test_bandwidth_is_asked_of_tor_only_while_somebody_looks(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        subscriptions = [command for command in peer.commands if command.startswith("SETEVENTS")]
        assert not any("BW" in command for command in subscriptions)
        assert not any("CIRC_BW" in command or "NETWORK_LIVENESS" in command for command in subscriptions)
        peer.info["bw-event-cache"] = "1,2 3,4"
        shown = await tor.client.bandwidth()
        assert [(sample.read, sample.written) for sample in shown.samples] == [(1, 2), (3, 4)]
        assert any(" BW" in command for command in peer.commands)


async def test_newnym_has_a_countdown(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        await tor.client.isolation("rpc-1")
        done = await tor.client.newnym()
        assert set(done.rotated) == {"probe", "rpc-1"}
        assert 9 < done.ready_in_s <= 10
        assert "SIGNAL NEWNYM" in peer.commands
        with pytest.raises(TooManyRequests) as caught:
            await tor.client.newnym()
        assert caught.value.extra["retry_after_s"] > 8
        assert (await tor.client.tor()).newnym_ready_in_s > 8
        assert peer.commands.count("SIGNAL NEWNYM") == 1


async def test_somebody_elses_newnym_counts_too(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.tell("SIGNAL NEWNYM")

        async def counted() -> bool:
            return bool((await tor.client.tor()).newnym_ready_in_s > 0)

        await tor.eventually(counted)
        with pytest.raises(TooManyRequests):
            await tor.client.newnym()


async def test_closing_a_circuit(peer: Any, start_at: Any) -> None:
    peer.info["circuit-status"] = f"7 BUILT {PATH} PURPOSE=GENERAL"
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        assert (await tor.client.close_circuit("7")).id == "7"
        assert "CLOSECIRCUIT 7" in peer.commands
        with pytest.raises(NotFound):
            await tor.client.close_circuit("8\r\nSIGNAL HALT")
        peer.replies["CLOSECIRCUIT"] = "552 Unknown circuit\r\n"
        with pytest.raises(UpstreamError, match="Unknown circuit"):
            await tor.client.close_circuit("7")


async def test_an_exit_policy_needs_tors_geoip(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.info["ip-to-country/ipv4-available"] = "0"
        with pytest.raises(Conflict, match="tor-geoipdb"):
            await tor.client.set_exit_policy(ExitPolicy(countries=("de",)))
        assert not any("ExitNodes" in command for command in peer.commands)


async def test_an_exit_policy_that_leaves_nothing_is_refused(peer: Any, start_at: Any) -> None:
    peer.info |= {"ip-to-country/ipv4-available": "1", "ns/all": RELAY, "ip-to-country/1.2.3.4": "us"}
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        with pytest.raises(Conflict, match="none of 1 exits"):
            await tor.client.set_exit_policy(ExitPolicy(countries=("de",)))
        status = await tor.client.set_exit_policy(ExitPolicy(countries=("us",), excluded_nodes=(A,)))
        assert (status.applied, status.exits_total, status.exits_left) == (True, 1, 1)
        assert f'SETCONF ExitNodes="{{us}}" ExcludeExitNodes ExcludeNodes="${A}" StrictNodes=1' in peer.commands
        # A tor that was restarted gets it again.
        peer.commands.clear()
        await peer.close()
        await peer.listen(peer.port)
        await tor.until(TorState.OK)

        async def again() -> bool:
            return any('ExitNodes="{us}"' in command for command in peer.commands)

        await tor.eventually(again)


async def test_the_torrcs_own_policy_is_left_alone(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        await tor.client.exit_policy()
        assert not any("ExitNodes" in command for command in peer.commands)


async def test_generations_outlive_this_service(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.client.isolation("rpc-1")
        assert (await tor.client.rotate("rpc-1", "403")).generation == 2
        assert (await tor.client.rotate("rpc-1", "went on", to=7)).generation == 7
        assert (await tor.client.rotate("rpc-1", "late", to=5)).generation == 7
    async with start_at(peer.port) as tor:
        shown = await tor.client.isolation("rpc-1")
        assert (shown.user, shown.reason) == ("rpc-1.7", "went on")


async def test_a_nonsense_line_ends_nothing(peer: Any, start_at: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        for line in (
            "CIRC",
            "CIRC 1",
            "CIRC 1 NEWWORD x",
            "STREAM 1",
            "STREAM a b c",
            'STREAM 1 NEW 0 a:1 SOCKS_USERNAME="open',
            "BW x y",
            "GUARD",
            "HS_DESC",
            "STATUS_CLIENT",
            "STATUS_CLIENT NOTICE BOOTSTRAP",
        ):
            peer.tell(line)
        await asyncio.sleep(0.3)
        status = await tor.client.tor()
        assert (status.state, status.attempts) == (TorState.OK, 0)
