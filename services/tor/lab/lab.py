"""The whole network: brought up in the order that works, watched, and ended with nothing left behind."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from services.kit.errors import Conflict, Invalid, Unavailable
from services.kit.log import get_logger
from services.tor.install import Availability, find, installed
from services.tor.lab import keys, probe
from services.tor.lab import plan as planning
from services.tor.lab.claim import Anchor, Claim
from services.tor.lab.control import Control, ControlError
from services.tor.lab.names import NameServer
from services.tor.lab.node import Client, Node, NodeStatus, on_end
from services.tor.lab.plan import FEWEST_RELAYS, MOST_SERVERS, Plan, Role

Start = Literal["cold", "warm"]
"""warm: everybody still knew the network; cold: the network was founded anew."""

_READY_S: dict[Start, float] = {"warm": 20.0, "cold": 60.0}
"""For one attempt. On two quiet cores a warm start takes 2 s, a cold one 6 to 8 s."""
_FIRST_VOTE_S = 5
"""Between two attempts of a lonely authority to agree with itself."""
_POLL_S = 0.05
_PHASE = "status/bootstrap-phase"
_LONGEST_SOCKET_PATH = 107
"""Bytes that Linux keeps of the path of a Unix socket (unix(7)), less the final zero."""


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """Where programs find the client."""

    socks_path: str
    socks_port: int
    control_path: str
    control_port: int
    cookie_path: str


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab as it is now."""

    state: Literal["stopped", "starting", "ready"]
    start: Start | None
    """How it came up; None before."""
    start_s: float | None
    """How long that took, in seconds."""
    directory: str
    client: ClientStatus
    nodes: tuple[NodeStatus, ...]


