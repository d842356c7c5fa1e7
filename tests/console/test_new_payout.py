"""A payout by keyboard: typed in full, never by one key, never twice."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from lucid_tron_console.dialogs.new_payout import NewPayoutDialog
from services.payout.api import PayoutState
from services.tron.api import EndpointState
from services.wallet.api import WalletKind, WalletState
from tests.console.fakes import Driver, FakeNode, Seconds, address, attempt, until

Drive = Callable[..., AbstractAsyncContextManager[Driver]]

TO = address(7)


async def to_review(console: Driver, amount: str = "125.5", memo: str = "") -> None:
    """Type a payout from the first wallet up to its review."""
    await console.press("n")
    await console.see("step 1/4", "hot")
    await console.press("enter")
    await console.see("step 2/4")
    await console.type(TO)
    await console.press("enter")
    await console.see("step 3/4")
    await console.type(amount)
    await console.press("enter")
    await console.type(memo)
    await console.press("enter")
    await console.see("step 4/4", "Dry-run")


def key_of(console: Driver) -> str:
    """The idempotency key of the draft on the screen."""
    dialog = console.app.screen
    assert isinstance(dialog, NewPayoutDialog)
    return dialog.draft.key


async def test_a_payout_goes_from_n_to_paid_by_keys_alone(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await to_review(console, memo="invoice 7")
        shown = await console.see("OK at block 76,123,456", "check 7f3a-91c2", "after 12,354.255 TRX")
        grouped = " ".join(TO[at : at + 4] for at in range(0, len(TO), 4))
        assert grouped in shown
        assert "per payout 0+125.5 of 500 OK" in shown
        key = key_of(console)
        await console.type("125.5")
        await console.press("tab")
        await console.type(TO[-4:])
        await console.see("ready")
        assert node.count("create") == 0
        await console.press("ctrl+s")
        await console.see("Payout P-1", "RESERVED")
        body = node.calls[0][2]
        assert (body.key, body.wallet, body.to, body.amount, body.memo) == (key, "hot", TO, 125_500_000, "invoice 7")
        node.change_payout("P-1", state=PayoutState.SENDING, attempts=(attempt(),), txid="ab" * 32)
        await console.see("SENDING", "sent 2x", "provably dead in")
        node.change_payout("P-1", state=PayoutState.SEEN, attempts=(attempt(state="seen", block_number=76_123_457),))
        await console.see("SEEN", "blocks until it is solid")
        node.change_payout("P-1", state=PayoutState.PAID, attempts=(attempt(state="paid", block_number=76_123_437),))
        await console.see("PAID", "can no longer be undone")


async def test_enter_never_submits(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await to_review(console)
        await console.type("125.5")
        await console.press("tab")
        await console.type(TO[-4:])
        await console.see("ready")
        await console.press("enter", "enter", "enter")
        await console.pilot.pause(0.05)
        assert node.count("create") == 0
        assert "step 4/4" in console.screen()


async def test_nothing_is_submitted_until_amount_and_end_match(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await to_review(console)
        for amount, end in (("", ""), ("125.5", ""), ("125.50001", TO[-4:]), ("125.5", TO[-4:].swapcase())):
            await console.press("ctrl+u")
            await console.type(amount)
            await console.press("tab", "ctrl+u")
            await console.type(end)
            await console.press("ctrl+s", "shift+tab")
        await console.see("not yet: locked", "differs")
        assert node.count("create") == 0


async def test_the_review_counts_the_characters_that_are_missing(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await to_review(console)
        await console.press("tab")
        await console.type(TO[-4:-1])
        await console.see("1 more")


async def test_keys_are_ignored_when_the_review_has_just_appeared(
    node: FakeNode, drive: Drive, seconds: Seconds
) -> None:
    # Long enough for a busy machine to type all of it before the guard opens.
    async with drive(guard_s=3.0) as console:
        await to_review(console)
        await console.type("125.5")
        await console.press("ctrl+s", "escape")
        await console.see("locked: read it first")
        await console.see("[                      ] type it")
        seconds.now += 3.0
        dialog = console.app.screen
        await until(lambda: dialog.focused is not None, "the guard opens")
        await console.type("125.5")
        await console.see("match")


async def test_the_same_key_is_used_when_the_answer_was_lost(node: FakeNode, drive: Drive) -> None:
    node.lose.add("create")
    async with drive() as console:
        await to_review(console)
        key = key_of(console)
        await console.type("125.5")
        await console.press("tab")
        await console.type(TO[-4:])
        await console.press("ctrl+s")
        await console.see("unknown", "the same key")
        assert len(node.payouts) == 1
        await console.press("ctrl+s")
        await console.see("Payout P-1")
        assert [call[2].key for call in node.calls] == [key, key]
        assert len(node.payouts) == 1


async def test_a_draft_whose_outcome_is_unknown_cannot_be_edited(node: FakeNode, drive: Drive) -> None:
    node.lose.add("create")
    async with drive() as console:
        await to_review(console)
        await console.type("125.5")
        await console.press("tab")
        await console.type(TO[-4:])
        await console.press("ctrl+s")
        await console.see("UNKNOWN whether it was accepted")
        await console.press("escape")
        await console.see("the outcome is unknown", "step 4/4")
        await console.press("escape")
        await console.gone("NEW PAYOUT")


async def test_a_daemon_that_is_gone_leaves_the_draft_and_says_so(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await to_review(console)
        await console.type("125.5")
        await console.press("tab")
        await console.type(TO[-4:])
        await console.see("ready")
        await node.stop("payout")
        await console.see("payout is DOWN: payouts are blocked", "locked: payout is DOWN")
        await console.press("ctrl+s")
        assert "step 4/4" in console.screen()
        await node.start("payout")
        console.app.backend.retry_now()
        await console.see("ready")


async def test_a_mistyped_address_is_refused_with_its_reason(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("n", "enter")
        wrong = TO[:-1] + ("A" if TO[-1] != "A" else "B")
        await console.type(wrong)
        await console.press("enter")
        await console.see("not an address: ", "step 2/4")


async def test_an_amount_that_is_none_is_refused(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("n", "enter")
        await console.type(TO)
        await console.press("enter")
        await console.see("step 3/4")
        for text in ("0", "1e3", "1,5", "-1", "0.0000001"):
            await console.press("ctrl+u")
            await console.type(text.replace(",", "x"))
            await console.press("enter")
            assert "step 3/4" in console.screen()


async def test_what_the_service_forbids_stays_locked_and_says_why(node: FakeNode, drive: Drive) -> None:
    node.forbidden = ("over the limit of 100 TRX per payout",)
    async with drive() as console:
        await to_review(console)
        await console.see("FORBIDDEN", "over the limit of 100 TRX per payout", "locked: forbidden")
        await console.type("125.5")
        await console.press("tab")
        await console.type(TO[-4:])
        await console.press("ctrl+s")
        await console.pilot.pause(0.05)
        assert node.count("create") == 0


async def test_a_locked_wallet_can_be_unlocked_in_the_review(node: FakeNode, drive: Drive) -> None:
    node.change_wallet("hot", state=WalletState.LOCKED, unlocked_until=None)
    async with drive() as console:
        await to_review(console)
        await console.see("hot is locked: ^O unlocks it")
        await console.press("ctrl+o")
        await console.see("UNLOCK hot")
        await console.type("correct horse")
        await console.press("ctrl+s")
        await console.see("step 4/4", "hot is unlocked")
        await console.gone("hot is locked: ^O")


async def test_a_watched_wallet_cannot_pay(node: FakeNode, drive: Drive) -> None:
    node.add_wallet("aaa-cold", kind=WalletKind.COLD, state=WalletState.ACTIVE)
    async with drive() as console:
        await console.press("n", "enter")
        await console.see("aaa-cold is watch-only", "step 1/4")


async def test_a_frozen_signer_blocks_and_says_so(node: FakeNode, drive: Drive) -> None:
    node.frozen = True
    async with drive() as console:
        await to_review(console)
        await console.see("signing is frozen: payouts are blocked", "locked: signing is frozen")


async def test_a_stale_chain_blocks_on_a_real_network(node: FakeNode, drive: Drive, seconds: Seconds) -> None:
    node.endpoint_state = EndpointState.LAGGING
    async with drive(network="nile") as console:
        await to_review(console)
        seconds.now += 16
        for bus in node.buses.values():
            bus.publish("nothing", {})
        await console.see("the chain is STALE")


async def test_escape_goes_back_step_by_step_and_keeps_what_was_typed(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await to_review(console)
        await console.press("escape")
        await console.see("step 3/4", "125.5")
        await console.press("escape")
        await console.see("step 2/4", TO)
        await console.press("escape")
        await console.see("step 1/4")
        await console.press("escape")
        await console.gone("NEW PAYOUT")


async def test_read_only_opens_no_payout(node: FakeNode, drive: Drive) -> None:
    async with drive(read_only=True) as console:
        await console.press("n")
        await console.see("this console is read-only", "ro:on")
        assert not isinstance(console.app.screen, NewPayoutDialog)


async def test_mainnet_is_named_in_every_step(node: FakeNode, drive: Drive) -> None:
    async with drive(network="mainnet") as console:
        await console.press("n")
        await console.see("NEW PAYOUT - MAINNET - step 1/4")


async def test_keys_in_a_burst_do_not_fall_into_other_fields(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("n")
        await console.see("step 1/4")
        await console.press("enter", *TO, "enter")
        await console.see("step 3/4")
        await asyncio.sleep(0)
        assert "differs" not in console.screen()
