"""Parts without a tor: settings, the seal, names, onion addresses, and what is read from tor's lines."""

from __future__ import annotations

import base64
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.kit.clock import SystemClock
from services.kit.errors import Conflict, Invalid, Unavailable
from services.tor import settings as settings_module
from services.tor.api import CreateOnion, ExitPolicy, TorState
from services.tor.names import MOST_NAMES, Names
from services.tor.picture import Picture, exits_of, relay, samples
from services.tor.seal import Seal, address_of, load
from services.tor.settings import TorSettings
from services.tor.store import IsolationRow, TorStore

A, B, C = "A" * 40, "B" * 40, "C" * 40


class TestSettings:
    def test_a_socket_is_preferred_to_a_port(self, tmp_path: Path) -> None:
        found = TorSettings(lucid_home=tmp_path, tor_control_socket=Path("/x/control"), tor_proxy_host="tor-proxy")
        assert str(found.control_address) == "/x/control"
        assert str(found.socks_port) == "tor-proxy:9050"

    def test_debians_socket_is_found_when_tor_is_installed_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(settings_module, "DEBIAN_CONTROL", tmp_path / "control")
        found = TorSettings(lucid_home=tmp_path)
        assert str(found.control_address) == "127.0.0.1:9051"
        (tmp_path / "control").touch()
        assert str(found.control_address) == str(tmp_path / "control")

    @pytest.mark.parametrize(
        ("values", "target"),
        [
            ({"tron_network": "mainnet"}, "api.trongrid.io:443"),
            ({"tron_network": "nile"}, "nile.trongrid.io:443"),
            ({"tron_network": "devnet"}, "None"),
            ({"tron_network": "devnet", "tron_http_endpoint": "http://127.0.0.1:9090, http://x"}, "127.0.0.1:9090"),
            ({"tron_http_endpoint": "https://node.example/path"}, "node.example:443"),
            ({"tor_probe_target": "abc.onion:80"}, "abc.onion:80"),
        ],
    )
    def test_what_a_probe_asks_for(self, tmp_path: Path, values: dict[str, Any], target: str) -> None:
        assert str(TorSettings(lucid_home=tmp_path, **values).probe_target) == target

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"tor_probe_target": "no port"}, "is not host:port"),
            ({"tor_probe_target": "host:99999"}, "is not host:port"),
            ({"tor_control_socket": Path("here")}, "the whole path"),
            ({"tor_connection_retry_delay_ms": 5000, "tor_connection_max_retry_delay_ms": 100}, "raise it"),
            ({"tor_circuit_rotation_interval": 1}, "greater than or equal"),
            ({"tor_log_level": "loud"}, "debug"),
        ],
    )
    def test_what_cannot_be_used_is_said(self, tmp_path: Path, values: dict[str, Any], words: str) -> None:
        with pytest.raises(ValidationError, match=words):
            TorSettings(lucid_home=tmp_path, **values)

    def test_a_credential_seals_before_a_generated_key(self, tmp_path: Path) -> None:
        assert TorSettings(lucid_home=tmp_path).onion_key[1] == "generated key file"
        (tmp_path / "tor-onion-key").write_bytes(b"k" * 32)
        assert TorSettings(lucid_home=tmp_path, credentials_directory=tmp_path).onion_key[1] == "credential"


