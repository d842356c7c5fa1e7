"""The signer's judgement: what it refuses, keys good for one transaction, and budgets that no clock widens."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from services.kit.errors import Conflict, Invalid, Locked
from services.protocol.address import Address
from services.protocol.contracts import Contract, FreezeBalanceV2, Resource, Transfer, TriggerSmartContract
from services.protocol.transaction import RESULT_RESERVE_BYTES, SignedTransaction
from services.wallet import signer
from services.wallet.signer import DAY_MS, HOUR_MS, Judged, Policy, Refused
from services.wallet.store import Asked, Boot, FreezeRow, SignerStore, Spent

if TYPE_CHECKING:
    from tests.services.wallet.conftest import Bytes

ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
OTHER = "TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK"
NO_LIMIT = Policy(max_tx_sun=0, hourly_limit_sun=0, daily_limit_sun=0)
STRICT = Policy(max_tx_sun=100, hourly_limit_sun=250, daily_limit_sun=400)
ME, THEM = Address.parse(ADDRESS), Address.parse(OTHER)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SignerStore]:
    opened = SignerStore(tmp_path / "signer.db")
    await opened.open()
    yield opened
    await opened.close()


class Signing:
    """Enters signatures at moments of a monotonic clock."""

    def __init__(self, store: SignerStore, policy: Policy = STRICT) -> None:
        self.store = store
        self.policy = policy
        self.boot = Boot("boot-1", 5_000)
        self.most_fee_sun = 0
        self._made = 0

    def later(self, ms: int) -> None:
        self.boot = Boot(self.boot.id, self.boot.monotonic_ms + ms)

    async def sign(self, amount_sun: int, key: str = "", txid: bytes = b"") -> signer.Entered:
        self._made += 1
        judged = Judged(txid or self._made.to_bytes(32), ADDRESS, Spent(amount_sun, self.most_fee_sun))
        asked = Asked(key or f"key-{self._made}", "hot", "2026-01-01", "alice")
        return await self.store.write(lambda ledger: signer.enter(ledger, asked, self.boot, judged, self.policy))

    async def void(self, key: str) -> Any:
        asked = Asked(key, "hot", "2026-01-01", "alice")
        return await self.store.write(lambda ledger: signer.void(ledger, asked, self.boot))


@pytest.fixture
def signing(store: SignerStore) -> Signing:
    return Signing(store)


# --- what is understood and allowed ---


def test_transfer_of_the_wallet_passes(transfer: Bytes) -> None:
    raw = transfer.raw(100, memo=b"thanks")
    judged = signer.judge(raw, ADDRESS, STRICT)
    assert (judged.owner, judged.spent.amount_sun, len(judged.txid)) == (ADDRESS, 100, 32)


@pytest.mark.parametrize(
    ("change", "rule", "message"),
    [
        ({"owner": OTHER}, "owner", f"belongs to {OTHER}, this wallet is {ADDRESS}"),
        ({"permission_id": 2}, "permission", "permission 2"),
        ({"amount_sun": 101}, "amount", "0.000101 TRX is more than one transaction may move: 0.0001 TRX"),
        ({"life_ms": DAY_MS + 1}, "expiration", "within 24 hours"),
        ({"life_ms": 0}, "expiration", "after its timestamp"),
        ({"life_ms": -1}, "expiration", "after its timestamp"),
        ({"timestamp_ms": 0, "life_ms": 2_000_000_000_000}, "expiration", "within 24 hours"),
        ({"contract": FreezeBalanceV2(ME, 1, Resource.ENERGY)}, "contract", "FreezeBalanceV2Contract is not among"),
        ({"contract": TriggerSmartContract(ME, THEM, b"\x01")}, "contract", "TriggerSmartContract is not among"),
    ],
)
def test_what_the_policy_forbids_is_refused(transfer: Bytes, change: dict[str, Any], rule: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        signer.judge(transfer.raw(**{"amount_sun": 1, **change}), ADDRESS, STRICT)
    assert caught.value.extra["rule"] == rule
    assert caught.value.status == 403


def test_exactly_a_day_and_exactly_the_limit_pass(transfer: Bytes) -> None:
    assert signer.judge(transfer.raw(100, life_ms=DAY_MS), ADDRESS, STRICT).spent.amount_sun == 100


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1],
        lambda raw: raw + b"\x00",
        lambda raw: raw + b"\xf8\x01\x01",  # field 31, unknown
        lambda raw: raw + raw,
        lambda raw: b"\x0a\x02\x00\x01" + raw,  # ref_block_bytes twice
        lambda _raw: b"\x00",
        lambda _raw: b"\xff" * 100,
    ],
    ids=["cut", "zero", "unknown", "doubled", "repeated", "short", "noise"],
)
def test_bytes_that_are_not_understood_are_invalid(transfer: Bytes, spoil: Any) -> None:
    with pytest.raises(Invalid, match="not understood, and not signed") as caught:
        signer.judge(spoil(transfer.raw(1)), ADDRESS, STRICT)
    assert caught.value.fields[0][0] == "raw_data_hex"


@pytest.mark.parametrize("amount_sun", [0, -1])
def test_transfer_of_nothing_is_invalid(transfer: Bytes, amount_sun: int) -> None:
    contract: Contract = Transfer(ME, THEM, amount_sun)
    with pytest.raises(Invalid, match="amount"):
        signer.judge(transfer.raw(contract=contract), ADDRESS, NO_LIMIT)


def test_no_single_bit_can_be_flipped_into_something_that_passes_as_the_same(transfer: Bytes) -> None:
    raw = transfer.raw(1)
    wanted = signer.judge(raw, ADDRESS, NO_LIMIT)
    for place in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        try:
            other = signer.judge(bytes(flipped), ADDRESS, NO_LIMIT)
        except (Invalid, Refused):
            continue
        assert other.txid != wanted.txid


# --- one key, one transaction ---


async def test_same_key_with_same_bytes_counts_once(signing: Signing) -> None:
    assert await signing.sign(100, "k", b"t" * 32) == signer.Entered(fresh=True, signed_today_sun=100)
    assert await signing.sign(100, "k", b"t" * 32) == signer.Entered(fresh=False, signed_today_sun=100)


async def test_same_key_with_other_bytes_is_a_conflict_naming_the_first(signing: Signing) -> None:
    await signing.sign(1, "k", b"t" * 32)
    with pytest.raises(Conflict, match="was signed for another transaction") as caught:
        await signing.sign(1, "k", b"u" * 32)
    assert caught.value.extra["txid"] == (b"t" * 32).hex()


async def test_same_bytes_for_another_key_would_pay_two_with_one(signing: Signing) -> None:
    await signing.sign(1, "k", b"t" * 32)
    with pytest.raises(Conflict, match="one transaction cannot pay twice") as caught:
        await signing.sign(1, "other", b"t" * 32)
    assert caught.value.extra == {"txid": (b"t" * 32).hex(), "key": "k"}
    assert (await signing.sign(1, "other", b"u" * 32)).fresh  # built anew, the key is still good


async def test_void_key_is_never_signed(signing: Signing) -> None:
    assert (await signing.void("k")).state == "void"
    assert (await signing.void("k")).state == "void"
    with pytest.raises(Conflict, match="k is void") as caught:
        await signing.sign(1, "k")
    assert caught.value.extra == {"state": "void"}


async def test_signed_key_cannot_be_voided(signing: Signing) -> None:
    await signing.sign(1, "k", b"t" * 32)
    with pytest.raises(Conflict, match="cannot be voided") as caught:
        await signing.void("k")
    assert caught.value.extra["txid"] == (b"t" * 32).hex()


async def test_keys_are_remembered_after_a_restart(tmp_path: Path, signing: Signing) -> None:
    await signing.sign(1, "k", b"t" * 32)
    await signing.void("v")
    await signing.store.close()
    again = SignerStore(tmp_path / "signer.db")
    await again.open()
    signing.store = again
    with pytest.raises(Conflict, match="another transaction"):
        await signing.sign(1, "k")
    with pytest.raises(Conflict, match="is void"):
        await signing.sign(1, "v")
    await again.close()


async def test_nothing_is_entered_while_frozen(signing: Signing) -> None:
    await signing.store.write(lambda ledger: ledger.add_freeze(FreezeRow("odd payouts", "alice", "2026-01-01")))
    with pytest.raises(Locked, match="frozen since 2026-01-01 by alice: odd payouts") as caught:
        await signing.sign(1, "k")
    assert caught.value.extra["frozen"] is True
    assert await signing.store.read(lambda ledger: ledger.find("k")) is None


async def test_there_is_one_freeze_at_a_time(signing: Signing) -> None:
    row = FreezeRow("why", "alice", "2026-01-01")
    await signing.store.write(lambda ledger: ledger.add_freeze(row))
    with pytest.raises(sqlite3.IntegrityError):
        await signing.store.write(lambda ledger: ledger.add_freeze(row))
    await signing.store.write(lambda ledger: ledger.lift_freeze("bob", "2026-01-02"))
    assert await signing.store.read(lambda ledger: ledger.freeze()) is None
    await signing.store.write(lambda ledger: ledger.add_freeze(row))


# --- budgets ---


async def test_budget_of_the_hour_rolls(signing: Signing) -> None:
    await signing.sign(100)
    signing.later(HOUR_MS // 2)
    await signing.sign(100)
    with pytest.raises(Refused, match=r"budget for the hour is 0.00025 TRX, 0.0002 TRX of it are used") as caught:
        await signing.sign(51)
    assert caught.value.extra == {"rule": "hour", "limit_sun": 250, "used_sun": 200}
    await signing.sign(50)  # exactly the rest
    signing.later(HOUR_MS // 2 - 1)
    with pytest.raises(Refused):
        await signing.sign(1)
    signing.later(1)  # the first is an hour old
    await signing.sign(100)


async def test_budget_of_the_day_rolls(signing: Signing) -> None:
    for _ in range(4):
        await signing.sign(100)
        signing.later(HOUR_MS)
    with pytest.raises(Refused, match="budget for the day"):
        await signing.sign(1)
    signing.later(DAY_MS - 4 * HOUR_MS)
    assert (await signing.sign(100)).signed_today_sun == 400


async def test_dust_to_strangers_cannot_burn_a_wallet_away(signing: Signing) -> None:
    signing.policy = replace(STRICT, daily_fee_limit_sun=3_000_000)
    signing.most_fee_sun = 1_400_000
    await signing.sign(1)
    await signing.sign(1)
    with pytest.raises(Refused, match=r"budget for the day's fees is 3.00 TRX, 2.80 TRX of it are used") as caught:
        await signing.sign(1)
    assert caught.value.extra["rule"] == "day's fees"
    assert "WALLET_DAILY_FEE_LIMIT_SUN" in caught.value.message


@pytest.mark.parametrize("memo", [b"", b"thanks"])
def test_fee_is_bounded_by_bytes_activation_and_memo(transfer: Bytes, memo: bytes) -> None:
    raw = transfer.raw(memo=memo)
    sent = SignedTransaction(raw, (bytes(65),))
    bound = signer.judge(raw, ADDRESS, NO_LIMIT).spent.most_fee_sun
    exact = (sent.size + RESULT_RESERVE_BYTES) * 1_000 + 1_100_000 + (1_000_000 if memo else 0)
    assert exact <= bound <= exact + 2_000


async def test_refused_amount_is_not_counted_and_its_key_stays_free(signing: Signing) -> None:
    signing.policy = replace(STRICT, hourly_limit_sun=10)
    with pytest.raises(Refused):
        await signing.sign(11, "k")
    assert (await signing.sign(10, "k")).signed_today_sun == 10


async def test_repeated_signature_passes_when_the_budget_is_used_up(signing: Signing) -> None:
    signing.policy = replace(STRICT, hourly_limit_sun=100)
    await signing.sign(100, "k", b"t" * 32)
    assert not (await signing.sign(100, "k", b"t" * 32)).fresh


async def test_restart_does_not_reset_the_budget(tmp_path: Path, signing: Signing) -> None:
    signing.policy = replace(STRICT, hourly_limit_sun=100)
    await signing.sign(100)
    await signing.store.close()
    again = SignerStore(tmp_path / "signer.db")
    await again.open()
    signing.store = again
    with pytest.raises(Refused):
        await signing.sign(1)
    signing.later(HOUR_MS)  # time goes on over a restart of the service
    await signing.sign(1)
    await again.close()


@pytest.mark.parametrize("monotonic_ms", [0, 10**12])
async def test_time_switched_off_does_not_count(signing: Signing, monotonic_ms: int) -> None:
    """After a boot the monotonic clock says anything: it neither gives the hour back nor holds it for ever."""
    signing.policy = replace(STRICT, hourly_limit_sun=100)
    await signing.sign(100)
    signing.boot = Boot("boot-2", monotonic_ms)
    await signing.store.write(lambda ledger: ledger.keep_running_ms(signing.boot))  # as the service does at start
    with pytest.raises(Refused):
        await signing.sign(1)
    signing.later(HOUR_MS - 1)
    with pytest.raises(Refused):
        await signing.sign(1)
    signing.later(1)
    await signing.sign(1)


async def test_readings_out_of_order_do_not_make_time_run_faster(signing: Signing) -> None:
    async def note(ms: int) -> int:
        return await signing.store.write(lambda ledger: ledger.keep_running_ms(Boot("boot-1", ms)))

    start = await note(1_000)
    assert await note(2_000) == start + 1_000
    assert await note(1_500) == start + 1_000
    assert await note(2_000) == start + 1_000
    assert await note(3_000) == start + 2_000


async def test_sums_beyond_64_bits_do_not_break_the_signer(signing: Signing) -> None:
    signing.policy = NO_LIMIT
    most = 2**63 - 1
    for count in range(1, 4):
        assert (await signing.sign(most)).signed_today_sun == count * most
