"""java-tron's JSON: messages printed without their defaults, exceptions as `{"Error": "class …"}` with HTTP 200."""

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from services.devnet import resources
from services.devnet.bandwidth import free_used
from services.devnet.genesis import GENESIS
from services.devnet.incoming import Envelope, Incoming
from services.devnet.parameters import FREE_BANDWIDTH, SLOT_MS, TOTAL_BANDWIDTH, TOTAL_ENERGY
from services.devnet.permissions import OWNER_ID, Permission, default_permissions
from services.devnet.state import SUN_PER_TRX, Account, Counters, Unfreezing
from services.devnet.store import StoredBlock, StoredTransaction
from services.protocol.address import ADDRESS_BYTES, Address
from services.protocol.contracts import CONTRACT_TYPES, Resource

Json = dict[str, Any]
"""A JSON object."""

_RESOURCES = ("BANDWIDTH", "ENERGY", "TRON_POWER")
_PERMISSION_TYPES = {0: "Owner", 1: "Witness"}


class JavaError(Exception):
    """An exception of java-tron's, which its servlets answer as `{"Error": "class <name> : <message>"}`."""

    def __init__(self, java_class: str, message: str) -> None:
        super().__init__(message)
        self.java_class = java_class

    def body(self) -> Json:
        """The answer."""
        return {"Error": f"class {self.java_class} : {self}"}


class PlainError(JavaError):
    """An exception whose class the servlet leaves out of the answer."""

    def __init__(self, message: str) -> None:
        super().__init__("", message)

    def body(self) -> Json:
        """The answer."""
        return {"Error": str(self)}


def null_pointer() -> JavaError:
    """What java-tron says where it expected something and there was nothing."""
    return JavaError("java.lang.NullPointerException", "null")


def reply(body: object, status: int = 200) -> Response:
    """A JSON answer as the servlets write it, line end included."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False) + "\n"
    return Response(text.encode(), status, media_type="application/json")


def shown_address(raw: bytes, *, visible: bool) -> str:
    """An address as the caller wants it: base58, or hex."""
    return Address(raw).base58 if visible and len(raw) == ADDRESS_BYTES else raw.hex()


def without_defaults(message: Json) -> Json:
    """The message with its zero, false and empty fields left out."""
    return {key: value for key, value in message.items() if value not in (0, False, "", None, [])}


def info_json(transaction: StoredTransaction, block: StoredBlock, *, visible: bool = False) -> Json:
    """A `TransactionInfo`, in the order of its field numbers."""
    receipt = transaction.receipt
    contract = bytes.fromhex(receipt.contract)
    return {
        **without_defaults(
            {
                "id": transaction.signed.txid,
                "fee": receipt.fee_sun,
                "blockNumber": block.number,
                "blockTimeStamp": block.time_ms,
            }
        ),
        "contractResult": [receipt.returned],
        **without_defaults({"contract_address": shown_address(contract, visible=visible)}),
        "receipt": without_defaults(
            {
                "energy_usage": receipt.energy_usage,
                "energy_fee": receipt.energy_fee_sun,
                "origin_energy_usage": receipt.origin_energy_usage,
                "energy_usage_total": receipt.energy_total,
                "net_usage": receipt.net_usage,
                "net_fee": receipt.net_fee_sun,
                "result": receipt.result if contract else "",
                "energy_penalty_total": receipt.energy_penalty,
            }
        ),
        **without_defaults(
            {
                "log": [log_json(log, visible=visible) for log in receipt.logs],
                "result": "FAILED" if receipt.message else "",
                "resMessage": receipt.message.encode().hex(),
                "withdraw_amount": receipt.withdrawn_sun,
                "withdraw_expire_amount": receipt.unfrozen_sun,
                "cancel_unfreezeV2_amount": [
                    {"key": key, "value": amount} for key, amount in (receipt.cancelled_sun or {}).items()
                ],
                "internal_transactions": [internal_json(internal, visible=visible) for internal in receipt.internals],
            }
        ),
    }


def log_json(log: Sequence[Any], *, visible: bool) -> Json:
    """A `TransactionInfo.Log`: the address without its 0x41, unless it is to be base58."""
    address, topics, data = log
    shown = Address.from_evm(bytes.fromhex(address)).base58 if visible else address
    return {"address": shown} | without_defaults({"topics": list(topics), "data": data})


def internal_json(internal: Sequence[Any], *, visible: bool) -> Json:
    """An `InternalTransaction`."""
    txid, caller, to, value_sun, note, rejected = internal
    return {
        "hash": txid,
        "caller_address": shown_address(bytes.fromhex(caller), visible=visible),
        "transferTo_address": shown_address(bytes.fromhex(to), visible=visible),
        "callValueInfo": [without_defaults({"callValue": value_sun})],
        "note": note.encode().hex(),
        **without_defaults({"rejected": rejected}),
    }


def account_json(account: Account, slot: int, allowance_sun: int, *, visible: bool) -> Json:
    """An `Account` as `getaccount` shows it, in the order of its field numbers."""

    def time_ms(of_slot: int) -> int:
        return GENESIS.header.timestamp_ms + of_slot * SLOT_MS

    net, energy = (resources.refreshed(stake, 0, slot) for stake in (account.bandwidth, account.energy))
    message = without_defaults(
        {
            "account_name": account.name if visible else account.name.encode().hex(),
            "type": "Contract" if account.is_contract else "",
            "address": shown_address(account.address, visible=visible),
            "balance": account.balance_sun,
            "votes": [
                {"vote_address": shown_address(witness, visible=visible), "vote_count": count}
                for witness, count in account.votes
            ],
            "net_usage": net.used,
            "create_time": account.created_ms,
            "latest_opration_time": account.operated_ms,
            "allowance": allowance_sun,
            "latest_withdraw_time": account.withdrawn_ms,
            "is_witness": account.is_witness,
            "free_net_usage": free_used(account, slot),
            "latest_consume_time": time_ms(net.slot),
            "latest_consume_free_time": time_ms(account.free_net_slot),
            "net_window_size": net.window,
            "net_window_optimized": True,
        }
    )
    message["account_resource"] = without_defaults(
        {
            "energy_usage": energy.used,
            "latest_consume_time_for_energy": time_ms(energy.slot),
            "energy_window_size": energy.window,
            "delegated_frozenV2_balance_for_energy": energy.delegated_sun,
            "acquired_delegated_frozenV2_balance_for_energy": energy.acquired_sun,
            "energy_window_optimized": True,
        }
    )
    message |= _account_permissions(account, visible=visible)
    # Always one entry for each resource, the first without its type because that is the default.
    message["frozenV2"] = [without_defaults({"type": name}) if name != "BANDWIDTH" else {} for name in _RESOURCES]
    for at, stake in enumerate((net, energy)):
        if stake.own_sun:
            message["frozenV2"][at]["amount"] = stake.own_sun
    message |= without_defaults(
        {
            "unfrozenV2": [_unfreezing(item) for item in account.unfreezing],
            "delegated_frozenV2_balance_for_bandwidth": net.delegated_sun,
            "acquired_delegated_frozenV2_balance_for_bandwidth": net.acquired_sun,
        }
    )
    message["asset_optimized"] = True
    return message


def _unfreezing(item: Unfreezing) -> Json:
    # Bandwidth is the default of its field.
    kind = {"type": _RESOURCES[item.resource]} if item.resource else {}
    return {**kind, "unfreeze_amount": item.amount_sun, "unfreeze_expire_time": item.expires_ms}


def _account_permissions(account: Account, *, visible: bool) -> Json:
    permissions = account.permissions
    if permissions is None:
        if not account.has_default_permissions:
            return {}
        permissions = default_permissions(account.address)
    shown: Json = {"owner_permission": permission_json(permissions.owner, visible=visible)}
    if permissions.witness:
        shown["witness_permission"] = permission_json(permissions.witness, visible=visible)
    shown["active_permission"] = [permission_json(active, visible=visible) for active in permissions.actives]
    return shown


def permission_json(permission: Permission, *, visible: bool) -> Json:
    """A `Permission`; the owner's comes without type and id, which are its defaults."""
    message: Json = {}
    if permission.id != OWNER_ID:
        message |= {"type": _PERMISSION_TYPES.get(permission.id, "Active"), "id": permission.id}
    message |= {"permission_name": permission.name, "threshold": permission.threshold}
    if permission.operations:
        message["operations"] = permission.operations.hex()
    message["keys"] = [
        {"address": shown_address(address, visible=visible), "weight": weight} for address, weight in permission.keys
    ]
    return message


