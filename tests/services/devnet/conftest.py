"""A chain on a clock that tests move, a devnet over HTTP, and transactions with whatever is wrong in them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.devnet import execution, witnesses
from services.devnet.chain import Chain
from services.devnet.execution import Run
from services.devnet.genesis import (
    GENESIS,
    KnownKey,
    account_batch,
    faucet,
    genesis_accounts,
    genesis_witnesses,
)
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.devnet.parameters import SLOT_MS
from services.devnet.receipt import Receipt
from services.devnet.refusals import Refusal
from services.devnet.rules import Context, rule_for
from services.devnet.settings import DevnetSettings
from services.devnet.state import Account, Counters, State
from services.devnet.store import Store
from services.protocol.address import Address
from services.protocol.contracts import Contract, Transfer, TriggerSmartContract
from services.protocol.signature import sign
from services.protocol.transaction import RawData, SignedTransaction, ref_block
from services.protocol.wire import unparse


class ManualClock:
    """Stands still until it is moved; sleeping moves it."""

    def __init__(self) -> None:
        # A minute after a maintenance: the next one is far enough for tests that are not about it.
        self._now = datetime(2026, 11, 20, 12, 1, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def advance(clock: ManualClock) -> Callable[[float], None]:
    """Move the clock on by seconds."""
    return clock.advance


@pytest.fixture
def make_chain(clock: ManualClock) -> Iterator[Callable[..., Chain]]:
    """Chains in memory, with the settings given."""
    stores: list[Store] = []

    def make(**settings: object) -> Chain:
        stores.append(Store(None))
        stores[-1].open()
        return Chain(stores[-1], clock, DevnetSettings.model_validate({"block_interval_ms": 0, **settings}))

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def chain(make_chain: Callable[..., Chain]) -> Chain:
    return make_chain()


@pytest.fixture
def accounts() -> tuple[KnownKey, ...]:
    """The test accounts of block 1, a million TRX each."""
    return account_batch(0, 10)


@pytest.fixture
def strangers() -> tuple[KnownKey, ...]:
    """Keys of accounts that were never activated."""
    return account_batch(4_000_000, 10)


@pytest.fixture
def build() -> Callable[..., Incoming]:
    """A signed transfer for a chain; every part can be replaced."""

    def make(
        chain: Chain,
        sender: KnownKey,
        to: Address,
        amount_sun: int = 1,
        *,
        signers: tuple[KnownKey, ...] | None = None,
        **fields: object,
    ) -> Incoming:
        ref_bytes, ref_hash = ref_block(chain.solid.number, chain.solid.id)
        # Each one gets an id of its own.
        make.stamp += 1  # type: ignore[attr-defined]
        values = {
            "contract": Transfer(sender.address, to, amount_sun),
            "ref_block_bytes": ref_bytes,
            "ref_block_hash": ref_hash,
            "expiration_ms": chain.head.time_ms + 60_000,
            "timestamp_ms": make.stamp,  # type: ignore[attr-defined]
        }
        raw = RawData(**(values | fields)).encode()
        unsigned = Incoming.decode(SignedTransaction(raw, ()).encode())
        keys = (sender,) if signers is None else signers
        return Incoming(unsigned.raw, tuple(sign(unsigned.txid, key.private_key) for key in keys), unsigned.fields)

    make.stamp = 1_700_000_000_000  # type: ignore[attr-defined]
    return make


@pytest.fixture
def call(build: Callable[..., Incoming]) -> Callable[..., Receipt]:
    """A contract call that is taken and put into a block; gives its receipt."""

    def make(
        chain: Chain,
        sender: KnownKey,
        contract: Address,
        data: bytes,
        *,
        value_sun: int = 0,
        fee_limit_sun: int = 100_000_000,
    ) -> Receipt:
        trigger = TriggerSmartContract(sender.address, contract, data, value_sun)
        transaction = build(chain, sender, contract, contract=trigger, fee_limit_sun=fee_limit_sun)
        chain.submit(transaction)
        chain.produce()
        stored = chain.store.transaction(transaction.txid)
        assert stored is not None
        assert stored.signed.result.name == stored.receipt.result
        return stored.receipt

    return make


@pytest.fixture
def look() -> Callable[..., bytes]:
    """What a contract returns to a call that changes nothing."""

    def make(chain: Chain, contract: Address, data: bytes) -> bytes:
        block = chain.context.block
        assert block is not None
        run = Run(faucet().address.raw, block, bytes(32), 1_000_000, chain.head.time_ms)
        outcome = execution.call(State(chain.pending), run, contract.raw, 0, data)
        assert outcome.succeeded, execution.message_of(outcome)
        return outcome.returned

    return make


@pytest.fixture
async def node() -> AsyncIterator[DevnetNode]:
    """A devnet of two endpoints that makes blocks on demand."""
    async with DevnetNode(DevnetSettings(listen="127.0.0.1:0,127.0.0.1:0", block_interval_ms=0)) as started:
        yield started


@pytest.fixture
async def http(node: DevnetNode) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the first endpoint."""
    async with httpx.AsyncClient(base_url=node.url, timeout=10) as client:
        yield client


