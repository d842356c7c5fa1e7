"""The socket and its directory: whose they are, who may come in, and what is left alone."""

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.kit import daemon, directory, peer
from services.kit.errors import Conflict, Unavailable


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0, 0o002, 0o022, 0o027, 0o077, 0o777])
def test_modes_are_the_same_under_every_umask(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "run" / "s" / "s.sock"
    if mask == 0o777 and os.geteuid():
        (tmp_path / "run").mkdir()  # else nobody could make anything in it
    with umask(mask), daemon.bound_socket(path):
        assert (mode_of(path), mode_of(path.parent)) == (0o660, 0o750)
        assert mode_of(tmp_path / "run") & 0o022 == 0
        assert os.umask(mask) == mask


def test_binding_leaves_the_umask_of_the_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of another service in this process make files at the same moment."""
    monkeypatch.setattr(os, "umask", lambda _mask: pytest.fail("the umask belongs to the whole process"))
    with daemon.bound_socket(tmp_path / "s.sock"):
        assert mode_of(tmp_path / "s.sock") == 0o660


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o1777])
def test_a_directory_that_others_may_write_is_refused_with_what_to_run(tmp_path: Path, mode: int) -> None:
    """Who can write there can put a socket of his own in our place, and is told the passphrases."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    with (
        pytest.raises(Unavailable, match=f"run chmod go-w {tmp_path / 'run'}"),
        daemon.bound_socket(tmp_path / "run" / "s.sock"),
    ):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "TRUSTED", frozenset({os.geteuid() + 1}))
    with pytest.raises(Unavailable, match="belongs to another user"), daemon.bound_socket(tmp_path / "s.sock"):
        pass


def test_a_directory_may_be_a_link_and_a_set_group_id_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real").chmod(0o2750)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with daemon.bound_socket(tmp_path / "link" / "s.sock"):
        assert mode_of(tmp_path / "real" / "s.sock") == 0o660
    assert mode_of(tmp_path / "real") == 0o2750


def test_a_link_in_the_place_of_the_socket_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (tmp_path / "s.sock").symlink_to(tmp_path / "precious")
    with pytest.raises(Conflict, match="is no socket"), daemon.bound_socket(tmp_path / "s.sock"):
        pass
    assert (tmp_path / "precious").read_text() == "x"


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "s.sock.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="cannot be written"), daemon.bound_socket(tmp_path / "s.sock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_the_socket_of_whoever_took_over_is_left_alone(tmp_path: Path) -> None:
    """The directory was wiped while we ran, and another daemon serves there now."""
    path = tmp_path / "run" / "s.sock"
    with daemon.bound_socket(path) as listener:
        for file in path.parent.iterdir():
            file.unlink()
        second = contextlib.ExitStack()
        second.enter_context(daemon.bound_socket(path)).listen()
        listener.close()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    second.close()
    assert not path.exists()


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(Unavailable, match="cannot be written: Not a directory"),
        daemon.bound_socket(tmp_path / "file" / "run" / "s.sock"),
    ):
        pass


def test_no_descriptor_is_left_by_any_way_out(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    (tmp_path / "taken.sock").write_text("no socket")
    before = descriptors()
    for _ in range(5):
        with (
            daemon.bound_socket(tmp_path / "s.sock"),
            pytest.raises(Conflict),
            daemon.bound_socket(tmp_path / "s.sock"),
        ):
            pass
        with pytest.raises(Conflict), daemon.bound_socket(tmp_path / "taken.sock"):
            pass
    assert descriptors() == before


def test_a_role_that_was_given_or_taken_counts_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"lucid-operator"}
    moment = [1000.0]
    monkeypatch.setattr(os, "getgrouplist", lambda _user, _gid: [7] if groups else [8])
    monkeypatch.setattr(peer, "_group_name", lambda gid: "lucid-operator" if gid == 7 else "")
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    uid = 1 if os.getuid() != 1 else 2
    assert peer._identity(uid, 1)[1] is peer.Role.OPERATOR
    groups.clear()
    moment[0] += peer.IDENTITY_TTL_S + 1
    assert peer._identity(uid, 1)[1] is peer.Role.VIEWER
