"""What a rule is: the three questions that the node asks about a contract."""

from dataclasses import dataclass
from typing import Protocol

from services.devnet.parameters import MAINTENANCE_SKIPPED_SLOTS, SLOT_MS
from services.devnet.receipt import Receipt
from services.devnet.state import State
from services.devnet.vm.machine import Block


@dataclass(frozen=True, slots=True)
class Context:
    """The moment at which a transaction is judged: the head block, before the block that may take it."""

    head_number: int
    """Height of the head block."""

    head_ms: int
    """Its time: the chain's clock."""

    slot: int
    """Its slot, counted from block 0: the unit in which resources recover."""

    is_after_maintenance: bool = False
    """Whether the head block ended a maintenance period: then the next two slots stay empty."""

    is_draft: bool = False
    """Whether the node builds the transaction for somebody, who has not paid its bandwidth yet."""

    block: Block | None = None
    """The block that may take it, as contracts see it; None where none runs."""

    owner: bytes = b""
    """Whose transaction it is."""

    txid: bytes = b""
    """Its id."""

    fee_limit_sun: int = 0
    """The most that its owner spends on energy, in sun, staked energy included."""

    @property
    def next_slot_ms(self) -> int:
        """Time of the next block at the earliest (java-tron, `getNextBlockSlotTime`)."""
        return self.head_ms + SLOT_MS * (1 + MAINTENANCE_SKIPPED_SLOTS * self.is_after_maintenance)


class Rule(Protocol):
    """The rules of one contract type. `value` is the protobuf bytes of the contract's own message."""

    def activates(self, state: State, value: bytes) -> bool:
        """Whether it would create an account, which is billed differently."""

    def receiver(self, value: bytes) -> bytes | None:
        """Who gets something, if anybody: the other account in whose history it stands."""

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check everything that can be known before, in java-tron's order and with its words.

        Raises:
            ContractInvalid: a rule is broken.
        """

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Carry it out and write what it cost into the receipt. It has been validated on this very state.

        Raises:
            ContractFailed: it cannot be carried out after all.
        """
