"""Pictures of a few screens: a change of their looks shows in the diff; `pytest --snapshot-update` takes new ones."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from services.payout.api import PayoutState
from services.wallet.api import WalletKind, WalletState
from tests.console.fakes import START, Driver, FakeNode, Seconds, address, attempt
from tests.console.test_new_payout import to_review

Drive = Callable[..., AbstractAsyncContextManager[Driver]]


class Picture(SingleFileSnapshotExtension):
    """One SVG file for each picture."""

    _write_mode = WriteMode.TEXT
    _file_extension = "svg"


def picture(console: Driver) -> str:
    """The screen as SVG, without the number that names its styles."""
    return re.sub(r"terminal-\d+", "terminal", console.app.export_screenshot(title="Lucid TRON Console"))


def fill(node: FakeNode) -> None:
    """Have something to look at."""
    node.add_wallet("cold", kind=WalletKind.COLD, state=WalletState.ACTIVE, sun=2_500_000_000_000)
    states = [
        PayoutState.PAID, PayoutState.FAILED_ON_CHAIN, PayoutState.DEAD, PayoutState.CANCELLED, PayoutState.PAID,
        PayoutState.RESERVED, PayoutState.SEEN, PayoutState.SENDING,
    ]  # fmt: skip
    for number, state in enumerate(states):
        memo = "session relay, November" if number % 3 == 0 else ""
        node.add_payout(state, to=address(70 + number), amount=(number + 1) * 12_345_678, memo=memo)
    node.payouts["P-6"] = node.payouts["P-6"].model_copy(
        update={"wallet": "spare", "waiting": "the wallet spare is locked"}
    )
    node.payouts["P-8"] = node.payouts["P-8"].model_copy(update={"attempts": (attempt(),), "txid": "ab" * 32})


async def test_dashboard(node: FakeNode, drive: Drive, snapshot: SnapshotAssertion) -> None:
    fill(node)
    for size in ((80, 24), (120, 40)):
        async with drive(size) as console:
            await console.see("Open payouts (3)", "Alerts (1)", "12,480.10 TRX")
            assert picture(console) == snapshot(extension_class=Picture, name=f"{size[0]}x{size[1]}")


async def test_dashboard_on_mainnet_while_stale(
    node: FakeNode, drive: Drive, seconds: Seconds, snapshot: SnapshotAssertion
) -> None:
    fill(node)
    async with drive(network="mainnet") as console:
        await console.see("Open payouts (3)", "12,480.10 TRX")
        seconds.now += 42
        await console.see("~12,480.10 TRX", "payout STALE 40s")
        assert picture(console) == snapshot(extension_class=Picture)


async def test_payouts(node: FakeNode, drive: Drive, snapshot: SnapshotAssertion) -> None:
    fill(node)
    for size in ((80, 24), (120, 40)):
        async with drive(size, target="payouts") as console:
            await console.see("Payouts (8)", "P-1 ")
            assert picture(console) == snapshot(extension_class=Picture, name=f"{size[0]}x{size[1]}")


async def test_tor(node: FakeNode, drive: Drive, snapshot: SnapshotAssertion) -> None:
    await node.start_tor()
    try:
        async with drive((100, 30), target="tor") as console:
            await console.see("Circuits (2)", "max 38.0 KB", "Streams (3)", "Guard Quetzal is slow")
            assert picture(console) == snapshot(extension_class=Picture)
    finally:
        await node.stop("tor")


async def test_payout_in_full(node: FakeNode, drive: Drive, snapshot: SnapshotAssertion) -> None:
    fill(node)
    node.chain_time = START + timedelta(seconds=80)
    async with drive(target="payouts/P-8") as console:
        await console.see("provably dead in 1m")
        assert picture(console) == snapshot(extension_class=Picture)


async def test_review_of_a_payout(node: FakeNode, drive: Drive, snapshot: SnapshotAssertion) -> None:
    async with drive(network="mainnet") as console:
        await to_review(console)
        await console.type("125.5")
        await console.press("tab")
        await console.type(address(7)[-4:-1])
        await console.see("1 more")
        assert picture(console) == snapshot(extension_class=Picture)
