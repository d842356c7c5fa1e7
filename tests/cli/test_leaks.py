"""What the leak test sees of sockets: this very process opens some, and they are found and judged."""

import os
import socket
from collections.abc import Collection

import pytest

from lucid_tron_console import leaks

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


def test_a_process_that_ended_is_no_leak() -> None:
    assert leaks.watch({"gone": 2**22 + 1}, 0, (), loopback=False, busy=lambda: None).leaks == ()
