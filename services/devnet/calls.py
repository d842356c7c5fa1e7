"""The calls that read the chain and build transactions: `/wallet/*` and, with less in sight, `/walletsolidity/*`.

Every function answers one call of java-tron's HTTP API from a view and the call's parameters. Which names exist under
which prefix stands in `WALLET` and `SOLIDITY` at the end.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from services.devnet import parameters, rewards, witnesses
from services.devnet.answers import (
    JavaError,
    Json,
    PlainError,
    account_json,
    info_json,
    net_json,
    resource_json,
    shown_address,
    without_defaults,
)
from services.devnet.building import BUILDERS, build_transaction
from services.devnet.chain import slot_of
from services.devnet.contract_calls import CONSTANT_CALLS, CONTRACT_CALLS, POST_ONLY_CALLS
from services.devnet.requests import Params, from_hex
from services.devnet.stake_calls import STAKE_CALLS
from services.devnet.store import StoredBlock, StoredTransaction
from services.devnet.view import View
from services.protocol.address import ADDRESS_BYTES, PREFIX, Address, AddressError
from services.protocol.block import Block
from services.protocol.contracts import Contract
from services.protocol.json import block_to_json, transaction_to_json
from services.protocol.transaction import ContractRet

Call = Callable[[View, Params], Any]
"""Answers one call."""

MAX_BLOCKS = 100
"""A list of blocks has no more (java-tron, `BLOCK_LIMIT_NUM`)."""


# --- blocks ---


def now_block(view: View, params: Params) -> Json:
    """`getnowblock`: the newest block; only the query says whether addresses are to be base58."""
    return _shown(view, view.top, visible=params.visible_in_query)


def block(view: View, params: Params) -> Json:
    """`getblock`: by id, by number, or the newest; with its transactions if `detail` is wanted.

    Raises:
        PlainError: `id_or_num` is neither.
    """
    wanted = params.text("id_or_num")
    found = _by_id_or_number(view, wanted) if wanted else view.top
    if found is None:
        return {}
    if params.flag("detail"):
        return _block(view, found, params)
    bare = Block(found.header, (), found.signature)
    return block_to_json(bare, params.visible) | {"blockID": found.id.hex()}


def _by_id_or_number(view: View, wanted: str) -> StoredBlock | None:
    try:
        number = int(wanted)
    except ValueError:
        number = None
    if number is not None and len(wanted) < 2 * 32:
        if number < 0:
            raise PlainError("num must be non-positive number.")
        return view.block(number)
    try:
        block_id = from_hex(wanted)
    except ValueError:
        block_id = b""
    if len(block_id) != 32 or int.from_bytes(block_id[:8]) > view.top.number:
        raise PlainError("id must be legal block hash.")
    return view.block_by_id(block_id)


def block_by_number(view: View, params: Params) -> Json:
    """`getblockbynum`."""
    params.need_object()
    found = view.block(params.integer("num"))
    return _block(view, found, params) if found else {}


def block_by_id(view: View, params: Params) -> Json:
    """`getblockbyid`."""
    params.need_object()
    found = view.block_by_id(params.hex("value"))
    return _block(view, found, params) if found else {}


def blocks_by_limit(view: View, params: Params) -> Json:
    """`getblockbylimitnext`: from `startNum` up to and without `endNum`, at most 100."""
    params.need_object()
    first, end = params.integer("startNum", required=True), params.integer("endNum", required=True)
    if not 0 < end - first <= MAX_BLOCKS or end <= 0:
        return {}
    return {"block": [_block(view, found, params) for found in view.blocks(first, end)]}


def blocks_by_latest(view: View, params: Params) -> Json:
    """`getblockbylatestnum`: the newest `num`, fewer than 100."""
    params.need_object()
    wanted = params.integer("num", required=True)
    if not 0 < wanted < MAX_BLOCKS:
        return {}
    end = view.top.number + 1
    return {"block": [_block(view, found, params) for found in view.blocks(end - wanted, end)]}


def _block(view: View, found: StoredBlock, params: Params) -> Json:
    return _shown(view, found, visible=params.visible)


def _shown(view: View, found: StoredBlock, *, visible: bool) -> Json:
    # The id as it is stored: that of block 0 belongs to the network which this chain plays.
    return block_to_json(view.chain.store.full_block(found), visible) | {"blockID": found.id.hex()}


# --- transactions ---


def transaction_by_id(view: View, params: Params) -> Json:
    """`gettransactionbyid`: from a block, or (head only) from the pool, where java-tron already calls it a success."""
    params.need_object()
    txid = params.hex("value")
    stored = view.transaction(txid)
    if stored is not None:
        return transaction_to_json(stored.signed, params.visible)
    pooled = view.pooled(txid)
    return transaction_to_json(pooled.signed(ContractRet.SUCCESS), params.visible) if pooled else {}


def transaction_info_by_id(view: View, params: Params) -> Json:
    """`gettransactioninfobyid`: the bill, once it is in a block."""
    params.need_object()
    stored = view.transaction(params.hex("value"))
    return _info(view, stored, params) if stored and stored.block > 0 else {}


def transaction_infos_by_block(view: View, params: Params) -> Any:
    """`gettransactioninfobyblocknum`: the bills of a block."""
    params.need_object()
    number = params.integer("num", required=True)
    if number <= 0:
        return {}
    if view.block(number) is None:
        return []
    return [_info(view, stored, params) for stored in view.chain.store.transactions_of(number)]


def transaction_count(view: View, params: Params) -> Json:
    """`gettransactioncountbyblocknum`."""
    params.need_object()
    found = view.block(params.integer("num", required=True))
    return {"count": found.transactions if found else 0}


def _info(view: View, stored: StoredTransaction, params: Params) -> Json:
    found = view.block(stored.block)
    return info_json(stored, found, visible=params.visible) if found else {}


def pending_size(view: View, _params: Params) -> Json:
    """`getpendingsize`."""
    return {"pendingSize": len(view.chain.pool)}


def pending_ids(view: View, _params: Params) -> Json:
    """`gettransactionlistfrompending`."""
    return without_defaults({"txId": [txid.hex() for txid in view.chain.pool]})


def pending_transaction(view: View, params: Params) -> Json:
    """`gettransactionfrompending`."""
    pooled = view.pooled(params.hex("value"))
    return transaction_to_json(pooled.signed(), params.visible) if pooled else {}


# --- accounts ---


def account(view: View, params: Params) -> Json:
    """`getaccount`."""
    params.need_object()
    found = view.state.account(params.address("address"))
    if found is None:
        return {}
    allowance_sun = rewards.allowance_sun(view.state, found)
    return account_json(found, view.slot, allowance_sun, visible=params.visible)


def account_net(view: View, params: Params) -> Json:
    """`getaccountnet`."""
    params.need_object()
    found = view.state.account(params.address("address"))
    return net_json(found, view.state.counters, view.slot) if found else {}


def account_resource(view: View, params: Params) -> Json:
    """`getaccountresource`."""
    params.need_object()
    found = view.state.account(params.address("address"))
    return resource_json(found, view.state.counters, view.slot) if found else {}


def account_balance(view: View, params: Params) -> Json:
    """`getaccountbalance`: the balance of an account after the block that is named."""
    identifier, at = params.values.get("account_identifier"), params.values.get("block_identifier")
    if not isinstance(identifier, dict) or not isinstance(at, dict):
        raise JavaError("java.lang.IllegalArgumentException", "account_identifier is null")
    inner = Params({"visible": params.visible, **identifier}, "{}")
    found = view.state.account(inner.address("address"))
    return without_defaults({"balance": found.balance_sun if found else 0}) | {"block_identifier": at}


def reward(view: View, params: Params) -> Json:
    """`getReward`: what could be withdrawn now of what votes, and for a witness its blocks, have earned."""
    address = _any_address(params)
    found = view.state.account(address) if address else None
    return {"reward": rewards.owed_sun(view.state, found) if found else 0}


def brokerage(_view: View, params: Params) -> Json:
    """`getBrokerage`: what a witness keeps of its voters' rewards."""
    return {"brokerage": parameters.BROKERAGE_PERCENT if _any_address(params) else 0}


