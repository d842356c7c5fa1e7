"""The wallet service over real files and a real database: wallets, leases, signing, freezing, opening unattended."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from services.kit.errors import Conflict, Forbidden, Invalid, Locked, NotFound, TooManyRequests, Unavailable
from services.kit.peer import Peer, Role
from services.protocol.signature import recover
from services.wallet import recovery
from services.wallet import service as module
from services.wallet.api import (
    CreateWallet,
    Freeze,
    ImportWallet,
    ShowWords,
    Unlock,
    WalletKind,
    WalletState,
    WatchWallet,
)
from services.wallet.keystore import Damaged, Header, KdfCost, Keystore, Secret, WrongPassphrase
from services.wallet.service import WalletService
from services.wallet.signer import Policy, Refused

if TYPE_CHECKING:
    from tests.services.wallet.conftest import Bench, Bytes, Listener

WORDS = "abandon " * 11 + "about"
KEY = "b5a4cea271ff424d7c31dc12a3e43e401df7a40d7412a15750f3f0b6b5449a28"
ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
OTHER = "TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK"
PASSPHRASE = "correct horse battery staple"
ALICE = Peer(pid=7, uid=1000, gid=1000, user="alice", role=Role.OPERATOR)
Create = Callable[..., CreateWallet]
Listen = Callable[..., "Listener"]


def unlock(passphrase: str = PASSPHRASE, lease_s: int = 900) -> Unlock:
    return Unlock.model_validate({"passphrase": passphrase, "lease_s": lease_s})


def show(passphrase: str = PASSPHRASE) -> ShowWords:
    return ShowWords.model_validate({"passphrase": passphrase})


def importing(name: str = "hot", format_: str = "words", secret: str = WORDS, passphrase: str = PASSPHRASE) -> Any:
    return ImportWallet.model_validate({"name": name, "passphrase": passphrase, "format": format_, "secret": secret})


def _seal_other(service: WalletService, name: str, secret: Secret) -> None:
    """Make a file whose seal holds another key than its header says."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    service._keystore.create(name, OTHER, secret, PASSPHRASE, cost=KdfCost(64, 1), created_at=at)


# --- wallets ---


async def test_created_wallet_is_sealed_locked_and_its_words_are_its_key(
    service: WalletService, create: Create
) -> None:
    made = await service.create(create(word_count=24))
    key = recovery.key_of(recovery.from_words(" ".join(made.words)))
    assert len(made.words) == 24
    assert made.wallet.address == recovery.address_of(key)
    assert (made.wallet.kind, made.wallet.state, made.wallet.unlocked_until) == (
        WalletKind.HOT,
        WalletState.LOCKED,
        None,
    )
    assert (await service.words("hot", show())).words == made.words
    assert made.words[0] not in repr(made)


@pytest.mark.parametrize(("format_", "secret"), [("words", WORDS), ("private_key", KEY)])
async def test_imported_wallet_has_the_known_address(service: WalletService, format_: str, secret: str) -> None:
    assert (await service.import_(importing("hot", format_, secret))).address == ADDRESS


async def test_imported_private_key_has_no_words(service: WalletService) -> None:
    await service.import_(importing("hot", "private_key", KEY))
    with pytest.raises(Conflict, match="imported by its private key: there are no words"):
        await service.words("hot", show())


async def test_wallets_are_listed_by_name_and_survive_a_restart(bench: Bench, create: Create) -> None:
    service = await bench.start()
    for name in ("zoe", "adam"):
        await service.create(create(name))
    await service.watch(WatchWallet(name="cold", address=OTHER))
    before = await service.list_()
    assert [wallet.name for wallet in before.items] == ["adam", "cold", "zoe"]
    assert await (await bench.restart()).list_() == before


async def test_watched_wallet_is_active_and_cannot_sign(service: WalletService, transfer: Bytes) -> None:
    wallet = await service.watch(WatchWallet(name="cold", address=OTHER))
    assert (wallet.kind, wallet.state) == (WalletKind.COLD, WalletState.ACTIVE)
    with pytest.raises(Conflict, match="only watched"):
        await service.sign("cold", transfer.sign("k", owner=OTHER), ALICE)
    with pytest.raises(Conflict, match="only watched"):
        await service.unlock("cold", unlock())


