"""The calls that read stakes: delegations, and what an account can still delegate, unstake or withdraw."""

from services.devnet import delegations
from services.devnet.answers import Json, shown_address, without_defaults
from services.devnet.delegations import Delegation
from services.devnet.parameters import MAX_UNFREEZING
from services.devnet.requests import Params
from services.devnet.rules.delegate import unused_sun
from services.devnet.rules.stake import STAKED, expired_sun, still_unfreezing
from services.devnet.state import SUN_PER_TRX
from services.devnet.view import View
from services.protocol.address import ADDRESS_BYTES
from services.protocol.contracts import Resource


def delegated_resource(view: View, params: Params) -> Json:
    """`getdelegatedresourcev2`: what one account lent to another, first what is not locked, then what is."""
    params.need_object()
    owner, receiver = params.address("fromAddress"), params.address("toAddress")
    found = (delegations.find(view.state, owner, receiver, locked=locked) for locked in (False, True))
    shown = [
        _delegation(item, owner, receiver, visible=params.visible)
        for item in found
        if item is not None and not item.is_empty
    ]
    return without_defaults({"delegatedResource": shown})


def _delegation(item: Delegation, owner: bytes, receiver: bytes, *, visible: bool) -> Json:
    return without_defaults(
        {
            "from": shown_address(owner, visible=visible),
            "to": shown_address(receiver, visible=visible),
            "frozen_balance_for_bandwidth": item.bandwidth_sun,
            "frozen_balance_for_energy": item.energy_sun,
            "expire_time_for_bandwidth": item.bandwidth_expires_ms,
            "expire_time_for_energy": item.energy_expires_ms,
        }
    )


def delegation_index(view: View, params: Params) -> Json:
    """`getdelegatedresourceaccountindexv2`: who lends to an account, and to whom it lends."""
    params.need_object()
    address = params.address("value")
    if len(address) != ADDRESS_BYTES:
        return {}
    lenders, borrowers = delegations.partners(view.state, address)
    return without_defaults(
        {
            "account": shown_address(address, visible=params.visible),
            "fromAccounts": [shown_address(lender, visible=params.visible) for lender in lenders],
            "toAccounts": [shown_address(borrower, visible=params.visible) for borrower in borrowers],
        }
    )


def can_delegate(view: View, params: Params) -> Json:
    """`getcandelegatedmaxsize`: how much of a stake can be lent now."""
    params.need_object()
    found, resource = view.state.account(params.address("owner_address")), params.integer("type")
    if found is None or resource not in STAKED:
        return {}
    most_sun = unused_sun(view.state, found, Resource(resource), view.slot, is_draft=True)
    return without_defaults({"max_size": most_sun if most_sun >= SUN_PER_TRX else 0})


def unfreezes_left(view: View, params: Params) -> Json:
    """`getavailableunfreezecount`: how many more stakes an account could begin to take back."""
    params.need_object()
    found = view.state.account(_owner(params))
    if found is None:
        return {}
    return without_defaults({"count": MAX_UNFREEZING - len(still_unfreezing(found, view.top.time_ms))})


def can_withdraw(view: View, params: Params) -> Json:
    """`getcanwithdrawunfreezeamount`: what unstaking has set free, or will have at a time that is given in ms."""
    params.need_object()
    found, at_ms = view.state.account(params.address("owner_address")), params.integer("timestamp")
    if found is None or at_ms < 0:
        return {}
    return without_defaults({"amount": expired_sun(found, at_ms or view.top.time_ms)})


def nothing_old(_view: View, params: Params) -> Json:
    """`getdelegatedresource`: delegations of Stake 1.0, of which there are none."""
    params.need_object()
    return {}


def old_index(_view: View, params: Params) -> Json:
    """`getdelegatedresourceaccountindex`: the same for the partners of an account."""
    params.need_object()
    address = params.address("value")
    if len(address) != ADDRESS_BYTES:
        return {}
    return {"account": shown_address(address, visible=params.visible)}


def _owner(params: Params) -> bytes:
    """The account that is asked about; in a query it may be spelled in another way."""
    if "ownerAddress" in params.values and "owner_address" not in params.values:
        return params.address("ownerAddress")
    return params.address("owner_address")


STAKE_CALLS = {
    "getavailableunfreezecount": unfreezes_left,
    "getcandelegatedmaxsize": can_delegate,
    "getcanwithdrawunfreezeamount": can_withdraw,
    "getdelegatedresource": nothing_old,
    "getdelegatedresourceaccountindex": old_index,
    "getdelegatedresourceaccountindexv2": delegation_index,
    "getdelegatedresourcev2": delegated_resource,
}
"""Calls under both `/wallet` and `/walletsolidity`."""
