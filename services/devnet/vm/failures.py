"""How a run can fail: one class for each result that java-tron writes into a receipt.

    VmFailure                 UNKNOWN
    ├─ OutOfEnergy            OUT_OF_ENERGY
    ├─ OutOfTime              OUT_OF_TIME
    ├─ OutOfMemory            OUT_OF_MEMORY
    ├─ IllegalOperation       ILLEGAL_OPERATION
    ├─ BadJump                BAD_JUMP_DESTINATION
    ├─ StackTooSmall          STACK_TOO_SMALL
    ├─ StackTooLarge          STACK_TOO_LARGE
    ├─ TransferFailed         TRANSFER_FAILED
    └─ InvalidCode            INVALID_CODE
    NotCarriedOut             none: the devnet refuses the transaction

Sources: `Program`'s exceptions, and `RuntimeImpl.setResultCode` for the results.
"""

from typing import ClassVar


class VmFailure(Exception):
    """A frame ended badly: its changes are undone and, but for `TransferFailed`, its energy is spent."""

    result: ClassVar[str] = "UNKNOWN"
    """The result in the receipt."""

    java_class: ClassVar[str] = "BytecodeExecutionException"
    """java-tron's name for it, which constant calls show."""


class OutOfEnergy(VmFailure):
    """The next operation costs more energy than is left."""

    result = "OUT_OF_ENERGY"
    java_class = "OutOfEnergyException"


class OutOfTime(VmFailure):
    """It runs too long; ends the whole transaction, however deep it happened."""

    result = "OUT_OF_TIME"
    java_class = "OutOfTimeException"


class OutOfMemory(VmFailure):
    """It reaches for more than 3 MiB of memory."""

    result = "OUT_OF_MEMORY"
    java_class = "OutOfMemoryException"


class IllegalOperation(VmFailure):
    """An opcode that does not exist."""

    result = "ILLEGAL_OPERATION"
    java_class = "IllegalOperationException"


class BadJump(VmFailure):
    """A jump to where there is no JUMPDEST."""

    result = "BAD_JUMP_DESTINATION"
    java_class = "BadJumpDestinationException"


class StackTooSmall(VmFailure):
    """An operation finds fewer words than it takes."""

    result = "STACK_TOO_SMALL"
    java_class = "StackTooSmallException"


class StackTooLarge(VmFailure):
    """More than 1,024 words."""

    result = "STACK_TOO_LARGE"
    java_class = "StackTooLargeException"


class TransferFailed(VmFailure):
    """A contract sends what it may not send; the energy that is left is not spent."""

    result = "TRANSFER_FAILED"
    java_class = "TransferException"


class InvalidCode(VmFailure):
    """A new contract's code begins with 0xef."""

    result = "INVALID_CODE"
    java_class = "InvalidCodeException"


class StaticViolation(VmFailure):
    """A state change inside STATICCALL."""

    java_class = "StaticCallModificationException"

    def __init__(self) -> None:
        super().__init__("Attempt to call a state modifying opcode inside STATICCALL")


class ReturnDataOutOfBounds(VmFailure):
    """RETURNDATACOPY beyond what was returned."""

    java_class = "ReturnDataCopyIllegalBoundsException"


class NotCarriedOut(Exception):
    """An operation that TRON has and this devnet has not: better refused than answered wrongly."""
