"""Settings of the payout router: limits, allowed destinations, and how many payouts may be on their way."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from services.kit.money import MoneyError, parse_units
from services.kit.settings import KitSettings
from services.protocol.address import Address, AddressError


def _units(value: object) -> object:
    """Turn an operator's decimal into smallest units."""
    if not isinstance(value, str):
        return value
    try:
        return parse_units(value)
    except MoneyError as error:
        raise ValueError(str(error)) from error


def _addresses(value: object) -> object:
    """Turn a comma-separated list into canonical addresses."""
    if not isinstance(value, str):
        return value
    return frozenset(_address(part.strip()) for part in value.split(",") if part.strip())


def _address(text: str) -> str:
    try:
        return Address.parse(text).base58
    except AddressError as error:
        raise ValueError(f"{text!r}: {error}") from error


Units = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_units)]
"""An amount: written as a decimal (12.5), kept in smallest units (both assets have six decimals); None: the default."""

STRICT = {
    "min_payout_amount": 10_000,
    "max_payout_amount": 1_000_000_000,
    "daily_payout_limit": 10_000_000_000,
    "payout_hourly_limit": 10_000_000_000,
    "payout_daily_limit": 100_000_000_000,
    "payout_max_concurrent": 10,
}
"""Defaults on every network whose coins are worth something, and on the test networks that imitate it."""


class PayoutSettings(KitSettings):
    """Read once at the start. On the devnet every limit is off unless it is set; elsewhere none can be switched off."""

    min_payout_amount: Units = None
    """Smallest payout."""
    max_payout_amount: Units = None
    """Largest payout."""
    daily_payout_limit: Units = None
    """What the plain route (V0) may pay in 24 hours."""
    payout_hourly_limit: Units = None
    """What all routes together may pay in an hour."""
    payout_daily_limit: Units = None
    """What all routes together may pay in 24 hours."""
    payout_max_concurrent: int | None = Field(default=None, ge=0)
    """Payouts of one wallet that may be on their way to a block at the same time; 0: any number."""
    payout_allowed_destinations: Annotated[frozenset[str] | None, NoDecode, BeforeValidator(_addresses)] = None
    """Addresses that may be paid, separated by commas. Unset: any on the devnet, none elsewhere."""

    @model_validator(mode="after")
    def _fill_in_defaults(self) -> Self:
        devnet = self.tron_network == "devnet"
        for name, strict in STRICT.items():
            value = getattr(self, name)
            if value is None:
                object.__setattr__(self, name, 0 if devnet else strict)
            elif value == 0 and not devnet:
                raise ValueError(f"{name.upper()} is 0: a limit can be off on the devnet only; set what may be paid")
        if self.payout_allowed_destinations is None and not devnet:
            object.__setattr__(self, "payout_allowed_destinations", frozenset())
        return self