def _any_address(params: Params) -> bytes:
    """An address in either form, whatever `visible` says.

    Raises:
        PlainError: in neither.
    """
    given = params.text("address")
    try:
        return from_hex(given) if given.startswith("41") else Address.parse(given).raw if given else b""
    except (AddressError, ValueError) as error:
        raise PlainError(f"INVALID address, {error}") from error


def validate_address(_view: View, params: Params) -> Json:
    """`validateaddress`: hex, base58check or base64."""
    given = params.text("address")
    try:
        match len(given):
            case 42:
                raw, kind = bytes.fromhex(given), "Hex string format"
            case 34:
                raw, kind = Address.parse(given).raw, "Base58check format"
            case 28:
                raw, kind = base64.b64decode(given, validate=True), "Base64 format"
            case _:
                return {"result": False, "message": "Length error"}
    except (AddressError, ValueError, binascii.Error):
        return {"result": False, "message": "Invalid address"}
    if len(raw) != ADDRESS_BYTES or raw[0] != PREFIX:
        return {"result": False, "message": "Invalid address"}
    return {"result": True, "message": kind}


# --- building ---


def _builder(kind: type[Contract]) -> Call:
    def build(view: View, params: Params) -> Json:
        return build_transaction(view, params, kind)

    return build


# --- the chain ---