async def test_name_that_is_taken_is_a_conflict(service: WalletService, create: Create) -> None:
    await service.create(create())
    for attempt in (
        service.create(create()),
        service.import_(importing()),
        service.watch(WatchWallet(name="hot", address=OTHER)),
    ):
        with pytest.raises(Conflict, match="there is a wallet hot already"):
            await attempt


async def test_two_creations_at_once_make_one_wallet(service: WalletService, create: Create) -> None:
    results = await asyncio.gather(*(service.create(create()) for _ in range(4)), return_exceptions=True)
    assert [type(result).__name__ for result in results].count("Conflict") == 3


async def test_key_is_kept_once(service: WalletService) -> None:
    await service.import_(importing("hot"))
    with pytest.raises(Conflict, match=f"{ADDRESS} is here already, as wallet hot"):
        await service.import_(importing("again", "private_key", KEY))
    with pytest.raises(Conflict, match="is here already"):
        await service.watch(WatchWallet(name="eye", address=ADDRESS))


async def test_watched_address_may_get_its_key(service: WalletService) -> None:
    await service.watch(WatchWallet(name="eye", address=ADDRESS))
    assert (await service.import_(importing("hot"))).address == ADDRESS


async def test_unknown_wallet_is_not_found(service: WalletService, transfer: Bytes) -> None:
    for attempt in (
        service.get("none"),
        service.unlock("none", unlock()),
        service.lock("none"),
        service.words("none", show()),
        service.sign("none", transfer.sign("k"), ALICE),
        service.void("none", "k", ALICE),
        service.get("../../etc/passwd"),
    ):
        with pytest.raises(NotFound, match="there is no wallet"):
            await attempt


async def test_short_passphrase_is_refused_where_money_is_real(bench: Bench, create: Create) -> None:
    bench.network = "nile"
    service = await bench.start()
    with pytest.raises(Invalid, match="has 11 characters: at least 12 are needed") as caught:
        await service.create(create(passphrase="elevenchars"))
    assert caught.value.fields[0][0] == "passphrase"


