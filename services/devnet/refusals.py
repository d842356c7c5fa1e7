"""Why a node refuses a transaction: one class per broadcast code of java-tron.

    Refusal
    ├─ SignatureInvalid       SIGERROR
    ├─ ContractInvalid        CONTRACT_VALIDATE_ERROR
    ├─ ContractFailed         CONTRACT_EXE_ERROR
    ├─ ResourcesInsufficient  BANDWITH_ERROR
    ├─ Duplicate              DUP_TRANSACTION_ERROR
    ├─ RefBlockUnknown        TAPOS_ERROR
    ├─ TooBig                 TOO_BIG_TRANSACTION_ERROR
    ├─ Expired                TRANSACTION_EXPIRATION_ERROR
    ├─ Busy                   SERVER_BUSY
    └─ OtherError             OTHER_ERROR

Codes and words are those of java-tron's `Wallet.broadcastTransaction`, because clients match on them.
"""

from enum import IntEnum
from typing import ClassVar


class Code(IntEnum):
    """Answer to a broadcast (java-tron, `api.proto`, `Return.response_code`)."""

    SUCCESS = 0
    SIGERROR = 1
    CONTRACT_VALIDATE_ERROR = 2
    CONTRACT_EXE_ERROR = 3
    BANDWITH_ERROR = 4
    DUP_TRANSACTION_ERROR = 5
    TAPOS_ERROR = 6
    TOO_BIG_TRANSACTION_ERROR = 7
    TRANSACTION_EXPIRATION_ERROR = 8
    SERVER_BUSY = 9
    NO_CONNECTION = 10
    NOT_ENOUGH_EFFECTIVE_CONNECTION = 11
    BLOCK_UNSOLIDIFIED = 12
    OTHER_ERROR = 20


STOCK_MESSAGES = {
    Code.SUCCESS: "",
    Code.SIGERROR: "Validate signature error: sig error",
    Code.CONTRACT_VALIDATE_ERROR: "Contract validate error : No contract!",
    Code.CONTRACT_EXE_ERROR: "Contract execute error : ",
    Code.BANDWITH_ERROR: "Account resource insufficient error.",
    Code.DUP_TRANSACTION_ERROR: "Dup transaction.",
    Code.TAPOS_ERROR: "Tapos check error.",
    Code.TOO_BIG_TRANSACTION_ERROR: "Too big transaction",
    Code.TRANSACTION_EXPIRATION_ERROR: "Transaction expired",
    Code.SERVER_BUSY: "Server busy.",
    Code.NO_CONNECTION: "No connection.",
    Code.NOT_ENOUGH_EFFECTIVE_CONNECTION: "P2P broadcast failed.",
    Code.BLOCK_UNSOLIDIFIED: "Block unsolidified.",
    Code.OTHER_ERROR: "Error: null",
}
"""What each code says when it is answered without a reason of its own (by an injected fault)."""


class Refusal(Exception):
    """The node does not take the transaction; `code` and `answer` are what a broadcast returns."""

    code: ClassVar[Code]
    """The code of the answer."""

    prefix: ClassVar[str] = ""
    """What the answer says before the reason."""

    fixed: ClassVar[str | None] = None
    """What the answer says instead of the reason, where java-tron keeps the reason to itself."""

    @property
    def reason(self) -> str:
        """Why, in java-tron's words."""
        return str(self)

    @property
    def answer(self) -> str:
        """The message of the broadcast's answer."""
        return self.fixed if self.fixed is not None else self.prefix + self.reason


class SignatureInvalid(Refusal):
    """Missing, malformed or not enough signatures, or by a key that the permission does not hold."""

    code = Code.SIGERROR
    prefix = "Validate signature error: "


class SignatureUnreadable(SignatureInvalid):
    """No public key can be recovered (java-tron's `SignatureException`; `getsignweight` tells it apart)."""


class SignatureTooShort(SignatureInvalid):
    """Fewer than 65 bytes (java-tron's `SignatureFormatException`)."""


class ContractInvalid(Refusal):
    """The contract breaks a rule of its type."""

    code = Code.CONTRACT_VALIDATE_ERROR
    prefix = "Contract validate error : "


class ContractFailed(Refusal):
    """The contract passed validation and could not be carried out."""

    code = Code.CONTRACT_EXE_ERROR
    prefix = "Contract execute error : "


class ResourcesInsufficient(Refusal):
    """Neither bandwidth nor balance pays for the transaction's bytes or its flat fees."""

    code = Code.BANDWITH_ERROR
    fixed = "Account resource insufficient error."


class Duplicate(Refusal):
    """The node has this transaction already, in a block or in its pool."""

    code = Code.DUP_TRANSACTION_ERROR
    fixed = "Dup transaction."


class DuplicateInCache(Duplicate):
    """The node has seen this id before, whatever became of it (`node.rpc.trxCacheEnable`)."""

    fixed = "Transaction already exists."


class RefBlockUnknown(Refusal):
    """The reference block is not among the last 65,536 of this chain."""

    code = Code.TAPOS_ERROR
    fixed = "Tapos check error."


class TooBig(Refusal):
    """More bytes than a transaction may have."""

    code = Code.TOO_BIG_TRANSACTION_ERROR


class Expired(Refusal):
    """The expiration is not after the head block's time and the next slot, or more than a day away."""

    code = Code.TRANSACTION_EXPIRATION_ERROR
    fixed = "Transaction expired"


class Busy(Refusal):
    """The pool is full."""

    code = Code.SERVER_BUSY
    fixed = "Server busy."


class OtherError(Refusal):
    """Anything else."""

    code = Code.OTHER_ERROR
    prefix = "Error: "
