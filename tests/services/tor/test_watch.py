"""What is watched: traffic, log, options, relays, and that what is news is told, once."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.kit.clock import SystemClock
from services.kit.errors import Conflict, Invalid, Unavailable, UpstreamError
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.tor import onions, watch
from services.tor.api import CreateOnion, ExitPolicy, OnionState, TorState
from services.tor.control import Control
from services.tor.settings import Address, TorSettings

A, B, C = "A" * 40, "B" * 40, "C" * 40
PATH = f"${A}~alice,${B}~bob,${C}~carol"
RELAYS = (
    "r carol zMzMzMzMzMzMzMzMzMzMzMzMzMw AAAAAAAAAAAAAAAAAAAAAAAAAAA 2038-01-01 00:00:00 1.2.3.4 9001 0\n"
    "s Exit Fast Running Valid\nw Bandwidth=5200\n"
    "r dave 3d3d3d3d3d3d3d3d3d3d3d3d3d0 AAAAAAAAAAAAAAAAAAAAAAAAAAA 2038-01-01 00:00:00 1.2.3.5 9001 0\n"
    "s Exit Fast Running Valid\nw Bandwidth=5200"
)


@asynccontextmanager
async def listening(tor: Any) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
    """Everything that the service tells, from now on."""
    heard: list[tuple[str, dict[str, Any]]] = []
    open_ = asyncio.Event()

    async def listen() -> None:
        async for event in tor.client.events():
            open_.set()
            if event.name not in {"ping", "reset"}:
                heard.append((event.name, json.loads(event.data)))

    task = asyncio.create_task(listen())
    await asyncio.wait_for(open_.wait(), 10)
    try:
        yield heard
    finally:
        task.cancel()


async def test_no_pause_is_longer_than_the_longest(start_at: Any, peer: Any) -> None:
    await peer.close()
    async with start_at(peer.port, tor_connection_retry_delay_ms=300, tor_connection_max_retry_delay_ms=400) as tor:

        async def second() -> Any:
            status = await tor.client.tor()
            return status if status.attempts == 2 else None

        assert (await tor.eventually(second)).retry_in_s <= 0.4


async def test_a_tor_without_circuits_makes_new_ones(start_at: Any, peer: Any) -> None:
    async with start_at(peer.port, tor_health_check_interval=60) as tor:
        await tor.until(TorState.OK)
        peer.info["status/circuit-established"] = "0"
        peer.tell("STATUS_CLIENT NOTICE CIRCUIT_NOT_ESTABLISHED REASON=CLOCK_JUMPED")
        status = await tor.until(TorState.CIRCUITS_FAILING, timeout_s=2)
        assert status.circuit_established is False
        peer.info["status/circuit-established"] = "1"
        peer.tell("STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED")
        await tor.until(TorState.OK, timeout_s=2)


async def test_a_named_hindrance_is_stuck_sooner_than_a_start_that_stands_still(
    start_at: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_HINDERED_S", 0.5)
    peer.info["status/bootstrap-phase"] = (
        'WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="Connecting" WARNING="No route" REASON=NOROUTE COUNT=1'
    )
    async with start_at(peer.port) as tor:
        await tor.until(TorState.BOOTSTRAPPING)
        assert "NOROUTE" in (await tor.until(TorState.STUCK, timeout_s=5)).detail


async def test_traffic_is_averaged_between_two_looks_and_a_restart_is_no_minus(start_at: Any, peer: Any) -> None:
    async with start_at(peer.port, tor_health_check_interval=0.2) as tor:
        await tor.until(TorState.OK)
        peer.info |= {"traffic/read": "101000", "traffic/written": "500"}

        async def grown() -> Any:
            shown = await tor.client.bandwidth()
            return shown if any(one.read_per_s > 0 for one in shown.earlier) else None

        shown = await tor.eventually(grown)
        most = max(one.read_per_s for one in shown.earlier)
        assert 100_000 < most <= 100_000 / 0.2
        assert {one.written_per_s for one in shown.earlier} == {0}
        assert (shown.read_bytes, shown.written_bytes) == (101_000, 500)
        peer.info |= {"traffic/read": "10", "traffic/written": "10"}
        await asyncio.sleep(0.7)
        assert all(one.read_per_s >= 0 <= one.written_per_s for one in (await tor.client.bandwidth()).earlier)


async def test_tor_counts_by_the_second_only_while_somebody_looks(
    start_at: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LIVE_S", 0.3)

    async def counts() -> bool:
        return " BW" in [command for command in peer.commands if command.startswith("SETEVENTS")][-1]

    async def counts_no_more() -> bool:
        peer.tell("BW 1 2")
        return not await counts()

    async with start_at(peer.port, tor_health_check_interval=60) as tor:
        await tor.until(TorState.OK)
        assert not await counts()
        assert (await tor.client.bandwidth()).live_s == 0.3
        assert await counts()
        await tor.eventually(counts_no_more, timeout_s=3)


async def test_the_log_outlives_a_connection(start_at: Any, peer: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.tell("WARN before")
        await peer.close()
        await tor.until(TorState.NOT_RUNNING, TorState.MISSING)
        await peer.listen(peer.port)
        await tor.until(TorState.OK)
        peer.tell("WARN after")

        async def both() -> bool:
            return [one.text for one in (await tor.client.log()).items] == ["before", "after"]

        await tor.eventually(both)


@pytest.mark.parametrize(("testing", "kept"), [("1", 1), ("0", 3)])
async def test_what_a_testing_network_says_again_and_again_is_no_event(
    start_at: Any, peer: Any, testing: str, kept: int
) -> None:
    peer.options["TestingTorNetwork"] = testing
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        peer.tell("WARN TestingTorNetwork is set. This will make your node almost unusable in the public Tor network")
        peer.tell("WARN Your application (using socks5 to port 9090) is giving Tor only an IP address.")
        peer.tell("WARN something else")

        async def told() -> bool:
            return [one.text for one in (await tor.client.log()).items][-1:] == ["something else"]

        await tor.eventually(told)
        assert len((await tor.client.log()).items) == kept


async def test_a_tor_on_another_machine_has_no_pid_here(
    start_at: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_at(peer.port) as tor:
        assert (await tor.until(TorState.OK)).pid == 4242
        monkeypatch.setattr(Address, "is_local", False)
        assert (await tor.client.tor()).pid is None


async def test_a_flood_of_log_lines_is_not_told_to_everybody(start_at: Any, peer: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        async with listening(tor) as heard:
            for number in range(1000):
                peer.tell(f"NOTICE line {number}")

            async def all_read() -> bool:
                return [one.text for one in (await tor.client.log()).items][-1:] == ["line 999"]

            await tor.eventually(all_read)
            await asyncio.sleep(0.2)
            assert 50 <= sum(name == "log" for name, _ in heard) <= 300
        assert len((await tor.client.log()).items) == 300


async def test_what_is_no_news_is_not_told(start_at: Any, peer: Any) -> None:
    async with start_at(peer.port, tor_health_check_interval=60) as tor:
        await tor.until(TorState.OK)
        async with listening(tor) as heard:
            for _ in range(20):
                peer.tell("STATUS_GENERAL NOTICE SOMETHING X=1")
            peer.tell(f"CIRC 7 BUILT {PATH} PURPOSE=GENERAL")

            async def told() -> bool:
                return any(name == "circuit" for name, _ in heard)

            await tor.eventually(told)
            await asyncio.sleep(0.1)
            assert sum(name == "tor" for name, _ in heard) == 1  # there is one circuit now
            peer.tell(f"CIRC 7 CLOSED {PATH} PURPOSE=GENERAL REASON=FINISHED")

            async def over() -> bool:
                return ("CLOSED", "FINISHED") in [
                    (body["state"], body["reason"]) for name, body in heard if name == "circuit"
                ]

            await tor.eventually(over)


async def test_relays_are_read_again_in_time(start_at: Any, peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_RELAYS_KEPT_S", 0.3)
    async with start_at(peer.port, tor_health_check_interval=0.2) as tor:
        await tor.until(TorState.OK)

        async def twice() -> bool:
            return bool(peer.commands.count(f"GETINFO ns/id/{A}") >= 2)

        await tor.eventually(twice, timeout_s=3)


async def test_circuits_of_one_name_only(start_at: Any, peer: Any) -> None:
    lines = [f'7 BUILT {PATH} SOCKS_USERNAME="rpc-1.1"', f'8 BUILT {PATH} SOCKS_USERNAME="rpc-2.1"', f"9 BUILT {PATH}"]
    peer.info["circuit-status"] = "\n".join(lines)
    async with start_at(peer.port) as tor:
        for name in ("rpc-1", "rpc-2"):
            await tor.client.isolation(name)
        await tor.until(TorState.OK)
        assert [one.id for one in (await tor.client.circuits()).items] == ["7", "8", "9"]
        assert [one.id for one in (await tor.client.circuits("rpc-2")).items] == ["8"]
        assert (await tor.client.circuits("nobody")).items == ()


class TestExitPolicy:
    @pytest.fixture(autouse=True)
    def consensus(self, peer: Any) -> None:
        peer.info |= {
            "ip-to-country/ipv4-available": "1",
            "ns/all": RELAYS,
            "ip-to-country/1.2.3.4": "us",
            "ip-to-country/1.2.3.5": "de",
        }

    async def test_what_it_leaves_is_counted(self, start_at: Any, peer: Any) -> None:
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            for policy, left in (
                (ExitPolicy(excluded_countries=("us",)), 1),
                (ExitPolicy(countries=("us", "fr")), 1),
                (ExitPolicy(excluded_nodes=(C,)), 1),
                (ExitPolicy(), 2),
            ):
                shown = await tor.client.set_exit_policy(policy)
                assert (shown.exits_total, shown.exits_left) == (2, left)
            with pytest.raises(Conflict, match="none of 2 exits"):
                await tor.client.set_exit_policy(ExitPolicy(excluded_countries=("us",), excluded_nodes=("DD" * 20,)))
        assert "SETCONF ExitNodes ExcludeExitNodes ExcludeNodes StrictNodes=0" in peer.commands

    async def test_it_outlives_this_service_and_everybody_moves(self, start_at: Any, peer: Any) -> None:
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            await tor.client.set_exit_policy(ExitPolicy(countries=("us",)))
            assert (await tor.client.isolation("probe")).reason == "policy"
        peer.commands.clear()
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            shown = await tor.client.exit_policy()
            assert (shown.countries, shown.applied, shown.exits_left) == (("us",), True, 1)
        assert any('ExitNodes="{us}"' in command for command in peer.commands)

    async def test_a_start_that_leaves_no_exit_is_a_state(self, start_at: Any, peer: Any) -> None:
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            await tor.client.set_exit_policy(ExitPolicy(countries=("us",)))
            done = peer.info["status/bootstrap-phase"]
            peer.info |= {"status/bootstrap-phase": "NOTICE BOOTSTRAP PROGRESS=50 TAG=x", "ip-to-country/1.2.3.4": "fr"}
            await peer.close()
            await tor.until(TorState.NOT_RUNNING, TorState.MISSING)
            await peer.listen(peer.port)
            await tor.until(TorState.BOOTSTRAPPING)
            peer.info["status/bootstrap-phase"] = done
            peer.tell(f"STATUS_CLIENT {done}")
            assert "leaves none of 2 exits" in (await tor.until(TorState.NO_EXITS)).detail

    async def test_a_tor_that_hangs_over_it_is_silent(
        self, start_at: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect = Control.connect
        monkeypatch.setattr(Control, "connect", lambda where, who, hear: connect(where, who, hear, 0.4))
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            await tor.client.set_exit_policy(ExitPolicy(countries=("us",)))
            usual = peer._answer
            peer._answer = lambda line: "" if line == "GETINFO ns/all" else usual(line)
            await peer.close()
            await peer.listen(peer.port)
            assert "it hangs" in (await tor.until(TorState.SILENT)).detail
            peer._answer = usual
            await tor.until(TorState.OK)

    async def test_the_consensus_is_not_read_for_everybody_who_looks(self, start_at: Any, peer: Any) -> None:
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            for _ in range(5):
                assert (await tor.client.exit_policy()).exits_total == 2
        assert peer.commands.count("GETINFO ns/all") == 1

    async def test_one_that_tor_refuses_is_not_kept(self, start_at: Any, peer: Any) -> None:
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            peer.replies["SETCONF"] = "553 Unacceptable option value\r\n"
            with pytest.raises(UpstreamError, match="Unacceptable"):
                await tor.client.set_exit_policy(ExitPolicy(countries=("us",)))
            assert (await tor.client.exit_policy()).countries == ()


class TestOnions:
    async def test_one_that_was_withdrawn_without_tor_is_taken_away_when_it_is_back(
        self, start_at: Any, peer: Any
    ) -> None:
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            made = await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
            service_id = made.address.removesuffix(".onion")
            await peer.close()
            await tor.until(TorState.NOT_RUNNING, TorState.MISSING)
            with pytest.raises(Unavailable):
                await tor.client.remove_onion("gateway", made.address)
            assert (await tor.client.withdraw_onion("gateway")).state is OnionState.WITHDRAWN
            peer.info["onions/detached"] = f"{service_id}\n{'a' * 56}"
            peer.replies["DEL_ONION"] = "552 Unknown Onion Service id\r\n"
            await peer.listen(peer.port)
            await tor.until(TorState.OK)

            async def gone() -> bool:
                return f"DEL_ONION {service_id}" in peer.commands

            await tor.eventually(gone)
            assert not any("a" * 56 in command for command in peer.commands)  # somebody else's

    async def test_an_address_has_to_be_given_to_destroy_its_key(self, start_at: Any, peer: Any) -> None:
        async with start_at(peer.port) as tor:
            await tor.until(TorState.OK)
            made = await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
            with pytest.raises(Invalid, match="not the address"):
                await tor.client.remove_onion("gateway", "a" * 56 + ".onion")
            peer.replies["DEL_ONION"] = "551 Internal error\r\n"
            with pytest.raises(UpstreamError):
                await tor.client.remove_onion("gateway", made.address)
            peer.replies["DEL_ONION"] = "552 Unknown Onion Service id\r\n"
            await tor.client.remove_onion("gateway", made.address)
            assert (await tor.client.onions()).items == ()

    async def test_one_directory_that_refuses_does_not_undo_one_that_took_it(
        self, start_at: Any, peer: Any, key_to: dict[str, Path]
    ) -> None:
        async with start_at(peer.port, **key_to) as tor:
            await tor.until(TorState.OK)
            made = await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
            service_id = made.address.removesuffix(".onion")
            peer.replies["ADD_ONION"] = f"250-ServiceID={service_id}\r\n250 OK\r\n"
            assert (await tor.client.publish_onion("gateway")).state is OnionState.PUBLISHING

            async def is_(state: OnionState, count: int) -> bool:
                found = await tor.client.onion("gateway")
                return (found.state, found.descriptors) == (state, count)

            peer.tell(f"HS_DESC FAILED {service_id} UNKNOWN ${A}~a X REASON=UPLOAD_REJECTED")
            await tor.eventually(lambda: is_(OnionState.FAILED, 0))
            assert any("UPLOAD_REJECTED" in words for words in (await tor.client.tor()).warnings)
            peer.tell(f"HS_DESC UPLOADED {service_id} UNKNOWN ${A}~a")
            await tor.eventually(lambda: is_(OnionState.PUBLISHED, 1))
            peer.tell(f"HS_DESC FAILED {service_id} UNKNOWN ${B}~b X REASON=UPLOAD_REJECTED")
            peer.tell("NOTICE and then")

            async def then() -> bool:
                return bool((await tor.client.log()).items)

            await tor.eventually(then)
            assert await is_(OnionState.PUBLISHED, 1)
            peer.tell(f"HS_DESC UPLOADED {service_id} UNKNOWN ${C}~c")
            await tor.eventually(lambda: is_(OnionState.PUBLISHED, 2))

    async def test_there_is_an_end_to_onions(self, start_at: Any, peer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onions, "MOST_ONIONS", 2)
        async with start_at(peer.port) as tor:
            for name in ("one", "two"):
                await tor.client.create_onion(CreateOnion(name=name, target="127.0.0.1:8097"))
            with pytest.raises(Conflict, match="there are 2 onion services"):
                await tor.client.create_onion(CreateOnion(name="three", target="127.0.0.1:8097"))

    async def test_no_key_is_in_the_log_nor_in_the_store(
        self, start_at: Any, peer: Any, key_to: dict[str, Path], home: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        async with start_at(peer.port, **key_to, lucid_log_level="debug") as tor:
            await tor.until(TorState.OK)
            peer.replies["ADD_ONION"] = "512 Invalid key\r\n"
            await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
            with pytest.raises(Conflict):
                await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
        given = [command for command in peer.commands if command.startswith("ADD_ONION")]
        key = given[0].split()[1].removeprefix("ED25519-V3:")
        assert len(key) == 88
        said = capfd.readouterr()
        assert key not in said.out + said.err
        sealing = (home / "state" / "tor" / "onion.key").read_bytes()
        for file in (home / "state" / "tor").iterdir():
            found = file.read_bytes()
            assert key.encode() not in found
            assert file.name == "onion.key" or sealing not in found
            assert file.stat().st_mode & 0o077 == 0


async def test_what_is_stopped_before_it_began_leaves_nothing_behind(tmp_path: Path) -> None:
    began = []

    async def aside() -> None:
        began.append(True)

    watching = watch.Watch(
        TorSettings(lucid_home=tmp_path), SystemClock(), EventBus(), Metrics("tor"), lambda _name: None
    )
    watching.spawn(aside)
    await watching.stop()
    # A coroutine that nobody awaits would be a warning here, and warnings are errors.
    gc.collect()
    assert began == []
