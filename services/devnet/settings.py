"""The devnet's settings, read once from the environment (`DEVNET_*`)."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.devnet.vm.world import EnergyRules

DEFAULT_PORT = 9090
"""Where the common TRON test images listen, and the devnet too."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One loopback address that the devnet listens on."""

    host: str
    """An address of the loopback interface."""

    port: int
    """0 lets the system choose."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port` or a bare port.

        Raises:
            ValueError: not of that form, or not on the loopback interface.
        """
        host, _, port = text.strip().rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if not port.isdigit() or int(port) > 65_535:
            raise ValueError(f"{text!r} is no address to listen on: write 127.0.0.1:{DEFAULT_PORT}")
        if host == "localhost":
            host = "127.0.0.1"
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback:
            raise ValueError(
                f"{host!r} is not loopback: everybody knows the devnet's keys, it listens on 127.0.0.1 only"
            )
        return cls(host, int(port))


def _listen(text: str) -> str:
    for part in text.split(","):
        Endpoint.parse(part)
    return text


class DevnetSettings(BaseSettings):
    """What can be chosen about a devnet."""

    model_config = SettingsConfigDict(env_prefix="DEVNET_", frozen=True, extra="ignore")

    listen: Annotated[str, AfterValidator(_listen)] = f"127.0.0.1:{DEFAULT_PORT}"
    """Loopback addresses, separated by commas; each is an endpoint of the same chain, with faults of its own."""

    block_interval_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 3_000
    """Time between blocks by the clock; 0 makes blocks on demand only. In chain time they are 3 s apart in any case."""

    solid_lag: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """How many blocks the solid block is behind the head. When it is not given the witnesses' blocks decide, as on
    java-tron: 18 behind as long as no slot is missed, more after a gap."""

    network: Literal["mainnet", "shasta", "nile", "devnet"] = "devnet"
    """The network that it plays: the id of its block 0, its chain id, and where its USDT stands. All keys stay those
    that everybody knows."""

    home: Path | None = None
    """Directory of the chain's database; none keeps the chain in memory."""

    instant: bool = False
    """Make a block as soon as a transaction is taken."""

    pool_size: Annotated[int, Field(ge=10, le=1_000_000)] = 2_000
    """Most transactions that wait for a block; one more gets SERVER_BUSY (java-tron, `maxTransactionPendingSize`)."""

    tx_cache: bool = False
    """Remember every id that was sent and answer it with DUP from then on, even if it was refused: java-tron's
    `node.rpc.trxCacheEnable`, which is off by default there too."""

    dynamic_energy: bool = False
    """Busy contracts get dearer from one maintenance period to the next, as on mainnet."""

    dynamic_energy_threshold: Annotated[int, Field(ge=0)] = 5_000_000_000
    """Energy of one maintenance period beyond which a contract gets dearer (`getDynamicEnergyThreshold`)."""

    dynamic_energy_increase: Annotated[int, Field(ge=0, le=10_000)] = 2_000
    """By how much, in ten-thousandths (`getDynamicEnergyIncreaseFactor`)."""

    dynamic_energy_most: Annotated[int, Field(ge=0, le=100_000)] = 34_000
    """Highest penalty, in ten-thousandths (`getDynamicEnergyMaxFactor`)."""

    log_level: str = "INFO"
    """Least level that is logged."""

    @property
    def energy_rules(self) -> EnergyRules | None:
        """How busy contracts get dearer; None when they do not."""
        if not self.dynamic_energy:
            return None
        return EnergyRules(self.dynamic_energy_threshold, self.dynamic_energy_increase, self.dynamic_energy_most)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The addresses of `listen`."""
        return tuple(Endpoint.parse(part) for part in self.listen.split(","))
