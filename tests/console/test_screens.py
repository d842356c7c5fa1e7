"""The screens against a scripted node: what they show, what their keys do, and what they say when they cannot."""

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from lucid_tron_console.screens.payouts import parse_filter
from lucid_tron_console.screens.services import log_line
from services.payout.api import PayoutState
from services.tron.api import EndpointState, Transaction, TxState
from services.wallet.api import WalletState
from tests.console.fakes import WORDS, Driver, FakeNode, Seconds, address, attempt, until

Drive = Callable[..., AbstractAsyncContextManager[Driver]]


async def test_dashboard_shows_node_services_money_and_payouts_live(node: FakeNode, drive: Drive) -> None:
    node.add_payout(PayoutState.SENDING, amount=125_500_000)
    async with drive() as console:
        shown = await console.see("76,123,456", "solid -19", "1 of 1 ok", "12,480.10 TRX", "unlocked 14m", "rst 1")
        assert "Open payouts (1)" in shown
        assert "P-1     sending" in shown
        assert "3 Payouts(1)" in shown
        assert "nothing needs you" in shown
        node.mine()
        await console.see("76,123,457")
        node.change_payout("P-1", state=PayoutState.PAID)
        await console.see("Open payouts (0)", "none; in 24 h 1,250.00 TRX")


async def test_enter_on_a_row_of_the_dashboard_goes_there(node: FakeNode, drive: Drive) -> None:
    node.add_payout(PayoutState.RESERVED, wallet="spare", waiting="the wallet spare is locked")
    async with drive() as console:
        await console.see("Alerts (1)", "WARN P-1 waits: the wallet spare is locked")
        await console.press("a", "enter")
        await console.see("Wallet spare", "locked")
        await console.press("1", "shift+tab", "enter")
        await console.see("Payout P-1")


async def test_services_that_fall_silent_are_stale_then_down_and_come_back(
    node: FakeNode, drive: Drive, seconds: Seconds
) -> None:
    async with drive() as console:
        seconds.now += 42
        await console.see("chain STALE 40s", "signer STALE 40s", "payout STALE 40s", "~76,123,456", "~12,480.10 TRX")
        assert "tron is silent: its values are STALE, payouts are BLOCKED" in console.screen()
        await node.stop("wallet")
        await console.see("signer DOWN", "wallet is DOWN: payouts are BLOCKED")
        await console.press("7")
        await console.see("wallet   DOWN", "again in", "last good")
        await console.press("2")
        await console.see("hot", "spare")  # the last values stay
        await node.start("wallet")
        await console.press("r")
        await console.see("signer OK")


