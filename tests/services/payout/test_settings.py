"""Settings: decimals become integers, the devnet is open, everything else is strict."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.kit.money import Asset
from services.payout.policy import Policy, Usage
from services.payout.settings import PayoutSettings

NOTHING_USED = Usage(hour=0, day=0, reserved=0, reserved_fee_sun=0)
SHOP = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"


def settings(network: str = "mainnet", **values: Any) -> PayoutSettings:
    return PayoutSettings(lucid_home=Path("/nowhere"), tron_network=network, **values)


def test_the_devnet_has_no_limits_and_pays_anybody() -> None:
    policy = Policy.of(settings("devnet"))
    assert policy.objections(SHOP, Asset.TRX, 10**18, NOTHING_USED) == []
    assert [(use.name, use.limit, use.ok) for use in policy.limits(10**18, NOTHING_USED)] == [
        ("per payout", 0, True),
        ("hour", 0, True),
        ("day", 0, True),
    ]


@pytest.mark.parametrize("network", ["mainnet", "shasta", "nile", "testnet"])
def test_elsewhere_nobody_is_paid_until_the_operator_says_who(network: str) -> None:
    policy = Policy.of(settings(network))
    [(field, words)] = policy.objections(SHOP, Asset.TRX, 1_000_000, NOTHING_USED)
    assert field == "to"
    assert "PAYOUT_ALLOWED_DESTINATIONS" in words


def test_decimals_of_the_operator_become_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIN_PAYOUT_AMOUNT", "0.5")
    monkeypatch.setenv("MAX_PAYOUT_AMOUNT", "1000")
    monkeypatch.setenv("DAILY_PAYOUT_LIMIT", "10000.000001")
    monkeypatch.setenv("PAYOUT_HOURLY_LIMIT", "7")
    monkeypatch.setenv("PAYOUT_MAX_CONCURRENT", "3")
    monkeypatch.setenv("PAYOUT_ALLOWED_DESTINATIONS", f" {SHOP} , TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH,")
    policy = Policy.of(settings("mainnet"))
    assert (policy.minimum, policy.per_payout, policy.max_concurrent) == (500_000, 1_000_000_000, 3)
    assert (policy.day.amount, policy.day.setting) == (10_000_000_001, "DAILY_PAYOUT_LIMIT")
    assert policy.hour.amount == 7_000_000
    assert policy.allowed == frozenset({SHOP, "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"})


def test_of_the_two_daily_limits_the_smaller_binds_and_says_its_name() -> None:
    policy = Policy.of(settings(payout_daily_limit="50", payout_allowed_destinations=SHOP))
    assert (policy.day.amount, policy.day.setting) == (50_000_000, "PAYOUT_DAILY_LIMIT")
    [(field, words)] = policy.objections(SHOP, Asset.TRX, 20_000_000, Usage(0, 40_000_000, 0, 0))
    assert field == "amount"
    assert "10.00 TRX of it are left" in words
    assert "raise PAYOUT_DAILY_LIMIT" in words


def test_a_list_given_on_the_devnet_is_held_to() -> None:
    policy = Policy.of(settings("devnet", payout_allowed_destinations=SHOP))
    assert policy.objections("TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH", Asset.TRX, 1, NOTHING_USED)
    assert not policy.objections(SHOP, Asset.TRX, 1, NOTHING_USED)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_payout_amount", "1e3", "not an amount"),
        ("max_payout_amount", "-1", "not an amount"),
        ("min_payout_amount", "0.0000001", "more than 6 decimals"),
        ("payout_hourly_limit", "0", "off on the devnet only"),
        ("payout_max_concurrent", "0", "off on the devnet only"),
        ("payout_max_concurrent", "-1", "greater than or equal to 0"),
        ("payout_allowed_destinations", "TJRabPrwbZy45sbavfcjinPJC18kjpRTv9", "TJRabPrwbZy45sbavfcjinPJC18kjpRTv9"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(name: str, value: str, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings("mainnet", **{name: value})
    assert words in str(refused.value)
