"""What the doctor says of Tor, with everything that can be wrong between a node and the machine's tor."""

import grp
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from lucid_tron_console import tor_doctor
from lucid_tron_console.finding import Finding, Verdict
from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.tor_way import TorWay

INFO = '250-PROTOCOLINFO 1\r\n250-AUTH METHODS={methods}\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n'
COOKIE = 'COOKIE,SAFECOOKIE COOKIEFILE="{path}"'

Port = Callable[[str], str]


@pytest.fixture
def control_port() -> Iterator[Port]:
    """Make listeners that answer the first bytes of each caller with the same words."""
    servers: list[socket.socket] = []

    def serve(server: socket.socket, words: str) -> None:
        while True:
            try:
                opened, _ = server.accept()
            except OSError:
                return
            with opened:
                opened.recv(1024)
                opened.sendall(words.encode())

    def make(words: str) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=serve, args=(server, words), daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield make
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def only(findings: Iterable[Finding], verdict: Verdict) -> dict[str, Finding]:
    """Findings of one kind, by subject."""
    return {one.subject: one for one in findings if one.verdict is verdict}


def look(where: str, password_file: Path | None = None) -> dict[str, Finding]:
    """What is bad about a control port, by subject."""
    return only(tor_doctor.control(where, password_file), Verdict.BAD)


def test_a_control_port_with_a_cookie_that_can_be_read_is_fine(control_port: Port, tmp_path: Path) -> None:
    cookie = tmp_path / 'a "cookie"'
    cookie.write_bytes(b"x" * 32)
    quoted = str(cookie).replace('"', '\\"')
    assert look(control_port(INFO.format(methods=COOKIE.format(path=quoted)))) == {}


def test_the_cookie_that_a_setting_names_is_looked_at(control_port: Port, tmp_path: Path) -> None:
    offered, named = tmp_path / "offered", tmp_path / "named"
    offered.write_bytes(b"x" * 32)
    port = control_port(INFO.format(methods=COOKIE.format(path=offered)))
    for content, words in ((b"x", ""), (b"y", f"{named} is not this tor's cookie, which is {offered}")):
        named.write_bytes(content * 32)
        bad = only(tor_doctor.control(port, None, named), Verdict.BAD)
        assert (bad["tor cookie"].words if bad else "") == words
    named.unlink()
    assert str(named) in only(tor_doctor.control(port, None, named), Verdict.BAD)["tor cookie"].words


def test_a_cookie_out_of_reach_comes_with_the_group_to_join(control_port: Port, tmp_path: Path) -> None:
    place = tmp_path / "tor"
    place.mkdir(mode=0o750)
    gid = next(one.gr_gid for one in grp.getgrall() if one.gr_gid and (os.getuid() == 0 or one.gr_gid == os.getgid()))
    os.chown(place, -1, gid)
    missing = place / "control.authcookie"
    advice = look(control_port(INFO.format(methods=COOKIE.format(path=missing))))["tor cookie"].advice
    assert advice.startswith(f"usermod -aG {grp.getgrgid(gid).gr_name} ")


def test_a_cookie_for_its_owner_alone_is_a_matter_of_the_torrc(tmp_path: Path) -> None:
    cookie = tmp_path / "control.authcookie"
    cookie.touch(mode=0o600)
    assert "CookieAuthFileGroupReadable 1" in tor_doctor.group_advice(cookie)


@pytest.mark.parametrize(
    ("words", "subject", "advice"),
    [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "tor control", "TOR_CONTROL_SOCKET"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "tor control", "TOR_CONTROL_SOCKET"),
        ("", "tor control", "TOR_CONTROL_SOCKET"),
        (INFO.format(methods="NULL"), "tor cookie", "CookieAuthentication 1"),
        (INFO.format(methods="HASHEDPASSWORD"), "tor cookie", "TOR_CONTROL_PASSWORD_FILE"),
    ],
)
def test_what_is_no_control_port_or_has_no_key_is_said(
    control_port: Port, words: str, subject: str, advice: str
) -> None:
    assert advice in look(control_port(words))[subject].advice


def test_a_password_that_cannot_be_read_is_said(control_port: Port, tmp_path: Path) -> None:
    port = control_port(INFO.format(methods="HASHEDPASSWORD"))
    secret = tmp_path / "password"
    assert "cannot be read" in look(port, secret)["tor password"].words
    secret.write_text("x")
    assert look(port, secret) == {}


def test_no_control_port_at_all_comes_with_what_the_torrc_needs(tmp_path: Path) -> None:
    for where in (str(tmp_path / "control"), "127.0.0.1:1"):
        assert "systemctl start tor" in look(where)["tor control"].advice


def test_a_node_behind_the_machines_tor_is_looked_at_while_it_does_not_run(home: Home) -> None:
    home.prepare()
    home.write_record(NodeRecord("nile", tor=TorWay("system")))
    settings = {"TRON_HTTP_ENDPOINT": "https://one.example", "TOR_PROXY_HOST": "127.0.0.1"}
    ports = {"TOR_PROXY_SOCKS_PORT": "1", "TOR_PROXY_CONTROL_PORT": "2"}
    bad = only(tor_doctor.examine(home, {"PATH": os.environ["PATH"], **settings, **ports}), Verdict.BAD)
    assert set(bad) == {"tor socks", "tor control"}
    assert "127.0.0.1:1" in bad["tor socks"].words


def test_a_node_past_tor_is_a_risk_while_it_does_not_run_too(home: Home) -> None:
    home.prepare()
    home.write_record(NodeRecord("nile", tor=TorWay("off", past="USE_TOR_FOR_EXTERNAL_CALLS=false (in lucid.env)")))
    found = list(tor_doctor.examine(home, {}))
    assert only(found, Verdict.RISK)["past Tor"].words.count("USE_TOR_FOR_EXTERNAL_CALLS=false") == 1
    assert not only(found, Verdict.BAD)


def test_tor_that_is_missing_is_bad_only_where_a_lab_needs_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    home.prepare()
    for mode, verdict in (("off", Verdict.NOTE), ("lab", Verdict.BAD)):
        home.write_record(NodeRecord("devnet", None, (9090, 9091), {}, TorWay.from_json({"mode": mode})))
        found = next(one for one in tor_doctor.examine(home, {}) if one.subject == "tor")
        assert found.verdict is verdict
        assert ("apt-get install -y tor" in found.advice) is (mode == "lab")
