"""What one call may see: `/wallet` the head and the pool, `/walletsolidity` what is solid, each through its lens."""

from dataclasses import replace

from services.devnet.chain import Chain, slot_of
from services.devnet.incoming import Incoming
from services.devnet.lens import CLEAR, Lens
from services.devnet.receipt import Receipt
from services.devnet.state import Account, Counters, Source
from services.devnet.store import StoredBlock, StoredTransaction
from services.protocol.transaction import ContractRet


class View:
    """What one call may see."""

    def __init__(self, chain: Chain, *, solid: bool, lens: Lens = CLEAR) -> None:
        self.chain = chain
        """The chain behind it."""
        self.is_solid = solid
        """Whether it ends at the solid block."""
        self.lens = lens
        """What is false in it."""

    @property
    def head(self) -> StoredBlock:
        """The newest block that the endpoint has."""
        return self._earlier(self.chain.head) if self.lens.lag else self.chain.head

    @property
    def solid(self) -> StoredBlock:
        """The newest block that the endpoint calls solid."""
        number = self.head.solid if self.lens.lag else self.chain.solid.number
        if self.lens.solid_limit is not None:
            number = min(number, self.lens.solid_limit)
        found = self.chain.store.block(number) or self.chain.solid
        return _moved(found, self.lens.ahead_ms) if self.lens.ahead_ms else found

    @property
    def top(self) -> StoredBlock:
        """The newest block of this view."""
        return self.solid if self.is_solid else self.head

    @property
    def slot(self) -> int:
        """The slot of its newest block: resources are shown as of then."""
        return slot_of(self.top.time_ms)

    @property
    def state(self) -> Source:
        """Accounts as this view has them; the head's include what the pool will do, as java-tron's do."""
        lens = self.lens
        if lens.lag or (self.is_solid and lens.solid_limit is not None):
            found: Source = self.chain.state_after(self.top)
        else:
            found = self.chain.solid_state if self.is_solid else self.chain.pending
        return _Misread(found, lens) if lens.balances else found

    def block(self, number: int) -> StoredBlock | None:
        """The block of that height, if this view has it."""
        if not 0 <= number <= self.top.number:
            return None
        found = self.chain.store.block(number)
        return _moved(found, 1) if found and number == 0 and self.lens.other_genesis else found

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
        if stored and stored.block <= self.top.number:
            return None if self.lens.hides(stored.signed.raw) else stored
        waits = self.chain.pool.get(txid)
        if waits and self.lens.includes(waits.transaction.raw):
            signed = waits.transaction.signed(ContractRet.SUCCESS)
            return StoredTransaction(self.top.number, 0, signed, Receipt(net_usage=waits.transaction.size))
        return None

    def pooled(self, txid: bytes) -> Incoming | None:
        """The transaction of that id, if this view has a pool and it is there."""
        found = None if self.is_solid else self.chain.pool.get(txid)
        return found.transaction if found and not self.lens.hides(found.transaction.raw) else None

    def _earlier(self, head: StoredBlock) -> StoredBlock:
        return self.chain.store.block(max(0, head.number - self.lens.lag)) or head


class _Misread:
    """Accounts with other balances than they have."""

    def __init__(self, source: Source, lens: Lens) -> None:
        self._source = source
        self._lens = lens

    @property
    def counters(self) -> Counters:
        return self._source.counters

    def account(self, address: bytes) -> Account | None:
        found = self._source.account(address)
        return replace(found, balance_sun=self._lens.balance_sun(address, found.balance_sun)) if found else None

    def cell(self, key: bytes) -> bytes | None:
        return self._source.cell(key)


def _moved(block: StoredBlock, by_ms: int) -> StoredBlock:
    """The block as it would be at another time: its id is right for that, its signature no longer."""
    header = replace(block.header, timestamp_ms=block.header.timestamp_ms + by_ms)
    return replace(block, header=header, id=header.block_id)
