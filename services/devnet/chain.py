"""The chain: takes transactions into the pool, makes blocks of them, and knows what is solid.

Time in here is chain time, the time of the head block. The clock is only asked which slot it is now, when a block is
made; a chain that was hurried on ahead of the clock stays ahead and goes on in steps of one slot.
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum

from services.devnet import witnesses
from services.devnet.deployed import deploy
from services.devnet.genesis import (
    GENESIS,
    TEST_ACCOUNT_SUN,
    TEST_ACCOUNTS,
    KnownKey,
    account_batch,
    faucet,
    genesis_accounts,
    genesis_witnesses,
    witness_signer,
)
from services.devnet.incoming import Incoming
from services.devnet.parameters import ENERGY_PRICE_SUN, MAINTENANCE_SKIPPED_SLOTS, SLOT_MS
from services.devnet.permissions import Permissions
from services.devnet.processing import check_arrival, check_next_slot, process, verify_signatures
from services.devnet.receipt import Receipt
from services.devnet.refusals import Busy, DuplicateInCache, Refusal
from services.devnet.rules import Context, rule_for
from services.devnet.settings import DevnetSettings
from services.devnet.state import Account, Counters, State
from services.devnet.store import NewTransaction, Store, StoredBlock, StoreError
from services.devnet.vm.machine import Block
from services.devnet.vm.world import EnergyRules, Heat, set_heat
from services.kit.clock import Clock
from services.kit.log import get_logger
from services.protocol.address import Address
from services.protocol.block import BLOCK_VERSION, BlockHeader, merkle_root
from services.protocol.contracts import AccountPermissionUpdate, Contract, Transfer
from services.protocol.networks import network
from services.protocol.signature import sign
from services.protocol.transaction import ContractRet, RawData, SignedTransaction, ref_block

BLOCK_BYTES = 2_000_000
"""A block takes no more bytes of transactions (java-tron, `BLOCK_SIZE`)."""

POOL_TIMEOUT_MS = 60_000
"""A transaction that no block took in this time is dropped (java-tron, `node.pendingTransactionTimeout`)."""

REF_BLOCKS = 1 << 16
"""How many blocks back a reference may point."""

DEFAULT_LIFETIME_MS = 60_000
"""Expiration of transactions that the node itself builds, from the head block (java-tron, `trxExpirationTime`)."""

_CACHED_ACCOUNTS = 20_000
_CACHED_CELLS = 50_000
_CACHED_IDS = 100_000

log = get_logger()


class Fate(StrEnum):
    """What becomes of the transactions of undone blocks."""

    AGAIN = "again"
    """The new branch has them too."""

    POOL = "pool"
    """They wait for a block after it."""

    LOST = "lost"
    """They are forgotten."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """A transaction that waits for a block."""

    transaction: Incoming
    """The transaction."""

    taken_ms: int
    """Time by the clock when it was taken."""

    permissions: Permissions | None
    """Permissions of its owner when its signatures were checked."""


class _Accounts:
    """Accounts and counters after the head block, those lately used kept in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent: OrderedDict[bytes, Account | None] = OrderedDict()
        self._cells: OrderedDict[bytes, bytes | None] = OrderedDict()
        self.counters = Counters()

    def account(self, address: bytes) -> Account | None:
        if address in self._recent:
            self._recent.move_to_end(address)
            return self._recent[address]
        return self._keep(address, self._store.account(address))

    def cell(self, key: bytes) -> bytes | None:
        if key in self._cells:
            self._cells.move_to_end(key)
            return self._cells[key]
        return self._keep_cell(key, self._store.cell(key))

    def replace(self, state: State) -> None:
        for address, account in state.changed.items():
            self._keep(address, None if account.is_gone else account)
        for key, value in state.changed_cells.items():
            self._keep_cell(key, value)
        self.counters = state.counters

    def _keep_cell(self, key: bytes, value: bytes | None) -> bytes | None:
        self._cells[key] = value
        self._cells.move_to_end(key)
        if len(self._cells) > _CACHED_CELLS:
            self._cells.popitem(last=False)
        return value

    def _keep(self, address: bytes, account: Account | None) -> Account | None:
        self._recent[address] = account
        self._recent.move_to_end(address)
        if len(self._recent) > _CACHED_ACCOUNTS:
            self._recent.popitem(last=False)
        return account


