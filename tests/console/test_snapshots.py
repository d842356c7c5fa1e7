"""Pictures of a few screens: a change of their looks shows in the diff; `pytest --snapshot-update` takes new ones."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from services.payout.api import PayoutState
from services.tor.api import CircuitCounts, CircuitState, GuardCounts, GuardInfo, TorState
from services.wallet.api import WalletKind, WalletState
from tests.console.fakes import START, Driver, FakeNode, Seconds, address, attempt, circuit
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
    node.tor.circuits |= {"3": circuit(3, None, user=None), "15": circuit(15, draining=True, rtt_ms=None)}
    node.tor.names = ("broadcast-1", "rpc-1")
    await node.start_tor()
    for size in ((80, 24), (120, 40)):
        async with drive(size, target="tor") as console:
            await console.see("max 38.0 KB", "Guard Quetzal is slow", "5.2 GB down", "broadcast-1  ")
            assert picture(console) == snapshot(extension_class=Picture, name=f"{size[0]}x{size[1]}")


async def test_tor_without_a_guard(node: FakeNode, drive: Drive, snapshot: SnapshotAssertion) -> None:
    failed = circuit(16, state=CircuitState.FAILED, reason="TIMEOUT", hops=())
    node.tor.circuits = {"12": node.tor.circuits["12"], "16": failed}
    node.tor.guards = tuple(
        GuardInfo(nickname=name, fingerprint="A" * 40, state="down") for name in ("Quetzal", "midway")
    )
    node.tor.status = node.tor.status.model_copy(
        update={
            "state": TorState.GUARDS_DOWN,
            "detail": "none of Tor's guards can be reached (2 tried): is this machine's network up?",
            "guards": GuardCounts(total=2, up=0, down=2),
            "circuits": CircuitCounts(built=1, building=3, recent=9, recent_failed=8),
        }
    )
    await node.start_tor()
    for size in ((80, 24), (120, 40)):
        async with drive(size, target="tor") as console:
            await console.see("NO GUARD  none of", "Quetzal down, midway down", "TIMEOUT", "max 38.0 KB")
            assert picture(console) == snapshot(extension_class=Picture, name=f"{size[0]}x{size[1]}")


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
