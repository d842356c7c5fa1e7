"""Recovery words and private keys: known vectors, and every way to mistype them."""

import pytest

from services.kit.errors import Invalid
from services.wallet import recovery
from services.wallet.keystore import SecretKind

WORDS = "abandon " * 11 + "about"
ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
KEY = "b5a4cea271ff424d7c31dc12a3e43e401df7a40d7412a15750f3f0b6b5449a28"


def test_known_words_give_the_known_key_and_address() -> None:
    key = recovery.key_of(recovery.from_words(WORDS))
    assert (key.hex(), recovery.address_of(key)) == (KEY, ADDRESS)


def test_private_key_gives_its_address_and_no_words() -> None:
    secret = recovery.from_private_key(f" {KEY.upper()}\n")
    assert recovery.address_of(recovery.key_of(secret)) == ADDRESS
    assert recovery.words_of(secret) is None


@pytest.mark.parametrize(("count", "size"), [(12, 16), (24, 32)])
def test_fresh_words_are_new_and_lead_back_to_the_same_entropy(count: int, size: int) -> None:
    secret, other = recovery.fresh(count), recovery.fresh(count)
    words = recovery.words_of(secret) or ()
    assert (len(words), len(secret.data), secret.kind) == (count, size, SecretKind.ENTROPY)
    assert recovery.from_words(" ".join(words)).data == secret.data
    assert secret.data != other.data


def test_spacing_and_capitals_do_not_matter() -> None:
    assert recovery.from_words("  ABANDON\n" * 11 + "\tAbout ").data == bytearray(16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "these are 0 words"),
        ("abandon " * 11, "these are 11 words"),
        ("abandon " * 12, "wrong checksum"),
        ("about " + "abandon " * 11, "wrong checksum"),
        ("abandon " * 10 + "hunter2 about", "not in the English BIP-39 list: word 11;"),
        ("zzz " + "abandon " * 10 + "hunter2", "word 1, 12;"),
    ],
)
def test_wrong_words_are_told_without_repeating_them(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message) as caught:
        recovery.from_words(text)
    assert caught.value.fields[0][0] == "secret"
    assert "hunter2" not in str(caught.value.problem())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "64 hex characters"),
        (KEY[:-2], "64 hex characters"),
        (f"0x{KEY}", "64 hex characters"),
        (f"{KEY[:30]}  {KEY[32:]}", "64 hex characters"),
        ("g" * 64, "64 hex characters"),
        ("0" * 64, "zero or too large"),
        ("f" * 64, "zero or too large"),
    ],
)
def test_wrong_private_key_is_told_without_repeating_it(text: str, message: str) -> None:
    with pytest.raises(Invalid, match=message) as caught:
        recovery.from_private_key(text)
    assert not text or text not in str(caught.value.problem())


def test_secrets_do_not_show_themselves_and_can_be_wiped() -> None:
    secret = recovery.from_private_key(KEY)
    assert repr(secret) == "Secret(PRIVATE_KEY)"
    with secret:
        assert any(secret.data)
    assert not any(secret.data)
