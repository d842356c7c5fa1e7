"""The payout daemon: settings, then serve on its own socket."""

import sys

from services.kit import daemon, log
from services.kit.clock import Clock, SystemClock
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.kit.settings import load
from services.kit.store import Store
from services.payout import app
from services.payout.orders import Orders
from services.payout.policy import Policy
from services.payout.preflight import Preflight
from services.payout.service import PayoutService
from services.payout.settings import PayoutSettings
from services.payout.store import MIGRATIONS, PayoutStore
from services.tron.client import TronClient
from services.wallet.client import WalletClient

NAME = "payout"
VERSION = "0.1.0"


def build(settings: PayoutSettings, clock: Clock | None = None) -> daemon.Service:
    """Put the service together; nothing is opened before it starts."""
    clock = clock or SystemClock()
    bus, policy, network = EventBus(), Policy.of(settings), settings.tron_network
    tron, wallets = TronClient(settings.socket("tron")), WalletClient(settings.socket("wallet"))
    store = PayoutStore(Store(settings.state_dir(NAME) / "payouts.db", MIGRATIONS))
    service = PayoutService(
        network=network,
        policy=policy,
        store=store,
        preflight=Preflight(network, tron, wallets),
        orders=Orders(tron, store, bus, clock, policy.max_concurrent),
        tron=tron,
        clock=clock,
    )
    return daemon.Service(
        name=NAME,
        summary="Payouts: intent, policy and progress, each paid once or shown to be dead.",
        version=VERSION,
        endpoints=app.endpoints(service),
        metrics=Metrics(NAME),
        bus=bus,
        on_start=[service.start],
        on_stop=[service.stop, tron.close, wallets.close],
        ready=service.ready,
        clock=clock,
    )


def main() -> int:
    """Run the daemon until SIGTERM; returns its exit code."""
    settings = load(PayoutSettings)
    log.configure(NAME, settings.lucid_log_level)
    return daemon.main((build(settings), settings.socket(NAME)))


if __name__ == "__main__":
    sys.exit(main())
