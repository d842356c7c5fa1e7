"""Paths without a network: when a name moves, to which circuit, and what becomes of the one that it left."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from services.kit.errors import Conflict, Unavailable
from services.tor import paths
from services.tor.api import TorState
from services.tor.store import TorStore

A, B, C = "A" * 40, "B" * 40, "C" * 40
PATH = f"${A}~alice,${B}~bob,${C}~carol"
TARGET = "node.example:443"

Enter = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def enter(peer: Any, door: Any, start_at: Any) -> Enter:
    """Serve the Tor service between a control port and a SOCKS port that are both made of bytes."""

    def serve(**values: Any) -> AbstractAsyncContextManager[Any]:
        return start_at(peer.port, **{"tor_socks_socket": door.path, "tor_probe_target": TARGET, **values})  # type: ignore[no-any-return]

    return serve


def give_circuit(peer: Any, number: int, user: str) -> None:
    """Have tor tell of a circuit that a user has."""
    line = f'{number} BUILT {PATH} PURPOSE=GENERAL SOCKS_USERNAME="{user}"'
    known = [one for one in peer.info["circuit-status"].split("\n") if one and not one.startswith(f"{number} ")]
    peer.info["circuit-status"] = "\n".join([*known, line])
    peer.tell(f"CIRC {line}")


async def seen(tor: Any, user: str) -> None:
    async def there() -> bool:
        return any(one.user == user for one in (await tor.client.circuits()).items)

    await tor.eventually(there)


async def probed(tor: Any) -> Any:
    async def done() -> Any:
        return (await tor.client.tor()).probe

    return await tor.eventually(done)


async def moved(tor: Any, name: str, generation: int, timeout_s: float = 15) -> Any:
    async def there() -> Any:
        found = await tor.client.isolation(name)
        return found if found.generation >= generation else None

    return await tor.eventually(there, timeout_s=timeout_s)


async def test_a_round_trip_is_told_with_its_time(enter: Enter, door: Any) -> None:
    door.delay_s = 0.05
    async with enter() as tor:
        await tor.until(TorState.OK)
        probe = await probed(tor)
        assert (probe.ok, probe.target, probe.slow) == (True, TARGET, False)
        assert 50 <= probe.latency_ms < 2000
        assert door.users[0] == "probe.1"


async def test_round_trips_are_made_as_often_as_the_health_check(enter: Enter, door: Any) -> None:
    async with enter(tor_health_check_interval=0.2) as tor:
        await probed(tor)

        async def several() -> bool:
            return len(door.users) >= 4

        await tor.eventually(several, timeout_s=3)
    door.users.clear()
    async with enter(tor_health_check_interval=60) as tor:
        await probed(tor)
        await asyncio.sleep(0.7)
        assert len(door.users) == 1


async def test_two_round_trips_without_an_answer_are_a_state_and_each_leaves_its_path(
    enter: Enter, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_UNWELL_S", 0.5)
    door.reply = lambda _user: 6
    async with enter(tor_health_check_interval=60) as tor:
        status = await tor.until(TorState.NO_ANSWER)
        assert "TTL expired" in status.detail
        assert door.users[:2] == ["probe.1", "probe.2"]
        door.reply = lambda _user: 0
        # An unwell tor is looked at every few seconds, whatever the interval.
        await tor.until(TorState.OK, timeout_s=10)


async def test_one_bad_path_is_no_state(enter: Enter, door: Any) -> None:
    door.reply = lambda user: 6 if user == "probe.1" else 0
    async with enter(tor_health_check_interval=60) as tor:
        assert (await probed(tor)).ok
        assert door.users == ["probe.1", "probe.2"]
        assert (await tor.client.tor()).state is TorState.OK


async def test_a_name_that_moved_meanwhile_is_not_moved_again(enter: Enter, peer: Any, door: Any) -> None:
    async with enter(tor_health_check_interval=0.2) as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)
        door.delay_s = 0.3
        door.reply = lambda user: 1 if user == "rpc-1.1" else 0
        give_circuit(peer, 7, "rpc-1.1")

        async def asked() -> bool:
            return "rpc-1.1" in door.users

        await tor.eventually(asked)
        door.delay_s = 0
        assert (await tor.client.rotate("rpc-1", "operator")).generation == 2
        await asyncio.sleep(0.6)
        found = await tor.client.isolation("rpc-1")
        assert (found.generation, found.reason) == (2, "operator")


async def test_a_tor_that_is_gone_leaves_no_round_trip_behind(enter: Enter, peer: Any) -> None:
    async with enter() as tor:
        await probed(tor)
        await peer.close()
        assert (await tor.until(TorState.NOT_RUNNING, TorState.MISSING)).probe is None


async def test_where_tor_takes_private_targets_they_are_tried(enter: Enter, peer: Any) -> None:
    async with enter(tor_probe_target="127.0.0.1:9090") as tor:
        await tor.until(TorState.OK)
        with pytest.raises(Unavailable, match="private network"):
            await tor.client.test()
        peer.options["ClientRejectInternalAddresses"] = "0"
        peer.tell("CONF_CHANGED")

        async def tried() -> bool:
            return bool((await tor.client.test()).ok)

        await tor.eventually(tried)


async def test_a_round_trip_is_bounded(enter: Enter, door: Any) -> None:
    door.delay_s = 30
    async with enter(tor_connectivity_timeout=0.3) as tor:
        assert "in 0.3 s" in (await tor.until(TorState.NO_ANSWER, timeout_s=10)).detail


async def test_a_slow_path_is_left_and_shown(enter: Enter, peer: Any, door: Any) -> None:
    async with enter(tor_max_latency_ms=50) as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        await seen(tor, "rpc-1.1")
        door.delay_s = 0.08
        assert (await moved(tor, "rpc-1", 2)).reason.startswith("probe: slow (")
        status = await tor.client.tor()
        assert status.probe.slow
        assert any("round trip took" in words for words in status.warnings)


async def test_no_path_is_left_by_itself_when_nobody_wants_that(enter: Enter, peer: Any, door: Any) -> None:
    door.delay_s = 0.08
    async with enter(tor_max_latency_ms=50, tor_detect_circuit_failures=False) as tor:
        await tor.client.isolation("rpc-1")
        give_circuit(peer, 7, "rpc-1.1")
        assert (await probed(tor)).slow

        async def tried_twice() -> bool:
            return bool(door.users.count("rpc-1.1") >= 2)

        await tor.eventually(tried_twice)
        assert {one.generation for one in (await tor.client.isolations()).items} == {1}


async def test_a_bad_path_is_left_alone(enter: Enter, peer: Any, door: Any) -> None:
    door.reply = lambda user: 1 if user == "rpc-1.1" else 0
    async with enter() as tor:
        for name in ("rpc-1", "rpc-2"):
            await tor.client.isolation(name)
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        give_circuit(peer, 8, "rpc-2.1")
        assert (await moved(tor, "rpc-1", 2)).reason.startswith("probe: node.example: ")
        assert (await tor.client.isolation("rpc-2")).generation == 1
        assert (await tor.client.tor()).state is TorState.OK


async def test_the_schedule_moves_only_to_a_circuit_that_works(
    enter: Enter, peer: Any, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_AGAIN_S", 0.2)
    monkeypatch.setattr(paths._CHANCE, "uniform", lambda *_: 0.05)  # of the interval of ten seconds
    door.reply = lambda user: 1 if user in {"rpc-1.2", "rpc-1.3"} else 0
    async with enter(tor_circuit_rotation_interval=10) as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        found = await moved(tor, "rpc-1", 2)
        # Users whose coming circuit failed were never anybody's; until one worked, the old one stayed.
        assert (found.generation, found.reason) == (4, "schedule")
        asked = [user for user in door.users if user.startswith("rpc-1.") and user != "rpc-1.1"]
        assert asked[:3] == ["rpc-1.2", "rpc-1.3", "rpc-1.4"]
        assert found.rtt_ms is not None


async def test_a_store_that_fails_is_told_now_and_then(
    enter: Enter, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths._CHANCE, "uniform", lambda *_: 0.05)

    async def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with structlog.testing.capture_logs() as logged:
        async with enter(tor_circuit_rotation_interval=10, tor_health_check_interval=60) as tor:
            await tor.client.isolation("rpc-1")
            await probed(tor)
            give_circuit(peer, 7, "rpc-1.1")
            monkeypatch.setattr(TorStore, "put_isolations", full)
            await asyncio.sleep(2.0)
            assert (await tor.client.isolation("rpc-1")).generation == 1
    assert [entry["event"] for entry in logged].count("tor.schedule_failed") == 1


async def test_a_scheduled_move_that_comes_late_is_none(
    enter: Enter, peer: Any, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths._CHANCE, "uniform", lambda *_: 0.05)
    with structlog.testing.capture_logs() as logged:
        async with enter(tor_circuit_rotation_interval=10, tor_health_check_interval=60) as tor:
            await tor.client.isolation("rpc-1")
            await probed(tor)
            give_circuit(peer, 7, "rpc-1.1")
            door.delay_s = 0.5

            async def under_way() -> bool:
                return "rpc-1.2" in door.users

            await tor.eventually(under_way, timeout_s=5)
            await tor.client.rotate("rpc-1", "went on", to=9)
            await asyncio.sleep(0.8)
            found = await tor.client.isolation("rpc-1")
    assert (found.generation, found.reason) == (9, "went on")
    assert [line["generation"] for line in logged if line["event"] == "tor.rotated" and line["name"] == "rpc-1"] == [9]


async def test_without_rotation_nobody_is_moved_and_tors_own_time_is_left(enter: Enter, peer: Any) -> None:
    async with enter(tor_circuit_rotation_enabled=False) as tor:
        assert (await tor.client.isolation("rpc-1")).next_in_s is None
        status = await tor.until(TorState.OK)
        assert (status.rotation.enabled, status.rotation.next_in_s) == (False, None)
        assert not any("MaxCircuitDirtiness" in command for command in peer.commands)


async def test_with_rotation_tor_keeps_a_circuit_for_longer_than_the_interval(enter: Enter, peer: Any) -> None:
    async with enter(tor_circuit_rotation_interval=3600) as tor:
        shown = await tor.client.isolation("rpc-1")
        assert 2700 <= shown.next_in_s <= 3600
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        await seen(tor, "rpc-1.1")
        rotation = (await tor.client.tor()).rotation
        assert (rotation.enabled, rotation.interval_s) == (True, 3600)
        assert 2600 <= rotation.next_in_s <= 3600
    assert "SETCONF MaxCircuitDirtiness=4500" in peer.commands
    assert "SETCONF ConfluxEnabled=0" in peer.commands


async def test_a_circuit_that_was_left_is_closed_and_a_refusal_ends_nothing(enter: Enter, peer: Any) -> None:
    async with enter() as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        await seen(tor, "rpc-1.1")
        peer.replies["CLOSECIRCUIT"] = "552 Unknown circuit\r\n"
        shown = await tor.client.rotate("rpc-1", "drill")
        assert shown.draining == 1

        async def asked() -> bool:
            return bool(peer.commands.count("CLOSECIRCUIT 7 IfUnused") >= 2)

        await tor.eventually(asked)  # again, although tor refused
        assert "CLOSECIRCUIT 7" not in peer.commands


async def test_a_circuit_that_nobody_lets_go_of_is_closed_in_the_end(
    enter: Enter, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "LONGEST_DRAIN_S", 0.5)
    async with enter() as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        await seen(tor, "rpc-1.1")
        await tor.client.rotate("rpc-1", "drill")

        async def forced() -> bool:
            return "CLOSECIRCUIT 7" in peer.commands

        await tor.eventually(forced)
        assert "CLOSECIRCUIT 7 IfUnused" in peer.commands


async def test_circuits_that_were_tried_in_vain_ahead_of_a_move_are_closed(
    enter: Enter, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "_DRAIN_LOOK_S", 0.05)
    now = datetime.now(UTC)
    ages = {7: ("rpc-1.1", 900), 8: ("rpc-1.2", 900), 9: ("rpc-1.3", 900), 10: ("rpc-1.4", 0), 11: ("other.9", 900)}
    peer.info["circuit-status"] = "\n".join(
        f"{number} BUILT {PATH} PURPOSE=GENERAL TIME_CREATED={now - timedelta(seconds=age):%Y-%m-%dT%H:%M:%S.%f}"
        f' SOCKS_USERNAME="{user}"'
        for number, (user, age) in ages.items()
    )
    peer.info["stream-status"] = f'3 SUCCEEDED 9 {TARGET} SOCKS_USERNAME="rpc-1.3"'
    async with enter(tor_health_check_interval=0.2) as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)

        async def closed() -> bool:
            return "CLOSECIRCUIT 8 IfUnused" in peer.commands

        await tor.eventually(closed)
    # Neither the present one, nor a spare that has connections, nor one that is about to be gone to, nor a stranger's.
    assert {command for command in peer.commands if command.startswith("CLOSE")} == {"CLOSECIRCUIT 8 IfUnused"}


async def test_a_move_that_is_asked_for_passes_a_bad_circuit_by(enter: Enter, peer: Any, door: Any) -> None:
    async with enter() as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        await seen(tor, "rpc-1.1")
        assert (await tor.client.rotate("rpc-1", "drill")).generation == 2
        assert "rpc-1.2" in door.users  # its circuit stood before anybody was sent there
        late = await tor.client.rotate("rpc-1", "late", to=1)
        assert (late.generation, late.reason) == (2, "drill")
        assert late.rtt_ms is not None  # nothing was begun anew
        give_circuit(peer, 8, "rpc-1.2")
        await seen(tor, "rpc-1.2")
        door.reply = lambda user: 1 if user == "rpc-1.3" else 0
        assert (await tor.client.rotate("rpc-1", "drill")).generation == 4


async def test_paired_circuits_that_tor_made_in_advance_are_closed(enter: Enter, peer: Any) -> None:
    used = f'8 BUILT {PATH} PURPOSE=CONFLUX_LINKED SOCKS_USERNAME="somebody"'
    peer.info["circuit-status"] = f"5 BUILT {PATH} PURPOSE=CONFLUX_LINKED\n6 BUILT {PATH} PURPOSE=GENERAL\n{used}"
    async with enter() as tor:
        await tor.until(TorState.OK)

        async def closed() -> bool:
            return "CLOSECIRCUIT 5 IfUnused" in peer.commands

        await tor.eventually(closed)
    assert [command for command in peer.commands if command.startswith("CLOSE")] == ["CLOSECIRCUIT 5 IfUnused"]


async def test_a_test_measures_both_the_new_and_the_standing_circuit(enter: Enter, peer: Any, door: Any) -> None:
    async with enter(tor_health_check_interval=60, tor_max_latency_ms=20) as tor:
        await tor.until(TorState.OK)
        await probed(tor)
        door.users.clear()
        door.delay_s = 0.05
        found = await asyncio.gather(tor.client.test(), tor.client.test(), return_exceptions=True)
        refused, result = sorted(list[Any](found), key=lambda one: not isinstance(one, Conflict))
        assert isinstance(refused, Conflict)
        assert (result.ok, result.slow, result.exit) == (True, True, None)
        assert len(door.users) == 2
        assert len(set(door.users)) == 1
        assert door.users[0].startswith("test-")
        door.reply = lambda _user: 5
        failed = await tor.client.test()
        assert (failed.ok, failed.latency_ms) == (False, None)
        assert "refuses connections" in failed.detail


@pytest.mark.parametrize(
    ("target", "words"), [("", "set TOR_PROBE_TARGET to host:port"), ("10.0.0.1:80", "on a private network")]
)
async def test_what_cannot_be_tested_is_said(enter: Enter, target: str, words: str) -> None:
    async with enter(tor_probe_target=target) as tor:
        await tor.until(TorState.OK)
        with pytest.raises(Unavailable, match=words):
            await tor.client.test()
        await asyncio.sleep(0.5)
        assert (await tor.client.tor()).probe is None


async def test_two_operators_who_ask_together_get_one_new_identity(enter: Enter, peer: Any) -> None:
    async with enter() as tor:
        await tor.until(TorState.OK)
        answers = await asyncio.gather(tor.client.newnym(), tor.client.newnym(), return_exceptions=True)
        assert sum(isinstance(answer, Exception) for answer in answers) == 1
        assert peer.commands.count("SIGNAL NEWNYM") == 1


async def test_a_new_identity_that_tor_refuses_costs_no_wait(enter: Enter, peer: Any) -> None:
    async with enter() as tor:
        await tor.until(TorState.OK)
        peer.replies["SIGNAL"] = "552 no\r\n"
        with pytest.raises(Exception, match="tor refused"):
            await tor.client.newnym()
        peer.replies.clear()
        await tor.client.newnym()


async def test_nothing_goes_on_after_the_end(enter: Enter, peer: Any, door: Any) -> None:
    before = asyncio.all_tasks()
    async with enter() as tor:
        await tor.client.isolation("rpc-1")
        await tor.until(TorState.OK)
        give_circuit(peer, 7, "rpc-1.1")
        await tor.client.rotate("rpc-1", "drill")
        await tor.client.test()
        peer.tell(f"CIRC 9 BUILT {PATH} PURPOSE=GENERAL")
    door.users.clear()
    peer.commands.clear()
    await asyncio.sleep(0.5)  # longer than changes are gathered
    assert (door.users, peer.commands) == ([], [])
    left = {task for task in asyncio.all_tasks() - before if "conftest" not in repr(task)}
    assert left == set()
