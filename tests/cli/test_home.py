"""A home: its paths, its network, its settings file, and who runs it."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lucid_tron_console import env_file, lab
from lucid_tron_console.cli.framework import Session
from lucid_tron_console.home import Home, NodeLock, NodeRecord, ServiceRun, default_home, demo_home
from lucid_tron_console.node import choose_network
from lucid_tron_console.probe import health
from lucid_tron_console.tor_way import TorWay
from services.kit.errors import Conflict, Invalid

HOLD = """
import sys, time
from pathlib import Path
from lucid_tron_console.cli.framework import Session
from lucid_tron_console.home import Home, NodeLock
with NodeLock(Home.at(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(home: Home) -> subprocess.Popen[str]:
    """Another process that holds the home's lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(home.path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_directories_are_closed_to_others(home: Home) -> None:
    before = os.umask(0)
    try:
        inner = Home.at(home.path / "x")
        inner.prepare()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (inner.path, inner.run_dir, inner.path / "state")]
    assert modes == [0o750, 0o750, 0o700]


def test_a_path_too_long_for_a_socket_is_refused_by_name(home: Home) -> None:
    with pytest.raises(Invalid, match="shorter --home"):
        Home.at(home.path / ("x" * 90)).prepare()


def test_the_limit_counts_bytes_and_not_characters() -> None:
    assert len("/tmp/" + "é" * 45) < 60
    with pytest.raises(Invalid, match="bytes too long"):
        Home.at(Path("/tmp/" + "é" * 45)).check()


def test_a_home_that_cannot_be_made_is_refused_by_name(home: Home) -> None:
    (home.path / "file").write_text("")
    with pytest.raises(Invalid, match="cannot be used"):
        Home.at(home.path / "file" / "home").prepare()


def test_a_file_in_place_of_a_home_is_refused(home: Home) -> None:
    file = home.path / "file"
    file.write_text("")
    with pytest.raises(Invalid, match="no directory"):
        Home.at(file).record()


def test_the_environment_chooses_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUCID_HOME", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert (default_home(), demo_home()) == (Path("/x/lucid-tron"), Path("/x/lucid-tron-demo"))
    monkeypatch.setenv("LUCID_HOME", "/y")
    assert (default_home(), demo_home()) == (Path("/y"), Path("/y"))


def test_the_sockets_may_be_elsewhere_unless_the_home_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_HOME", "/x")
    monkeypatch.setenv("LUCID_RUN_DIR", "/run/lucid")
    assert Session().home().socket("tron") == Path("/run/lucid/tron/tron.sock")
    assert Session(Path("/y")).home().socket("tron") == Path("/y/run/tron/tron.sock")


def test_the_sockets_of_the_environments_home_are_meant_however_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_HOME", "/x")
    monkeypatch.setenv("LUCID_RUN_DIR", "/run/lucid")
    assert Session(Path("/x")).home().socket("tron") == Path("/run/lucid/tron/tron.sock")


def test_a_command_to_copy_names_a_home_that_is_not_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_HOME", "/x")
    assert Home.at(Path("/x")).command("wallets unlock hot") == "lucid-tron wallets unlock hot"
    assert Home.at(Path("/y z")).command("wallets unlock hot") == "lucid-tron wallets unlock hot --home '/y z'"


def test_a_user_without_a_home_directory_can_name_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("LUCID_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(Invalid, match="--home"):
        Session().home()
    assert Session(Path("/y")).home().command("up") == "lucid-tron up --home /y"


def test_a_record_is_read_as_it_was_written(home: Home) -> None:
    record = NodeRecord("devnet", 7, (9090, 9091), {"tron": ServiceRun(8, 2, 1.5), "wallet": ServiceRun(None, 0, None)})
    home.write_record(record)
    assert home.record() == record


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"network": 1', "[" * 100_000),
        '{"network": 5, "pid": null, "devnet_ports": [], "services": {}}',
        '{"network": "devnet", "pid": "7", "devnet_ports": [], "services": {}}',
        '{"network": "devnet", "pid": true, "devnet_ports": [], "services": {}}',
        '{"network": "devnet", "pid": null, "devnet_ports": ["9090"], "services": {}}',
        '{"network": null, "pid": 7, "devnet_ports": [], "services": {"tron": {"pid": "8"}}}',
    ],
    ids=lambda text: text[:60],
)
def test_a_broken_record_is_an_error_with_words(home: Home, text: str) -> None:
    (home.path / "node.json").write_text(text)
    with pytest.raises(Invalid, match=r"node\.json"):
        home.record()


def test_nobody_holds_a_new_home(home: Home) -> None:
    assert home.holder() is None
    home.prepare()
    assert home.holder() is None


def test_the_kernel_says_who_holds_a_home(home: Home) -> None:
    home.prepare()
    process = hold(home)
    try:
        assert home.holder() == process.pid
        with pytest.raises(Conflict, match="already running"), NodeLock(home):
            pass
    finally:
        process.kill()
        process.communicate()


def test_a_holder_killed_with_minus_9_leaves_nothing_behind(home: Home) -> None:
    home.prepare()
    process = hold(home)
    home.write_record(NodeRecord("devnet", process.pid, (), {}))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert home.holder() is None
    with NodeLock(home):
        pass


def test_a_home_keeps_its_network(home: Home) -> None:
    home.write_record(NodeRecord("devnet"))
    assert choose_network(home, home.record(), None, {}) == "devnet"
    with pytest.raises(Conflict, match="belongs to devnet"):
        choose_network(home, home.record(), "nile", {})


def test_a_new_home_must_be_told_its_network(home: Home) -> None:
    with pytest.raises(Invalid, match="--network devnet"):
        choose_network(home, home.record(), None, {})
    assert choose_network(home, home.record(), None, {"TRON_NETWORK": "testnet"}) == "shasta"
    home.env_file.write_text("TRON_NETWORK=devnet\n")
    assert choose_network(home, home.record(), None, {}) == "devnet"


def test_a_record_keeps_the_way_out_and_an_old_one_has_none(home: Home) -> None:
    kept = NodeRecord("devnet", None, (9090,), {}, TorWay("lab", "/s", "/c", "why"))
    home.write_record(kept)
    assert home.record() == kept
    old = json.loads(kept.to_json())
    del old["tor"]
    assert NodeRecord.from_json(json.dumps(old)).tor == TorWay()


def test_a_home_that_is_too_deep_for_a_lab_is_refused(home: Home) -> None:
    deep = Home.at(Path("/") / ("d" * 80))
    with pytest.raises(Invalid, match="shorter --home"):
        lab.way(deep)
    assert lab.way(Home.at(Path("/srv/lucid"))).settings["TOR_SOCKS_SOCKET"] == "/srv/lucid/state/tor/lab/run/socks"


def test_a_number_in_a_lock_file_is_no_lab(home: Home) -> None:
    lab.directory(home).mkdir(parents=True)
    (lab.directory(home) / "owner.lock").write_text(f"{os.getpid()}\n")
    assert lab.pid(home) is None
    # Nor is one that was left in the record of a node that was killed.
    left = NodeRecord("devnet", None, (9090,), {"lab": ServiceRun(os.getpid(), 0, 0.0)})
    assert health(home, left, "lab").state == "down"
    assert not lab.stop(home)


def test_settings_are_read_as_the_daemons_read_them(home: Home) -> None:
    home.env_file.write_text("# a comment\nexport tron_timeout=5\nDEVNET_SOLID_LAG='3' # soon\n\nA=\n")
    assert env_file.read(home.env_file) == {"TRON_TIMEOUT": "5", "DEVNET_SOLID_LAG": "3", "A": ""}


@pytest.mark.parametrize("line", ["TRON TIMEOUT=5", "just words", "NAME"])
def test_a_line_that_means_nothing_is_an_error_with_its_number(home: Home, line: str) -> None:
    home.env_file.write_text(f"A=1\n{line}\n")
    with pytest.raises(Invalid, match="line 2"):
        env_file.read(home.env_file)


def test_no_settings_file_means_no_settings(home: Home) -> None:
    assert env_file.read(home.env_file) == {}
