"""The ABI of TRC-20 tokens: calls, their results, and event logs.

TRC-20 is ERC-20 (TIP-20): four selector bytes, then 32-byte words; an address is its last 20 bytes in a word.
Amounts are in the token's smallest unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.protocol.address import Address
from services.protocol.hashes import keccak256
from services.protocol.wire import ProtocolError

__all__ = [
    "APPROVAL_TOPIC",
    "TRANSFER_TOPIC",
    "UINT256_MAX",
    "AllowanceCall",
    "ApprovalEvent",
    "ApproveCall",
    "BalanceOfCall",
    "TransferCall",
    "TransferEvent",
    "TransferFromCall",
    "Trc20Call",
    "decode_address",
    "decode_bool",
    "decode_call",
    "decode_log",
    "decode_revert",
    "decode_string",
    "decode_uint256",
    "encode_address",
    "encode_allowance",
    "encode_approve",
    "encode_balance_of",
    "encode_bool",
    "encode_is_blacklisted",
    "encode_string",
    "encode_transfer",
    "encode_transfer_from",
    "encode_uint256",
    "event_topic",
    "keccak256",
    "selector",
]

UINT256_MAX = (1 << 256) - 1
"""The largest amount, which as an allowance means: without limit."""

WORD_BYTES = 32
"""Length of one ABI word."""

_SELECTOR_BYTES = 4
_MAX_STRING_BYTES = 4096


def selector(signature: str) -> bytes:
    """The four bytes that choose a function: `selector("transfer(address,uint256)")`."""
    return keccak256(signature.encode())[:_SELECTOR_BYTES]


def event_topic(signature: str) -> bytes:
    """The first topic of an event's logs, 32 bytes: `event_topic("Transfer(address,address,uint256)")`."""
    return keccak256(signature.encode())


TRANSFER_TOPIC = event_topic("Transfer(address,address,uint256)")
"""First topic of a TRC-20 transfer."""

APPROVAL_TOPIC = event_topic("Approval(address,address,uint256)")
"""First topic of a TRC-20 approval."""

_TRANSFER = selector("transfer(address,uint256)")
_APPROVE = selector("approve(address,uint256)")
_TRANSFER_FROM = selector("transferFrom(address,address,uint256)")
_BALANCE_OF = selector("balanceOf(address)")
_ALLOWANCE = selector("allowance(address,address)")
# Tether's own: its contract refuses senders that it has put on this list.
_IS_BLACKLISTED = selector("isBlackListed(address)")
_REVERT = selector("Error(string)")


# --- calls ---


def encode_transfer(to: Address, amount: int) -> bytes:
    """Call data of `transfer`: the caller's tokens go to `to`."""
    return _TRANSFER + encode_address(to) + encode_uint256(amount)


def encode_approve(spender: Address, amount: int) -> bytes:
    """Call data of `approve`: `spender` may take up to `amount` of the caller's tokens."""
    return _APPROVE + encode_address(spender) + encode_uint256(amount)


def encode_transfer_from(source: Address, to: Address, amount: int) -> bytes:
    """Call data of `transferFrom`: tokens of `source`, which it allowed the caller to take, go to `to`."""
    return _TRANSFER_FROM + encode_address(source) + encode_address(to) + encode_uint256(amount)


def encode_balance_of(holder: Address) -> bytes:
    """Call data of `balanceOf`; answers a uint256."""
    return _BALANCE_OF + encode_address(holder)


def encode_allowance(holder: Address, spender: Address) -> bytes:
    """Call data of `allowance`: what `spender` may still take of `holder`; answers a uint256."""
    return _ALLOWANCE + encode_address(holder) + encode_address(spender)


def encode_is_blacklisted(holder: Address) -> bytes:
    """Call data of USDT's `isBlackListed`; answers a bool."""
    return _IS_BLACKLISTED + encode_address(holder)


@dataclass(frozen=True, slots=True)
class TransferCall:
    """`transfer(to, amount)`."""

    to: Address
    """Who receives."""
    amount: int
    """How much."""


@dataclass(frozen=True, slots=True)
class ApproveCall:
    """`approve(spender, amount)`."""

    spender: Address
    """Who may take."""
    amount: int
    """How much at most."""


@dataclass(frozen=True, slots=True)
class TransferFromCall:
    """`transferFrom(source, to, amount)`."""

    source: Address
    """Whose tokens."""
    to: Address
    """Who receives."""
    amount: int
    """How much."""


@dataclass(frozen=True, slots=True)
class BalanceOfCall:
    """`balanceOf(holder)`."""

    holder: Address
    """Whose tokens."""


@dataclass(frozen=True, slots=True)
class AllowanceCall:
    """`allowance(holder, spender)`."""

    holder: Address
    """Whose tokens."""
    spender: Address
    """Who may take."""


Trc20Call = TransferCall | ApproveCall | TransferFromCall | BalanceOfCall | AllowanceCall
"""A call of a TRC-20 token that we understand."""


