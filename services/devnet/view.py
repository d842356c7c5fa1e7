"""The two views of one chain: `/wallet` sees the head and the pool, `/walletsolidity` what is solid, no more."""

from services.devnet.chain import Chain, slot_of
from services.devnet.incoming import Incoming
from services.devnet.state import Source
from services.devnet.store import StoredBlock, StoredTransaction


class View:
    """What one call may see."""

    def __init__(self, chain: Chain, *, solid: bool) -> None:
        self.chain = chain
        """The chain behind it."""
        self.is_solid = solid
        """Whether it ends at the solid block."""

    @property
    def top(self) -> StoredBlock:
        """The newest block of this view."""
        return self.chain.solid if self.is_solid else self.chain.head

    @property
    def slot(self) -> int:
        """The slot of its newest block: resources are shown as of then."""
        return slot_of(self.top.time_ms)

    @property
    def state(self) -> Source:
        """Accounts as this view has them; the head's include what the pool will do, as java-tron's do."""
        return self.chain.solid_state if self.is_solid else self.chain.pending

    def block(self, number: int) -> StoredBlock | None:
        """The block of that height, if this view has it."""
        return self.chain.store.block(number) if 0 <= number <= self.top.number else None

    def block_by_id(self, block_id: bytes) -> StoredBlock | None:
        """The block of that id, if this view has it."""
        block = self.chain.store.block_by_id(block_id)
        return block if block and block.number <= self.top.number else None

    def blocks(self, first: int, end: int) -> list[StoredBlock]:
        """The blocks from `first` up to and without `end` that this view has."""
        return self.chain.store.blocks(max(first, 0), min(end, self.top.number + 1))

    def transaction(self, txid: bytes) -> StoredTransaction | None:
        """The transaction of that id, if a block of this view holds it."""
        stored = self.chain.store.transaction(txid)
        return stored if stored and stored.block <= self.top.number else None

    def pooled(self, txid: bytes) -> Incoming | None:
        """The transaction of that id, if this view has a pool and it is there."""
        found = None if self.is_solid else self.chain.pool.get(txid)
        return found.transaction if found else None