def net_json(account: Account, counters: Counters, slot: int) -> Json:
    """An `AccountNetMessage`: bandwidth only."""
    return without_defaults(
        {
            "freeNetUsed": free_used(account, slot),
            "freeNetLimit": FREE_BANDWIDTH,
            "NetUsed": resources.used(account.bandwidth, slot),
            "NetLimit": resources.limit(account.bandwidth, Resource.BANDWIDTH, counters),
            "TotalNetLimit": TOTAL_BANDWIDTH,
            "TotalNetWeight": counters.total_net_weight,
        }
    )


def resource_json(account: Account, counters: Counters, slot: int) -> Json:
    """An `AccountResourceMessage`: bandwidth and energy."""
    return net_json(account, counters, slot) | without_defaults(
        {
            "tronPowerUsed": sum(count for _, count in account.votes),
            "tronPowerLimit": account.tron_power_sun // SUN_PER_TRX,
            "EnergyUsed": resources.used(account.energy, slot),
            "EnergyLimit": resources.limit(account.energy, Resource.ENERGY, counters),
            "TotalEnergyLimit": TOTAL_ENERGY,
            "TotalEnergyWeight": counters.total_energy_weight,
        }
    )


def printed_transaction(transaction: Incoming) -> str:
    """A transaction as `broadcasthex` repeats it: `JsonFormat` text in the order of the fields' numbers."""
    fields = transaction.fields
    raw = without_defaults(
        {
            "ref_block_bytes": fields.ref_block_bytes.hex(),
            "ref_block_hash": fields.ref_block_hash.hex(),
            "expiration": fields.expiration_ms,
            "data": fields.memo.hex(),
            "contract": [_printed_contract(contract) for contract in fields.contracts],
            "timestamp": fields.timestamp_ms,
            "fee_limit": fields.fee_limit_sun,
        }
    )
    message = {"raw_data": raw, "signature": [signature.hex() for signature in transaction.signatures]}
    return json.dumps(without_defaults(message), separators=(",", ": "))


def _printed_contract(contract: Envelope) -> Json:
    known = CONTRACT_TYPES.get(contract.type)
    parameter = without_defaults({"type_url": contract.type_url, "value": contract.value.hex()})
    return without_defaults(
        {
            # Type 0 is a default too; java-tron leaves it out here.
            "type": known.type_name if known and contract.type else contract.type,
            "parameter": parameter,
            "Permission_id": contract.permission_id,
        }
    )