class Lab:
    """A private Tor network in a directory of its own.

    Deaths that nobody asked for are repaired; `Node.kill` and `Node.pause` are for drills. It belongs to the process
    and the event loop that started it, and ends with that process, however it ends.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tor: str = "tor",
        exits: int = 2,
        relays: int = 4,
        client_options: Sequence[str] = (),
    ) -> None:
        """Describe a lab; `tor` is a program's name or path, `client_options` are lines for the client's torrc.

        Raises:
            Invalid: too few or too many nodes, or the directory's path is of no use for sockets or a torrc.
        """
        if exits < 1 or relays < FEWEST_RELAYS or 1 + exits + relays > MOST_SERVERS:
            raise Invalid(
                f"a lab has at least 1 exit and {FEWEST_RELAYS} relays, and at most {MOST_SERVERS - 1} of both together"
            )
        self.directory = directory.absolute()
        """Everything of the lab is in there."""
        self._tor = tor
        self._client_options = tuple(client_options)
        self._relays, self._exits = relays, exits
        # Only for the names and roles: where they listen is decided by start.
        servers = Plan.draw(relays, exits).servers()
        self.servers = [Node(each.name, each.role, self.directory / each.name, self._spawn) for each in servers]
        """Everybody but the client, the authority first."""
        self.client = Client(keys.CLIENT, self.directory / keys.CLIENT, self.directory / "run", self._spawn)
        """The tor that programs use."""
        _require_writable_in_torrc(self.nodes)
        self._state: Literal["stopped", "starting", "ready"] = "stopped"
        self._start: Start | None = None
        self._start_s: float | None = None
        self._claim: Claim | None = None
        self._anchor: Anchor | None = None
        self._unwatch: Callable[[], None] = lambda: None
        self._names: NameServer | None = None

    @staticmethod
    def available(tor: str = "tor") -> Availability:
        """Say whether tor is installed, and how to install it if not; runs `tor --version`."""
        return installed(tor)

    @property
    def nodes(self) -> list[Node]:
        """Everybody: the authority, the relays, the exits, the client."""
        return [*self.servers, self.client]

    @property
    def authority(self) -> Node:
        """Who says who is in the network."""
        return self.servers[0]

    @property
    def relays(self) -> list[Node]:
        """Those that are guards and middles."""
        return [node for node in self.servers if node.role is Role.RELAY]

    @property
    def exits(self) -> list[Node]:
        """Those that reach loopback, and so a devnet."""
        return [node for node in self.servers if node.role is Role.EXIT]

    def node(self, which: str) -> Node:
        """Find a node by its name, or by its fingerprint with or without `$` and nickname as circuits show it.

        Raises:
            Invalid: there is no such node.
        """
        wanted = which.lstrip("$").partition("~")[0]
        for node in self.nodes:
            if wanted == node.name or (node.fingerprint and wanted.upper() == node.fingerprint):
                return node
        raise Invalid(f"there is no node {which!r} in this lab: {', '.join(node.name for node in self.nodes)}")

    def status(self) -> LabStatus:
        """Show the lab and every node of it."""
        client = ClientStatus(
            str(self.client.socks_path),
            self.client.socks_port,
            str(self.client.control_path),
            self.client.control_port,
            str(self.client.cookie_path),
        )
        nodes = tuple(node.status() for node in self.nodes)
        return LabStatus(self._state, self._start, self._start_s, str(self.directory), client, nodes)

    async def start(self) -> None:
        """Bring the network up; return when the client has bootstrapped and a byte came through three hops.

        What is in the directory is used again where it is fresh; where that fails, once more without it.

        Raises:
            Conflict: it runs already, here or in another process; or the directory is something else.
            Unavailable: tor is missing, or the network did not come up; the message has tor's words.
        """
        if self._state != "stopped":
            raise Conflict(f"the lab of {self.directory} is {self._state} already")
        available = await asyncio.to_thread(self.available, self._tor)
        if not available:
            raise Unavailable(available.message)
        self._state, began = "starting", time.monotonic()
        try:
            self._claim = await Claim.take(self.directory)
            self._start = await self._come_up()
        except BaseException:
            await self.stop()
            raise
        for node in self.nodes:
            node.supervised = True
        self._start_s = round(time.monotonic() - began, 3)
        self._state = "ready"
        get_logger().info("lab.ready", start=self._start, start_s=self._start_s, directory=str(self.directory))

    async def stop(self) -> None:
        """End every process of the lab, and wait for that; nothing to do when it does not run."""
        await self._end_all()
        if self._claim is not None:
            self._claim.release()
            self._claim = None
        self._state = "stopped"

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the client has bootstrapped and a byte came through three hops: after drills.

        Raises:
            Unavailable: it did not within `timeout_s`; the message has how far it came.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._bootstrapped()
                await probe.until_through(self.client.socks_path)
        except TimeoutError:
            raise Unavailable(f"the client is not ready after {timeout_s:g} s: {await self._how_far()}") from None
        await self._close_probes()

    async def _come_up(self) -> Start:
        plan = keys.remembered(self.directory, self._relays, self._exits)
        if plan is not None and keys.is_fresh(self.directory, plan, datetime.now(UTC)) and _is_free(plan):
            try:
                await self._attempt(plan, "warm")
            except Unavailable as error:
                get_logger().warning("lab.warm_start_failed", error=error.message)
                await self._end_all()
            else:
                return "warm"
        plan = _free_plan(self._relays, self._exits)
        try:
            await self._attempt(plan, "cold")
        except Unavailable as error:
            await self._end_all()
            if _is_free(plan):
                raise
            # Somebody else took a port meanwhile: another plan has others.
            get_logger().warning("lab.cold_start_failed", error=error.message)
            await self._attempt(_free_plan(self._relays, self._exits), "cold")
        return "cold"

    async def _attempt(self, plan: Plan, start: Start) -> None:
        """Bring the network up on these addresses, or fail."""
        if start == "cold":
            keys.remember(self.directory, plan)
            keys.forget(self.directory)
        await self._prepare(plan, start)
        if self._client_options:
            await self._check_client()
        try:
            self._names = await NameServer.listen(plan.names_address, plan.names_port)
        except OSError as error:
            raise Unavailable(f"{plan.names_address} port {plan.names_port} is taken: {error.strerror}") from error
        try:
            async with asyncio.timeout(_READY_S[start]):
                for server in self.servers:
                    server.launch()
                if start == "warm":
                    self.client.launch()
                else:
                    await self._found()
                    self.client.launch()
                await self.client.listening()
                await self._bootstrapped()
        except TimeoutError:
            raise Unavailable(f"the network is not up after {_READY_S[start]:g} s: {await self._how_far()}") from None
        await self.ready(_READY_S[start])

    async def _prepare(self, plan: Plan, start: Start) -> None:
        """Write everything that the nodes read."""
        here = self.directory
        (here / "empty").write_text("")
        (here / "geoip").write_text(planning.geoip(plan))
        (here / "resolv.conf").write_text(f"nameserver {plan.names_address}:{plan.names_port}\n")
        for path in (*(node.directory for node in self.nodes), self.client.socks_path.parent):
            path.mkdir(mode=0o700, exist_ok=True)
            path.chmod(0o700)
        known = await keys.identities(self._tor, here, plan)
        common = planning.common(plan, here, (known.fingerprints[self.authority.name], known.authority))
        for node, spec in zip(self.servers, plan.servers(), strict=True):
            node.place(spec, known.fingerprints[node.name])
            self._configure(node, common + planning.server(plan, spec, here))
            if start == "cold":
                (node.directory / "state").write_text(planning.first_state(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"))
        self.client.settle(plan)
        self._configure(self.client, common + planning.client(plan, self.client.socks_path, self._client_options))

    def _configure(self, node: Node, options: planning.Options) -> None:
        own: planning.Options = [("DataDirectory", str(node.directory)), ("ControlPort", f'unix:"{node.control_path}"')]
        node.torrc_path.write_text(planning.text(own + options))
        node.log_path.unlink(missing_ok=True)

    async def _check_client(self) -> None:
        """Have tor read the client's torrc: lines of somebody else's are in it, and the client starts last."""
        await keys.run((find(self._tor), "--verify-config", "--hush", "-f", str(self.client.torrc_path)))

    async def _found(self) -> None:
        """Have the authority publish a first consensus with everybody in it."""
        await self.authority.listening()
        async with self.authority.control() as authority:
            await self._until(authority, "desc/all-recent", self._described)
            # Not before: a vote without somebody's descriptor costs a whole round.
            offset = int(time.time() + 2.5) % _FIRST_VOTE_S
            await authority.command(
                f"SETCONF TestingV3AuthInitialVotingInterval={_FIRST_VOTE_S} TestingV3AuthVotingStartOffset={offset}"
            )
            await self._until(authority, "ns/all", self._agreed)

    async def _until(self, connection: Control, key: str, done: Callable[[str], bool]) -> None:
        """Ask the authority for `key` until `done` likes it, or a node ended."""
        while not done(await connection.info(key)):
            for node in self.servers:
                node.require_running()
            await asyncio.sleep(_POLL_S)

    def _described(self, descriptors: str) -> bool:
        return all(f"router {node.name} " in descriptors for node in self.servers)

    def _agreed(self, consensus: str) -> bool:
        """Whether everybody is in the consensus, with a bandwidth."""
        listed = all(re.search(rf"^r {node.name} ", consensus, re.MULTILINE) for node in self.servers)
        return listed and re.search(r"Bandwidth=0\b", consensus) is None

    async def _bootstrapped(self) -> None:
        while True:
            with contextlib.suppress(ControlError):
                async with self.client.control() as connection:
                    while "PROGRESS=100 " not in await connection.info(_PHASE):  # noqa: ASYNC110 - bounded by callers
                        await asyncio.sleep(_POLL_S)
                    return
            # One that is supervised comes back.
            if not self.client.supervised:
                self.client.require_running()
            await asyncio.sleep(_POLL_S)

    async def _how_far(self) -> str:
        """How far the client is, in tor's words."""
        try:
            async with asyncio.timeout(1.0), self.client.control() as connection:
                return await connection.info(_PHASE)
        except (TimeoutError, ControlError):
            return f"it does not answer; its log ends with: {self.client.last_words()}"

    async def _close_probes(self) -> None:
        """Leave no circuit behind that is not the programs' own."""
        with contextlib.suppress(ControlError):
            async with self.client.control() as connection:
                for line in (await connection.info("circuit-status")).splitlines():
                    if f'SOCKS_USERNAME="{probe.USER}' in line:
                        await connection.command(f"CLOSECIRCUIT {line.split()[0]}")

    def _spawn(self, node: Node) -> subprocess.Popen[bytes]:
        """Start a node's process, under the anchor."""
        if self._claim is None:
            raise Conflict(f"{node.name} starts with its lab: start that")
        if self._anchor is None:
            self._anchor = anchor = Anchor(self._claim)
            self._unwatch = on_end(anchor.pid, self._anchor_died)
        options = (
            "--defaults-torrc",
            str(self.directory / "empty"),
            "--__OwningControllerProcess",
            str(self._anchor.pid),
        )
        with node.log_path.open("ab") as log:
            return self._anchor.spawn((find(self._tor), "-f", str(node.torrc_path), *options), log)

    def _anchor_died(self) -> None:
        """Start everything again under a new anchor: the old one's tors end in some seconds anyway."""
        get_logger().error("lab.anchor_died", nodes="all are started again")
        if self._anchor is not None:
            self._anchor.end()
            self._anchor = None
        for node in self.nodes:
            node.crash()

    async def _end_all(self) -> None:
        for node in self.nodes:
            node.ask_to_end()
        await asyncio.gather(*(node.gone() for node in self.nodes))
        if self._anchor is not None:
            self._unwatch()
            self._anchor.end()
            self._anchor = None
        if self._names is not None:
            self._names.close()
            self._names = None


