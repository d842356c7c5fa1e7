"""Money: exact, refused when it is not, and never a float."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.money import MAX_UNITS, Asset, MoneyError, format_money, format_units, parse_units


@pytest.mark.parametrize(
    ("text", "units"),
    [("12.5", 12_500_000), ("0", 0), ("0.000001", 1), ("1", 1_000_000), (" 7 ", 7_000_000), ("1.5000000", 1_500_000)],
)
def test_a_decimal_becomes_units(text: str, units: int) -> None:
    assert parse_units(text) == units


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e6", "1,000", ".5", "1.", "0.0000001", "NaN", "inf", "0x10", "١٢", "1 000", "9" * 20, "1.2.3"],
)
def test_what_is_not_exactly_an_amount_is_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        parse_units(text)


@given(st.integers(min_value=0, max_value=MAX_UNITS), st.integers(min_value=0, max_value=18))
def test_format_and_parse_are_inverse(units: int, decimals: int) -> None:
    assert parse_units(format_units(units, decimals), decimals) == units


def test_people_see_thousands_and_at_least_two_decimals() -> None:
    assert format_money(12_480_100_000) == "12,480.10"
    assert format_money(1) == "0.000001"
    assert format_money(-1_500_000) == "-1.50"
    assert format_units(-1) == "-0.000001"


def test_both_assets_have_six_decimals() -> None:
    assert [asset.decimals for asset in Asset] == [6, 6]
