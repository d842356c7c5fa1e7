"""Tokens are neither made nor lost: whatever is called, the balances add up to the supply, and fees are burnt."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.devnet import execution
from services.devnet.chain import Chain
from services.devnet.deployed import PLAIN_TOKEN, USDT
from services.devnet.execution import Run
from services.devnet.genesis import KnownKey, account_batch, faucet
from services.devnet.refusals import Refusal
from services.devnet.settings import DevnetSettings
from services.devnet.state import State
from services.devnet.store import Store
from services.protocol import abi
from services.protocol.address import Address
from services.protocol.contracts import TriggerSmartContract

HOLDERS: tuple[KnownKey, ...] = (faucet(), *account_batch(0, 3))
STRANGER = account_batch(4_000_000, 1)[0].address
ADDRESSES = [key.address for key in HOLDERS] + [STRANGER, USDT, Address.from_evm(bytes(20))]
MAX = (1 << 256) - 1

holders = st.sampled_from(HOLDERS)
addresses = st.sampled_from(ADDRESSES)
amounts = st.one_of(
    st.integers(0, 5),
    st.sampled_from([10**6, 10**15, 5 * 10**16, 5 * 10**16 + 1, MAX, MAX - 1, 1 << 255]),
)


def data(signature: str) -> Callable[..., bytes]:
    def make(*arguments: Address | int) -> bytes:
        words = (abi.encode_address(item) if isinstance(item, Address) else item.to_bytes(32) for item in arguments)
        return abi.selector(signature) + b"".join(words)

    return make


calls = st.one_of(
    st.builds(data("transfer(address,uint256)"), addresses, amounts),
    st.builds(data("approve(address,uint256)"), addresses, amounts),
    st.builds(data("transferFrom(address,address,uint256)"), addresses, addresses, amounts),
    st.builds(data("increaseApproval(address,uint256)"), addresses, amounts),
    st.builds(data("issue(uint256)"), amounts),
    st.builds(data("redeem(uint256)"), amounts),
    st.builds(data("setParams(uint256,uint256)"), st.integers(0, 20), st.integers(0, 50)),
    st.builds(data("addBlackList(address)"), addresses),
    st.builds(data("removeBlackList(address)"), addresses),
    st.builds(data("destroyBlackFunds(address)"), addresses),
    st.sampled_from([data("pause()")(), data("unpause()")(), b"", b"\xff" * 36]),
)
steps = st.lists(
    st.tuples(
        # The owner acts more often: only he can do most of it.
        st.one_of(st.just(HOLDERS[0]), holders),
        st.sampled_from([USDT, USDT, PLAIN_TOKEN]),
        calls,
        st.sampled_from([100_000_000, 100_000_000, 2_000_000, 1_000, 0]),
        st.sampled_from([0, 0, 0, 1]),
    ),
    max_size=25,
)


class _Clock:
    def now(self) -> datetime:
        return datetime(2026, 11, 20, 12, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, _seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


def asked(chain: Chain, contract: Address, call: bytes) -> int:
    block = chain.context.block
    assert block is not None
    run = Run(faucet().address.raw, block, bytes(32), 1_000_000, chain.head.time_ms)
    return int.from_bytes(execution.call(State(chain.pending), run, contract.raw, 0, call).returned)


def check(chain: Chain) -> None:
    for contract in (USDT, PLAIN_TOKEN):
        held = sum(asked(chain, contract, abi.encode_balance_of(holder)) for holder in ADDRESSES)
        assert held == asked(chain, contract, data("totalSupply()")())


def paid_sun(chain: Chain, number: int) -> int:
    return sum(stored.receipt.fee_sun for stored in chain.store.transactions_of(number))


@settings(max_examples=25, deadline=None)
@given(steps)
def test_tokens_add_up_and_fees_are_burnt(steps: list[tuple[Any, ...]]) -> None:
    store = Store(None)
    store.open()
    try:
        chain = Chain(store, _Clock(), DevnetSettings(block_interval_ms=0))
        for number, (sender, contract, call, fee_limit_sun, value_sun) in enumerate(steps):
            trigger = TriggerSmartContract(sender.address, contract, call, value_sun)
            try:
                chain.submit(chain.signed(sender, trigger, fee_limit_sun))
            except Refusal:
                continue
            if number % 4 == 3:
                burnt = chain.head.counters.burnt_sun
                block = chain.produce()
                assert chain.head.counters.burnt_sun - burnt == paid_sun(chain, block.number)
                check(chain)
        chain.produce()
        check(chain)
    finally:
        store.close()
