"""USDT transfers on the devnet: taken with every check, then put into blocks, in one process and in memory."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from services.devnet.chain import Chain
from services.devnet.deployed import USDT
from services.devnet.genesis import KnownKey, account_batch, faucet
from services.devnet.incoming import Incoming
from services.devnet.settings import DevnetSettings
from services.devnet.store import Store
from services.protocol.abi import encode_transfer
from services.protocol.contracts import Transfer, TriggerSmartContract
from tests.bench.measure import Row

TRANSFERS = 2_000
JAVA_TRON_PER_S = 357
"""What java-tron 4.8.0 took on such a machine, of TRX transfers."""

_FEE_LIMIT_SUN = 10_000_000


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, _seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


def _token_transfer(chain: Chain, sender: KnownKey, to: KnownKey) -> Incoming:
    call = TriggerSmartContract(sender.address, USDT, encode_transfer(to.address, 1))
    return chain.signed(sender, call, _FEE_LIMIT_SUN)


def _trx_transfer(chain: Chain, sender: KnownKey, to: KnownKey) -> Incoming:
    return chain.signed(sender, Transfer(sender.address, to.address, 1))


def _rates(make: Callable[[Chain, KnownKey, KnownKey], Incoming]) -> tuple[float, float, float]:
    """Transfers a second: taken, put into a block, and both."""
    store = Store(None)
    store.open()
    try:
        chain = Chain(store, _Clock(), DevnetSettings(block_interval_ms=0, pool_size=TRANSFERS))
        to = account_batch(0, 1)[0]
        transactions = [make(chain, faucet(), to) for _ in range(TRANSFERS)]
        started = time.perf_counter()
        for transaction in transactions:
            chain.submit(transaction)
        taken = time.perf_counter()
        block = chain.produce()
        packed = time.perf_counter()
    finally:
        store.close()
    if block.transactions != TRANSFERS:
        raise RuntimeError(f"{block.transactions} of {TRANSFERS} transfers are in the block")
    return TRANSFERS / (taken - started), TRANSFERS / (packed - taken), TRANSFERS / (packed - started)


def run() -> list[Row]:
    """The lines of this section."""
    usdt, trx = _rates(_token_transfer), _rates(_trx_transfer)
    names = ("taken with every check", "put into a block", "both")
    rows = [Row(f"USDT transfers {name}", rate, "/s") for name, rate in zip(names, usdt, strict=True)]
    rows.append(Row("USDT transfers both / TRX transfers both", usdt[2] / trx[2]))
    rows.append(Row("USDT transfers taken / java-tron's TRX transfers", usdt[0] / JAVA_TRON_PER_S, at_least=1.0))
    return rows