def decode_call(data: bytes) -> Trc20Call:
    """Read call data of a TRC-20 token, for who signs: it must say exactly one of these calls and nothing more.

    Raises:
        ProtocolError: the function is not known, or the arguments are not in canonical form.
    """
    chosen, arguments = data[:_SELECTOR_BYTES], data[_SELECTOR_BYTES:]
    match chosen:
        case _ if chosen == _TRANSFER:
            to, amount = _words(arguments, 2)
            return TransferCall(decode_address(to), decode_uint256(amount))
        case _ if chosen == _APPROVE:
            spender, amount = _words(arguments, 2)
            return ApproveCall(decode_address(spender), decode_uint256(amount))
        case _ if chosen == _TRANSFER_FROM:
            source, to, amount = _words(arguments, 3)
            return TransferFromCall(decode_address(source), decode_address(to), decode_uint256(amount))
        case _ if chosen == _BALANCE_OF:
            (holder,) = _words(arguments, 1)
            return BalanceOfCall(decode_address(holder))
        case _ if chosen == _ALLOWANCE:
            holder, spender = _words(arguments, 2)
            return AllowanceCall(decode_address(holder), decode_address(spender))
        case _:
            raise ProtocolError(f"no TRC-20 function has the selector {chosen.hex() or '(none)'}", "data")


# --- words ---


def encode_uint256(value: int) -> bytes:
    """One word that holds an amount.

    Raises:
        ProtocolError: it is negative or too large.
    """
    if not 0 <= value <= UINT256_MAX:
        raise ProtocolError(f"{value} does not fit uint256", "amount")
    return value.to_bytes(WORD_BYTES)


def encode_address(address: Address) -> bytes:
    """One word that holds an address, without TRON's prefix byte."""
    return address.evm.rjust(WORD_BYTES, b"\x00")


def encode_bool(value: bool) -> bytes:
    """One word that holds true or false."""
    return encode_uint256(int(value))


def encode_string(value: str) -> bytes:
    """A single string as a function returns it: offset, length, padded UTF-8."""
    data = value.encode()
    padded = data.ljust(-(-len(data) // WORD_BYTES) * WORD_BYTES, b"\x00")
    return encode_uint256(WORD_BYTES) + encode_uint256(len(data)) + padded


def decode_uint256(data: bytes) -> int:
    """The amount in exactly one word.

    Raises:
        ProtocolError: it is not one word.
    """
    (word,) = _words(data, 1)
    return int.from_bytes(word)


def decode_bool(data: bytes) -> bool:
    """True or false from exactly one word.

    Raises:
        ProtocolError: it is neither 0 nor 1. A contract that returns nothing is no `False`.
    """
    value = decode_uint256(data)
    if value > 1:
        raise ProtocolError(f"{value} is neither true nor false")
    return bool(value)


def decode_address(data: bytes) -> Address:
    """The address in exactly one word.

    Raises:
        ProtocolError: it is not one word, or has something in front of the address.
    """
    (word,) = _words(data, 1)
    if any(word[:12]):
        raise ProtocolError("a word that should hold an address holds more")
    return Address.from_evm(word[12:])


def decode_string(data: bytes) -> str:
    """The single string that a function returned; a bare word is read as zero-padded text, as old tokens answer.

    Raises:
        ProtocolError: it is no string, not UTF-8, or longer than 4,096 bytes.
    """
    if len(data) == WORD_BYTES:
        text = data.rstrip(b"\x00")
        if b"\x00" in text:
            raise ProtocolError("the answer is no string")
        return _text(text)
    if len(data) < 2 * WORD_BYTES or int.from_bytes(data[:WORD_BYTES]) != WORD_BYTES:
        raise ProtocolError("the answer is no string")
    length = int.from_bytes(data[WORD_BYTES : 2 * WORD_BYTES])
    text = data[2 * WORD_BYTES : 2 * WORD_BYTES + min(length, _MAX_STRING_BYTES)]
    if len(text) != length:
        raise ProtocolError("the string is cut off or too long")
    return _text(text)


def decode_revert(data: bytes) -> str | None:
    """The reason in what a reverted call returned (`Error(string)`), or None when there is none to read."""
    if data[:_SELECTOR_BYTES] != _REVERT or len(data) < _SELECTOR_BYTES + 2 * WORD_BYTES:
        return None
    try:
        return decode_string(data[_SELECTOR_BYTES:])
    except ProtocolError:
        return None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("the string is not UTF-8") from error


def _words(data: bytes, count: int) -> list[bytes]:
    if len(data) != count * WORD_BYTES:
        raise ProtocolError(f"{count * WORD_BYTES} bytes are needed, there are {len(data)}", "data")
    return [data[at : at + WORD_BYTES] for at in range(0, len(data), WORD_BYTES)]


# --- events ---


@dataclass(frozen=True, slots=True)
class TransferEvent:
    """Tokens moved: the log that proves a payment."""

    contract: Address
    """The token. Anybody can deploy one that logs anything: compare it with the one that is meant."""
    source: Address
    """Who had them."""
    to: Address
    """Who has them."""
    amount: int
    """How much."""


@dataclass(frozen=True, slots=True)
class ApprovalEvent:
    """An allowance was set."""

    contract: Address
    """The token."""
    holder: Address
    """Whose tokens."""
    spender: Address
    """Who may take them."""
    amount: int
    """How much at most."""


def decode_log(contract: Address, topics: Sequence[bytes], data: bytes) -> TransferEvent | ApprovalEvent | None:
    """Read one event log of a contract; None for any other event, NFT transfers (four topics) included.

    Logs in `gettransactioninfobyid` carry the contract as 20 bytes: `Address.from_evm`.
    """
    if len(topics) != 3 or topics[0] not in (TRANSFER_TOPIC, APPROVAL_TOPIC):
        return None
    try:
        first, second = decode_address(topics[1]), decode_address(topics[2])
        amount = decode_uint256(data)
    except ProtocolError:
        # A log of the right name but another layout says nothing about tokens.
        return None
    kind = TransferEvent if topics[0] == TRANSFER_TOPIC else ApprovalEvent
    return kind(contract, first, second, amount)
