"""What the leak test sees of sockets: this very process opens some, and they are found and judged."""

import os
import socket
from collections.abc import Collection
from typing import Any

import pytest

from lucid_tron_console import leaks
from lucid_tron_console.cli.tor_leak_test import judge

ME = {"tron": os.getpid()}


def look(ways_in: Collection[tuple[str, int]] = (), *, loopback: bool = False) -> leaks.Seen:
    """Look once at the sockets of this process."""
    return leaks.watch(ME, 0, ways_in, loopback=loopback, busy=lambda: None)


def test_unix_sockets_are_counted_and_no_leak() -> None:
    before = look()
    one, other = socket.socketpair()
    with one, other:
        seen = look()
    assert seen.unix == before.unix + 2
    assert seen.leaks == before.leaks == ()


def test_a_connection_within_this_machine_is_one_past_tor_unless_it_is_tors_own_port_or_tor_is_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as caller, server.accept()[0]:
            back = caller.getsockname()[1]
            # One process holds both ends here, and the port that listens.
            assert set(look().leaks) == {
                f"tron: tcp to 127.0.0.1:{port}", f"tron: tcp to 127.0.0.1:{back}", "tron: tcp to nobody yet"
            }  # fmt: skip
            assert f"tron: tcp to 127.0.0.1:{port}" not in look({("127.0.0.1", port)}).leaks
            assert look(loopback=True).leaks == ("tron: tcp to nobody yet",)
            assert look().loopback == 2


@pytest.mark.parametrize(("family", "host", "shown"), [
    (socket.AF_INET, "192.0.2.1", "192.0.2.1"),
    (socket.AF_INET6, "::ffff:192.0.2.1", "192.0.2.1"),
    (socket.AF_INET6, "::1", "[::1]"),
])  # fmt: skip
def test_a_question_to_a_name_server_is_a_leak_whatever_else_is_allowed(
    family: socket.AddressFamily, host: str, shown: str
) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((host, 53))  # a datagram socket sends nothing by that
        except OSError:
            pytest.skip("this machine has no way there at all")
        found = look(loopback=False).leaks
    suffix = "6" if family == socket.AF_INET6 else ""
    assert found == (f"tron: udp{suffix} to {shown}:53",)


def test_a_socket_that_leads_nowhere_yet_is_no_unix_socket() -> None:
    before = look()
    with socket.socket(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as kernels:
        kernels.bind((0, 0))
        seen = look()
    assert (seen.unix, seen.others, seen.leaks) == (before.unix, before.others + 1, ())


@pytest.mark.parametrize("kind", [socket.SOCK_RAW, socket.SOCK_DGRAM])
def test_a_socket_for_pings_is_a_leak(kind: socket.SocketKind) -> None:
    try:
        pinging = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
    except PermissionError:
        pytest.skip("this user may not ping")
    with pinging:
        if kind is socket.SOCK_DGRAM:
            pinging.bind(("127.0.0.1", 0))
        assert look().leaks in {("tron: raw to nobody yet",), ("tron: icmp to nobody yet",)}


def test_a_socket_for_whole_packets_is_a_leak() -> None:
    try:
        sniffing = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003))
    except PermissionError:
        pytest.skip("this user may not see packets")
    with sniffing:
        assert look().leaks == ("tron: packet to nobody yet",)


def trial(**changes: Any) -> dict[str, Any]:
    """What the namespace's trial found where all is well."""
    phase = {"answers": 0, "refusals": 0, "words": "", "packets": {"lo": 0, "leak0": 0}, "datagrams": 0}
    return {
        "counts": {"udp": True, "tcp": True, "name": True},
        "open": {**phase, "answers": 3},
        "shut": {**phase, "refusals": 40, "words": "there is no SOCKS port"},
        **changes,
    }


PACKETS = {"answers": 3, "refusals": 0, "words": "", "packets": {"lo": 0, "leak0": 2}, "datagrams": 1}


@pytest.mark.parametrize(("found", "ok", "words"), [
    (trial(), True, "with Tor 3 reads and 0 packets; with Tor gone 0 packets, 40 reads refused"),
    (trial(open=PACKETS), False, "with Tor 2 packets, 1 of UDP"),
    (trial(shut=PACKETS), False, "with Tor gone 2 packets, 1 of UDP"),
    (trial(shut={**PACKETS, "packets": {"lo": 1}}), False, "with Tor gone 1 packets"),
    (trial(shut={**PACKETS, "packets": {}}), False, "with Tor gone 3 reads were answered"),
    (trial(shut={**PACKETS, "packets": {}, "answers": 0, "words": "it died"}), None, "it died"),
    (trial(counts={"udp": True, "tcp": True, "name": False}), None, "are not counted here (name)"),
    (trial(counts={"udp": True}), None, "nothing is shown"),
    (trial(open={**PACKETS, "packets": {}, "answers": 0, "words": "no circuit"}), None, "no answer: no circuit"),
])  # fmt: skip
def test_a_trial_shows_a_leak_its_absence_or_nothing(found: dict[str, Any], ok: bool | None, words: str) -> None:
    check = judge(found)
    assert check.ok is ok
    assert words in check.words


def test_a_process_that_ended_is_no_leak() -> None:
    assert leaks.watch({"gone": 2**22 + 1}, 0, (), loopback=False, busy=lambda: None).leaks == ()
