"""The calls that build an unsigned transaction of a native contract: validated on the head, tied to the solid block.

What comes is the contract itself in JSON. It is validated as it came, senseless addresses included, because it is the
contract's rule that knows what java-tron says about them.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Any

from services.devnet.answers import JavaError, Json
from services.devnet.chain import DEFAULT_LIFETIME_MS
from services.devnet.refusals import ContractInvalid
from services.devnet.requests import Params
from services.devnet.rules import rule_for
from services.devnet.state import State
from services.devnet.view import View
from services.protocol.contracts import (
    AccountCreate,
    AccountPermissionUpdate,
    CancelAllUnfreezeV2,
    Contract,
    DelegateResource,
    FreezeBalanceV2,
    Transfer,
    UnDelegateResource,
    UnfreezeBalanceV2,
    VoteWitness,
    WithdrawBalance,
    WithdrawExpireUnfreeze,
)
from services.protocol.json import transaction_to_json
from services.protocol.transaction import RawData, SignedTransaction, ref_block
from services.protocol.wire import Field, Kind, ProtocolError, decode, slots_of, unparse

VALIDATE_EXCEPTION = "org.tron.core.exception.ContractValidateException"
"""What java-tron throws when a contract breaks a rule."""

BUILDERS: dict[str, type[Contract]] = {
    "accountpermissionupdate": AccountPermissionUpdate,
    "cancelallunfreezev2": CancelAllUnfreezeV2,
    "createaccount": AccountCreate,
    "createtransaction": Transfer,
    "delegateresource": DelegateResource,
    "freezebalancev2": FreezeBalanceV2,
    "undelegateresource": UnDelegateResource,
    "unfreezebalancev2": UnfreezeBalanceV2,
    "votewitnessaccount": VoteWitness,
    "withdrawbalance": WithdrawBalance,
    "withdrawexpireunfreeze": WithdrawExpireUnfreeze,
}
"""Which call builds which contract."""

NO_GET = frozenset({"cancelallunfreezev2", "createaccount", "delegateresource", "freezebalancev2", "getaccountbalance"})
"""Those whose servlet has no GET at all; that of the others answers an empty page."""


def build_transaction(view: View, params: Params, kind: type[Contract]) -> Json:
    """An unsigned transaction of that kind, made of the call's parameters.

    Raises:
        JavaError: a parameter is malformed, or the contract breaks a rule.
    """
    params.need_object()
    chain = view.chain
    try:
        value = unparse(kind, _fields(kind, params))
        rule_for(kind.type_id).validate(State(chain.pending), value, replace(chain.context, is_draft=True))
        contract = decode(kind, value, strict=False)
    except (ContractInvalid, ProtocolError) as error:
        raise JavaError(VALIDATE_EXCEPTION, str(error)) from error
    # Of these calls only a transfer's takes a memo.
    return draft(view, params, contract, memo=_memo(params) if kind is Transfer else b"")


def draft(view: View, params: Params, contract: Contract, *, memo: bytes = b"", fee_limit_sun: int = 0) -> Json:
    """The transaction around a contract, as the node's building calls answer it."""
    chain = view.chain
    ref_bytes, ref_hash = ref_block(chain.solid.number, chain.solid.id)
    raw = RawData(
        contract,
        ref_block_bytes=ref_bytes,
        ref_block_hash=ref_hash,
        expiration_ms=chain.head.time_ms + DEFAULT_LIFETIME_MS,
        timestamp_ms=chain.now_ms(),
        fee_limit_sun=fee_limit_sun,
        memo=memo,
        permission_id=max(params.integer("Permission_id"), 0),
    )
    try:
        return transaction_to_json(SignedTransaction(raw.encode(), ()), params.visible, with_visible=True)
    except ProtocolError as error:
        raise JavaError(VALIDATE_EXCEPTION, str(error)) from error


def _memo(params: Params) -> bytes:
    return params.text("extra_data").encode() if params.visible else params.hex("extra_data")


def _fields(message: type, params: Params) -> dict[str, Any]:
    """The fields of a message that are given, by attribute."""
    found = {}
    for slot in slots_of(message):
        given = params.values.get(slot.field.name)
        if given is None:
            continue
        if slot.field.kind is Kind.MESSAGE and slot.field.of is not None:
            inner = [_fields(slot.field.of, params.inside(item)) for item in _items(slot.field, given)]
            found[slot.attr] = inner if slot.field.repeated else inner[0]
        else:
            found[slot.attr] = _scalar(slot.field, params)
    return found


def _items(field: Field, given: Any) -> list[Mapping[str, Any]]:
    items = given if field.repeated and isinstance(given, list) else [given]
    if not all(isinstance(item, Mapping) for item in items):
        raise JavaError("org.tron.core.services.http.JsonFormat$ParseException", f'{field.name}: Expected "{{".')
    return items


def _scalar(field: Field, params: Params) -> Any:
    match field.kind:
        case Kind.ADDRESS:
            return params.address(field.name)
        case Kind.BYTES:
            return params.hex(field.name)
        case Kind.STRING:
            return params.text(field.name)
        case Kind.BOOL:
            return params.flag(field.name)
        case Kind.ENUM if field.of is not None and issubclass(field.of, IntEnum):
            return params.enum(field.name, field.of)
        case _:
            return params.integer(field.name)
