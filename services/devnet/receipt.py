"""What a transaction cost and did: what becomes its `TransactionInfo`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(slots=True)
class Receipt:
    """The bill of one transaction."""

    net_usage: int = 0
    """Bytes taken from staked or free bandwidth."""

    net_fee_sun: int = 0
    """Burnt instead of bandwidth."""

    memo_fee_sun: int = 0
    """Burnt for the memo."""

    multi_sign_fee_sun: int = 0
    """Burnt for more than one signature."""

    contract_fee_sun: int = 0
    """Burnt by the contract itself, such as the price of a new account."""

    withdrawn_sun: int = 0
    """Rewards that were paid out (`withdraw_amount`)."""

    unfrozen_sun: int = 0
    """Stakes that came back to the balance (`withdraw_expire_amount`)."""

    cancelled_sun: dict[str, int] | None = None
    """Stakes that stay after all, by resource (`cancel_unfreezeV2_amount`)."""

    energy_usage: int = 0
    """The caller's staked energy that was used."""

    energy_fee_sun: int = 0
    """Burnt instead of energy."""

    origin_energy_usage: int = 0
    """Staked energy of the contract's deployer that was used."""

    energy_total: int = 0
    """All energy that was used (`energy_usage_total`)."""

    energy_penalty: int = 0
    """The part of it that a busy contract costs more (`energy_penalty_total`)."""

    contract: str = ""
    """Address of the contract that was called or made, in hex; empty for all other transactions."""

    returned: str = ""
    """What it returned, in hex (`contractResult`)."""

    message: str = ""
    """Why it failed (`resMessage`)."""

    logs: Sequence[Sequence[Any]] = ()
    """Its events: address in 20 bytes, topics, data, all in hex."""

    internals: Sequence[Sequence[Any]] = ()
    """What contracts did to others: id, caller and receiver in hex, sun, what it was, whether it was undone."""

    result: str = "SUCCESS"
    """How the contract ended (`contractRet`)."""

    @property
    def fee_sun(self) -> int:
        """Everything that was burnt."""
        flat_fees_sun = self.memo_fee_sun + self.multi_sign_fee_sun + self.contract_fee_sun
        return self.net_fee_sun + self.energy_fee_sun + flat_fees_sun

    def dump(self) -> str:
        """The text that the store keeps."""
        values = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """The receipt that `dump` wrote."""
        return cls(**json.loads(text))