def chain_parameters(view: View, _params: Params) -> Json:
    """`getchainparameters`."""
    rules = view.chain.energy_rules
    dearer = (
        {
            "getAllowDynamicEnergy": 1,
            "getDynamicEnergyThreshold": rules.threshold,
            "getDynamicEnergyIncreaseFactor": rules.increase,
            "getDynamicEnergyMaxFactor": rules.most,
        }
        if rules
        else {}
    )
    return {
        "chainParameter": [
            {"key": known.key, **without_defaults({"value": dearer.get(known.key, known.value)})}
            for known in parameters.PARAMETERS
        ]
    }


def energy_prices(_view: View, _params: Params) -> Json:
    """`getenergyprices`: since when which price."""
    return {"prices": f"0:{parameters.ENERGY_PRICE_SUN}"}


def bandwidth_prices(_view: View, _params: Params) -> Json:
    """`getbandwidthprices`: since when which price."""
    return {"prices": f"0:{parameters.BANDWIDTH_PRICE_SUN}"}


def memo_prices(_view: View, _params: Params) -> Json:
    """`getmemofee`: since when which price."""
    return {"prices": f"0:{parameters.MEMO_FEE_SUN}"}


def burnt(view: View, _params: Params) -> Json:
    """`getburntrx`: all fees so far."""
    return {"burnTrxAmount": view.state.counters.burnt_sun}


def total_transaction(view: View, _params: Params) -> Json:
    """`totaltransaction`."""
    return without_defaults({"num": view.state.counters.transactions})


def next_maintenance(view: View, _params: Params) -> Json:
    """`getnextmaintenancetime`."""
    return {"num": view.state.counters.maintenance_ms}


def list_witnesses(view: View, params: Params) -> Json:
    """`listwitnesses`: who makes blocks, and how many each has made."""
    shown = []
    known = witnesses.load(view.state)
    active = witnesses.schedule(known)
    for witness in known:
        last = view.chain.store.last_block_of(witness.address, view.top.number)
        made = last if last and last.number > 0 else None
        shown.append(
            without_defaults(
                {
                    "address": shown_address(witness.address, visible=params.visible_in_query),
                    "voteCount": witness.votes,
                    "url": witness.url,
                    "totalProduced": made.produced if made else 0,
                    "latestBlockNum": made.number if made else 0,
                    "latestSlotNum": slot_of(made.time_ms) if made else 0,
                    "isJobs": witness in active,
                }
            )
        )
    return {"witnesses": shown}