async def test_machine_is_measured_when_no_cost_is_set(
    bench: Bench, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.cost = None
    monkeypatch.setattr(module, "calibrate", lambda: KdfCost(memory_kib=96, iterations=2))
    service = await bench.start()
    await service.create(create())
    header = json.loads((bench.home / "keys" / "hot.json").read_text())["header"]
    assert (header["kdf"]["memory_kib"], header["kdf"]["iterations"]) == (96, 2)


async def test_full_disk_makes_no_wallet(
    service: WalletService, create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(Unavailable, match="the disk is full"):
        await service.create(create())
    monkeypatch.undo()
    assert (await service.list_()).items == ()
    assert (await service.create(create())).wallet.name == "hot"


async def test_damaged_wallet_is_told_and_others_work(bench: Bench, create: Create, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    await service.create(create("bad"))
    await bench.stop()
    path = bench.home / "keys" / "bad.json"
    path.write_bytes(path.read_bytes()[:-20])
    service = await bench.start()
    assert "is damaged" in service.details()["damaged"]["bad"]
    assert [wallet.name for wallet in (await service.list_()).items] == ["hot"]
    assert set((await service.checks()).values()) == {"ok"}
    for attempt in (service.get("bad"), service.unlock("bad", unlock()), service.lock("bad")):
        with pytest.raises(Damaged, match="restore it from a backup"):
            await attempt
    with pytest.raises(Conflict, match="there is a wallet bad already"):
        await service.create(create("bad"))
    assert (await service.void("bad", "k2", ALICE)).state == "void"  # this only forbids
    await service.unlock("hot", unlock())
    await service.sign("hot", transfer.sign("k"), ALICE)


async def test_file_that_is_damaged_or_gone_later_is_told_when_it_is_needed(bench: Bench, create: Create) -> None:
    service = await bench.start()
    for name in ("bad", "gone"):
        await service.create(create(name))
    (bench.home / "keys" / "bad.json").write_bytes(b"{}")
    (bench.home / "keys" / "gone.json").unlink()
    for name in ("bad", "gone"):
        with pytest.raises(Damaged):
            await service.unlock(name, unlock())
    assert set(service.details()["damaged"]) == {"bad", "gone"}


async def test_sealed_key_of_another_address_is_damage(bench: Bench) -> None:
    service = await bench.start()
    with recovery.from_words(WORDS) as secret:
        _seal_other(service, "odd", secret)
    service = await bench.restart()
    with pytest.raises(Damaged, match=f"the sealed key of odd is not that of {OTHER}"):
        await service.unlock("odd", unlock())


async def test_wallet_of_another_network_is_shown_and_not_opened(bench: Bench, transfer: Bytes) -> None:
    bench.network, bench.cost = "nile", KdfCost(128 * 1024, 1)
    service = await bench.start()
    await service.import_(importing())
    bench.network = "shasta"
    service = await bench.restart()
    assert (await service.get("hot")).network == "nile"
    for attempt in (service.unlock("hot", unlock()), service.sign("hot", transfer.sign("k"), ALICE)):
        with pytest.raises(Conflict, match="is a wallet of nile, and this node runs on shasta"):
            await attempt


# --- leases and passphrases ---


async def test_wallet_signs_until_its_lease_ends(bench: Bench, transfer: Bytes, listen: Listen) -> None:
    service = await bench.start()
    await bench.hot(service, lease_s=60)
    until = (await service.get("hot")).unlocked_until
    assert until is not None
    assert (until - bench.clock.now()).total_seconds() == 60
    await service.sign("hot", transfer.sign("a"), ALICE)
    async with listen(bench) as listener:
        await bench.clock.advance(60)
        heard = dict(await listener.heard())
    assert (heard["wallet"]["state"], heard["signer"]["unlocked"]) == ("locked", 0)
    with pytest.raises(Locked, match="wallet hot is locked: unlock it"):
        await service.sign("hot", transfer.sign("b", 1), ALICE)


async def test_wrong_passphrase_is_forbidden_then_costs_time(bench: Bench) -> None:
    service = await bench.start()
    await service.import_(importing())
    for _ in range(3):
        with pytest.raises(Forbidden, match="the passphrase does not open hot"):
            await service.unlock("hot", unlock("wrong"))
    with pytest.raises(TooManyRequests, match="wait 2 s"):
        await service.unlock("hot", unlock())
    with pytest.raises(TooManyRequests):
        await service.words("hot", show())
    await bench.clock.advance(2)
    assert (await service.unlock("hot", unlock())).state is WalletState.ACTIVE


async def test_right_passphrase_forgives_the_wrong_ones_before(bench: Bench) -> None:
    service = await bench.start()
    await service.import_(importing())
    for _ in range(2):
        for _ in range(2):
            with pytest.raises(WrongPassphrase):
                await service.unlock("hot", unlock("wrong"))
        await service.unlock("hot", unlock())


async def test_guesses_side_by_side_cost_the_same_as_one_after_another(bench: Bench) -> None:
    service = await bench.start()
    await service.import_(importing())
    guesses = await asyncio.gather(
        *(service.unlock("hot", unlock(f"guess {number}")) for number in range(20)), return_exceptions=True
    )
    kinds = [type(guess) for guess in guesses]
    assert kinds.count(WrongPassphrase) == 3
    assert kinds.count(TooManyRequests) == 17


async def test_locking_is_told_and_can_be_repeated(bench: Bench, transfer: Bytes, listen: Listen) -> None:
    service = await bench.start()
    await bench.hot(service)
    async with listen(bench) as listener:
        await listener.heard()
        assert (await service.lock("hot")).state is WalletState.LOCKED
        assert (await service.lock("hot")).state is WalletState.LOCKED
        assert [name for name, _ in await listener.heard()] == ["wallet", "signer"]
    with pytest.raises(Locked):
        await service.sign("hot", transfer.sign("k"), ALICE)


async def test_lock_all_locks_every_wallet(bench: Bench, create: Create) -> None:
    service = await bench.start()
    await bench.hot(service)
    await service.create(create("b"))
    await service.unlock("b", unlock())
    assert (await service.signer()).unlocked == 2
    assert (await service.lock_all()).unlocked == 0


async def test_keys_are_wiped_at_the_end(bench: Bench) -> None:
    service = await bench.start()
    await bench.hot(service)
    key = service._key("hot")
    assert any(key)
    await bench.stop()
    assert not any(key)


# --- signing ---


async def test_signature_is_that_of_the_wallet(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    signature = await service.sign("hot", transfer.sign("payout:P-1:1"), ALICE)
    assert recover(bytes.fromhex(signature.txid), bytes.fromhex(signature.signature_hex)).base58 == ADDRESS
    assert signature.key == "payout:P-1:1"


async def test_same_request_gives_the_same_signature_and_counts_once(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    request = transfer.sign("k", 7)
    first = await service.sign("hot", request, ALICE)
    assert await service.sign("hot", request, ALICE) == first
    service = await bench.restart()
    await service.unlock("hot", unlock())
    assert await service.sign("hot", request, ALICE) == first
    assert (await service.signer()).signed_today_sun == 7


async def test_hundred_replays_at_once_are_one_signature(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    replays = await asyncio.gather(*(service.sign("hot", transfer.sign("k", 7), ALICE) for _ in range(100)))
    assert len({replay.signature_hex for replay in replays}) == 1
    assert (await service.signer()).signed_today_sun == 7


async def test_two_transactions_for_one_key_at_once_give_one_signature(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    results = await asyncio.gather(
        *(service.sign("hot", transfer.sign("k", amount), ALICE) for amount in range(1, 11)), return_exceptions=True
    )
    (signature,) = [result for result in results if not isinstance(result, BaseException)]
    for result in results:
        if isinstance(result, BaseException):
            assert isinstance(result, Conflict)
            assert result.extra["txid"] == signature.txid


async def test_side_by_side_signatures_do_not_overrun_the_budget(bench: Bench, transfer: Bytes) -> None:
    bench.policy = Policy(max_tx_sun=10, hourly_limit_sun=45, daily_limit_sun=1000)
    service = await bench.start()
    await bench.hot(service)
    results = await asyncio.gather(
        *(service.sign("hot", transfer.sign(f"k{n}", 10, timestamp_ms=n + 1), ALICE) for n in range(20)),
        return_exceptions=True,
    )
    assert [isinstance(result, Refused) for result in results].count(True) == 16
    assert (await service.signer()).signed_today_sun == 40


async def test_budget_is_told_and_survives_a_restart_and_a_set_clock(bench: Bench, transfer: Bytes) -> None:
    bench.policy = Policy(max_tx_sun=10, hourly_limit_sun=10, daily_limit_sun=20)
    service = await bench.start()
    await bench.hot(service)
    await service.sign("hot", transfer.sign("a", 10), ALICE)
    bench.clock.wall = bench.clock.wall.replace(year=2030)
    service = await bench.restart()
    await service.unlock("hot", unlock())
    with pytest.raises(Refused, match="budget for the hour"):
        await service.sign("hot", transfer.sign("b", 1), ALICE)
    bench.boot_id, bench.clock.seconds = "boot-2", 3.0
    service = await bench.restart()
    await service.unlock("hot", unlock())
    with pytest.raises(Refused):
        await service.sign("hot", transfer.sign("b", 1), ALICE)
    state = await service.signer()
    assert (state.signed_today_sun, state.daily_limit_sun) == (10, 20)
    await bench.clock.advance(3600)
    await service.unlock("hot", unlock())
    await service.sign("hot", transfer.sign("b", 1), ALICE)


async def test_refused_bytes_leave_no_trace(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    with pytest.raises(Refused, match="belongs to"):
        await service.sign("hot", transfer.sign("k", owner=OTHER), ALICE)
    with pytest.raises(Invalid, match="not understood"):
        await service.sign("hot", transfer.sign("k").model_copy(update={"raw_data_hex": "00"}), ALICE)
    await service.sign("hot", transfer.sign("k"), ALICE)


async def test_locked_wallet_enters_nothing(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await service.import_(importing())
    with pytest.raises(Locked):
        await service.sign("hot", transfer.sign("k"), ALICE)
    assert (await service.void("hot", "k", ALICE)).state == "void"


async def test_void_and_sign_exclude_each_other(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    assert (await service.void("hot", "v", ALICE)).state == "void"
    with pytest.raises(Conflict, match="is void"):
        await service.sign("hot", transfer.sign("v"), ALICE)
    signature = await service.sign("hot", transfer.sign("s"), ALICE)
    with pytest.raises(Conflict) as caught:
        await service.void("hot", "s", ALICE)
    assert caught.value.extra["txid"] == signature.txid


async def test_database_that_cannot_be_written_means_no_signature(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    await service._store.write(lambda ledger: ledger._connection.execute("PRAGMA query_only = ON") and None)
    with pytest.raises(Unavailable, match="cannot be written"):
        await service.sign("hot", transfer.sign("k"), ALICE)
    await service._store.read(lambda ledger: None)


async def test_signing_is_told(bench: Bench, transfer: Bytes, listen: Listen) -> None:
    service = await bench.start()
    await bench.hot(service)
    async with listen(bench) as listener:
        await listener.heard()
        await service.sign("hot", transfer.sign("k", 9), ALICE)
        await service.sign("hot", transfer.sign("k", 9), ALICE)
        ((name, data),) = await listener.heard()
    assert (name, data["signed_today_sun"]) == ("signer", 9)


# --- freezing ---


async def test_freeze_locks_all_and_outlives_a_restart(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    frozen = await service.freeze(Freeze(reason="odd payouts"), ALICE)
    assert (frozen.frozen, frozen.frozen_reason, frozen.unlocked) == (True, "odd payouts", 0)
    assert frozen.frozen_by == "alice (uid 1000, pid 7)"
    service = await bench.restart()
    assert await service.signer() == frozen
    for attempt in (
        service.sign("hot", transfer.sign("k"), ALICE),
        service.unlock("hot", unlock()),
        service.words("hot", show()),
    ):
        with pytest.raises(Locked, match=r"frozen since .* by alice .*: odd payouts; an admin can unfreeze"):
            await attempt
    assert (await service.void("hot", "k", ALICE)).state == "void"  # this only forbids


async def test_second_freeze_keeps_the_first(service: WalletService) -> None:
    first = await service.freeze(Freeze(reason="first"), ALICE)
    assert await service.freeze(Freeze(reason="second"), ALICE) == first


async def test_freeze_holds_though_an_open_wallet_was_found_damaged(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    key = service._key("hot")
    (bench.home / "keys" / "hot.json").write_text("{}")
    with pytest.raises(Damaged):
        await service.words("hot", show())
    assert not any(key)  # a wallet that is gone leaves no key behind
    assert (await service.freeze(Freeze(reason="drill"), ALICE)).unlocked == 0
    service = await bench.restart()
    assert (await service.signer()).frozen
    with pytest.raises(Damaged):
        await service.sign("hot", transfer.sign("k"), ALICE)


async def test_freeze_while_an_unfreeze_is_being_written_down_wins(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    await service.freeze(Freeze(reason="first"), ALICE)
    await asyncio.gather(service.unfreeze(ALICE), service.freeze(Freeze(reason="second"), ALICE))
    assert (await service.signer()).frozen
    with pytest.raises(Locked, match="frozen"):
        await service.unlock("hot", unlock())
    assert (await (await bench.restart()).signer()).frozen
    service = bench.started[-1]
    assert not (await service.unfreeze(ALICE)).frozen
    assert not (await (await bench.restart()).signer()).frozen


async def test_unfreeze_after_a_freeze_that_is_being_written_down_lifts_it(bench: Bench) -> None:
    service = await bench.start()
    await asyncio.gather(service.freeze(Freeze(reason="drill"), ALICE), service.unfreeze(ALICE))
    assert not (await service.signer()).frozen
    assert not (await (await bench.restart()).signer()).frozen


async def test_caller_that_goes_away_does_not_wipe_what_is_being_sealed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await bench.start()
    sealing, go_on = threading.Event(), threading.Event()
    create = Keystore.create

    def held(self: Keystore, *arguments: Any, **named: Any) -> Header:
        sealing.set()
        assert go_on.wait(10)
        return create(self, *arguments, **named)

    monkeypatch.setattr(Keystore, "create", held)
    words = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    task = asyncio.create_task(service.import_(importing(secret=words)))
    await asyncio.to_thread(sealing.wait, 10)
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    service = await bench.restart()
    await service.unlock("hot", unlock())
    assert " ".join((await service.words("hot", show())).words) == words


async def test_database_that_cannot_be_read_is_a_check_that_fails(bench: Bench) -> None:
    service = await bench.start()
    await service._store.close()
    assert "closed" in (await service.checks())["database"]


async def test_unfrozen_signer_signs_again_after_unlocking(bench: Bench, transfer: Bytes, listen: Listen) -> None:
    service = await bench.start()
    await bench.hot(service)
    await service.freeze(Freeze(reason="drill"), ALICE)
    async with listen(bench) as listener:
        assert not (await service.unfreeze(ALICE)).frozen
        assert not (await service.unfreeze(ALICE)).frozen
        assert [data["frozen"] for name, data in await listener.heard() if name == "signer"][-1] is False
    with pytest.raises(Locked, match="unlock it"):
        await service.sign("hot", transfer.sign("k"), ALICE)
    await service.unlock("hot", unlock())
    await service.sign("hot", transfer.sign("k"), ALICE)


async def test_freeze_that_cannot_be_written_down_stops_signing_all_the_same(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    await service._store.write(lambda ledger: ledger._connection.execute("PRAGMA query_only = ON") and None)
    with pytest.raises(Unavailable, match="signing is stopped, but a restart would lift the freeze"):
        await service.freeze(Freeze(reason="why"), ALICE)
    with pytest.raises(Locked):
        await service.sign("hot", transfer.sign("k"), ALICE)
    assert service.details()["frozen"]


async def test_freeze_overtakes_a_signature_that_waits_for_the_disk(bench: Bench, transfer: Bytes) -> None:
    service = await bench.start()
    await bench.hot(service)
    signing = asyncio.create_task(service.sign("hot", transfer.sign("k"), ALICE))
    await asyncio.sleep(0)  # it waits for its commit
    await service.freeze(Freeze(reason="now"), ALICE)
    with pytest.raises(Locked, match="frozen"):
        await signing


@pytest.fixture
def slow_seal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Opening a seal waits: (it has begun, it may go on)."""
    begun, go_on, real = threading.Event(), threading.Event(), Keystore.unseal

    def unseal(self: Keystore, name: str, passphrase: str) -> tuple[Header, Secret]:
        begun.set()
        assert go_on.wait(10)
        return real(self, name, passphrase)

    monkeypatch.setattr(Keystore, "unseal", unseal)
    yield begun, go_on
    go_on.set()


async def test_freeze_overtakes_an_unlock_whose_passphrase_is_being_stretched(
    service: WalletService, slow_seal: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = slow_seal
    await service.import_(importing())
    unlocking = asyncio.create_task(service.unlock("hot", unlock()))
    assert await asyncio.to_thread(begun.wait, 10)
    await service.freeze(Freeze(reason="now"), ALICE)
    go_on.set()
    with pytest.raises(Locked, match="frozen"):
        await unlocking
    assert (await service.signer()).unlocked == 0


# --- unattended ---


@pytest.fixture
def unattended(bench: Bench) -> Bench:
    bench.passphrase_file = bench.home / "passphrase"
    bench.passphrase_file.write_text(PASSPHRASE + "\n")
    bench.passphrase_file.chmod(0o600)
    return bench


async def test_restarted_node_opens_what_the_passphrase_opens(
    unattended: Bench, create: Create, transfer: Bytes, listen: Listen
) -> None:
    service = await unattended.start()
    await service.import_(importing())
    await service.create(create("other", "another passphrase"))
    await service.watch(WatchWallet(name="cold", address=OTHER))
    service = await unattended.restart()
    await unattended.ready(service)
    wallet = await service.get("hot")
    assert (wallet.state, wallet.unlocked_until) == (WalletState.ACTIVE, None)
    assert (await service.get("other")).state is WalletState.LOCKED
    await unattended.clock.advance(365 * 86400)
    await service.sign("hot", transfer.sign("k"), ALICE)
    await service.unlock("other", unlock("another passphrase"))  # its guess at start cost nothing


async def test_new_wallet_with_that_passphrase_is_open_at_once(unattended: Bench, create: Create) -> None:
    service = await unattended.start()
    assert (await service.create(create("hot"))).wallet.state is WalletState.ACTIVE
    assert (await service.create(create("b", "another passphrase"))).wallet.state is WalletState.LOCKED


async def test_unlocking_does_not_shorten_an_endless_lease(unattended: Bench) -> None:
    service = await unattended.start()
    await service.import_(importing())
    assert (await service.unlock("hot", unlock(lease_s=1))).unlocked_until is None
    await unattended.clock.advance(2)
    assert (await service.get("hot")).state is WalletState.ACTIVE


async def test_frozen_node_opens_nothing_until_it_is_unfrozen(unattended: Bench, create: Create) -> None:
    service = await unattended.start()
    await service.import_(importing())
    await service.freeze(Freeze(reason="drill"), ALICE)
    assert (await service.create(create("b"))).wallet.state is WalletState.LOCKED
    service = await unattended.restart()
    await unattended.ready(service)
    assert (await service.signer()).unlocked == 0
    await service.unfreeze(ALICE)
    await unattended.ready(service)
    assert (await service.signer()).unlocked == 2


async def test_passphrase_file_that_others_can_read_keeps_the_service_from_starting(unattended: Bench) -> None:
    assert unattended.passphrase_file is not None
    unattended.passphrase_file.chmod(0o640)
    with pytest.raises(Unavailable, match=r"others may read the passphrase file .*: run chmod 600 /"):
        await unattended.start()


async def test_passphrase_file_that_goes_missing_later_only_leaves_new_wallets_locked(
    unattended: Bench, create: Create
) -> None:
    service = await unattended.start()
    assert unattended.passphrase_file is not None
    unattended.passphrase_file.unlink()
    assert (await service.create(create())).wallet.state is WalletState.LOCKED


async def test_unfreezing_works_without_the_passphrase_file_and_says_what_stays_locked(
    unattended: Bench, create: Create
) -> None:
    service = await unattended.start()
    await service.create(create())
    await service.freeze(Freeze(reason="drill"), ALICE)
    assert unattended.passphrase_file is not None
    unattended.passphrase_file.unlink()
    assert not (await service.unfreeze(ALICE)).frozen
    assert "cannot be read" in (await service.checks())["unattended"]


async def test_freeze_overtakes_the_opening_of_wallets_at_start(
    unattended: Bench, slow_seal: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = slow_seal
    await (await unattended.start()).import_(importing())
    service = await unattended.restart()
    assert await asyncio.to_thread(begun.wait, 10)
    assert (await service.checks())["unattended"] == "opening wallet 1 of 1"
    await service.freeze(Freeze(reason="now"), ALICE)
    go_on.set()
    await unattended.ready(service)
    assert (await service.signer()).unlocked == 0


async def test_damaged_wallet_does_not_keep_others_from_opening(unattended: Bench, create: Create) -> None:
    service = await unattended.start()
    await service.create(create("a"))
    with recovery.from_words(WORDS) as secret:
        _seal_other(service, "b", secret)
    await service.create(create("c"))
    service = await unattended.restart()
    await unattended.ready(service)
    assert (await service.signer()).unlocked == 2
    assert set(service.details()["damaged"]) == {"b"}