async def test_a_daemon_that_restarted_is_read_anew(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("3")
        await console.see("No payouts yet")
        await node.stop("payout")
        await console.see("payout DOWN")
        node.add_payout(PayoutState.SEEN)
        await node.start("payout")
        await console.press("r")
        await console.see("P-1      seen")


async def test_alerts_name_frozen_signers_lost_endpoints_and_proofs(node: FakeNode, drive: Drive) -> None:
    node.frozen = True
    node.endpoint_state = EndpointState.RESTING
    node.endpoint_detail = "http 503 three times"
    proof = attempt(proof="127.0.0.1:9090 passed the expiration and does not know it", proof_needs_acceptance=True)
    node.add_payout(PayoutState.SENDING, attempts=(proof,))
    async with drive() as console:
        await console.see(
            "CRIT signing is FROZEN by alice: a drill",
            "CRIT endpoint 127.0.0.1:9090 is resting: http 503 three times",
            "WARN P-1: a death proof waits for you to accept it",
            "signer FROZEN",
            "▲3",
        )


async def test_a_wallet_is_created_and_its_words_are_shown_once(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("2", "c")
        await console.type("hot")
        await console.see("the name hot is taken")
        await console.press("ctrl+u")
        await console.type("fresh")
        await console.press("enter")
        await console.type("correct horse")
        await console.press("enter")
        await console.type("correct house")
        await console.see("the two passphrases differ")
        await console.press("backspace", "backspace", "backspace", "backspace", "backspace")
        await console.type("horse")
        assert "correct" not in console.screen()
        await console.press("ctrl+s")
        shown = await console.see("RECOVERY WORDS of fresh", *WORDS)
        asked = [int(row.split("Word ")[1].split()[0]) for row in shown.splitlines() if "Word " in row]
        assert len(asked) == 2
        await console.press("escape", "ctrl+s")
        await console.see("RECOVERY WORDS")  # it cannot be left before the words were typed
        for number in asked:
            await console.type(WORDS[number - 1])
            await console.press("enter")
        await console.press("ctrl+s")
        await console.see("wallet fresh is ready", "fresh")
        assert not any(word in console.screen() for word in WORDS)


async def test_wallets_are_imported_and_watched(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("2", "i")
        await console.type("old")
        await console.press("enter")
        await console.paste(" ".join(WORDS))
        await console.press("enter")
        await console.type("correct horse")
        await console.press("enter")
        await console.type("correct horse")
        assert "abandon" not in console.screen()
        await console.press("ctrl+s")
        await console.see("wallet old is imported")
        body = node.calls[-1][2]
        assert (body.format, body.secret.get_secret_value()) == ("words", " ".join(WORDS))
        await console.press("w")
        await console.type("cold")
        await console.press("enter")
        await console.type("T123")
        await console.press("ctrl+s")
        await console.see("not an address")
        await console.press("ctrl+u")
        await console.type(address(55))
        await console.press("ctrl+s")
        await console.see("cold is watched", "watch-only")


async def test_wallets_are_unlocked_locked_and_found(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("2", "down", "u")
        await console.see("UNLOCK spare")
        await console.type("wrong passphrase")
        await console.press("ctrl+s")
        await console.see("the passphrase is wrong")
        await console.type("correct horse")
        await console.press("tab", "ctrl+u")
        await console.type("99d")
        await console.see("write the lease as")
        await console.press("ctrl+u")
        await console.type("2h")
        await console.press("ctrl+s")
        await console.see("spare is unlocked until 14:00:00Z", "unlocked 2h00m")
        await console.press("k")
        await console.see("spare is locked")
        await console.press("L")
        await console.see("all wallets are locked")
        await until(lambda: node.wallets["hot"].state is WalletState.LOCKED)
        await console.press("slash")
        await console.type("spa")
        await console.press("enter")
        await console.see("Wallets (1 matching 'spa')")
        await console.press("escape")
        await console.see("Wallets (2)")


async def test_a_wallet_in_detail_shows_address_hex_balance_and_history(node: FakeNode, drive: Drive) -> None:
    hot = node.wallets["hot"].address
    node.history = (
        Transaction(
            txid="cd" * 32, state=TxState.SOLID, type="TransferContract", owner=hot, to=address(7),
            amount_sun=5_000_000, result="SUCCESS", block_number=5, block_time_ms=1_763_640_000_000,
        ),
    )  # fmt: skip
    async with drive(target="wallets/hot") as console:
        grouped = " ".join(hot[at : at + 4] for at in range(0, len(hot), 4))
        await console.see(grouped, "41000000", "12,480.10 TRX", "600 free", "-5.00 TRX", "solid")
        await console.press("f")
        await console.see("FUND FROM THE FAUCET", "1000")
        await console.press("escape", "Y")
        await console.see(hot)


async def test_the_faucet_is_for_the_devnet_only(node: FakeNode, drive: Drive) -> None:
    async with drive(network="nile") as console:
        await console.press("2", "f")
        await console.see("there is a faucet on the devnet only")


async def test_payouts_are_fetched_page_by_page_as_one_scrolls(node: FakeNode, drive: Drive) -> None:
    for _ in range(330):
        node.add_payout()
    async with drive() as console:
        await console.press("3")
        await console.see("Payouts (330)", "P-330", "330.00 TRX")
        for last in ("P-231", "P-131", "P-31", "P-1 "):
            await console.press("end")
            await console.see(last)
        node.add_payout(PayoutState.SENDING)
        node.change_payout("P-331")
        await until(lambda: "P-331" in console.app.backend.snapshot.payouts)
        assert "P-1 " in console.screen()  # the cursor stays where it was
        await console.press("home")
        await console.see("P-331    sending")


async def test_payouts_are_filtered_by_the_service(node: FakeNode, drive: Drive) -> None:
    for state in (PayoutState.PAID, PayoutState.SENDING, PayoutState.DEAD):
        node.add_payout(state, memo=f"memo {state}")
    async with drive() as console:
        await console.press("3")
        await console.see("P-1", "P-2", "P-3")
        await console.press("slash")
        await console.type("open")
        await console.press("enter")
        await console.see("Payouts (1 matching 'open')", "P-2")
        await console.gone("P-3")
        await console.press("slash", "ctrl+u")
        await console.type("state:none")
        await console.press("enter")
        await console.see("no state 'none'")
        await console.press("escape")
        await console.see("P-3", "P-1")


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("open", {"open": True}),
        ("final wallet:hot", {"open": False, "wallet": "hot"}),
        ("state:paid", {"state": PayoutState.PAID}),
        ("failed", {"state": PayoutState.FAILED_ON_CHAIN}),
        ("to:Tabc invoice 7", {"to": "Tabc", "text": "invoice 7"}),
    ],
)
def test_a_filter_becomes_a_query(text: str, query: dict[str, object]) -> None:
    assert parse_filter(text).model_dump(exclude_none=True, exclude={"limit"}) == query


async def test_retry_says_what_it_did_and_a_new_attempt_is_typed(node: FakeNode, drive: Drive) -> None:
    node.add_payout(PayoutState.SENDING, attempts=(attempt(),))
    node.add_payout(PayoutState.DEAD, amount=12_500_000, attempts=(attempt(proof="proven"),))
    async with drive(target="payouts/P-1") as console:
        await console.press("R")
        await console.see("P-1: the same bytes were sent again: to one endpoint")
        await console.press("C")
        await console.see("it can no longer be cancelled")
        await console.press("3", "R")
        await console.see("NEW ATTEMPT P-2")
        assert node.count("retry") == 1
        await console.type("12.5")
        await console.press("enter")
        assert node.count("retry") == 1
        await console.press("ctrl+s")
        await console.see("P-2: a new attempt was opened", "reserved")


async def test_a_death_proof_is_accepted_by_typing_the_end_of_its_txid(node: FakeNode, drive: Drive) -> None:
    proof = attempt(txid="0f" * 31 + "a1", proof="one endpoint says so", proof_needs_acceptance=True)
    node.add_payout(PayoutState.SENDING, attempts=(proof,))
    node.add_payout(PayoutState.RESERVED)
    async with drive(target="payouts/P-1") as console:
        await console.see("D accepts it", "one endpoint says so")
        await console.press("D")
        await console.see("ACCEPT DEATH PROOF P-1")
        await console.type("0f0f0f")
        await console.press("ctrl+s")
        assert node.count("accept-death") == 0
        await console.press("ctrl+u")
        await console.type("0f0fa1")
        await console.press("ctrl+s")
        await console.see("DEAD", "the proof was accepted")
        await console.press("3", "C")
        await console.see("P-2 is cancelled")


async def test_a_payout_that_does_not_exist_says_so(node: FakeNode, drive: Drive) -> None:
    async with drive(target="payouts/P-77") as console:
        await console.see("no payout P-77")


async def test_services_show_endpoints_counters_and_the_log(node: FakeNode, drive: Drive) -> None:
    log = node.home.log("wallet")
    log.parent.mkdir()
    entry = {"timestamp": "2026-11-20T12:00:01Z", "level": "warning", "event": "wallet.wrong_passphrase", "n": 3}
    log.write_text(json.dumps(entry) + "\nnot json \x1b[31m\n")
    async with drive() as console:
        await console.press("7")
        await console.see("127.0.0.1:9090", "4 ms", "retries 12", "cache hit 93% of 100", "jobs 1", "no log yet at")
        await console.press("down")
        await console.see("12:00:01 warning wallet.wrong_passphrase  n=3", "not json ?[31m")


def test_a_log_line_of_any_kind_can_be_shown() -> None:
    for raw in ("", "[]", "7", '{"event": 3}', "{", '{"level": 1}'):
        assert all(span.text.isprintable() for span in log_line(raw))


async def test_freezing_takes_a_typed_word(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("F")
        await console.see("FREEZE ALL SIGNING")
        await console.type("free")
        await console.press("ctrl+s")
        assert node.count("freeze") == 0
        await console.type("ze")
        await console.press("ctrl+s")
        await console.see("signer FROZEN", "all signing is frozen")
        assert node.calls[-1][2].reason == "frozen at the console"
        await console.type(":unfreeze")
        await console.press("enter")
        await console.see("ALLOW SIGNING AGAIN")
        await console.type("unfreeze")
        await console.press("ctrl+s")
        await console.see("signer OK")


async def test_what_is_not_in_this_version_is_shown_and_says_so(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        for key, word in (("4", "payment gateway"), ("5", "staking service"), ("8", "approvals")):
            await console.press(key)
            await console.see(word, "not in this version")


async def test_read_only_shows_everything_and_changes_nothing(node: FakeNode, drive: Drive) -> None:
    node.add_payout(PayoutState.SENDING)
    async with drive(read_only=True) as console:
        for keys in (("n",), ("F",), ("L",), ("2", "c"), ("2", "u"), ("2", "f"), ("3", "R"), ("3", "C"), ("3", "D")):
            await console.press(*keys)
            await console.see("this console is read-only")
        assert node.calls == []


async def test_commands_can_be_typed_and_the_help_shows_them_all(node: FakeNode, drive: Drive) -> None:
    node.add_payout(PayoutState.SENDING)
    async with drive() as console:
        await console.type(":payouts P-1")
        await console.press("enter")
        await console.see("Payout P-1")
        await console.type(":nonsense")
        await console.press("enter")
        await console.see("no command 'nonsense'")
        await console.press("question_mark")
        await console.see("Help", "retry-payout", "Retry the payout")
        await console.press("end")
        await console.see("lucid-tron --help")
        await console.press("escape")
        await console.see("Payout P-1")
        await console.press("ctrl+p")
        await console.type("freeze")
        await console.see("freeze  (F)")
        await console.press("escape", "escape")


async def test_lists_are_exported_where_it_says(node: FakeNode, drive: Drive) -> None:
    node.add_payout(memo="=HYPERLINK(1)")
    async with drive() as console:
        await console.press("3")
        await console.see("P-1")
        for kind in ("csv", "json", "svg"):
            await console.type(f":export {kind}")
            await console.press("enter")
            await console.see("written to", f".{kind}")
        files = {path.suffix: path for path in (node.home.path / "export").iterdir()}
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in files.values())
        (row,) = csv.DictReader(io.StringIO(files[".csv"].read_text()))
        assert (row["id"], row["amount"], row["memo"]) == ("P-1", "1000000", "'=HYPERLINK(1)")
        assert json.loads(files[".json"].read_text())[0]["memo"] == "=HYPERLINK(1)"
        assert files[".svg"].read_text().startswith("<svg")
        await console.press("e", "ctrl+u")
        await console.type("pdf")
        await console.press("enter")
        await console.see("not as 'pdf'")


async def test_copying_never_claims_that_it_worked(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        await console.press("2", "y")
        shown = await console.see("offered to the terminal's clipboard")
        assert "copied" not in shown
        assert console.app.clipboard == node.wallets["hot"].address


async def test_a_terminal_that_is_too_small_works_and_says_so(node: FakeNode, drive: Drive) -> None:
    async with drive((60, 20)) as console:
        await console.see("This terminal has 60x20", "DEVNET")
        await console.press("n", "enter")
        await console.see("step 2/4")


async def test_keys_can_be_rebound(node: FakeNode, drive: Drive) -> None:
    async with drive(keys={"new-payout": "f2"}) as console:
        await console.press("n")
        await console.pilot.pause(0.05)
        assert "step 1/4" not in console.screen()
        await console.press("f2")
        await console.see("step 1/4")


async def test_one_panel_can_have_the_whole_screen(node: FakeNode, drive: Drive) -> None:
    async with drive() as console:
        for keys, title in ((("a", "m"), "Alerts (0)"), (("shift+tab", "m"), "Open payouts (0)")):
            await console.press(*keys)
            shown = await console.gone("Money")
            assert shown.splitlines()[2].startswith(f"╭─ {title} ─")
            assert shown.splitlines()[21].startswith("╰───")
            assert "DEVNET" in shown
            await console.press("escape")
            await console.see("Money", "Alerts (0)", "Node")
        await console.press("m", "m")
        await console.see("Money")