class World:
    """A state without a chain around it, in which single contracts are judged and carried out."""

    def __init__(self) -> None:
        self.state = State(_Nothing())
        self.state.set_cell(witnesses.WITNESSES_KEY, witnesses.dump(genesis_witnesses()))
        for account in genesis_accounts():
            self.state.create(account)
        self.context = Context(1_000, GENESIS.header.timestamp_ms + 40_000_000 * SLOT_MS, 40_000_000)

    def add(self, key: KnownKey, balance_sun: int = 1_000_000_000, **fields: Any) -> bytes:
        """A new account; returns its address."""
        self.state.create(Account(key.address.raw, balance_sun, **fields))
        return key.address.raw

    def account(self, address: bytes) -> Account:
        """An account that is there."""
        found = self.state.account(address)
        assert found is not None
        return found

    def wait(self, slots: int = 0, ms: int = 0) -> None:
        """Let time pass; milliseconds only where nothing recovers."""
        context = self.context
        self.context = replace(
            context, head_ms=context.head_ms + slots * SLOT_MS + ms, slot=context.slot + slots + ms // SLOT_MS
        )

    def draft(self) -> None:
        """From now on contracts are judged as drafts of the node."""
        self.context = replace(self.context, is_draft=True)

    def run(self, kind: type[Contract], **values: Any) -> Receipt:
        """Judge and carry out a contract of these fields, whose addresses are bytes."""
        rule, value, receipt = rule_for(kind.type_id), unparse(kind, values), Receipt()
        layer = State(self.state)
        rule.validate(layer, value, self.context)
        rule.execute(layer, value, self.context, receipt)
        self.state.merge(layer)
        return receipt

    def refusal(self, kind: type[Contract], **values: Any) -> str:
        """Why such a contract is refused."""
        before = self.state.counters
        with pytest.raises(Refusal) as caught:
            self.run(kind, **values)
        assert self.state.counters == before
        return caught.value.answer

    def total_sun(self) -> int:
        """All TRX wherever they are, those without an owner yet included."""
        counters = self.state.counters
        held = sum(
            account.balance_sun
            + account.tron_power_sun
            + sum(item.amount_sun for item in account.unfreezing)
            + account.allowance_sun
            for account in self.state.changed.values()
        )
        kept = sum(witness.allowance_sun for witness in witnesses.load(self.state))
        return held + kept + counters.voters_sun + counters.burnt_sun - counters.minted_sun


class _Nothing:
    """What is below a world."""

    counters = Counters()

    def account(self, _address: bytes) -> Account | None:
        return None

    def cell(self, _key: bytes) -> bytes | None:
        return None


@pytest.fixture
def world() -> World:
    return World()
