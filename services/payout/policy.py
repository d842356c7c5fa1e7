"""What may be paid: bounds of one payout, limits over an hour and a day, and who may receive.

Hours and days are measured in chain time (the newest block's), so that setting this machine's clock changes nothing;
and what is used is summed up from stored rows, so that a restart changes nothing. A row with a later time than the
newest block counts too: time that goes back never frees anything.
"""

from dataclasses import dataclass

from services.kit.money import Asset, format_money
from services.payout.api import LimitUse
from services.payout.settings import PayoutSettings

HOUR_MS = 3_600_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What stored payouts take up; all in smallest units of one asset unless the name says sun."""

    hour: int
    """Reserved or paid in the last hour of chain time, and later."""
    day: int
    """Reserved or paid in the last 24 hours of chain time, and later."""
    reserved: int
    """Set aside for payouts that no block shows yet."""
    reserved_fee_sun: int
    """Their fees, in sun."""
    open_payouts: int = 0
    """How many they are."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, and the variable that sets it."""

    name: str
    amount: int
    setting: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that hold for a payout; 0 means no limit."""

    minimum: int
    per_payout: int
    hour: Limit
    day: Limit
    allowed: frozenset[str] | None
    """Canonical addresses that may be paid; None: any."""
    max_concurrent: int

    @classmethod
    def of(cls, settings: PayoutSettings) -> "Policy":
        """Take the rules from the settings."""
        route = Limit("day", settings.daily_payout_limit or 0, "DAILY_PAYOUT_LIMIT")
        all_routes = Limit("day", settings.payout_daily_limit or 0, "PAYOUT_DAILY_LIMIT")
        return cls(
            minimum=settings.min_payout_amount or 0,
            per_payout=settings.max_payout_amount or 0,
            hour=Limit("hour", settings.payout_hourly_limit or 0, "PAYOUT_HOURLY_LIMIT"),
            # One route exists: of its limit and that of all routes the smaller one is the one that binds.
            day=min((route, all_routes), key=lambda limit: limit.amount or float("inf")),
            allowed=settings.payout_allowed_destinations,
            max_concurrent=settings.payout_max_concurrent or 0,
        )

    def limits(self, amount: int, usage: Usage) -> tuple[LimitUse, ...]:
        """Say what each limit is, what is used of it, and whether `amount` still fits."""
        return (
            LimitUse(name="per payout", limit=self.per_payout, used=0, ok=_fits(self.per_payout, 0, amount)),
            LimitUse(
                name="hour", limit=self.hour.amount, used=usage.hour, ok=_fits(self.hour.amount, usage.hour, amount)
            ),
            LimitUse(name="day", limit=self.day.amount, used=usage.day, ok=_fits(self.day.amount, usage.day, amount)),
        )

    def objections(self, to: str, asset: Asset, amount: int, usage: Usage) -> list[tuple[str, str]]:
        """Return why the payout is refused, as (field, words that say what to do); empty when it is not."""
        found = [*self._destination(to), *self._bounds(asset, amount)]
        for limit, used in ((self.hour, usage.hour), (self.day, usage.day)):
            if not _fits(limit.amount, used, amount):
                left = max(0, limit.amount - used)
                found.append(
                    (
                        "amount",
                        f"the limit of this {limit.name} is {_money(limit.amount, asset)}, and {_money(left, asset)} "
                        f"of it are left: wait, pay less, or raise {limit.setting}",
                    )
                )
        return found

    def _destination(self, to: str) -> list[tuple[str, str]]:
        if self.allowed is None or to in self.allowed:
            return []
        return [("to", f"{to} is not an allowed destination: add it to PAYOUT_ALLOWED_DESTINATIONS and restart")]

    def _bounds(self, asset: Asset, amount: int) -> list[tuple[str, str]]:
        if amount < self.minimum:
            return [("amount", f"the smallest payout is {_money(self.minimum, asset)} (MIN_PAYOUT_AMOUNT)")]
        if not _fits(self.per_payout, 0, amount):
            return [("amount", f"the largest payout is {_money(self.per_payout, asset)} (MAX_PAYOUT_AMOUNT)")]
        return []


def _fits(limit: int, used: int, amount: int) -> bool:
    return limit == 0 or used + amount <= limit


def _money(units: int, asset: Asset) -> str:
    return f"{format_money(units, asset.decimals)} {asset}"
