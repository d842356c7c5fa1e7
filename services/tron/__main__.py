"""The TRON client daemon: settings, then serve on its own socket."""

import sys

from services.kit import daemon, log
from services.kit.cache import Cache
from services.kit.clock import Clock, SystemClock
from services.kit.egress import Egress, Mode
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.kit.models import Checks
from services.kit.retry import RetryPolicy
from services.kit.settings import load
from services.kit.store import Store
from services.protocol.networks import network
from services.tor.client import TorClient
from services.tron import app
from services.tron.chain import Chain
from services.tron.endpoints import Endpoints
from services.tron.evidence import Evidence
from services.tron.node import HttpNode
from services.tron.reads import Reads
from services.tron.sender import Sender, SenderPolicy
from services.tron.service import TronService
from services.tron.settings import TronSettings
from services.tron.store import MIGRATIONS, JobStore
from services.tron.tor_link import TorLink
from services.wallet.client import WalletClient

NAME = "tron"
VERSION = "0.1.0"


def build(settings: TronSettings, clock: Clock | None = None) -> daemon.Service:
    """Put the service together; nothing is opened before it starts."""
    clock = clock or SystemClock()
    bus, metrics = EventBus(), Metrics(NAME)
    chosen = network(settings.tron_network)
    interval_s = settings.tron_confirmation_check_interval
    egress = Egress(settings.egress_policy(), clock, metrics)
    link = TorLink(TorClient(settings.socket("tor")), egress)
    through_tor = settings.mode is Mode.TOR
    endpoints = Endpoints(
        [HttpNode(url, egress, settings.tron_timeout, settings.api_key_for(url)) for url in settings.endpoints],
        chosen,
        clock,
        metrics,
        RetryPolicy(
            attempts=settings.tron_max_retries + 1,
            first_delay_s=settings.tron_initial_retry_delay,
            factor=settings.tron_retry_backoff,
        ),
        failures_until_rest=settings.tron_max_connection_retries,
    )
    chain = Chain(endpoints, chosen, clock, bus, interval_s)
    store = JobStore(Store(settings.state_dir(NAME) / "orders.db", MIGRATIONS), clock)
    wallet = WalletClient(settings.socket("wallet"))
    cache = Cache(clock, metrics)
    # A new block may have changed any account.
    chain.listen(lambda: cache.forget("account:"))
    policy = SenderPolicy(
        lifetime_ms=settings.tron_tx_lifetime * 1000,
        sign_margin_ms=settings.tron_tx_lifetime * 250,
        look_s=interval_s,
        first_resend_s=settings.tron_initial_retry_delay,
        resend_factor=settings.tron_retry_backoff,
        confirmation_timeout_s=settings.tron_transaction_confirmation_timeout,
    )
    sender = Sender(
        store,
        wallet,
        chain,
        endpoints,
        Evidence(endpoints),
        network=chosen.name,
        clock=clock,
        bus=bus,
        metrics=metrics,
        policy=policy,
    )
    service = TronService(
        network=chosen.name,
        store=store,
        endpoints=endpoints,
        chain=chain,
        reads=Reads(endpoints, chain, cache),
        sender=sender,
        wallet=wallet,
        cache=cache,
        clock=clock,
        metrics=metrics,
    )

    async def ready() -> Checks:
        # Past Tor is an operator's choice: screens show it in red (`details`), and the service can do its work.
        tor = {"tor": egress.words()} if through_tor else {}
        return {**await service.ready(), **tor}

    return daemon.Service(
        name=NAME,
        summary="The one way to the chain: reads, cache, and the exactly-once sender.",
        version=VERSION,
        endpoints=app.endpoints(service),
        metrics=metrics,
        bus=bus,
        on_start=[*([link.start] if through_tor else []), egress.start, service.start],
        on_stop=[service.stop, link.stop, egress.close],
        ready=ready,
        details=lambda: {**service.details(), "egress": egress.details()},
        clock=clock,
    )


def main() -> int:
    """Run the daemon until SIGTERM; returns its exit code."""
    settings = load(TronSettings)
    log.configure(NAME, settings.lucid_log_level)
    return daemon.main((build(settings), settings.socket(NAME)))


if __name__ == "__main__":
    sys.exit(main())