def _require_writable_in_torrc(nodes: Sequence[Node]) -> None:
    longest = max((node.control_path for node in nodes), key=lambda path: len(os.fsencode(path)))
    if len(os.fsencode(longest)) > _LONGEST_SOCKET_PATH:
        raise Invalid(
            f"{longest} is too long for a Unix socket (over {_LONGEST_SOCKET_PATH} bytes): choose a shorter one"
        )
    if re.search(r'[#"\\]', str(longest)) or not str(longest).isprintable():
        raise Invalid(f"{str(longest)!r} cannot be written in a torrc: choose a path without #, quotes and backslashes")


def _free_plan(relays: int, exits: int) -> Plan:
    """Choose addresses and ports that nobody uses.

    Raises:
        Unavailable: a hundred choices were all taken, or loopback is not there.
    """
    for _ in range(100):
        plan = Plan.draw(relays, exits)
        if _is_free(plan):
            return plan
    raise Unavailable("no free addresses on 127.0.0.0/8: is the loopback interface up?")


def _is_free(plan: Plan) -> bool:
    """Tell whether everything that the plan listens on can be bound now."""
    wanted = [(socket.SOCK_STREAM, address) for address in plan.tcp()]
    wanted.append((socket.SOCK_DGRAM, (plan.names_address, plan.names_port)))
    for kind, address in wanted:
        with socket.socket(socket.AF_INET, kind) as probing:
            if kind == socket.SOCK_STREAM:
                # As tor does: a connection of the last run that is still closing is no obstacle.
                probing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probing.bind(address)
            except OSError:
                return False
    return True
