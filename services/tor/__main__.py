"""The Tor daemon's steward: settings, then serve on its own socket."""

import sys

from services.kit import daemon, log
from services.kit.clock import Clock, SystemClock
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.kit.settings import load
from services.tor import app
from services.tor.service import TorService
from services.tor.settings import TorSettings
from services.tor.store import TorStore

NAME = "tor"
VERSION = "0.1.0"


def build(settings: TorSettings, clock: Clock | None = None) -> daemon.Service:
    """Put the service together; nothing is opened before it starts."""
    clock = clock or SystemClock()
    bus, metrics = EventBus(), Metrics(NAME)
    store = TorStore(settings.state_dir(NAME) / "tor.db")
    service = TorService(settings=settings, store=store, clock=clock, bus=bus, metrics=metrics)
    return daemon.Service(
        name=NAME,
        summary="The Tor daemon, steered and watched: circuits, rotation, onion services.",
        version=VERSION,
        endpoints=app.endpoints(service),
        metrics=metrics,
        bus=bus,
        on_start=[service.start],
        on_stop=[service.stop],
        ready=service.ready,
        details=service.details,
        clock=clock,
    )


def main() -> int:
    """Run the daemon until SIGTERM; returns its exit code."""
    settings = load(TorSettings)
    log.configure(NAME, settings.lucid_log_level)
    return daemon.main((build(settings), settings.socket(NAME)))


if __name__ == "__main__":
    sys.exit(main())
