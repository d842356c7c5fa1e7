"""The node of one home: what it consists of, and how it is started, waited for and stopped."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from lucid_tron_console import daemon_settings, env_file, lab
from lucid_tron_console.home import SERVICES, Home, NodeLock, NodeRecord
from lucid_tron_console.probe import Health, ask, health
from lucid_tron_console.python import PYTHON_M
from lucid_tron_console.supervisor import STOP_GRACE_S, Command, Supervisor
from lucid_tron_console.tor_way import OFF, Mode, Told, TorWay, choose_mode
from services.kit.errors import Conflict, Invalid, LucidError, Timeout, Unavailable

DEVNET_PORT = 9090
"""First choice for the devnet, where the common TRON test images listen."""

DEVNET_ENDPOINTS = 2
"""A node has two endpoints over its one devnet chain, so that what is final is asked of two, as on a real network."""

LOOK, DEVNET_LOOK_S = "TRON_CONFIRMATION_CHECK_INTERVAL", "1"
"""How often a devnet node looks for blocks unless its operator says so: it makes one every 3 s, and asking is free."""

READY_TIMEOUT_S = 60.0
"""How long `up` waits until every service is ready; a Pi with a cold SD card needs a good part of it."""

NEED_THE_WORLD = ("tor", "tron", "payout")
"""Services that can be not ready because of something outside; the others have all they need in the node."""

TELL_AFTER_S = 4.0
"""A start that takes longer says what it waits for."""

AWAY_ATTEMPTS = 3
"""A tor that was looked for as often in vain, which takes some seconds, is away."""

HOPELESS_RESTARTS = 3
"""A service that died as often before it was ever ready will not get ready."""


def choose_network(home: Home, record: NodeRecord, asked: str | None, environ: Mapping[str, str]) -> str:
    """Decide which network a node is for: what was asked, what the home belongs to, or `TRON_NETWORK`.

    Raises:
        Conflict: the home belongs to another network.
        Invalid: nothing says which network a new home is for.
    """
    wanted = "shasta" if asked == "testnet" else asked or network_from_settings(home, environ)
    if record.network and wanted and wanted != record.network:
        raise Conflict(
            f"the home {home.path} belongs to {record.network}, not to {wanted}: a home keeps one network for ever; "
            f"take another with --home",
            field="network",
        )
    network = record.network or wanted
    if network is None:
        raise Invalid(
            f"the home {home.path} is new: say which network it is for, such as --network devnet", field="network"
        )
    return network


def network_from_settings(home: Home, environ: Mapping[str, str]) -> str | None:
    """What `TRON_NETWORK` says in the environment or in the home's settings file."""
    named = environ.get("TRON_NETWORK") or env_file.read(home.env_file).get("TRON_NETWORK")
    return "shasta" if named == "testnet" else named


def choose_tor(
    home: Home, network: str, asked: str | None, remembered: Mode | None, environ: Mapping[str, str]
) -> TorWay:
    """Decide how a node gets out: as asked, else as remembered, else as the settings suggest.

    Raises:
        Invalid: a way that leaks or leads nowhere, or settings that no daemon could start with; says which.
        Unavailable: the lab is asked for, and tor is not installed; says how to install it.
    """
    urls = (f"http://127.0.0.1:{DEVNET_PORT}",) if network == "devnet" else ()
    report = daemon_settings.read(home, environ, decided(home, network, urls, environ))
    if report["way_out"] is None and asked != "lab":
        daemon_settings.refuse(home, report)
    told = Told.of(report)
    mode = choose_mode(network, asked, remembered, told)
    daemon_settings.refuse(home, report)
    if mode != "lab":
        # A setting is taken back sooner or later: that must not leave a home without the Tor that it had.
        back = remembered if told.no_tor and not asked and remembered not in (None, mode) else ""
        return TorWay(mode, past=told.past, returns_to=back or "")
    found = lab.available()
    if not found.ok:
        raise Unavailable(f"{found.message}; or start with --tor off", field="tor")
    return replace(lab.way(home), past=told.past)


@contextlib.contextmanager
def reserved_ports(remembered: Sequence[int], count: int = DEVNET_ENDPOINTS) -> Iterator[tuple[int, ...]]:
    """Hold loopback ports for a devnet: those of last time if they are free, else the next free ones from 9090.

    An abstract Unix socket per port keeps other homes off while our devnet starts or restarts; a listener of
    somebody else is found by trying to bind.

    Raises:
        Unavailable: no port is free.
    """
    with contextlib.ExitStack() as guards:
        ports: list[int] = []
        for port in dict.fromkeys([*remembered, *range(DEVNET_PORT, DEVNET_PORT + 400)]):
            guard = _reserve(port)
            if guard is not None:
                guards.enter_context(guard)
                ports.append(port)
            if len(ports) == count:
                break
        else:
            raise Unavailable(f"no free port from {DEVNET_PORT} on for the devnet")
        yield tuple(ports)


