"""The whole service over its socket, with the real wallet daemon and the real devnet behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.devnet.faults import FaultRequest
from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.kit import daemon
from services.kit.errors import Conflict, Invalid, NotFound, Timeout
from services.protocol.address import Address
from services.protocol.contracts import Transfer
from services.protocol.networks import DEVNET_FAUCET_KEY
from services.protocol.signature import public_address, sign
from services.protocol.transaction import RawData, SignedTransaction, ref_block, txid
from services.tron import api
from services.tron.__main__ import build
from services.tron.api import JobState, TxState
from services.tron.client import TronClient
from services.tron.settings import TronSettings
from services.wallet import api as wallet_api
from services.wallet.__main__ import build as build_wallet
from services.wallet.client import WalletClient
from services.wallet.settings import WalletSettings
from tests.services.tron.world import PAYEE

FINAL = {JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD}


@dataclass
class Node:
    """A devnet with two endpoints, a wallet daemon and a TRON client daemon, and what calls them."""

    devnet: DevnetNode
    tron: TronClient
    wallet: WalletClient
    settings: TronSettings
    hot: str
    """Address of the wallet `hot`."""

    async def mined(self, blocks: int = 1) -> None:
        """Make blocks and let the TRON client see them."""
        self.devnet.mine(blocks)
        await self.until_head(self.devnet.chain.head.number)

    async def until_head(self, number: int) -> None:
        async with asyncio.timeout(20):
            while True:
                heads = [(seen.head_number, seen.solid_number) for seen in (await self.tron.network_status()).endpoints]
                if all(head is not None and head >= number for head, _ in heads):
                    return
                await asyncio.sleep(0.01)

    async def until(self, key: str, *states: JobState) -> api.Job:
        """Wait for a job, making a block whenever a transaction waits for one."""
        async with asyncio.timeout(20):
            while (job := await self.tron.job(key)).state not in states:
                if self.devnet.chain.pool or job.state is JobState.SEEN:
                    self.devnet.mine(1)
                await asyncio.sleep(0.05)
        return job


def order(key: str, amount_sun: int = 12_500_000, memo: str = "") -> api.Order:
    return api.Order(key=key, wallet="hot", contract=api.Transfer(to=PAYEE, amount_sun=amount_sun), memo=memo)


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    settings = DevnetSettings(listen="127.0.0.1:0,127.0.0.1:0", block_interval_ms=0, solid_lag=3)
    async with DevnetNode(settings) as devnet:
        monkeypatch.setenv("LUCID_HOME", str(tmp_path))
        monkeypatch.setenv("TRON_NETWORK", "devnet")
        monkeypatch.setenv("TRON_HTTP_ENDPOINT", ",".join(devnet.urls))
        monkeypatch.setenv("TRON_CONFIRMATION_CHECK_INTERVAL", "0.05")
        monkeypatch.setenv("TRON_INITIAL_RETRY_DELAY", "0.1")
        tron, wallet = TronSettings(), WalletSettings(wallet_kdf_memory_kib=64)
        async with (
            daemon.serving(build_wallet(wallet), wallet.socket("wallet")),
            daemon.serving(build(tron), tron.socket("tron")),
            WalletClient(wallet.socket("wallet")) as wallet_client,
            TronClient(tron.socket("tron")) as tron_client,
        ):
            made = await wallet_client.create(wallet_api.CreateWallet(name="hot", passphrase=SecretStr("p")))
            devnet.fund(Address.parse(made.wallet.address), 1_000_000_000)
            found = Node(devnet, tron_client, wallet_client, tron, made.wallet.address)
            await found.mined(8)
            yield found


async def unlock(node: Node) -> None:
    await node.wallet.unlock("hot", wallet_api.Unlock(passphrase=SecretStr("p")))


async def test_an_order_waits_for_the_wallet_and_is_paid_when_it_is_unlocked(node: Node) -> None:
    accepted = await node.tron.submit(order("payout:P-1:1"))
    assert accepted.state is JobState.ACCEPTED
    async with asyncio.timeout(10):
        while "unlock" not in (await node.tron.job("payout:P-1:1")).waiting:
            await asyncio.sleep(0.01)
    quoted = await node.tron.quote_transfer(api.QuoteTransfer(owner=node.hot, to=PAYEE, amount_sun=12_500_000))
    await unlock(node)  # its event wakes the order
    paid = await node.until("payout:P-1:1", *FINAL)
    assert paid.state is JobState.PAID
    assert (paid.owner, paid.fee_sun) == (node.hot, quoted.fee_sun)
    assert quoted.fee_sun == quoted.activation_fee_sun == 1_100_000
    assert (await node.tron.submit(order("payout:P-1:1"))).txid == paid.txid
    with pytest.raises(Conflict):
        await node.tron.submit(order("payout:P-1:1", amount_sun=1))
    account = await node.tron.account(PAYEE)
    assert (account.activated, account.balance_sun) == (True, 12_500_000)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_after", "count": 2},
        {"kind": "drop_before", "path": "/wallet/broadcast*", "count": 2},
        {"kind": "error_after", "count": 2},
        {"kind": "false_duplicate", "count": 2},
        {"kind": "answer", "code": "TRANSACTION_EXPIRATION_ERROR", "count": 2},
    ],
    ids=lambda fault: fault["kind"],
)
async def test_a_faulty_endpoint_does_not_make_it_pay_twice_or_never(node: Node, fault: dict[str, object]) -> None:
    await unlock(node)
    node.devnet.faults.add(FaultRequest.model_validate(fault))
    await node.tron.submit(order("k"))
    paid = await node.until("k", *FINAL)
    assert paid.state is JobState.PAID
    assert (await node.tron.account(PAYEE)).balance_sun == 12_500_000
    assert (await node.wallet.signer()).signed_today_sun == 12_500_000


async def test_reads_show_the_chain(node: Node) -> None:
    await unlock(node)
    await node.tron.submit(order("k", memo="thank you"))
    paid = await node.until("k", *FINAL)
    id_ = paid.txid or ""
    shown = await node.tron.transaction(id_)
    assert (shown.state, shown.type, shown.result) == (TxState.SOLID, "TransferContract", "SUCCESS")
    assert (shown.owner, shown.to, shown.amount_sun, shown.memo) == (node.hot, PAYEE, 12_500_000, "thank you")
    receipt = await node.tron.receipt(id_)
    assert (receipt.block_number, receipt.fee_sun, receipt.result) == (paid.block_number, paid.fee_sun, "SUCCESS")
    assert receipt.confirmations >= 3
    history = await node.tron.history("hot")
    assert history.items[0].txid == id_
    assert len(history.items) == 2
    first = await node.tron.history(node.hot, api.HistoryQuery(limit=1))
    assert (first.more, len(first.items)) == (True, 1)
    second = await node.tron.history(node.hot, api.HistoryQuery(skip=1, limit=1))
    assert (second.more, second.items[0].amount_sun) == (False, 1_000_000_000)
    block = await node.tron.block(paid.block_number or 0)
    assert (block.number, block.transactions) == (paid.block_number, 1)
    assert (await node.tron.wait(id_)).state is TxState.SOLID


async def test_the_quote_is_what_the_chain_takes(node: Node) -> None:
    await unlock(node)
    await node.tron.submit(order("first"))
    await node.until("first", *FINAL)
    for number, memo in enumerate(["", "", "a memo", ""]):
        key = f"k-{number}"
        quoted = await node.tron.quote_transfer(
            api.QuoteTransfer(owner=node.hot, to=PAYEE, amount_sun=1_000_000 + number, memo=memo)
        )
        await node.tron.submit(order(key, 1_000_000 + number, memo))
        assert (await node.until(key, *FINAL)).fee_sun == quoted.fee_sun
        burnt = quoted.bandwidth_fee_sun + quoted.burn_sun
        assert burnt == quoted.bandwidth * 1_000, "either now or when the free bandwidth is used up"


async def test_addresses_are_checked_before_the_chain_is_asked(node: Node) -> None:
    known = await node.tron.validate(node.hot)
    assert (known.valid, known.base58, known.activated) == (True, node.hot, True)
    assert (await node.tron.validate(known.hex or "")).base58 == node.hot
    fresh = await node.tron.validate(PAYEE)
    assert (fresh.valid, fresh.activated) == (True, False)
    wrong = await node.tron.validate(node.hot[:-1] + ("a" if node.hot[-1] != "a" else "b"))
    assert not wrong.valid
    assert "checksum" in wrong.reason
    with pytest.raises(Invalid):
        await node.tron.account("T123")


async def test_what_is_not_there_is_not_found(node: Node) -> None:
    with pytest.raises(NotFound):
        await node.tron.job("nobody")
    with pytest.raises(NotFound):
        await node.tron.block(10_000)
    with pytest.raises(NotFound):
        await node.tron.receipt("ab" * 32)
    with pytest.raises(NotFound):
        await node.tron.retry_transaction("ab" * 32)
    with pytest.raises(NotFound):
        await node.tron.history("no-such-wallet")
    with pytest.raises(Invalid):
        await node.tron.transaction("AB" * 32)
    assert (await node.tron.transaction("ab" * 32)).state is TxState.UNKNOWN
    with pytest.raises(Timeout):
        await node.tron.wait("ab" * 32, timeout_s=1)


def foreign(node: Node, amount_sun: int) -> SignedTransaction:
    """A transfer of the faucet, signed elsewhere."""
    solid = node.devnet.chain.solid
    number_bytes, hash_bytes = ref_block(solid.number, solid.id)
    head_ms = node.devnet.chain.head.time_ms
    contract = Transfer(public_address(DEVNET_FAUCET_KEY), Address.parse(PAYEE), amount_sun)
    raw = RawData(contract, number_bytes, hash_bytes, expiration_ms=head_ms + 60_000, timestamp_ms=head_ms).encode()
    return SignedTransaction(raw, (sign(txid(raw), DEVNET_FAUCET_KEY),))


async def test_bytes_of_a_stranger_are_sent_and_answers_are_read(node: Node) -> None:
    signed = foreign(node, 5)
    result = await node.tron.broadcast(api.Broadcast(transaction_hex=signed.encode().hex()))
    assert result.txid == signed.txid
    assert {answer.code for answer in result.answers} == {"SUCCESS", "DUP_TRANSACTION_ERROR"}
    assert (await node.tron.transaction(signed.txid)).state is TxState.PENDING
    waiting = asyncio.create_task(node.tron.wait(signed.txid, "seen", 10))
    await node.mined()
    assert (await waiting).state is TxState.SEEN
    with pytest.raises(Invalid):
        await node.tron.broadcast(api.Broadcast(transaction_hex="00ff"))
    with pytest.raises(Invalid, match="not signed"):
        await node.tron.broadcast(api.Broadcast(transaction_hex=SignedTransaction(signed.raw, ()).encode().hex()))


async def test_an_orders_bytes_are_only_sent_by_the_sender(node: Node) -> None:
    await unlock(node)
    await node.tron.submit(order("k"))
    paid = await node.until("k", *FINAL)
    stolen = SignedTransaction(bytes.fromhex(paid.raw_data_hex or ""), (bytes(65),)).encode().hex()
    with pytest.raises(Conflict, match="order k"):
        await node.tron.broadcast(api.Broadcast(transaction_hex=stolen))
    assert (await node.tron.retry_transaction(paid.txid or "")).act == "none"


async def test_events_tell_every_step(node: Node) -> None:
    stream = node.tron.events()
    assert (await anext(stream)).name == "ping"
    await unlock(node)
    await node.tron.submit(order("k"))
    seen: list[str] = []
    pushing = asyncio.create_task(node.until("k", *FINAL))
    async with asyncio.timeout(20):
        async for event in stream:
            if event.name == "job":
                seen.append(json.loads(event.data)["state"])
            if seen and seen[-1] == "paid":
                break
    await pushing
    await stream.aclose()  # type: ignore[attr-defined]
    assert list(dict.fromkeys(seen)) == ["accepted", "built", "signed", "sending", "seen", "paid"]


async def test_one_hundred_misses_ask_the_chain_once(node: Node) -> None:
    node.devnet.faults.add(FaultRequest.model_validate({"kind": "delay", "path": "/wallet/getaccount", "delay_ms": 50}))
    answers = await asyncio.gather(*(node.tron.account(PAYEE) for _ in range(100)))
    assert {answer.read_at for answer in answers} == {answers[0].read_at}
    assert [fault.struck for fault in node.devnet.faults.all()] == [1]


async def test_health_says_what_is_wrong(node: Node) -> None:
    assert (await node.tron.health()).status == "ok"
    status = await node.tron.network_status()
    assert status.chain_id == "0xb0d4a4f1"
    assert [endpoint.state for endpoint in status.endpoints] == [api.EndpointState.OK] * 2
    metrics = [
        "retry_attempts_total",
        "cache_hits_total",
        "cache_misses_total",
        "network_errors_total",
        "transaction_broadcast_duration_seconds",
    ]
    await unlock(node)
    node.devnet.faults.add(FaultRequest.model_validate({"kind": "drop_after", "count": 2}))
    await node.tron.submit(order("k"))
    await node.until("k", *FINAL)
    text = await _metrics(node)
    assert [name for name in metrics if name not in text] == []


async def _metrics(node: Node) -> str:
    reader, writer = await asyncio.open_unix_connection(node.settings.socket("tron"))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: tron\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text
