"""What a transaction cost and did: what becomes its `TransactionInfo`."""

import json
from dataclasses import dataclass, fields
from typing import Self


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

    result: str = "SUCCESS"
    """How the contract ended (`contractRet`)."""

    @property
    def fee_sun(self) -> int:
        """Everything that was burnt."""
        return self.net_fee_sun + self.memo_fee_sun + self.multi_sign_fee_sun + self.contract_fee_sun

    def dump(self) -> str:
        """The text that the store keeps."""
        values = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def load(cls, text: str) -> Self:
        """The receipt that `dump` wrote."""
        return cls(**json.loads(text))