def _reserve(port: int) -> socket.socket | None:
    guard = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        guard.bind(f"\0lucid-tron/devnet/{port}")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: a port in TIME_WAIT counts as free, one with a listener does not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        guard.close()
        return None
    return guard


def services(network: str, tor: TorWay) -> tuple[str, ...]:
    """What a node consists of, in the order in which it is started."""
    own = tuple(name for name in SERVICES if name != "devnet")
    return (*(("devnet",) if network == "devnet" else ()), *tor.services, *own)


def _devnet_endpoints(urls: Sequence[str], settings: Mapping[str, str], tor: TorWay) -> str:
    """Where a devnet node asks: its own devnet, or that devnet's onion addresses where the settings name only such."""
    named = settings.get("TRON_HTTP_ENDPOINT", "")
    hosts = [urlsplit(part.strip()).hostname or "" for part in named.split(",") if part.strip()]
    onions = tor.mode != "off" and bool(hosts) and all(host.endswith(".onion") for host in hosts)
    return named if onions else ",".join(urls)


def _devnet_ports(home: Home, network: str) -> contextlib.AbstractContextManager[tuple[int, ...]]:
    return reserved_ports(home.record().devnet_ports) if network == "devnet" else contextlib.nullcontext(())


def commands(
    home: Home,
    network: str,
    urls: Sequence[str],
    environ: Mapping[str, str],
    passphrase_file: Path | None = None,
    *,
    tor: TorWay = OFF,
) -> tuple[Command, ...]:
    """Say how each daemon of a node is started: one process each, the wallet service always alone.

    `urls` are those of the home's devnet; on other networks there are none, and settings name the endpoints.
    """
    base = {
        **env_file.read(home.env_file),
        **{name: value for name, value in environ.items() if name != "NOTIFY_SOCKET"},
        **decided(home, network, urls, environ, tor),
    }
    own = {"wallet": {"WALLET_PASSPHRASE_FILE": str(passphrase_file)}} if passphrase_file else {}

    def command(name: str) -> Command:
        env = base | own.get(name, {})
        if name == "lab":
            return Command(name, lab.argv(home), env, stdout=lab.report_file(home))
        # Who goes through the lab is started when it stands, and finds it at the first attempt.
        after = "lab" if tor.mode == "lab" and name in {"tor", "tron"} else ""
        return Command(name, (*PYTHON_M, f"services.{name}"), env, after)

    return tuple(command(name) for name in services(network, tor))


def decided(
    home: Home, network: str, urls: Sequence[str], environ: Mapping[str, str], tor: TorWay = OFF
) -> dict[str, str]:
    """Settings of a node that are not for its operator to choose, and on a devnet the one with a default of its own."""
    settings = {
        "LUCID_HOME": str(home.path),
        "LUCID_RUN_DIR": str(home.run_dir),
        "TRON_NETWORK": network,
        **tor.settings,
    }
    if urls:
        base = {**env_file.read(home.env_file), **environ}
        settings |= {
            "TRON_HTTP_ENDPOINT": _devnet_endpoints(urls, base, tor),
            "DEVNET_LISTEN": ",".join(url.removeprefix("http://") for url in urls),
            "DEVNET_HOME": str(home.devnet_dir()),
        }
    given = {name.upper() for name, value in (env_file.read(home.env_file) | dict(environ)).items() if value}
    return settings | {LOOK: DEVNET_LOOK_S} if urls and LOOK not in given else settings


def decided_by(home: Home, record: NodeRecord, environ: Mapping[str, str]) -> dict[str, str]:
    """What the node of a record decides; nothing if there never was one."""
    if record.network is None or (record.network == "devnet" and not record.devnet_ports):
        return {}
    return decided(home, record.network, record.devnet_urls, environ, record.tor)


def run_node(
    home: Home, network: str, passphrase_file: Path | None, tell: Callable[[str], None], tor: TorWay = OFF
) -> None:
    """Be the node of a home until a signal says stop.

    Raises:
        Conflict: a node runs there already.
        Unavailable: there is no port for the devnet.
    """
    os.umask(0o027)
    with NodeLock(home), _devnet_ports(home, network) as ports:
        record = NodeRecord(network, os.getpid(), ports, tor=tor)
        home.write_record(record)
        devnet = f", devnet at {' and '.join(record.devnet_urls)}" if ports else ""
        through = "" if tor.mode == "off" else f", with Tor ({tor.mode})"
        tell(f"{network} node in {home.path}{devnet}{through}")
        if tor.mode == "lab":
            lab.prepare(home)
            if lab.stop(home):
                tell("the private Tor network of this home is the node's from now on")
        started = commands(home, network, record.devnet_urls, os.environ, passphrase_file, tor=tor)
        Supervisor(home, record, started, tell).run()