class _StateAfter:
    """Accounts and counters after one of the last blocks."""

    def __init__(self, store: Store, block: StoredBlock) -> None:
        self._store = store
        self._block = block

    @property
    def counters(self) -> Counters:
        return self._block.counters

    def account(self, address: bytes) -> Account | None:
        return self._store.account_after(address, self._block.number)

    def cell(self, key: bytes) -> bytes | None:
        return self._store.cell_after(key, self._block.number)


class _History:
    """The blocks so far, and transactions that count as known besides theirs."""

    def __init__(self, chain: "Chain", also: Container[bytes]) -> None:
        self._chain = chain
        self._also = also

    def ref_hash(self, ref_block_bytes: bytes) -> bytes | None:
        return self._chain.ref_hash(ref_block_bytes)

    def has_transaction(self, txid: bytes) -> bool:
        return txid in self._also or self._chain.store.has_transaction(txid)


class Chain:
    """One chain over one store. Used from one thread."""

    def __init__(self, store: Store, clock: Clock, settings: DevnetSettings) -> None:
        self.store = store
        """Where it is kept."""
        self.network = network(settings.network)
        """Which network it plays."""
        self.pool: dict[bytes, Pooled] = {}
        """Transactions that wait for a block, by id, in the order of their arrival."""
        self.on_accept: Callable[[], None] = lambda: None
        """Called after a transaction was taken."""
        self._clock = clock
        self._settings = settings
        self._accounts = _Accounts(store)
        self._pending = State(self._accounts)
        self._held: dict[bytes, Incoming] = {}
        self._factors: dict[bytes, int] = {}
        self._sent_ids: OrderedDict[bytes, None] = OrderedDict()
        self._last_stamp_ms = 0
        self._context: tuple[StoredBlock, Context] | None = None
        self._head = self._begin()

    # --- reading ---

    @property
    def head(self) -> StoredBlock:
        """The newest block."""
        return self._head

    @property
    def solid(self) -> StoredBlock:
        """The newest block that cannot be undone."""
        block = self.store.block(self._head.solid)
        if block is None:
            raise StoreError(f"block {self._head.solid} is missing: remove the devnet's file and start again")
        return block

    @property
    def context(self) -> Context:
        """The moment at which a transaction that arrives now is judged."""
        head = self._head
        if self._context is None or self._context[0] is not head:
            context = Context(head.number, head.time_ms, slot_of(head.time_ms), head.counters.was_maintenance)
            self._context = head, self._within(context, context.next_slot_ms)
        return self._context[1]

    @property
    def pending(self) -> State:
        """Accounts after the head block and everything in the pool: what `/wallet/*` shows, as java-tron does."""
        return self._pending

    @property
    def solid_state(self) -> _StateAfter:
        """Accounts after the solid block: what `/walletsolidity/*` shows."""
        return self.state_after(self.solid)

    def state_after(self, block: StoredBlock) -> _StateAfter:
        """Accounts after a block that is at most `store.KEPT_BLOCKS` below the solid one."""
        return _StateAfter(self.store, block)

    def ref_hash(self, ref_block_bytes: bytes) -> bytes | None:
        """Bytes 8 to 16 of the id of the newest block whose number ends in those two bytes."""
        if len(ref_block_bytes) != 2:
            return None
        number = self._head.number - (self._head.number - int.from_bytes(ref_block_bytes)) % REF_BLOCKS
        block_id = self._block_id(number) if number >= 0 else None
        return block_id[8:16] if block_id else None

    @property
    def energy_rules(self) -> EnergyRules | None:
        """How busy contracts get dearer; None when they do not."""
        return self._settings.energy_rules

    def block_facts(self, number: int, time_ms: int, maker: bytes) -> Block:
        """A block as contracts see it."""
        return Block(
            number,
            time_ms,
            maker,
            id_of=self._block_id,
            chain_id=self.network.chain_id,
            energy_price_sun=ENERGY_PRICE_SUN,
            cycle=self._accounts.counters.cycle,
            rules=self._settings.energy_rules,
        )

    def _block_id(self, number: int) -> bytes | None:
        return self.store.block_id(number)

    def now_ms(self) -> int:
        """The clock, for timestamps that decide nothing."""
        return int(self._clock.now().timestamp() * 1000)

    # --- taking transactions ---

    def submit(self, transaction: Incoming) -> None:
        """Take a transaction into the pool.

        Raises:
            Refusal: it is not taken; the class says which code a broadcast answers.
        """
        if len(self.pool) >= self._settings.pool_size:
            raise Busy("too many pending")
        if self._settings.tx_cache:
            self._remember(transaction.txid)
        check_arrival(transaction, self._pending, self.context)
        self._apply(transaction)
        owner = self._pending.account(transaction.owner)
        self.pool[transaction.txid] = Pooled(transaction, self.now_ms(), owner.permissions if owner else None)
        self.on_accept()

    def hold(self, transaction: Incoming) -> None:
        """Keep a transaction out of sight until the last block that may have it, and offer it for that one."""
        self._held[transaction.txid] = transaction

    def _offer_held(self) -> None:
        # No earlier than this is the slot of the block after the next.
        next_ms = self.context.next_slot_ms
        skipped = MAINTENANCE_SKIPPED_SLOTS if self._head.counters.maintenance_ms <= next_ms else 0
        after_next_ms = next_ms + (1 + skipped) * SLOT_MS
        for txid, transaction in list(self._held.items()):
            if after_next_ms > transaction.fields.expiration_ms:
                del self._held[txid]
                with suppress(Refusal):
                    self.submit(transaction)

    def transfer(self, sender: KnownKey, to: Address, amount_sun: int) -> Incoming:
        """Make and sign a transfer from an account whose key everybody knows; it still has to be submitted."""
        return self.signed(sender, Transfer(sender.address, to, amount_sun))

    def signed(self, sender: KnownKey, contract: Contract, fee_limit_sun: int = 0) -> Incoming:
        """Make and sign a transaction of an account whose key everybody knows; it still has to be submitted."""
        # Two like ones in one millisecond would be one transaction.
        self._last_stamp_ms = max(self.now_ms(), self._last_stamp_ms + 1)
        ref_bytes, ref_hash = ref_block(self.solid.number, self.solid.id)
        raw = RawData(
            contract,
            ref_block_bytes=ref_bytes,
            ref_block_hash=ref_hash,
            expiration_ms=self._head.time_ms + DEFAULT_LIFETIME_MS,
            timestamp_ms=self._last_stamp_ms,
            fee_limit_sun=fee_limit_sun,
        ).encode()
        unsigned = Incoming.decode(SignedTransaction(raw, ()).encode())
        return Incoming(raw, (sign(unsigned.txid, sender.private_key),), unsigned.fields)

    def set_energy_factor(self, contract: bytes, factor: int) -> None:
        """Make a contract as dear as if it had been busy; from the next block on the chain has it so.

        Args:
            contract: its address.
            factor: the penalty in ten-thousandths.
        """
        self._factors[contract] = factor
        self._apply_factors(self._pending)

    def _apply_factors(self, state: State) -> None:
        for address, factor in self._factors.items():
            set_heat(state, address, Heat(factor=factor, cycle=state.counters.cycle))

    def _remember(self, txid: bytes) -> None:
        if txid in self._sent_ids:
            raise DuplicateInCache(f"dup trans : {txid.hex()}")
        self._sent_ids[txid] = None
        if len(self._sent_ids) > _CACHED_IDS:
            self._sent_ids.popitem(last=False)

    def _apply(self, transaction: Incoming) -> None:
        layer = State(self._pending)
        process(transaction, layer, self.context, _History(self, self.pool))
        self._pending.merge(layer)

    # --- making blocks ---

    def produce(self, missed: int = 0) -> StoredBlock:
        """Make the next block of what is in the pool, and store it.

        Its time is the slot that the clock is in, or the slot after the head if the chain is ahead of the clock; it is
        later than the head by so many slots at least that nobody used.
        """
        return self._produce(self.now_ms(), missed)

    def _produce(self, now_ms: int, missed: int = 0) -> StoredBlock:
        self._offer_held()
        state = State(self._accounts)
        self._apply_factors(state)
        time_ms = max(self.context.next_slot_ms + missed * SLOT_MS, now_ms // SLOT_MS * SLOT_MS)
        packed, left = self._pack(state, self._within(self.context, time_ms))
        maker = witnesses.in_turn(self._accounts, slot_of(time_ms))
        witnesses.apply_block(state, self._head.number + 1, time_ms, maker, GENESIS.header.timestamp_ms)
        transactions, confirmed = [new.signed for new in packed], witnesses.confirmed(state)
        block = self._sealed(time_ms, maker, transactions, state.counters, confirmed)
        self.store.add_block(block, packed, state.changed.values(), state.changed_cells)
        self._accounts.replace(state)
        self._factors = {}
        self._head = block
        self._refill(left)
        return block

    def _within(self, context: Context, time_ms: int) -> Context:
        """The same moment, with the block of that time that is to come."""
        maker = witnesses.in_turn(self._accounts, slot_of(time_ms))
        return replace(context, block=self.block_facts(self._head.number + 1, time_ms, maker))

    def _pack(self, state: State, context: Context) -> tuple[list[NewTransaction], list[Pooled]]:
        """Apply the pool to the state of the new block; returns what got in and what has to wait."""
        packed, left, known, size = list[NewTransaction](), list[Pooled](), set[bytes](), 0
        history, updated = _History(self, known), set[bytes]()
        for pooled in self.pool.values():
            transaction = pooled.transaction
            # Nothing else of an account stands in a block behind an update of its permissions (`generateBlock`).
            if size + transaction.size > BLOCK_BYTES or transaction.owner in updated:
                left.append(pooled)
                continue
            if transaction.contract and transaction.contract.type == AccountPermissionUpdate.type_id:
                updated.add(transaction.owner)
            layer = State(state)
            try:
                receipt = self._process_again(pooled, layer, context, history)
            except Refusal as refusal:
                log.info("devnet.dropped", txid=transaction.txid.hex(), code=refusal.code.name, reason=refusal.reason)
                continue
            layer.count_transaction()
            state.merge(layer)
            known.add(transaction.txid)
            size += transaction.size
            packed.append(_new_transaction(transaction, receipt))
        return packed, left

    def _process_again(self, pooled: Pooled, layer: State, context: Context, history: _History) -> Receipt:
        _verify_again(pooled, layer)
        check_next_slot(pooled.transaction, context)
        return process(pooled.transaction, layer, context, history)

    def _sealed(
        self, time_ms: int, maker: bytes, transactions: list[SignedTransaction], counters: Counters, confirmed: int
    ) -> StoredBlock:
        number = self._head.number + 1
        header = BlockHeader(
            number=number,
            timestamp_ms=time_ms,
            parent_hash=self._head.id,
            tx_trie_root=merkle_root(transactions),
            witness_address=maker,
            version=BLOCK_VERSION,
        )
        signature = sign(header.hash, witness_signer(maker))
        before, lag = self.store.last_block_of(maker, number), self._settings.solid_lag
        return StoredBlock(
            number,
            header.block_id,
            header,
            # java-tron writes v as 0 or 1 in blocks.
            signature[:64] + bytes([signature[64] - 27]),
            produced=(before.produced if before else 0) + 1,
            transactions=len(transactions),
            solid=max(self._head.solid, confirmed if lag is None else number - lag),
            counters=counters,
        )

    def _refill(self, left: list[Pooled]) -> None:
        """Start the pool afresh on the new head with what had to wait."""
        self.pool, self._pending = {}, State(self._accounts)
        oldest_ms = self.now_ms() - POOL_TIMEOUT_MS
        for pooled in left:
            if pooled.taken_ms < oldest_ms:
                continue
            try:
                _verify_again(pooled, self._pending)
                self._apply(pooled.transaction)
            except Refusal as refusal:
                log.info("devnet.dropped", txid=pooled.transaction.txid.hex(), code=refusal.code.name)
                continue
            self.pool[pooled.transaction.txid] = pooled

    # --- another history ---

    def fork(self, blocks: int, fate: Fate) -> list[bytes]:
        """Let a longer branch win: the newest blocks are undone, and one more than they were takes their place.

        Returns the ids of the transactions that were in the undone blocks. (Killed in the middle, the devnet starts
        with the shorter chain.)

        Raises:
            ValueError: one of those blocks is solid.
        """
        base = self._head.number - blocks
        if base < self._head.solid:
            most = self._head.number - self._head.solid
            raise ValueError(f"solid blocks stay: at most {most} can be undone now")
        undone = [
            Incoming.decode(stored.signed.encode())
            for number in range(base + 1, self._head.number + 1)
            for stored in self.store.transactions_of(number)
        ]
        waiting = [pooled.transaction for pooled in self.pool.values()]
        self.store.rewind(base)
        self.reload()
        self._offer(undone if fate is Fate.AGAIN else [])
        for made in range(blocks + 1):
            # Somebody else's turn: with the same witness and time it might be the same block.
            self.produce(missed=0 if made else 1)
        self._offer((undone if fate is Fate.POOL else []) + waiting)
        return [transaction.txid for transaction in undone]

    def reload(self) -> None:
        """Forget everything but what is stored."""
        head = self.store.head()
        if head is None:
            raise StoreError("the chain has no blocks: remove the devnet's file and start again")
        self._head = head
        self._accounts = _Accounts(self.store)
        self._accounts.counters = head.counters
        self._pending = State(self._accounts)
        self.pool, self._held = {}, {}
        self._sent_ids.clear()

    def _offer(self, transactions: Iterable[Incoming]) -> None:
        for transaction in transactions:
            try:
                self.submit(transaction)
            except Refusal as refusal:
                log.info("devnet.dropped", txid=transaction.txid.hex(), code=refusal.code.name)

    # --- beginning ---

    def _begin(self) -> StoredBlock:
        """Go on where the store ends; a new store begins with block 0 and a block that funds the test accounts."""
        head = self.store.head()
        if head is not None:
            first = self.store.block(0)
            if first is None or first.id.hex() != self.network.genesis_id:
                raise StoreError(
                    f"{self.store.name} holds a chain with another block 0: remove it, choose another DEVNET_HOME, or "
                    "set DEVNET_NETWORK to the network that it plays"
                )
            if self.store.cell(witnesses.WITNESSES_KEY) is None:
                raise StoreError(
                    f"{self.store.name} holds the chain of an older devnet, which this one cannot go on with: begin a "
                    "new home (lucid-tron --home DIR up --network devnet; DEVNET_HOME for a devnet by itself)"
                )
            self._accounts.counters = head.counters
            return head
        self._head = self._genesis_block()
        for account in account_batch(0, TEST_ACCOUNTS):
            self.submit(self.transfer(faucet(), account.address, TEST_ACCOUNT_SUN))
        # Block 1 ends a maintenance period, and the slots that stay empty after it are over already.
        return self._produce(self.now_ms() - MAINTENANCE_SKIPPED_SLOTS * SLOT_MS)

    def _genesis_block(self) -> StoredBlock:
        block = StoredBlock(
            0,
            # Of other networks' block 0 only the id is known here: what clients compare.
            bytes.fromhex(self.network.genesis_id),
            GENESIS.header,
            GENESIS.witness_signature,
            produced=0,
            transactions=len(GENESIS.transactions),
            solid=0,
            counters=Counters(),
        )
        transactions = [
            _new_transaction(Incoming.decode(signed.encode()), Receipt(result="DEFAULT"))
            for signed in GENESIS.transactions
        ]
        state = State(self._accounts)
        for account in genesis_accounts():
            state.create(account)
        facts = self.block_facts(0, GENESIS.header.timestamp_ms, GENESIS.header.witness_address)
        deploy(state, facts, self.network.usdt)
        state.set_cell(witnesses.WITNESSES_KEY, witnesses.dump(genesis_witnesses()))
        self.store.add_block(block, transactions, state.changed.values(), state.changed_cells)
        # Deploying has asked for accounts and cells that were not there yet.
        self._accounts.replace(state)
        return block


def slot_of(time_ms: int) -> int:
    """The slot of a block time, counted from block 0."""
    return (time_ms - GENESIS.header.timestamp_ms) // SLOT_MS


def _verify_again(pooled: Pooled, state: State) -> None:
    """Check the signatures once more if the owner's permissions are others than when they were checked."""
    owner = state.account(pooled.transaction.owner)
    if owner is not None and owner.permissions != pooled.permissions:
        verify_signatures(pooled.transaction, state)


def _new_transaction(transaction: Incoming, receipt: Receipt) -> NewTransaction:
    contract = transaction.contract
    receiver = rule_for(contract.type).receiver(contract.value) if contract else None
    return NewTransaction(
        transaction.txid, transaction.signed(ContractRet[receipt.result]), receipt, transaction.owner, receiver
    )
