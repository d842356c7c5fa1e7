"""The exit policy: which relays may be the last hop, and which may not be used at all."""

import asyncio

from services.kit.clock import Clock
from services.kit.errors import Conflict, LucidError, Unavailable
from services.tor import api
from services.tor.control import Control, ControlError, Refused
from services.tor.picture import exits_of
from services.tor.store import TorStore
from services.tor.watch import Watch, identity

_KEYS_AT_ONCE = 100
"""Addresses whose country is asked for in one command."""
_COUNT_KEPT_S = 60.0
"""A new consensus comes once an hour; to count its exits reads all of it."""


class Exits:
    """Keeps the policy, gives it to every tor that comes, and knows what it leaves."""

    def __init__(self, watch: Watch, store: TorStore, clock: Clock) -> None:
        self._watch = watch
        self._store = store
        self._clock = clock
        self._policy: api.ExitPolicy | None = None
        """None: nobody has set one, and the torrc's own is left alone."""
        self._applied = False
        self._detail = ""
        self._total: int | None = None
        self._left: int | None = None
        self._counted_at = 0.0
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Remember the policy."""
        self._policy = await self._store.policy()
        self._watch.on_attached.append(self._attached)
        self._watch.listeners.append(self._heard)
        self._watch.no_exits = self._no_exits

    async def _attached(self, control: Control) -> None:
        self._applied, self._total, self._left = False, None, None
        if self._policy is not None:
            await self._apply(control, self._policy)
            await self._recount()

    def _heard(self, name: str, text: str) -> None:
        if name == "STATUS_CLIENT" and "PROGRESS=100" in text and self._policy is not None:
            self._watch.spawn(self._recount)

    async def _apply(self, control: Control, policy: api.ExitPolicy) -> None:
        try:
            await control.tell("SETCONF", *_options(policy))
        except Refused as error:
            self._applied, self._detail = False, f"tor refused it: {error.text}"
        else:
            self._applied, self._detail = True, ""

    async def _recount(self) -> None:
        if self._policy is not None and self._watch.ready:
            self._total, self._left = await self._count(self._policy)
            self._watch.changed()

    def _no_exits(self) -> str:
        if self._policy is None or self._left != 0 or not self._applied:
            return ""
        return f"the exit policy leaves none of {self._total} exits: allow more countries"

    async def status(self) -> api.ExitPolicyStatus:
        """The policy, and what it leaves now."""
        policy = self._policy or api.ExitPolicy()
        now = self._clock.monotonic()
        if self._watch.ready and (self._total is None or now - self._counted_at > _COUNT_KEPT_S):
            try:
                self._total, self._left = await self._count(policy)
            except (LucidError, ControlError):
                self._total = self._left = None
        return self._shown(policy)

    def _shown(self, policy: api.ExitPolicy) -> api.ExitPolicyStatus:
        return api.ExitPolicyStatus(
            countries=policy.countries,
            excluded_countries=policy.excluded_countries,
            excluded_nodes=policy.excluded_nodes,
            applied=self._applied,
            exits_total=self._total,
            exits_left=self._left,
            detail=self._detail,
        )

    async def set(self, policy: api.ExitPolicy) -> api.ExitPolicyStatus:
        """Take a policy: to tor first, then to the disk.

        Raises:
            Unavailable: there is no tor that has started, so that it cannot be seen what the policy leaves.
            Conflict: it leaves no exit, or tor has no GeoIP file and the policy names countries.
        """
        async with self._changing:
            async with self._watch.speaking() as control:
                if not self._watch.ready:
                    raise Unavailable("Tor has not started yet: set the policy when it has, so that its effect is seen")
                if policy.countries or policy.excluded_countries:
                    known = await control.get("ip-to-country/ipv4-available")
                    if known.get("ip-to-country/ipv4-available") != "1":
                        raise Conflict("tor has no GeoIP file, it knows no countries: apt-get install -y tor-geoipdb")
                total, left = await self._count(policy)
                if left == 0:
                    raise Conflict(f"this policy leaves none of {total} exits: allow more countries, exclude fewer")
                await control.tell("SETCONF", *_options(policy))
            await self._store.put_policy(policy)
            self._policy, self._applied, self._detail = policy, True, ""
            self._total, self._left = total, left
        return self._shown(policy)

    async def _count(self, policy: api.ExitPolicy) -> tuple[int, int]:
        """Count running exits, and those that the policy lets pass."""
        async with self._watch.speaking() as control:
            text = (await control.get("ns/all")).get("ns/all", "")
            # Megabytes: nobody else is to wait for it.
            exits = await asyncio.to_thread(lambda: [(identity(one), address) for one, address in exits_of(text)])
            self._counted_at = self._clock.monotonic()
            excluded = set(policy.excluded_nodes)
            left = [address for fingerprint, address in exits if fingerprint not in excluded]
            if not policy.countries and not policy.excluded_countries:
                return len(exits), len(left)
            countries = await _countries(control, left)
        fits = [
            address
            for address in left
            if (not policy.countries or countries.get(address) in policy.countries)
            and countries.get(address) not in policy.excluded_countries
        ]
        return len(exits), len(fits)


async def _countries(control: Control, addresses: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    unique = sorted(set(addresses))
    for start in range(0, len(unique), _KEYS_AT_ONCE):
        batch = unique[start : start + _KEYS_AT_ONCE]
        answer = await control.get(*(f"ip-to-country/{address}" for address in batch))
        found |= {address: answer.get(f"ip-to-country/{address}", "??").lower() for address in batch}
    return found


def _options(policy: api.ExitPolicy) -> list[str]:
    """Write SETCONF's arguments; an option without a value goes back to its default (control-spec, SETCONF)."""
    wanted = ",".join(f"{{{country}}}" for country in policy.countries)
    not_there = ",".join(f"{{{country}}}" for country in policy.excluded_countries)
    nowhere = ",".join(f"${fingerprint}" for fingerprint in policy.excluded_nodes)
    values = {"ExitNodes": wanted, "ExcludeExitNodes": not_there, "ExcludeNodes": nowhere}
    options = [f'{name}="{value}"' if value else name for name, value in values.items()]
    # Without it tor uses an excluded relay rather than fail.
    return [*options, f"StrictNodes={int(any(values.values()))}"]
