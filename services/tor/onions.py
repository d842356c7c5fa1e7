"""Onion services: made here, published by tor, their keys sealed on the disk.

A key is made and stored before anybody sees its address, so that no address that was told can be lost by a crash. tor
gets it for each publication and keeps it in memory only. The service is "detached": it outlives a restart of ours.
"""

import asyncio
import base64
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import Conflict, Invalid, LucidError, NotFound
from services.kit.events import EventBus
from services.tor import api
from services.tor.api import OnionState
from services.tor.control import Control, Refused, clean, fields
from services.tor.settings import TorSettings
from services.tor.store import OnionRow, TorStore
from services.tor.watch import Watch

if TYPE_CHECKING:
    from services.tor.seal import Seal

MOST_ONIONS = 16

_UNIX = re.compile(r"unix:(/[A-Za-z0-9._/@:+-]+)")
_TCP = re.compile(r"(?:(\d{1,3}(?:\.\d{1,3}){3})|\[([0-9a-f:]+)\]):(\d{1,5})")


@dataclass(slots=True)
class _Live:
    """What is known of an onion since the connection began."""

    added: bool = False
    kept: bool = False
    """It was there when we came: its descriptors were told to somebody before us."""
    descriptors: int = 0
    problem: str = ""


class Onions:
    """All onion services of this node."""

    def __init__(self, settings: TorSettings, watch: Watch, store: TorStore, clock: Clock, bus: EventBus) -> None:
        self._settings = settings
        self._watch = watch
        self._store = store
        self._clock = clock
        self._bus = bus
        self._rows: dict[str, OnionRow] = {}
        self._live: dict[str, _Live] = {}
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Remember them; they are published when tor is there."""
        self._rows = {row.name: row for row in await self._store.onions()}
        self._watch.on_attached.append(self._attached)
        self._watch.listeners.append(self._heard)
        self._watch.advice.append(self._advice)

    async def _attached(self, control: Control) -> None:
        """Publish what is to be published, and take away what was withdrawn while tor was out of reach."""
        self._live = {}
        there = set((await control.get("onions/detached")).get("onions/detached", "").split())
        for row in list(self._rows.values()):
            service_id = row.address.removesuffix(".onion")
            if service_id in there and not row.published:
                await _delete(control, row)
            elif service_id in there:
                self._live[row.name] = _Live(added=True, kept=True)
            elif row.published:
                await self._add(control, row)
            self._publish(row.name)

    def _advice(self) -> list[str]:
        return [f"onion {name}: {live.problem}" for name, live in self._live.items() if live.problem]

    def _heard(self, name: str, text: str) -> None:
        """Count directories that took a descriptor (control-spec, HS_DESC)."""
        if name != "HS_DESC":
            return
        words, pairs = fields(text)
        if len(words) < 2:
            return
        row = next((row for row in self._rows.values() if row.address == f"{words[1]}.onion"), None)
        live = self._live.get(row.name) if row else None
        if row is None or live is None:
            return
        if words[0] == "UPLOADED":
            live.descriptors += 1
            live.problem = ""
        elif words[0] == "FAILED" and not live.descriptors:
            live.problem = f"a directory refused its descriptor: {clean(pairs.get('REASON', '?'), 40)}"
        else:
            return
        self._publish(row.name)

    def _publish(self, name: str) -> None:
        row = self._rows.get(name)
        if row is not None:
            self._bus.publish("onion", self._shown(row))

    # ------------------------------------------------------------------ verbs

    def list(self) -> api.OnionList:
        """All of them."""
        return api.OnionList(items=tuple(self._shown(self._rows[name]) for name in sorted(self._rows)))

    def get(self, name: str) -> api.Onion:
        """One of them; raises NotFound."""
        return self._shown(self._row(name))

    async def create(self, body: api.CreateOnion, by: str) -> api.Onion:
        """Make one with a new key; it is published when tor is there.

        Raises:
            Conflict: the name is taken, or there are too many.
            Invalid: the target is no place on this machine that may be shown to the world.
            Unavailable: the key that seals cannot be used.
        """
        self._check_target(body.target)
        async with self._changing:
            if body.name in self._rows:
                raise Conflict(f"there is an onion service {body.name} already: choose another name")
            if len(self._rows) >= MOST_ONIONS:
                raise Conflict(f"there are {MOST_ONIONS} onion services already: remove one")
            seal = await self._seal()
            key, address = seal.make_onion_key()
            sealed = seal.close(key, address)
            row = OnionRow(body.name, address, body.port, body.target, True, sealed, self._clock.now())
            await self._store.add_onion(row)
            self._rows[row.name] = row
            log.get_logger().info("onion.created", name=row.name, address=address, target=row.target, by=by)
            await self._try_to_add(row)
        return self._shown(row)

    async def publish(self, name: str, by: str) -> api.Onion:
        """Publish it again under its address.

        Raises:
            NotFound: there is none of that name.
            Conflict: its key cannot be opened.
            Unavailable: the key that seals cannot be used.
        """
        async with self._changing:
            row = await self._set_published(name, published=True)
            (await self._seal()).open(row.sealed, row.address)  # what is wrong with it is told here, not later
            live = self._live.get(name)
            if live is None or not live.added:
                await self._try_to_add(row)
            log.get_logger().info("onion.published", name=name, by=by)
        return self._shown(row)

    async def withdraw(self, name: str, by: str) -> api.Onion:
        """Take it off the network, or see to it when tor is back; its key stays."""
        async with self._changing:
            row = await self._set_published(name, published=False)
            await self._take_away(row)
            log.get_logger().info("onion.withdrawn", name=name, by=by)
        self._publish(name)
        return self._shown(row)

    async def remove(self, name: str, body: api.RemoveOnion, by: str) -> api.Onion:
        """Take it off the network and forget its key.

        Raises:
            NotFound: there is none of that name.
            Invalid: the address is not its address.
            Unavailable: there is no tor; it would go on under a key that nobody has any more.
        """
        async with self._changing:
            row = self._row(name)
            if body.address != row.address:
                raise Invalid(f"that is not the address of {name}: type it to destroy its key", field="address")
            if row.published:
                async with self._watch.speaking():
                    await self._take_away(row)
            await self._store.remove_onion(name)
            shown = self._shown(_with(row, published=False))
            del self._rows[name]
            self._live.pop(name, None)
            log.get_logger().info("onion.removed", name=name, address=row.address, by=by)
        self._bus.publish("onion", shown)
        return shown

    # ------------------------------------------------------------------ inside

    def _row(self, name: str) -> OnionRow:
        row = self._rows.get(name)
        if row is None:
            raise NotFound(f"there is no onion service {name}")
        return row

    async def _set_published(self, name: str, *, published: bool) -> OnionRow:
        row = self._row(name)
        await self._store.set_published(name, published=published)
        row = _with(row, published=published)
        self._rows[name] = row
        return row

    async def _seal(self) -> "Seal":
        # The library is 4 MB, which a node without onions does not need.
        from services.tor import seal  # noqa: PLC0415

        path, kind = self._settings.onion_key
        return await asyncio.to_thread(seal.load, path, kind, generate=kind == "generated key file")

    async def _try_to_add(self, row: OnionRow) -> None:
        if self._watch.connected:
            async with self._watch.speaking() as control:
                await self._add(control, row)
        self._publish(row.name)

    async def _add(self, control: Control, row: OnionRow) -> None:
        """Give tor the key; whatever is wrong is remembered as words, and stops nothing else."""
        live = self._live[row.name] = _Live()
        try:
            self._require_tor(control)
            key = (await self._seal()).open(row.sealed, row.address)
            blob = base64.b64encode(key).decode()
            lines = await control.tell(
                "ADD_ONION", f"ED25519-V3:{blob}", "Flags=DiscardPK,Detach", f"Port={row.port},{row.target}"
            )
        except LucidError as error:
            live.problem = error.message
        except Refused as error:
            live.added = "collision" in error.text.lower()
            live.problem = "" if live.added else f"tor refused it: {error.text}"
        else:
            told = next((text.partition("=")[2] for _, text in lines if text.startswith("ServiceID=")), "")
            live.added = f"{told}.onion" == row.address
            live.problem = "" if live.added else f"tor published {clean(told, 60)} for it: its key is damaged"
        if live.problem:
            log.get_logger().error("onion.failed", name=row.name, reason=live.problem)

    def _require_tor(self, control: Control) -> None:
        """Raise Conflict where the other side may be anybody: a local user can take a TCP port while tor is away."""
        if control.open_to_all and self._settings.control_address.path is None:
            raise Conflict(
                "its key is not given to a control port that asks for none: set CookieAuthentication 1 in the torrc"
            )

    async def _take_away(self, row: OnionRow) -> None:
        self._live.pop(row.name, None)
        if not self._watch.connected:
            return
        async with self._watch.speaking() as control:
            await _delete(control, row)

    def _shown(self, row: OnionRow) -> api.Onion:
        live = self._live.get(row.name)
        state = OnionState.WAITING
        if not row.published:
            state = OnionState.WITHDRAWN
        elif not self._watch.connected or live is None:
            state = OnionState.WAITING
        elif live.problem:
            state = OnionState.FAILED
        elif live.added:
            state = OnionState.PUBLISHED if live.descriptors or live.kept else OnionState.PUBLISHING
        return api.Onion(
            name=row.name,
            address=row.address,
            port=row.port,
            target=row.target,
            state=state,
            detail=live.problem if live and row.published else "",
            descriptors=live.descriptors if live else 0,
            created_at=row.created_at,
            sealed_with=self._settings.onion_key[1],
        )

    def _check_target(self, target: str) -> None:
        """Let a target through, or not: a place on this machine, and none that operators rule the node by."""
        if match := _UNIX.fullmatch(target):
            path = Path(match[1])
            if ".." in path.parts:
                raise Invalid("write the path without ..", field="target")
            ours = path.is_relative_to(self._settings.run_dir) and path.stem == path.parent.name
            if ours or path in {self._settings.control_address.path, self._settings.socks_port.path}:
                raise Invalid(f"{path} rules this node: it is never shown to the world", field="target")
            return
        match = _TCP.fullmatch(target)
        try:
            host = ipaddress.ip_address((match[1] or match[2]) if match else "")
            port = int(match[3]) if match else 0
        except ValueError:
            host, port = None, 0
        if host is None or not host.is_loopback or not 0 < port < 65536:
            raise Invalid("it leads to a place on this machine: unix:/path/of.sock, or 127.0.0.1:8097", field="target")
        # Both, whatever leads there now: a tor may listen on its sockets and on its ports.
        if port in {self._settings.tor_proxy_control_port, self._settings.tor_proxy_socks_port}:
            raise Invalid(f"{target} is a port of Tor's own: it is never shown to the world", field="target")


async def _delete(control: Control, row: OnionRow) -> None:
    try:
        await control.tell("DEL_ONION", row.address.removesuffix(".onion"))
    except Refused as error:
        if error.code != "552":  # it is not there: as wanted
            raise


def _with(row: OnionRow, *, published: bool) -> OnionRow:
    return OnionRow(row.name, row.address, row.port, row.target, published, row.sealed, row.created_at)
