"""Where secrets may come from, and what is refused."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from lucid_tron_console.cli.wallets import _words_file
from lucid_tron_console.home import Home
from lucid_tron_console.secret_input import passphrase, passphrase_without_asking, read_secret_file
from services.kit.errors import Invalid

ASK = """
from lucid_tron_console.secret_input import passphrase
print("got", passphrase("hot", None, new=True))
"""


def secret(home: Home, content: bytes, mode: int = 0o600) -> Path:
    """A file with a secret."""
    path = home.path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"correct horse", b"correct horse\n", b"correct horse\r\n"])
def test_the_line_end_is_not_part_of_the_secret(home: Home, content: bytes) -> None:
    assert read_secret_file(secret(home, content), "passphrase_file") == "correct horse"


def test_spaces_are_part_of_the_secret(home: Home) -> None:
    assert read_secret_file(secret(home, b" a b \n"), "passphrase_file") == " a b "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_may_open_is_refused(home: Home, mode: int) -> None:
    with pytest.raises(Invalid, match="chmod 600"):
        read_secret_file(secret(home, b"x", mode), "passphrase_file")


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"\xff", b"x" * 5000])
def test_what_is_no_single_line_of_text_is_refused(home: Home, content: bytes) -> None:
    with pytest.raises(Invalid):
        read_secret_file(secret(home, content), "passphrase_file")


def test_a_pipe_is_refused() -> None:
    with pytest.raises(Invalid, match="does not come from a pipe"):
        read_secret_file(Path("-"), "passphrase_file")
    with pytest.raises(Invalid, match="no regular file"):
        read_secret_file(Path("/dev/null"), "passphrase_file")


def test_a_named_pipe_is_refused_and_not_waited_for(home: Home) -> None:
    os.mkfifo(home.path / "pipe", 0o600)
    with pytest.raises(Invalid, match="no regular file"):
        read_secret_file(home.path / "pipe", "passphrase_file")


def test_a_missing_file_is_refused_by_name(home: Home) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        read_secret_file(home.path / "none", "passphrase_file")


def test_recovery_words_go_to_a_new_private_file_only(home: Home) -> None:
    path = home.path / "words"
    before = os.umask(0)
    try:
        with _words_file(path) as write:
            write(["abandon", "about"])
    finally:
        os.umask(before)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("abandon about\n", 0o600)
    with pytest.raises(Invalid, match="not overwritten"), _words_file(path):
        pass
    assert path.read_text() == "abandon about\n"


def test_a_words_file_without_words_is_taken_away(home: Home) -> None:
    path = home.path / "words"
    with pytest.raises(Invalid, match="refused"), _words_file(path):
        raise Invalid("refused")
    assert not path.exists()


def test_systemd_hands_over_a_credential(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = home.path / "wallet-passphrase"
    credential.write_text("from systemd")
    credential.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home.path))
    assert passphrase_without_asking(None) == "from systemd"


def test_without_a_terminal_and_a_file_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(Invalid, match="--passphrase-file"):
            passphrase("hot", None)


def test_a_new_passphrase_is_asked_for_twice_and_never_shown() -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ASK], stdin=follower, stdout=subprocess.PIPE, stderr=follower, start_new_session=True
    )
    os.close(follower)
    shown = b""
    for _ in range(2):
        while not shown.endswith(b": "):
            shown += os.read(leader, 1000)
        os.write(leader, b"battery staple\n")
        shown += os.read(leader, 1000)
    output, _ = process.communicate(timeout=20)
    os.close(leader)
    assert output == b"got battery staple\n"
    assert b"battery" not in shown
    assert b"New passphrase of hot" in shown
