"""Recovery words and private keys: from what an operator types to a key, and back (BIP-39, BIP-32, BIP-44)."""

import secrets
from functools import cache

from mnemonic import Mnemonic

from services.kit.errors import Invalid
from services.protocol import keys
from services.protocol.signature import PRIVATE_KEY_BYTES, public_address
from services.protocol.wire import ProtocolError
from services.wallet.keystore import Secret, SecretKind

WORD_COUNTS = (12, 15, 18, 21, 24)
"""How many words BIP-39 knows; each three carry 32 bits of entropy."""

_BITS_PER_THREE_WORDS = 32


@cache
def _english() -> Mnemonic:
    return Mnemonic("english")


def fresh(word_count: int) -> Secret:
    """Make new entropy for that many words, from the operating system's generator."""
    return Secret(SecretKind.ENTROPY, bytearray(secrets.token_bytes(word_count // 3 * _BITS_PER_THREE_WORDS // 8)))


def from_words(text: str) -> Secret:
    """Read recovery words, however they are spaced and capitalised.

    Raises:
        Invalid: not so many words, an unknown one, or a wrong checksum; no word is repeated in the message.
    """
    words = text.lower().split()
    if len(words) not in WORD_COUNTS:
        counts = ", ".join(map(str, WORD_COUNTS))
        raise Invalid(f"these are {len(words)} words; recovery words are {counts}", field="secret")
    known = set(_english().wordlist)
    unknown = [str(place) for place, word in enumerate(words, start=1) if word not in known]
    if unknown:
        raise Invalid(f"not in the English BIP-39 list: word {', '.join(unknown)}; check the spelling", field="secret")
    try:
        return Secret(SecretKind.ENTROPY, _english().to_entropy(words))
    except ValueError:
        raise Invalid(
            "the words do not belong together (wrong checksum): check their order, and that none was swapped",
            field="secret",
        ) from None


def from_private_key(text: str) -> Secret:
    """Read a private key of 64 hex characters.

    Raises:
        Invalid: anything else, or a number that is no key of this curve; the text is not repeated in the message.
    """
    try:
        data = bytearray.fromhex(text.strip())
    except ValueError:
        data = bytearray()
    if len(data) != PRIVATE_KEY_BYTES or len(text.strip()) != 2 * PRIVATE_KEY_BYTES:
        raise Invalid("a private key is 64 hex characters, without 0x", field="secret")
    try:
        public_address(bytes(data))
    except ProtocolError:
        raise Invalid("this number is no private key: it is zero or too large", field="secret") from None
    return Secret(SecretKind.PRIVATE_KEY, data)


def words_of(secret: Secret) -> tuple[str, ...] | None:
    """Spell entropy as words; None for a private key that came without."""
    if secret.kind is not SecretKind.ENTROPY:
        return None
    return tuple(_english().to_mnemonic(bytes(secret.data)).split())


def key_of(secret: Secret) -> bytearray:
    """Derive the private key that signs: m/44'/195'/0'/0/0 of the words, or the key itself. The caller wipes it."""
    words = words_of(secret)
    if words is None:
        return bytearray(secret.data)
    return bytearray(keys.derive(Mnemonic.to_seed(" ".join(words)), keys.DEFAULT_PATH))


def address_of(key: bytearray) -> str:
    """Base58check address that a private key controls."""
    return public_address(bytes(key)).base58
