"""What each contract type demands and does: one module per type, found here by its number.

A new type is a new module with a `Rule` and one line in `RULES`.
"""

from services.devnet.refusals import ContractInvalid
from services.devnet.rules.account_create import AccountCreateRule
from services.devnet.rules.cancel_unfreeze import CancelUnfreezeRule
from services.devnet.rules.delegate import DelegateRule
from services.devnet.rules.freeze import FreezeRule
from services.devnet.rules.permission_update import PermissionUpdateRule
from services.devnet.rules.rule import Context, Rule
from services.devnet.rules.smart_contract import CreateRule, TriggerRule
from services.devnet.rules.transfer import TransferRule
from services.devnet.rules.undelegate import UndelegateRule
from services.devnet.rules.unfreeze import UnfreezeRule
from services.devnet.rules.vote import VoteRule
from services.devnet.rules.withdraw_rewards import WithdrawRewardsRule
from services.devnet.rules.withdraw_unfrozen import WithdrawUnfrozenRule
from services.protocol.contracts import CONTRACT_TYPES

RULES: dict[int, Rule] = {
    0: AccountCreateRule(),
    1: TransferRule(),
    4: VoteRule(),
    13: WithdrawRewardsRule(),
    30: CreateRule(),
    31: TriggerRule(),
    46: PermissionUpdateRule(),
    54: FreezeRule(),
    55: UnfreezeRule(),
    56: WithdrawUnfrozenRule(),
    57: DelegateRule(),
    58: UndelegateRule(),
    59: CancelUnfreezeRule(),
}
"""The contract types that this devnet carries out, by `ContractType` number."""

__all__ = ["RULES", "Context", "Rule", "rule_for"]


def rule_for(type_id: int) -> Rule:
    """The rule of a contract type.

    Raises:
        ContractInvalid: this devnet has none.
    """
    rule = RULES.get(type_id)
    if rule is None:
        known = CONTRACT_TYPES.get(type_id)
        name = known.type_name if known else f"contract type {type_id}"
        raise ContractInvalid(f"{name} is not carried out by this devnet")
    return rule
