"""The control port: who is let in, who is not tor, and what is said of each."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import stem

from services.tor import install
from services.tor.api import TorState
from services.tor.control import Control, ControlError, Credentials, Refused, clean, fields
from services.tor.settings import Address


def nothing(_name: str, _text: str) -> None:
    """Hear no event."""


@contextlib.asynccontextmanager
async def talker(say: bytes, *, first: bool = False, hang_up: bool = False) -> AsyncIterator[Address]:
    """A server that answers the first line (or greets) with `say`."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if not first:
                await reader.readline()
            writer.write(say)
            await writer.drain()
            if not hang_up:
                await gone.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    finally:
        gone.set()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)


async def refused(address: Address, credentials: Credentials | None = None, timeout_s: float = 2.0) -> ControlError:
    with pytest.raises(ControlError) as caught:
        await Control.connect(address, credentials or Credentials(), nothing, timeout_s)
    return caught.value


async def test_nobody_listens(tmp_path: Path) -> None:
    for address in (Address(host="127.0.0.1", port=1), Address(path=tmp_path / "control")):
        error = await refused(address)
        assert error.state is TorState.NOT_RUNNING
        assert "systemctl start tor" in error.message


async def test_without_tor_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    error = await refused(Address(path=tmp_path / "control"))
    assert error.state is TorState.MISSING
    assert "apt-get install -y tor" in error.message


async def test_a_host_without_a_name() -> None:
    error = await refused(Address(host="tor-proxy.invalid", port=9051))
    assert error.state is TorState.UNREACHABLE
    assert "tor-proxy.invalid" in error.message


async def test_a_path_that_is_no_socket(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no socket")
    assert (await refused(Address(path=tmp_path / "file"))).state is TorState.NOT_RUNNING


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "an HTTP server"),
        (b"HTTP/1.0 501 Tor is not an HTTP Proxy\r\nContent-Type: text/html\r\n\r\n", "is tor's SOCKS port, not tor's"),
        (b"220 mail.example ESMTP\r\n", "not tor's control port"),
        (b"\x05\xff", "not tor's control port"),
        (b"", "hangs up at once"),
        (b"510 Unrecognized command\r\n", "it is no tor"),
        (b"250-AUTH METHODS=MAGIC\r\n250 OK\r\n", "no way to authenticate"),
        (b"250 OK\n", "not tor's control port"),
        (b"250-" + b"x" * 3_000_000, "not tor's control port"),
    ],
)
async def test_something_else_listens(say: bytes, words: str) -> None:
    async with talker(say, hang_up=True) as address:
        error = await refused(address)
    assert error.state is TorState.NOT_CONTROL_PORT
    assert words in error.message


async def test_an_ssh_server_greets_first() -> None:
    async with talker(b"SSH-2.0-OpenSSH_9.2p1\r\n", first=True) as address:
        error = await refused(address, timeout_s=0.3)  # it looks like the beginning of an answer
    assert error.state is TorState.NOT_CONTROL_PORT
    assert "an SSH server" in error.message


async def test_a_real_http_server_is_no_control_port() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"<html>400 Bad Request</html>\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        error = await refused(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
    assert error.state is TorState.NOT_CONTROL_PORT


async def test_a_silent_peer_is_bounded() -> None:
    async with talker(b"") as address:
        error = await refused(address, timeout_s=0.2)
    assert error.state is TorState.SILENT
    assert "says nothing" in error.message


async def test_half_an_answer_is_silence() -> None:
    async with talker(b"250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n") as address:
        assert (await refused(address, timeout_s=0.2)).state is TorState.SILENT