class TestSeal:
    def test_opens_only_with_its_key_and_its_label(self) -> None:
        seal = Seal(b"k" * 32, "key file")
        sealed = seal.close(b"secret", "one.onion")
        assert b"secret" not in sealed
        assert seal.open(sealed, "one.onion") == b"secret"
        assert seal.close(b"secret", "one.onion") != sealed
        damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
        for other, label, text in (
            (Seal(b"x" * 32, "key file"), "one.onion", sealed),
            (seal, "two.onion", sealed),
            (seal, "one.onion", damaged),
            (seal, "one.onion", b"\x02" + sealed[1:]),
            (seal, "one.onion", b""),
        ):
            with pytest.raises(Conflict, match="cannot be opened"):
                other.open(text, label)

    def test_a_generated_key_is_its_owners_alone_and_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "onion.key"
        sealed = load(path, "generated key file", generate=True).close(b"s", "a")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert load(path, "generated key file", generate=True).open(sealed, "a") == b"s"

    def test_a_key_that_was_half_made_is_made_again(self, tmp_path: Path) -> None:
        (tmp_path / "onion.new").write_bytes(b"half")
        load(tmp_path / "onion.key", "generated key file", generate=True)
        assert len((tmp_path / "onion.key").read_bytes()) == 32
        assert not (tmp_path / "onion.new").exists()

    def test_hex_digits_are_a_key_too(self, tmp_path: Path) -> None:
        (tmp_path / "raw").write_bytes(b"\xab" * 32)
        (tmp_path / "hex").write_text("ab" * 32 + "\n")
        for name in ("raw", "hex"):
            (tmp_path / name).chmod(0o600)
        sealed = load(tmp_path / "raw", "key file", generate=False).close(b"s", "a")
        assert load(tmp_path / "hex", "key file", generate=False).open(sealed, "a") == b"s"

    def test_what_is_wrong_with_a_key_file(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        with pytest.raises(Unavailable, match="cannot be used"):
            load(path, "key file", generate=False)
        path.write_bytes(b"k" * 32)
        for mode in (0o644, 0o640, 0o604):
            path.chmod(mode)
            with pytest.raises(Unavailable, match="chmod 600"):
                load(path, "key file", generate=False)
        path.chmod(0o440)
        load(path, "credential", generate=False)  # as systemd gives it
        path.chmod(0o600)
        for key in (b"x" * 31, b"x" * 33, b"g" * 64, b"", b"a" * 66):
            path.write_bytes(key)
            with pytest.raises(Unavailable, match="is no key"):
                load(path, "key file", generate=False)
        os.mkfifo(tmp_path / "pipe", 0o600)
        with pytest.raises(Unavailable, match="is no key"):
            load(tmp_path / "pipe", "key file", generate=False)
        path.write_bytes(b"short")
        with pytest.raises(Unavailable, match="is no key"):
            load(path, "key file", generate=False)


class TestNames:
    def test_a_user_leads_back_to_its_name(self) -> None:
        names = Names(SystemClock())
        names.take_in("read:node.example:443")
        assert names.user("read:node.example:443") == "read:node.example:443.1"
        assert names.of_user("read:node.example:443.1") == ("read:node.example:443", True)
        names.put(names.advanced("read:node.example:443", "403"))
        assert names.of_user("read:node.example:443.1") == ("read:node.example:443", False)
        # A program may make its next circuit before it goes there.
        assert names.of_user("read:node.example:443.3") == ("read:node.example:443", True)
        assert names.of_user("somebody") is None
        assert names.of_user("read:node.example:443.x") is None

    def test_a_generation_never_goes_back(self) -> None:
        names = Names(SystemClock())
        first = names.take_in("a")
        names.put(names.advanced("a", "x", 9))
        names.put(first)
        assert names.user("a") == "a.9"

    @pytest.mark.parametrize("name", ["", "A", "a b", "ü", ".a", "x" * 65, "a\r\nSIGNAL HALT"])
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(Invalid):
            Names(SystemClock()).check(name)

    def test_there_is_an_end_to_names(self) -> None:
        names = Names(SystemClock())
        for number in range(MOST_NAMES):
            names.take_in(f"n{number}")
        with pytest.raises(Conflict):
            names.check("one-more")
        names.check("n0")


class TestOnionKeys:
    def test_an_address_has_the_form_of_version_three(self) -> None:
        # A well-known service of the Tor Project, taken apart and put together again.
        known = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
        public = base64.b32decode(known.removesuffix(".onion").upper())[:32]
        assert address_of(public) == known

    def test_a_key_is_the_expanded_secret(self) -> None:
        key, address = Seal.make_onion_key()
        assert len(key) == 64
        assert key[0] & 7 == 0
        assert key[31] & 0xC0 == 0x40
        assert len(address) == 62
        assert Seal.make_onion_key()[1] != address


class TestPicture:
    @pytest.fixture
    def time(self) -> list[float]:
        return [100.0]

    @pytest.fixture
    def picture(self, time: list[float]) -> Picture:
        names = Names(SystemClock())
        names.take_in("rpc-1")
        return Picture(lambda: time[0], lambda: datetime(2026, 1, 1, 0, 10, tzinfo=UTC), names.of_user)

    def test_building_a_circuit_measures_its_round_trip(self, picture: Picture, time: list[float]) -> None:
        picture.circuit("5 LAUNCHED PURPOSE=GENERAL TIME_CREATED=2026-01-01T00:00:00.000000")
        found = []
        for path in (f"${A}~a", f"${A}~a,${B}~b", f"${A}~a,${B}~b,${C}~c"):
            time[0] += 0.25
            picture.circuit(f"5 EXTENDED {path} PURPOSE=GENERAL TIME_CREATED=2026-01-01T00:00:00.000000")
            found.append(picture.circuits["5"].rtt_ms)
        assert found == [None, 250.0, 250.0]  # what the first hop answers is no round trip through a circuit
        circ = picture.circuit(f"5 BUILT ${A}~a,${B}~b,${C}~c PURPOSE=GENERAL TIME_CREATED=2026-01-01T00:00:00.000000")
        assert circ is not None
        shown = picture.shown(circ)
        assert shown.rtt_ms == 250.0
        assert shown.age_s == 600.0
        assert picture.circuit_counts().recent == 1
        picture.circuits_read(f"5 BUILT ${A}~a,${B}~b,${C}~c PURPOSE=GENERAL")
        assert picture.circuit_counts().recent == 1  # once

    def test_what_failed_is_forgotten_in_time(self, picture: Picture, time: list[float]) -> None:
        picture.circuit(f"1 BUILT ${A}~a")
        for number in range(3):
            stream = picture.stream(f"{number} CLOSED 1 x:1 REASON=TIMEOUT")
            assert stream is not None
            picture.judge_exit(stream)
        for number in range(9):
            picture.circuit(f"{10 + number} FAILED ${A}~a REASON=TIMEOUT")
        assert picture.most_circuits_fail()
        assert (picture.circuit_counts().recent, picture.circuit_counts().recent_failed) == (9, 9)
        assert len(picture.listed()) == 1 + 8
        assert len(picture.bad_exits()) == 1
        time[0] += 301
        assert (picture.circuit_counts().recent, picture.circuit_counts().recent_failed) == (0, 0)
        assert not picture.most_circuits_fail()
        assert picture.bad_exits() == []
        assert len(picture.listed()) == 1 + 8
        time[0] += 300
        assert [circuit.id for circuit in picture.listed()] == ["1"]

    def test_an_exit_that_serves_again_is_no_bad_one(self, picture: Picture) -> None:
        picture.circuit(f"1 BUILT ${A}~a")
        for number, fate in enumerate(("CLOSED", "CLOSED", "SUCCEEDED", "CLOSED", "CLOSED")):
            stream = picture.stream(f"{number} {fate} 1 x:1 REASON=TIMEOUT")
            assert stream is not None
            picture.judge_exit(stream)
        assert picture.bad_exits() == []
        assert next(iter(picture.exits.values())).failed_in_a_row == 2

    def test_a_circuits_user_is_told_by_its_first_stream(self, picture: Picture) -> None:
        circ = picture.circuit(f"5 BUILT ${A}~a PURPOSE=GENERAL")
        picture.stream('9 NEW 0 x:1 PURPOSE=USER SOCKS_USERNAME="rpc-1.1"')
        picture.stream('9 SENTCONNECT 5 x:1 SOCKS_USERNAME="rpc-1.1"')
        assert circ is not None
        shown = picture.shown(picture.circuits["5"])
        assert (shown.user, shown.isolation, shown.streams, shown.draining) == ("rpc-1.1", "rpc-1", 1, False)
        picture.stream('9 CLOSED 5 x:1 REASON=DONE SOCKS_USERNAME="rpc-1.1"')
        assert picture.streams_on("5") == 0

    def test_a_look_does_not_forget_whose_a_stream_is(self, picture: Picture) -> None:
        picture.stream('9 NEW 0 x:1 PURPOSE=USER SOCKS_USERNAME="rpc-1.1"')
        picture.streams_read("9 SUCCEEDED 5 x:1\n10 SUCCEEDED 5 y:2")
        assert picture.streams["9"].isolation == "rpc-1"
        assert picture.streams["10"].isolation is None
        picture.streams_read("")
        assert picture.streams == {}

    def test_circuits_that_are_gone_are_forgotten(self, picture: Picture) -> None:
        picture.circuits_read(f"1 BUILT ${A}~a\n2 BUILT ${B}~b")
        picture.circuits_read(f"2 BUILT ${B}~b")
        assert picture.circuits.keys() == {"2"}

    def test_nicknames_are_what_tor_lets_them_be(self, picture: Picture) -> None:
        circ = picture.circuit(f"1 BUILT ${A}~x\x1b[31m,${B}~named,${C}")
        assert circ is not None
        assert circ.path == ((A, "x"), (B, "named"), (C, "?"))

    def test_bootstrap_keeps_its_reason_until_it_goes_on(self, picture: Picture) -> None:
        picture.bootstrapped('WARN BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="x" WARNING="No route" REASON=NOROUTE COUNT=1')
        picture.bootstrapped('NOTICE BOOTSTRAP PROGRESS=5 TAG=conn SUMMARY="x"')
        assert picture.bootstrap is not None
        assert picture.bootstrap.reason == "NOROUTE: No route"
        picture.bootstrapped('NOTICE BOOTSTRAP PROGRESS=10 TAG=conn_done SUMMARY="y"')
        assert picture.bootstrap.reason == ""
        picture.bootstrapped('WARN BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done" WARNING="x" REASON=NOROUTE')
        assert picture.bootstrap.reason == ""
        for nonsense in ("101", "-1", "x", "", "9" * 5000):
            picture.bootstrapped(f"NOTICE BOOTSTRAP PROGRESS={nonsense} TAG=odd")
        assert (picture.bootstrap.percent, picture.bootstrap.tag) == (100, "done")

    def test_a_relay_of_the_consensus(self) -> None:
        text = "r nick AAAA BBBB 2038-01-01 00:00:00 1.2.3.4 9001 0\ns Exit Running\nw Bandwidth=12 Unmeasured=1"
        found = relay(text)
        assert found is not None
        assert (found.address, found.port, found.bandwidth) == ("1.2.3.4", 9001, 12_000)
        assert relay("") is None
        bad = text.replace("s Exit", "s BadExit Exit")
        assert list(exits_of(text.replace(" Running", " Fast"))) == []
        assert list(exits_of(f"{text}\n{bad}\n{text.replace('Exit ', '')}")) == [("AAAA", "1.2.3.4")]

    def test_the_cache_of_bandwidth(self) -> None:
        assert [(one.read, one.written) for one in samples("1,2 x,3 4 5,6")] == [(1, 2), (5, 6)]


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


async def test_the_store_is_its_owners_alone_and_lets_no_generation_go_back(tmp_path: Path) -> None:
    (tmp_path / "tor.db").touch(0o644)
    store = TorStore(tmp_path / "tor.db")
    await store.open()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for generation in (1, 7, 5):
        await store.put_isolations([IsolationRow("rpc-1", generation, now, f"r{generation}")])
    assert await store.isolations() == [IsolationRow("rpc-1", 7, now, "r7")]
    await store.close()
    assert modes(tmp_path) == {0o600}


def test_an_exit_policy_says_one_thing() -> None:
    with pytest.raises(ValidationError, match="wanted and excluded"):
        ExitPolicy(countries=("de",), excluded_countries=("de",))
    for values in ({"countries": ["DE"]}, {"countries": ["de}"]}, {"excluded_nodes": ["AA"]}, {"strict": True}):
        with pytest.raises(ValidationError):
            ExitPolicy.model_validate(values)
    assert ExitPolicy.model_validate_json('{"countries": ["de", "de"]}').countries == ("de",)


@pytest.mark.parametrize(
    "target",
    [
        "10.0.0.1:80",
        "example.com:80",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "unix:relative",
        "unix:/a b",
        "unix:/a/../b",
        "127.0.0.1:80 Flags=NonAnonymous",
        "127.0.0.1",
        "",
    ],
)
async def test_an_onion_leads_to_this_machine_only(start_at: Any, peer: Any, target: str) -> None:
    async with start_at(peer.port) as tor:
        with pytest.raises(Invalid):
            await tor.client.create_onion(CreateOnion(name="gateway", target=target))


async def test_an_onion_never_leads_to_what_rules_the_node(start_at: Any, peer: Any, home: Path) -> None:
    async with start_at(peer.port) as tor:
        for target in (f"unix:{home}/run/wallet/wallet.sock", f"127.0.0.1:{peer.port}"):
            with pytest.raises(Invalid, match="never shown to the world"):
                await tor.client.create_onion(CreateOnion(name="gateway", target=target))


async def test_the_key_of_an_onion_is_not_given_to_a_port_that_anybody_may_have_taken(start_at: Any, peer: Any) -> None:
    async with start_at(peer.port) as tor:
        await tor.until(TorState.OK)
        made = await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
        assert made.state == "failed"
        assert "set CookieAuthentication 1" in made.detail
    assert not any("ONION" in command for command in peer.commands if not command.startswith("GETINFO"))


async def test_an_onion_made_without_tor_waits_for_it(start_at: Any, peer: Any, key_to: dict[str, Path]) -> None:
    port = peer.port
    await peer.close()
    async with start_at(port, **key_to) as tor:
        made = await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
        assert made.state == "waiting"
        with pytest.raises(Conflict):
            await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
        peer.replies["ADD_ONION"] = f"250-ServiceID={made.address.removesuffix('.onion')}\r\n250 OK\r\n"
        await peer.listen(port)
        await tor.until(TorState.OK)

        async def publishing() -> bool:
            return bool((await tor.client.onion("gateway")).state == "publishing")

        await tor.eventually(publishing)
        command = next(one for one in peer.commands if one.startswith("ADD_ONION"))
        assert command.endswith("Flags=DiscardPK,Detach Port=80,127.0.0.1:8097")
        peer.tell(f"HS_DESC UPLOADED {made.address.removesuffix('.onion')} UNKNOWN ${A}~a")

        async def published() -> bool:
            return bool((await tor.client.onion("gateway")).state == "published")

        await tor.eventually(published)


async def test_another_tors_key_is_a_failed_onion_and_stops_nothing(
    start_at: Any, peer: Any, home: Path, key_to: dict[str, Path]
) -> None:
    async with start_at(peer.port, **key_to) as tor:
        await tor.until(TorState.OK)
        made = await tor.client.create_onion(CreateOnion(name="gateway", target="127.0.0.1:8097"))
        assert made.state == "failed"  # the peer did not name it
    (home / "state" / "tor" / "onion.key").write_bytes(b"x" * 32)
    async with start_at(peer.port, **key_to) as tor:
        await tor.until(TorState.OK)
        shown = await tor.client.onion("gateway")
        assert shown.state == "failed"
        assert "cannot be opened" in shown.detail
        with pytest.raises(Conflict):
            await tor.client.publish_onion("gateway")
