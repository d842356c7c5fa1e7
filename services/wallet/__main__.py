"""The wallet daemon: settings, hardening, then serve on its own socket, in a process of its own."""

import sys
from pathlib import Path

from services.kit import daemon, log
from services.kit.clock import Clock, SystemClock
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.kit.settings import load
from services.wallet import app
from services.wallet.hardening import harden
from services.wallet.keystore import Keystore
from services.wallet.passphrase import PassphraseFile
from services.wallet.service import WalletService
from services.wallet.settings import WalletSettings
from services.wallet.store import SignerStore

NAME = "wallet"
VERSION = "0.1.0"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def build(settings: WalletSettings, clock: Clock | None = None) -> daemon.Service:
    """Put the service together; nothing is opened before it starts."""
    clock = clock or SystemClock()
    bus = EventBus()
    state = settings.state_dir(NAME)
    path = settings.passphrase_file
    service = WalletService(
        keystore=Keystore(state / "keys", settings.tron_network),
        store=SignerStore(state / "signer.db"),
        bus=bus,
        clock=clock,
        network=settings.tron_network,
        policy=settings.policy,
        boot_id=BOOT_ID.read_text().strip(),
        kdf_cost=settings.kdf_cost,
        passphrase_file=PassphraseFile(path, by_systemd=settings.wallet_passphrase_file is None) if path else None,
    )
    return daemon.Service(
        name=NAME,
        summary="Keys, wallets and signatures; it has no network.",
        version=VERSION,
        endpoints=app.endpoints(service),
        metrics=Metrics(NAME),
        bus=bus,
        on_start=[service.start],
        on_stop=[service.stop],
        ready=service.checks,
        details=service.details,
        clock=clock,
    )


def main() -> int:
    """Run the daemon until SIGTERM; returns its exit code."""
    settings = load(WalletSettings)
    log.configure(NAME, settings.lucid_log_level)
    harden()
    return daemon.main((build(settings), settings.socket(NAME)))


if __name__ == "__main__":
    sys.exit(main())
