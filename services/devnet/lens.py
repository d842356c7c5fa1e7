"""How an endpoint that lags or lies sees the chain."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lens:
    """What is false in the sight of one call; addresses are without their first byte, and empty means everybody."""

    lag: int = 0
    """How many blocks are missing at the top."""

    solid_limit: int | None = None
    """No block above this height is solid."""

    ahead_ms: int = 0
    """By how much the solid block's time is in the future."""

    other_genesis: bool = False
    """Whether block 0 is another one."""

    hidden: tuple[bytes, ...] = ()
    """Transactions of these are not known by their ids."""

    phantoms: tuple[bytes, ...] = ()
    """Transactions of these in the pool are shown as included."""

    balances: tuple[tuple[bytes, int], ...] = ()
    """What these have, in sun."""

    def hides(self, raw: bytes) -> bool:
        """Whether a transaction of these bytes is not to be seen."""
        return any(address in raw for address in self.hidden)

    def includes(self, raw: bytes) -> bool:
        """Whether a transaction of these bytes is shown as included although it waits."""
        return any(address in raw for address in self.phantoms)

    def balance_sun(self, address: bytes, balance_sun: int) -> int:
        """What an account of 21 bytes is said to have."""
        return next((false for whom, false in self.balances if whom in address), balance_sun)


CLEAR = Lens()
"""Everything as it is."""
