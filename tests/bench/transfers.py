"""Signed transactions for the devnet's benchmarks, and a chain that is filled with them in one process.

`python -m tests.bench.transfers HOME NUMBER` fills a home and prints a line of JSON about it.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from services.devnet.chain import Chain
from services.devnet.deployed import USDT
from services.devnet.genesis import account_batch
from services.devnet.incoming import Incoming
from services.devnet.settings import DevnetSettings
from services.devnet.store import FILE_NAME, Store
from services.protocol.abi import encode_transfer
from services.protocol.address import Address
from services.protocol.contracts import Contract, Transfer, TriggerSmartContract
from services.protocol.signature import sign
from services.protocol.transaction import RawData, SignedTransaction, ref_block, txid
from tests.bench.measure import pss_kib

SENDERS = 10
RECEIVERS = 20_000
PER_BLOCK = 2_000

_FEE_LIMIT_SUN = 10_000_000


class Maker:
    """Makes transfers of 1 sun, or of a millionth of a USDT, from the test accounts to many receivers in turn."""

    def __init__(self) -> None:
        self._keys = [(key.address, key.signer) for key in account_batch(0, SENDERS)]
        self._numbers = itertools.count()

    @property
    def senders(self) -> list[str]:
        """Addresses that send, in base58."""
        return [address.base58 for address, _ in self._keys]

    def trx(self, number: int, block_id: bytes, head_ms: int) -> SignedTransaction:
        """A TRX transfer that refers to the block of that height."""
        count = next(self._numbers)
        owner = self._keys[count % SENDERS][0]
        receiver = Address.from_evm((0xBE << 152 | count % RECEIVERS).to_bytes(20))
        return self._signed(count, Transfer(owner, receiver, 1), ref_block(number, block_id), head_ms)

    def usdt(self, number: int, block_id: bytes, head_ms: int) -> SignedTransaction:
        """A USDT transfer of one test account to the next, which refers to the block of that height."""
        count = next(self._numbers)
        sender, receiver = (self._keys[(count + step) % SENDERS][0] for step in (0, 1))
        call = TriggerSmartContract(sender, USDT, encode_transfer(receiver, 1))
        return self._signed(count, call, ref_block(number, block_id), head_ms)

    def _signed(self, count: int, contract: Contract, ref: tuple[bytes, bytes], head_ms: int) -> SignedTransaction:
        raw = RawData(
            contract,
            ref_block_bytes=ref[0],
            ref_block_hash=ref[1],
            expiration_ms=head_ms + 3_600_000,
            timestamp_ms=1_700_000_000_000 + count,
            fee_limit_sun=_FEE_LIMIT_SUN if isinstance(contract, TriggerSmartContract) else 0,
        ).encode()
        return SignedTransaction(raw, (sign(txid(raw), self._keys[count % SENDERS][1]),))


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, _seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


def _batches(number: int) -> Iterator[int]:
    while number > 0:
        yield min(number, PER_BLOCK)
        number -= PER_BLOCK


def fill(home: Path, number: int) -> dict[str, float]:
    """Take so many TRX transfers, all checked, in full blocks; returns seconds, memory and bytes on disk."""
    store = Store(home)
    store.open()
    with closing(store):
        chain = Chain(store, _Clock(), DevnetSettings(block_interval_ms=0, pool_size=PER_BLOCK))
        maker, taken_s, block_s, began_kib = Maker(), 0.0, list[float](), pss_kib(os.getpid())
        for batch in _batches(number):
            head = chain.head
            sent = [maker.trx(head.number, head.id, head.time_ms).encode() for _ in range(batch)]
            started = time.perf_counter()
            for data in sent:
                chain.submit(Incoming.decode(data))
            taken = time.perf_counter()
            block = chain.produce()
            taken_s += taken - started
            block_s.append(time.perf_counter() - taken)
            if block.transactions != batch:
                raise RuntimeError(f"{block.transactions} of {batch} transfers are in block {block.number}")
        # The first blocks activate the receivers.
        settled = block_s[RECEIVERS // PER_BLOCK :] or block_s
        some = max(1, min(20, len(settled) // 4))
        return {
            "taken_s": taken_s,
            "packed_s": sum(block_s),
            "first_block_s": _median(settled[:some]),
            "last_block_s": _median(settled[-some:]),
            "began_kib": began_kib,
            "ended_kib": pss_kib(os.getpid()),
            "bytes": sum(file.stat().st_size for file in home.glob(f"{FILE_NAME}*")),
        }


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    print(json.dumps(fill(Path(sys.argv[1]), int(sys.argv[2]))))
