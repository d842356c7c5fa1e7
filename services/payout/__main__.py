"""Start the payout router: settings → build → serve."""

import sys
from importlib.metadata import version

from services.kit import log
from services.kit.clock import SystemClock
from services.kit.daemon import Service, main
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.kit.settings import load
from services.kit.store import Store
from services.payout.app import endpoints
from services.payout.orders import Orders
from services.payout.policy import Policy
from services.payout.preflight import Preflight
from services.payout.service import PayoutService
from services.payout.settings import PayoutSettings
from services.payout.store import MIGRATIONS, PayoutStore
from services.tron.client import TronClient
from services.wallet.client import WalletClient


def build(settings: PayoutSettings) -> Service:
    """Make the service and everything that it is made of; nothing is opened yet."""
    tron, wallets = TronClient(settings.socket("tron")), WalletClient(settings.socket("wallet"))
    clock, bus, policy = SystemClock(), EventBus(), Policy.of(settings)
    store = PayoutStore(Store(settings.state_dir("payout") / "payouts.db", MIGRATIONS))
    service = PayoutService(
        network=settings.tron_network,
        policy=policy,
        store=store,
        preflight=Preflight(settings.tron_network, tron, wallets),
        orders=Orders(tron, store, bus, clock, policy.max_concurrent),
        tron=tron,
        clock=clock,
    )
    return Service(
        name="payout",
        summary="Payouts: intent, policy and progress, each paid once or shown to be dead.",
        version=version("lucid-tron-console"),
        endpoints=endpoints(service),
        metrics=Metrics("payout"),
        bus=bus,
        on_start=[service.start],
        on_stop=[service.stop, tron.close, wallets.close],
        ready=service.ready,
        clock=clock,
    )


def run() -> int:
    """Serve until SIGTERM; returns the exit code."""
    settings = load(PayoutSettings)
    log.configure("payout", settings.lucid_log_level)
    return main((build(settings), settings.socket("payout")))


if __name__ == "__main__":
    sys.exit(run())
