"""Settings of the wallet service: budgets, the cost of a guess, and where an unattended passphrase lies."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from services.kit.money import MAX_UNITS, TRX_DECIMALS
from services.kit.settings import KitSettings
from services.wallet.keystore import FLOOR_MEMORY_KIB, LANES, MIN_ITERATIONS, MOST_MEMORY_KIB, KdfCost
from services.wallet.signer import Policy

CREDENTIAL = "wallet-passphrase"
"""Name of the systemd credential (`LoadCredential=` or `LoadCredentialEncrypted=`) that opens wallets at start."""

_TRX = 10**TRX_DECIMALS
_STRICT = Policy(
    max_tx_sun=1_000 * _TRX,
    hourly_limit_sun=10_000 * _TRX,
    daily_limit_sun=100_000 * _TRX,
    daily_fee_limit_sun=5_000 * _TRX,
)
_UNLIMITED = Policy(max_tx_sun=0, hourly_limit_sun=0, daily_limit_sun=0)

_LIMITS = (
    "wallet_max_tx_sun",
    "wallet_hourly_limit_sun",
    "wallet_daily_limit_sun",
    "wallet_daily_fee_limit_sun",
)


class WalletSettings(KitSettings):
    """What the wallet service reads beside the settings of every daemon."""

    wallet_max_tx_sun: int | None = Field(default=None, ge=0, le=MAX_UNITS)
    """Most that one transaction may move, in sun; 1,000 TRX unless set, no limit on the devnet."""
    wallet_hourly_limit_sun: int | None = Field(default=None, ge=0, le=MAX_UNITS)
    """Most that signatures of one hour may move; 10,000 TRX unless set, no limit on the devnet."""
    wallet_daily_limit_sun: int | None = Field(default=None, ge=0, le=MAX_UNITS)
    """Most that signatures of 24 hours may move; 100,000 TRX unless set, no limit on the devnet."""
    wallet_daily_fee_limit_sun: int | None = Field(default=None, ge=0, le=MAX_UNITS)
    """Most that fees of 24 hours may come to at worst; 5,000 TRX unless set (2,000 payouts), no limit on the devnet."""
    wallet_kdf_memory_kib: int | None = Field(default=None, ge=8 * LANES, le=MOST_MEMORY_KIB)
    """Memory of one guess at a passphrase; measured on this machine unless set. Below 128 MiB only on the devnet."""
    wallet_passphrase_file: Path | None = None
    """File whose passphrase opens wallets at start, so that a restarted node goes on paying unattended."""
    credentials_directory: Path | None = None
    """Set by systemd: where the credential `wallet-passphrase` lies when the unit loads one."""

    @model_validator(mode="after")
    def _strict_where_money_is_real(self) -> Self:
        if self.tron_network == "devnet":
            return self
        for name in _LIMITS:
            if getattr(self, name) == 0:
                raise ValueError(f"{name.upper()}=0 (no limit) is for the devnet only: set a limit in sun")
        if self.wallet_kdf_memory_kib is not None and self.wallet_kdf_memory_kib < FLOOR_MEMORY_KIB:
            raise ValueError(f"WALLET_KDF_MEMORY_KIB below {FLOOR_MEMORY_KIB} is for the devnet only")
        return self

    @property
    def policy(self) -> Policy:
        """What the signer may sign."""
        default = _UNLIMITED if self.tron_network == "devnet" else _STRICT
        return Policy(
            max_tx_sun=_or(self.wallet_max_tx_sun, default.max_tx_sun),
            hourly_limit_sun=_or(self.wallet_hourly_limit_sun, default.hourly_limit_sun),
            daily_limit_sun=_or(self.wallet_daily_limit_sun, default.daily_limit_sun),
            daily_fee_limit_sun=_or(self.wallet_daily_fee_limit_sun, default.daily_fee_limit_sun),
        )

    @property
    def kdf_cost(self) -> KdfCost | None:
        """Cost of a guess; None: measure this machine."""
        if self.wallet_kdf_memory_kib is None:
            return None
        return KdfCost(self.wallet_kdf_memory_kib, MIN_ITERATIONS)

    @property
    def passphrase_file(self) -> Path | None:
        """The file that opens wallets at start: the one that is set, else systemd's credential if the unit has it."""
        if self.wallet_passphrase_file is not None:
            return self.wallet_passphrase_file
        if self.credentials_directory is not None and (self.credentials_directory / CREDENTIAL).exists():
            return self.credentials_directory / CREDENTIAL
        return None


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
