"""Money as integers: the one module that turns smallest units into decimals for people, and back."""

import re
from enum import StrEnum

TRX_DECIMALS = 6
"""1 TRX = 1_000_000 sun."""

MAX_UNITS = 2**63 - 1
"""The most that one field of a TRON message holds (int64)."""

_PLAIN_DECIMAL = re.compile(r"(\d{1,20})(?:\.(\d{1,18}))?", re.ASCII)


class MoneyError(ValueError):
    """A text is not an amount, or has more decimals than the asset."""


class Asset(StrEnum):
    """What can be paid."""

    TRX = "TRX"
    USDT = "USDT"

    @property
    def decimals(self) -> int:
        """Decimal places of one unit (both assets have six)."""
        return TRX_DECIMALS


def parse_units(text: str, decimals: int = TRX_DECIMALS) -> int:
    """Turn a person's decimal into smallest units: "12.5" is 12_500_000.

    Raises:
        MoneyError: signs, exponents, separators, too many decimals, or more than an int64 holds.
    """
    match = _PLAIN_DECIMAL.fullmatch(text.strip())
    if match is None:
        raise MoneyError(f"{text!r} is not an amount: write digits with at most one point, such as 12.5")
    whole, fraction = match[1], match[2] or ""
    if len(fraction.rstrip("0")) > decimals:
        raise MoneyError(f"{text!r} has more than {decimals} decimals: the smallest unit is 0.{'0' * (decimals - 1)}1")
    units = int(whole) * int(10**decimals) + int(fraction[:decimals].ljust(decimals, "0") or "0")
    if units > MAX_UNITS:
        raise MoneyError(f"{text!r} is more than the network can carry")
    return units


def format_units(units: int, decimals: int = TRX_DECIMALS) -> str:
    """Write smallest units as the shortest exact decimal: 12_500_000 is "12.5"."""
    sign, digits = ("-" if units < 0 else ""), str(abs(units)).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :].rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"


def format_money(units: int, decimals: int = TRX_DECIMALS) -> str:
    """Write smallest units for people: thousands separated, at least two decimals, nothing rounded away."""
    whole, _, fraction = format_units(abs(units), decimals).partition(".")
    return f"{'-' if units < 0 else ''}{int(whole):,}.{fraction.ljust(2, '0')}"
