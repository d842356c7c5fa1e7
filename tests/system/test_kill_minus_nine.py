"""Killed with -9 at any moment and started again, a payout is in the chain exactly once.

Blocks are made by hand, so that a payout stays in the state at which the test wants to kill: it is not a race.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from services.kit.errors import LucidError

AMOUNT = 12_500_000

Victim = Callable[[Any], None]


def everything(node: Any) -> None:
    """The supervisor and every daemon, as by a power cut; then `up` again."""
    node.kill_all()
    node.up()


def one(service: str) -> Victim:
    """One daemon; the supervisor starts it again."""

    def kill(node: Any) -> None:
        node.kill(service)
        node.until(lambda: node.record().services[service].restarts == 1, f"{service} was started again")
        node.healthy(service)

    return kill


VICTIMS = {"everything": everything, **{name: one(name) for name in ("devnet", "wallet", "tron", "payout")}}


QUICK = ("everything", "tron")
"""Who is killed in every run; the others' turn comes in the long one."""


@pytest.fixture(params=[name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in VICTIMS])
def kill(request: pytest.FixtureRequest) -> Victim:
    """Who is killed."""
    victim: str = request.param
    return VICTIMS[victim]


def create(node: Any, receiver: str) -> None:
    """Order the payout P-1."""
    assert node.create(receiver, AMOUNT, "k")["id"] == "P-1"


def ends_paid_once(node: Any, receiver: str) -> None:
    """See the payout through, repeat the order, and count the transfers in the chain."""
    node.healthy()
    final = node.mine_until_paid("P-1")
    assert final["state"] == "paid", final
    assert node.create(receiver, AMOUNT, "k")["id"] == "P-1"
    node.mine(5)
    assert node.transfers(receiver, AMOUNT) == [final["txid"]]
    assert node.solid(final["txid"])


def started(node: Any, *, unlocked: bool = True) -> str:
    """Bring a node up with a funded wallet; returns a receiver."""
    node.up(unlocked=unlocked)
    node.wallet()
    receiver = node.account()
    assert isinstance(receiver, str)
    return receiver


def test_killed_while_the_order_waits_for_a_locked_wallet(slow_node: Any, kill: Victim) -> None:
    node = slow_node
    receiver = started(node, unlocked=False)
    node.lock()
    create(node, receiver)
    node.until(lambda: node.job_state("P-1") == "accepted", "the order is accepted")
    kill(node)
    node.unlock()
    ends_paid_once(node, receiver)


def test_killed_while_the_signer_is_asked(slow_node: Any) -> None:
    node = slow_node
    receiver = started(node)
    node.lock()
    create(node, receiver)
    # A signer that is unlocked but does not answer: the bytes are built and stored, and no signature comes.
    node.unlock()
    with contextlib.suppress(ProcessLookupError):
        os.kill(node.pid("wallet"), signal.SIGSTOP)
    everything(node)
    ends_paid_once(node, receiver)


def test_killed_while_the_bytes_are_anywhere(slow_node: Any, kill: Victim) -> None:
    node = slow_node
    receiver = started(node)
    # The devnet takes the transaction and closes the connection: nobody knows.
    node.devnet("/admin/faults", {"kind": "drop_after"})
    create(node, receiver)
    node.until(lambda: node.payout("P-1").get("state") == "sending", "it is on its way")
    kill(node)
    with contextlib.suppress(Exception):
        node.devnet("/admin/faults", method="DELETE")
    ends_paid_once(node, receiver)


def test_killed_while_no_endpoint_takes_the_bytes(slow_node: Any, kill: Victim) -> None:
    node = slow_node
    receiver = started(node)
    node.devnet("/admin/faults", {"kind": "error_before", "path": "/wallet/broadcast*"})
    create(node, receiver)
    node.until(lambda: node.payout("P-1").get("state") == "sending", "it is on its way")
    kill(node)
    node.devnet("/admin/faults", method="DELETE")
    ends_paid_once(node, receiver)


def test_killed_while_it_is_in_a_block_that_can_be_undone(slow_node: Any, kill: Victim) -> None:
    node = slow_node
    receiver = started(node)
    create(node, receiver)
    node.until(lambda: node.payout("P-1").get("state") == "sending", "it is on its way")
    node.until(lambda: node.devnet("/admin/status")["pool"], "the devnet has it")
    node.mine(1)
    node.until(lambda: node.payout("P-1").get("state") == "seen", "it is in a block")
    kill(node)
    ends_paid_once(node, receiver)


def test_killed_before_the_command_got_its_answer(slow_node: Any) -> None:
    node = slow_node
    receiver = started(node)
    os.kill(node.pid("payout"), signal.SIGSTOP)
    process = node.start("payouts", "create", "--from", "hot", "--to", receiver, "--amount", "12.5", "--key", "k")
    time.sleep(0.5)
    everything(node)
    process.communicate(timeout=30)
    assert process.returncode == 5
    create(node, receiver)
    ends_paid_once(node, receiver)


def test_twenty_payouts_survive_three_power_cuts(fast_node: Any) -> None:
    node = fast_node
    receiver = started(node)
    amounts = [1_000_000 + number for number in range(20)]
    accepted: dict[int, str] = {}

    def order_all() -> None:
        """Order what was not acknowledged yet; whatever an answer was, the same key may be sent again."""
        for amount in amounts:
            if amount not in accepted:
                with contextlib.suppress(LucidError):
                    accepted[amount] = node.create(receiver, amount, f"k-{amount}")["id"]

    for pause_s in (0.1, 0.4, 0.8):
        customers = threading.Thread(target=order_all)
        customers.start()
        time.sleep(pause_s)
        everything(node)
        customers.join(60)
    acknowledged = dict(accepted)
    order_all()
    assert set(accepted) == set(amounts)
    # An acknowledged payout keeps its id through every crash.
    assert {amount: accepted[amount] for amount in acknowledged} == acknowledged
    node.until(lambda: not node.ask("payout", "/payouts?open=true")["items"], "every payout has ended")
    ended = node.ask("payout", "/payouts?limit=200")["items"]
    assert {one["amount"]: one["state"] for one in ended} == dict.fromkeys(amounts, "paid")
    # The receiver also got its first money there, which is far more.
    assert sorted(amount for _, amount in node.paid_to(receiver) if amount < 2 * amounts[0]) == amounts


@pytest.mark.long
@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("moment_ms", range(0, 120, 6))
def test_killed_at_any_moment_of_a_sweep(slow_node: Any, moment_ms: int, again: bool) -> None:
    node = slow_node
    receiver = started(node)

    def order() -> None:
        with contextlib.suppress(LucidError):
            create(node, receiver)

    customer = threading.Thread(target=order)
    customer.start()
    time.sleep(moment_ms / 1000)
    node.kill_all()
    customer.join(60)
    node.up()
    if again:
        time.sleep(moment_ms / 200)
        everything(node)
    # Whatever the answer was, the order may be repeated with its key.
    create(node, receiver)
    ends_paid_once(node, receiver)