class TestAuthentication:
    async def test_a_wanted_password_is_not_set(self, peer: Any) -> None:
        peer.protocolinfo = "250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n"
        error = await refused(Address(host="127.0.0.1", port=peer.port))
        assert error.state is TorState.PASSWORD_MISSING
        assert "TOR_CONTROL_PASSWORD_FILE" in error.message

    async def test_a_wrong_password(self, peer: Any, tmp_path: Path) -> None:
        peer.protocolinfo = "250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n"
        peer.replies["AUTHENTICATE"] = "515 Authentication failed: Password did not match HashedControlPassword\r\n"
        (tmp_path / "password").write_text("guess\n")
        error = await refused(Address(host="127.0.0.1", port=peer.port), Credentials(tmp_path / "password"))
        assert error.state is TorState.WRONG_PASSWORD
        assert "guess" not in error.message

    async def test_a_password_with_odd_characters_is_sent_whole(self, peer: Any, tmp_path: Path) -> None:
        peer.protocolinfo = "250-AUTH METHODS=HASHEDPASSWORD,SAFECOOKIE\r\n250 OK\r\n"
        password = 'a "quote" \\ and ü'
        (tmp_path / "password").write_text(f"{password}\n", encoding="utf-8")
        control = await Control.connect(
            Address(host="127.0.0.1", port=peer.port), Credentials(tmp_path / "password"), nothing
        )
        await control.close()
        assert f"AUTHENTICATE {password.encode().hex()}" in peer.commands

    async def test_where_a_key_is_named_nobody_is_believed_who_asks_for_none(self, peer: Any, tmp_path: Path) -> None:
        for named, state in (
            (Credentials(password_file=tmp_path / "key"), TorState.WRONG_PASSWORD),
            (Credentials(cookie_file=tmp_path / "key"), TorState.WRONG_COOKIE),
        ):
            error = await refused(Address(host="127.0.0.1", port=peer.port), named)
            assert error.state is state
            assert "asks for no key" in error.message
        assert set(peer.commands) == {"PROTOCOLINFO 1"}

    async def test_a_password_file_that_is_not_there(self, peer: Any, tmp_path: Path) -> None:
        peer.protocolinfo = "250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n"
        error = await refused(Address(host="127.0.0.1", port=peer.port), Credentials(tmp_path / "none"))
        assert error.state is TorState.PASSWORD_MISSING

    async def test_an_unreadable_cookie(self, peer: Any, tmp_path: Path) -> None:
        peer.protocolinfo = f'250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE="{tmp_path}/none"\r\n250 OK\r\n'
        error = await refused(Address(host="127.0.0.1", port=peer.port))
        assert error.state is TorState.UNREADABLE_COOKIE
        assert "debian-tor" in error.message

    async def test_a_cookie_that_is_none(self, peer: Any, tmp_path: Path) -> None:
        (tmp_path / "cookie").write_bytes(b"x" * 33)
        peer.protocolinfo = f'250-AUTH METHODS=SAFECOOKIE COOKIEFILE="{tmp_path}/cookie"\r\n250 OK\r\n'
        assert (await refused(Address(host="127.0.0.1", port=peer.port))).state is TorState.WRONG_COOKIE
        assert not any(command.startswith("AUTH") for command in peer.commands)

    async def test_another_tors_cookie_is_found_out_before_anything_is_sent(self, peer: Any, tmp_path: Path) -> None:
        (tmp_path / "cookie").write_bytes(b"m" * 32)
        peer.protocolinfo = f'250-AUTH METHODS=SAFECOOKIE COOKIEFILE="{tmp_path}/cookie"\r\n250 OK\r\n'
        peer.replies["AUTHCHALLENGE"] = f"250 AUTHCHALLENGE SERVERHASH={'00' * 32} SERVERNONCE={'11' * 32}\r\n"
        error = await refused(Address(host="127.0.0.1", port=peer.port))
        assert error.state is TorState.WRONG_COOKIE
        assert not any(command.startswith("AUTHENTICATE") for command in peer.commands)

    async def test_the_right_cookie(self, peer: Any, tmp_path: Path) -> None:
        cookie = secrets.token_bytes(32)
        (tmp_path / 'co"okie').write_bytes(cookie)
        peer.protocolinfo = f'250-AUTH METHODS=SAFECOOKIE COOKIEFILE="{tmp_path}/co\\"okie"\r\n250 OK\r\n'
        usual = peer._answer

        def answer(line: str) -> str:
            verb, *args = line.split(" ")
            if verb != "AUTHCHALLENGE":
                return str(usual(line))
            both = cookie + bytes.fromhex(args[1]) + b"n" * 32
            key = b"Tor safe cookie authentication server-to-controller hash"
            digest = hmac.digest(key, both, hashlib.sha256).hex()
            return f"250 AUTHCHALLENGE SERVERHASH={digest} SERVERNONCE={(b'n' * 32).hex()}\r\n"

        peer._answer = answer
        control = await Control.connect(Address(host="127.0.0.1", port=peer.port), Credentials(), nothing)
        assert (await control.get("version")) == {"version": "0.4.9.11"}
        await control.close()
        nonce = bytes.fromhex(next(one for one in peer.commands if one.startswith("AUTHCHALLENGE")).split()[2])
        key = b"Tor safe cookie authentication controller-to-server hash"
        assert f"AUTHENTICATE {hmac.digest(key, cookie + nonce + b'n' * 32, hashlib.sha256).hex()}" in peer.commands
        assert len(nonce) == 32

    async def test_a_pipe_is_neither_a_cookie_nor_a_password(self, peer: Any, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        where = Address(host="127.0.0.1", port=peer.port)
        peer.protocolinfo = f'250-AUTH METHODS=SAFECOOKIE COOKIEFILE="{tmp_path}/pipe"\r\n250 OK\r\n'
        error = await refused(where)
        assert error.state is TorState.UNREADABLE_COOKIE
        assert "no regular file" in error.message
        peer.protocolinfo = "250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n"
        error = await refused(where, Credentials(tmp_path / "pipe"))
        assert error.state is TorState.PASSWORD_MISSING
        assert "no regular file" in error.message

    async def test_a_cookies_path_of_nonsense_is_none(self, peer: Any) -> None:
        peer.protocolinfo = '250-AUTH METHODS=SAFECOOKIE COOKIEFILE="/a\\000b"\r\n250 OK\r\n'
        error = await refused(Address(host="127.0.0.1", port=peer.port))
        assert error.state is TorState.UNREADABLE_COOKIE
        assert "does not say where its cookie is" in error.message

    async def test_a_plain_cookie_is_not_sent_to_whoever_asks_for_a_file(self, peer: Any, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"s" * 32)
        peer.protocolinfo = f'250-AUTH METHODS=COOKIE COOKIEFILE="{tmp_path}/secret"\r\n250 OK\r\n'
        error = await refused(Address(host="127.0.0.1", port=peer.port))
        assert error.state is TorState.UNREADABLE_COOKIE
        assert not any(command.startswith("AUTHENTICATE") for command in peer.commands)
        named = Credentials(cookie_file=tmp_path / "secret")
        await (await Control.connect(Address(host="127.0.0.1", port=peer.port), named, nothing)).close()
        assert f"AUTHENTICATE {(b's' * 32).hex()}" in peer.commands


class TestTalking:
    @pytest.fixture
    async def connected(self, peer: Any) -> AsyncIterator[tuple[Control, list[tuple[str, str]]]]:
        heard: list[tuple[str, str]] = []
        address = Address(host="127.0.0.1", port=peer.port)
        control = await Control.connect(address, Credentials(), lambda name, text: heard.append((name, text)), 0.5)
        yield control, heard
        await control.close()

    async def test_answers_come_in_order_between_events(self, peer: Any, connected: Any) -> None:
        control, heard = connected
        peer.tell("BW 1 2")
        answers = await asyncio.gather(*(control.get("version", "uptime") for _ in range(50)))
        assert all(answer == {"version": "0.4.9.11", "uptime": "60"} for answer in answers)
        assert ("BW", "1 2") in heard

    async def test_an_unknown_key_does_not_hide_the_others(self, connected: Any) -> None:
        control, _ = connected
        assert await control.get("version", "no/such") == {"version": "0.4.9.11"}

    async def test_an_event_of_many_lines(self, peer: Any, connected: Any) -> None:
        control, heard = connected
        for writer in peer._writers:
            writer.write(b"650+NOTICE\r\nfirst\r\n..second\r\n.\r\n650 OK\r\n")
        await control.get("version")
        assert heard == [("NOTICE", "first\n.second")]

    async def test_no_refusal_is_an_answer(self, peer: Any, connected: Any) -> None:
        control, _ = connected
        peer.replies["SIGNAL"] = "552 Unrecognized signal code\r\n"
        with pytest.raises(Refused, match="552"):
            await control.tell("SIGNAL", "NONE")

    async def test_a_command_is_one_line(self, connected: Any) -> None:
        control, _ = connected
        with pytest.raises(ValueError, match="one line"):
            await control.tell("GETINFO", "version\r\nSIGNAL HALT")

    async def test_falling_silent_ends_the_connection(self, peer: Any, connected: Any) -> None:
        control, _ = connected
        peer.replies["GETINFO"] = ""
        with pytest.raises(ControlError) as caught:
            await control.get("version")
        assert caught.value.state is TorState.SILENT
        assert control.ended.done()
        with pytest.raises(ControlError):
            await control.get("version")

    async def test_whoever_waits_is_told_of_the_end(self, peer: Any, connected: Any) -> None:
        control, _ = connected
        peer.replies["GETINFO"] = ""
        waiting = asyncio.create_task(control.get("version"))
        await asyncio.sleep(0.02)
        await peer.close()
        with pytest.raises(ControlError, match="closed the control connection"):
            await waiting

    async def test_nobody_commands_more_than_the_words(self, connected: Any) -> None:
        control, _ = connected
        await control.close()
        await control.close()


def test_what_tor_says_is_shown_without_what_a_terminal_obeys() -> None:
    assert clean("a\x1b]0;evil\x07b\u202ec\nd") == "a ]0;evil b c d"
    assert len(clean("x" * 9000, 100)) == 100


def test_words_and_pairs_of_a_line() -> None:
    words, pairs = fields('9 BUILT A,B PURPOSE=GENERAL SOCKS_USERNAME="a \\"b\\" c" X="open')
    assert words == ["9", "BUILT", "A,B"]
    assert pairs["PURPOSE"] == "GENERAL"
    assert pairs["SOCKS_USERNAME"] == 'a "b" c'


_CONVERSATION = """
import asyncio, os, sys, tempfile
from services.tor.control import Control, Credentials
from services.tor.settings import Address

async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(b"250-AUTH METHODS=NULL\\r\\n" if b"PROTO" in line else b"250-version=9\\r\\n")
        writer.write(b"250 OK\\r\\n")
    writer.close()

async def main():
    path = os.path.join(tempfile.mkdtemp(), "s")
    server = await asyncio.start_unix_server(serve, path)
    control = await Control.connect(Address(path=path), Credentials(), lambda *_: None)
    assert await control.get("version") == {"version": "9"}
    await control.close()
    server.close()

asyncio.run(main())
assert "stem.control" not in sys.modules  # 10 MB, and its threads
print("well")
"""

_WHAT_WE_USE_OF_STEM = """
import io, sys
import stem, stem.socket

message = stem.socket.recv_message(io.BytesIO(b"250+info=\\r\\na\\r\\n..b\\r\\n.\\r\\n250 OK\\r\\n"))
assert message.content() == [("250", "+", "info=\\na\\n.b"), ("250", " ", "OK")]
message = stem.socket.recv_message(io.BytesIO(b"250-AUTH METHODS=NULL\\r\\n250 OK\\r\\n"))
assert message.content() == [("250", "-", "AUTH METHODS=NULL"), ("250", " ", "OK")]
message = stem.socket.recv_message(io.BytesIO("650 NOTICE \\xff\\xfc\\r\\n".encode("latin-1")))
assert message.content() == [("650", " ", "NOTICE \\ufffd\\ufffd")]
for wrong, error in ((b"HTTP/1.1 400\\r\\n", stem.ProtocolError), (b"", stem.SocketClosed)):
    try:
        stem.socket.recv_message(io.BytesIO(wrong))
    except error:
        continue
    raise AssertionError(wrong)
print("well")
"""


def run(program: str, code: str, **environment: str) -> str:
    """Run code in a fresh Python with every warning an error; returns what it printed."""
    done = subprocess.run(
        [program, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.stdout + done.stderr


def test_a_conversation_without_one_warning() -> None:
    assert run(sys.executable, _CONVERSATION) == "well\n"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_stem_is_sound_on(version: str, tmp_path: Path) -> None:
    """stem is not maintained any more: what we use of it is tried on each Python that we run on."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [sys.executable] if sys.version.startswith(f"{version}.") else []
    found += [str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python3")]
    program = next(iter(found), None) or shutil.which(f"python{version}")
    if program is None:
        pytest.skip(f"python{version} is not on this machine")
    # It is all Python, and needs nothing: the one of this environment will do.
    (tmp_path / "stem").symlink_to(Path(stem.__file__).parent)
    assert run(program, _WHAT_WE_USE_OF_STEM, PYTHONPATH=str(tmp_path)) == "well\n"