def node_info(view: View, _params: Params) -> Json:
    """`getnodeinfo`: a node without peers."""

    def named(found: StoredBlock) -> str:
        return f"Num:{found.number},ID:{found.id.hex()}"

    return {
        "activeConnectCount": 0,
        "beginSyncNum": view.solid.number,
        "block": named(view.head),
        "cheatWitnessInfoMap": {},
        "configNodeInfo": {
            "activeNodeSize": 0,
            "allowAdaptiveEnergy": 0,
            "allowCreationOfContracts": 1,
            "backupListenPort": 10_001,
            "backupMemberSize": 0,
            "backupPriority": 0,
            "codeVersion": "4.8.0",
            "dbVersion": 2,
            "discoverEnable": False,
            "listenPort": 18_888,
            "maxConnectCount": 30,
            "maxTimeRatio": 20.0,
            "minParticipationRate": 0,
            "minTimeRatio": 0.0,
            "p2pVersion": str(view.chain.network.chain_id),
            "passiveNodeSize": 0,
            "sameIpMaxConnectCount": 2,
            "sendNodeSize": 0,
            "supportConstant": True,
            "versionNum": "18631",
        },
        "currentConnectCount": 0,
        "passiveConnectCount": 0,
        "peerList": [],
        "solidityBlock": named(view.solid),
        "totalFlow": 0,
    }


def nothing(_view: View, _params: Params) -> Json:
    """Any call about things that this chain does not have."""
    return {}


# --- which call is where ---

_ABSENT: dict[str, Call] = dict.fromkeys(
    (
        "getassetissuebyid",
        "getassetissuebyname",
        "getassetissuelist",
        "getassetissuelistbyname",
        "getexchangebyid",
        "getpaginatedassetissuelist",
        "listexchanges",
    ),
    nothing,
)
"""Calls under both about what this chain has none of."""

SOLIDITY: dict[str, Call] = {
    "getaccount": account,
    "getblock": block,
    "getblockbyid": block_by_id,
    "getblockbylatestnum": blocks_by_latest,
    "getblockbylimitnext": blocks_by_limit,
    "getblockbynum": block_by_number,
    "getbandwidthprices": bandwidth_prices,
    "getBrokerage": brokerage,
    "getburntrx": burnt,
    "getenergyprices": energy_prices,
    "getnodeinfo": node_info,
    "getnowblock": now_block,
    "getReward": reward,
    "gettransactionbyid": transaction_by_id,
    "gettransactioncountbyblocknum": transaction_count,
    "gettransactioninfobyblocknum": transaction_infos_by_block,
    "gettransactioninfobyid": transaction_info_by_id,
    "listwitnesses": list_witnesses,
    **STAKE_CALLS,
    **CONSTANT_CALLS,
    **_ABSENT,
}
"""Calls under `/walletsolidity`, as java-tron has them."""

WALLET: dict[str, Call] = SOLIDITY | {
    **{name: _builder(kind) for name, kind in BUILDERS.items()},
    **CONTRACT_CALLS,
    "getaccountbalance": account_balance,
    "getaccountnet": account_net,
    "getaccountresource": account_resource,
    "getassetissuebyaccount": nothing,
    "getchainparameters": chain_parameters,
    "getmemofee": memo_prices,
    "getnextmaintenancetime": next_maintenance,
    "getpaginatedexchangelist": nothing,
    "getpaginatedproposallist": nothing,
    "getpendingsize": pending_size,
    "getproposalbyid": nothing,
    "gettransactionfrompending": pending_transaction,
    "gettransactionlistfrompending": pending_ids,
    "listnodes": nothing,
    "listproposals": nothing,
    "totaltransaction": total_transaction,
    "validateaddress": validate_address,
}
"""Calls under `/wallet` that anybody may GET or POST."""

POST_ONLY = frozenset(BUILDERS) | POST_ONLY_CALLS | {"getaccountbalance"}
"""Calls whose GET java-tron answers with an empty page, or (`NO_GET`) refuses."""
