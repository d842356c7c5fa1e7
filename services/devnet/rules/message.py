"""What the rules of the native contracts have in common: reading a message, addresses, and who is concerned."""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, NoReturn, TypeVar

from services.devnet.refusals import ContractInvalid
from services.devnet.state import Account, State
from services.protocol.address import ADDRESS_BYTES, PREFIX
from services.protocol.wire import Field, Kind, ProtocolError, decode

M = TypeVar("M")

OwnerBytes = Annotated[bytes, Field(1, "owner_address", Kind.BYTES)]
"""The owner's address as it came, valid or not."""


class Native:
    """A rule whose contract creates no account and concerns nobody but its owner; others say otherwise."""

    def activates(self, _state: State, _value: bytes) -> bool:
        """It creates no account."""
        return False

    def receiver(self, _value: bytes) -> bytes | None:
        """It gives nobody anything."""
        return None


def reader(message: type[M]) -> Callable[[bytes], M]:
    """A function that reads messages of a class, as leniently as java-tron, and remembers the latest.

    It raises ContractInvalid where the bytes are no such message.
    """

    @lru_cache(maxsize=1024)
    def read(value: bytes) -> M:
        try:
            return decode(message, value, strict=False)
        except ProtocolError as error:
            raise ContractInvalid(str(error)) from error

    return read


def is_address(raw: bytes) -> bool:
    """Whether those bytes can be an address (java-tron, `DecodeUtil.addressValid`)."""
    return len(raw) == ADDRESS_BYTES and raw[0] == PREFIX


def existing_owner(state: State, owner: bytes, words: str = "] not exists") -> Account:
    """The account that acts.

    Raises:
        ContractInvalid: its address is none, or it was never activated.
    """
    if not is_address(owner):
        raise ContractInvalid("Invalid address")
    account = state.account(owner)
    if account is None:
        missing(owner, words)
    return account


def missing(address: bytes, words: str = "] not exists") -> NoReturn:
    """Refuse because an account was never activated; java-tron has two ways to say so.

    Raises:
        ContractInvalid: always.
    """
    raise ContractInvalid(f"Account[{address.hex()}{words}")