def start_detached(argv: Sequence[str], home: Home) -> subprocess.Popen[bytes]:
    """Start `lucid-tron up` as a process of its own session, which outlives this one; its words go to `node.log`."""
    with open(home.log("node"), "ab", opener=lambda path, flags: os.open(path, flags, 0o640)) as log:
        return subprocess.Popen(
            [*PYTHON_M, "lucid_tron_console", "--home", str(home.path), "up", *argv],
            env={**os.environ, "LUCID_HOME": str(home.path), "LUCID_RUN_DIR": str(home.run_dir)},
            cwd=home.path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def patience_s(tor: TorWay) -> float:
    """How long a start may take: a private Tor network has to stand before what goes through it is started."""
    return READY_TIMEOUT_S + (lab.START_S if tor.mode == "lab" else 0)


def wait_ready(
    home: Home,
    process: subprocess.Popen[bytes] | None = None,
    timeout_s: float = READY_TIMEOUT_S,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Health]:
    """Wait until every service of the running node is ready; returns those that are not, because of the world outside.

    A node whose Tor or whose chain is away is up: it tries for ever, and goes on by itself when they come. When it
    takes long, `tell` gets what is waited for.

    Raises:
        Unavailable: the node ended, a service keeps dying, or the time is over; says which, why, and where the log is.
    """
    deadline = time.monotonic() + timeout_s
    waiting = [Health(name, "down") for name in SERVICES]
    told, tell_at = "", time.monotonic() + TELL_AFTER_S
    # A node that has run for months may have seen its services die before; that says nothing about now.
    before = None if process else home.record()
    while True:
        if process is not None and process.poll() is not None and home.holder() is None:
            raise Unavailable(f"the node ended: {last_words(home, 'node')} (log: {home.log('node')})")
        record = home.record()
        over = time.monotonic() >= deadline
        if record.services and home.holder() == record.pid:
            waiting = [one for name in record.services if (one := health(home, record, name)).state != "ready"]
            if not waiting or (_only_outside(record, waiting) and (over or _tor_is_away(home))):
                return waiting
            _give_up_on_the_dying(home, record, waiting, before)
            first = waiting[0]
            if first.service != told and time.monotonic() > tell_at:
                told = first.service
                tell(f"waiting for {first.service}" + (f": {first.detail}" if first.state == "not ready" else ""))
        if over:
            break
        time.sleep(0.05)
    one = waiting[0]
    words = last_words(home, one.service) if one.state == "down" else one.detail
    raise Unavailable(f"{one.service} is {one.state} after {timeout_s:g} s: {words} (log: {home.log(one.service)})")


def _only_outside(record: NodeRecord, waiting: Sequence[Health]) -> bool:
    """Whether nothing is missing but what is not on this machine, or not the node's own."""
    own = record.network == "devnet" and record.tor.mode != "system"
    return not own and all(one.state == "not ready" and one.service in NEED_THE_WORLD for one in waiting)


def _tor_is_away(home: Home) -> bool:
    """Whether the Tor service looked for tor so often that a start does not wait for it: it may take days."""
    with contextlib.suppress(LucidError):
        return int(ask(home.socket("tor"), "/api/v1/tron/tor/status", timeout_s=1.0)["attempts"]) >= AWAY_ATTEMPTS
    return False


def _give_up_on_the_dying(home: Home, record: NodeRecord, waiting: Sequence[Health], before: NodeRecord | None) -> None:
    for one in waiting:
        known = before.services.get(one.service) if before and before.pid == record.pid else None
        deaths = record.services[one.service].restarts - (known.restarts if known else 0)
        if deaths >= HOPELESS_RESTARTS:
            raise Unavailable(
                f"{one.service} died {deaths} times: {last_words(home, one.service)} (log: {home.log(one.service)})"
            )


def last_words(home: Home, service: str) -> str:
    """The last line of a service's log, in words where it is one of our JSON lines; a lab tells its end on stdout."""
    if service == "lab" and (message := lab.report(home).get("message")):
        return f"{message}; without it: --tor off"
    try:
        with home.log(service).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:
        return "its log cannot be read"
    line = next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict):
            return str(entry.get("error") or entry.get("event") or line)[:300]
    return line[:300]


def stop(home: Home, timeout_s: float = STOP_GRACE_S + 10) -> bool:
    """Stop the node of a home and wait until it is gone; False if none was running.

    Raises:
        Timeout: it did not go within `timeout_s`; then it was killed, which the stores survive.
    """
    pid = home.holder()
    if pid is None:
        return False
    if pid <= 0:
        raise Invalid(f"the node of {home.path} runs where it cannot be signalled from here (another container?)")
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        # The handle is for this very process for ever: once the lock is still its, no other can be hit.
        if home.holder() != pid:
            return True
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if _ended_within(handle, timeout_s):
            return True
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        _ended_within(handle, 5.0)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise Invalid(f"the node of {home.path} (pid {pid}) belongs to another user: stop it as that user") from error
    finally:
        os.close(handle)
    raise Timeout(f"the node did not stop in {timeout_s:g} s and was killed: nothing is lost, what was open goes on")


def _ended_within(handle: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))
