"""The calls about contracts: `triggersmartcontract`, `triggerconstantcontract`, `estimateenergy`, `deploycontract`,
`getcontract` and `getcontractinfo`.

Sources: java-tron's `Wallet.triggerContract`, `callConstantContract` and `estimateEnergy`, and the servlets of those
names. The first three answer errors inside `result`, hex-encoded, and never as `Error`.
"""

import json
from collections.abc import Callable
from typing import Any

from services.devnet import execution
from services.devnet.answers import JavaError, Json, PlainError, log_json, shown_address, without_defaults
from services.devnet.building import VALIDATE_EXCEPTION, draft
from services.devnet.parameters import ENERGY_PRICE_SUN
from services.devnet.refusals import Code, ContractInvalid
from services.devnet.requests import Params, from_hex
from services.devnet.rules.smart_contract import MAX_FEE_LIMIT_SUN
from services.devnet.state import State
from services.devnet.view import View
from services.devnet.vm.failures import NotCarriedOut, TransferFailed
from services.devnet.vm.machine import Outcome, created_address
from services.devnet.vm.world import Contract, Heat, code_at, contract_at, heat_at
from services.protocol.address import Address, AddressError
from services.protocol.contracts import (
    Abi,
    AbiEntry,
    CreateSmartContract,
    NewContract,
    StateMutability,
    TriggerSmartContract,
)
from services.protocol.contracts import Contract as AnyContract
from services.protocol.hashes import keccak256
from services.protocol.json import java_order, message_from_json
from services.protocol.wire import ProtocolError

MAX_CONSTANT_ENERGY = 100_000_000
"""Most energy of a call that is only looked at (java-tron, `vm.maxEnergyLimitForConstant`)."""

_SUN_PER_TRX = 1_000_000
_PARAMETER = "java.security.InvalidParameterException"
_NO_TXID = bytes(32)


class _Asked:
    """What the three trigger calls are given."""

    def __init__(self, view: View, params: Params, *, needs_contract: bool) -> None:
        params.need_object()
        _need(params, needs_contract=needs_contract)
        self.view, self.params = view, params
        self.owner = params.address("owner_address")
        self.contract = params.address("contract_address")
        self.value_sun = params.integer("call_value")
        self.token_value, self.token_id = params.integer("call_token_value"), params.integer("token_id")
        self.data = _call_data(params)

    def message(self) -> AnyContract:
        """The contract of the transaction that would do it."""
        try:
            owner = Address(self.owner)
            if self.contract:
                to = Address(self.contract)
                return TriggerSmartContract(owner, to, self.data, self.value_sun, self.token_value, self.token_id)
        except AddressError as error:
            raise ContractInvalid(f"Invalid address: {error}") from error
        new = NewContract(owner, self.data, call_value_sun=self.value_sun, user_percent=100, origin_energy_limit=1)
        return CreateSmartContract(owner, new, self.token_value, self.token_id)


def _need(params: Params, *, needs_contract: bool) -> None:
    if not params.text("owner_address"):
        raise JavaError(_PARAMETER, "owner_address isn't set.")
    if params.text("contract_address"):
        return
    if needs_contract:
        raise JavaError(_PARAMETER, "contract_address isn't set.")
    if not params.text("data"):
        raise JavaError(_PARAMETER, "At least one of contract_address and data must be set.")
    if params.text("function_selector"):
        raise JavaError(_PARAMETER, "While trying to deploy, function_selector and data can not be both set.")


def _call_data(params: Params) -> bytes:
    selector = params.text("function_selector")
    if not selector:
        return params.hex("data")
    try:
        return keccak256(selector.encode())[:4] + from_hex(params.text("parameter"))
    except ValueError as error:
        raise JavaError(
            "org.bouncycastle.util.encoders.DecoderException",
            "exception decoding Hex string: invalid characters encountered in Hex string",
        ) from error


# --- triggering ---


def trigger(view: View, params: Params) -> Json:
    """`triggersmartcontract`: the transaction that calls a contract, or the answer at once if the ABI says view."""

    def answer() -> Json:
        asked = _Asked(view, params, needs_contract=True)
        contract = contract_at(view.state, asked.contract)
        if contract is None:
            raise ContractInvalid("No contract or not a valid smart contract")
        if _is_constant(contract, asked.data[:4]):
            return _constant(asked)
        shown = draft(view, params, asked.message(), fee_limit_sun=params.integer("fee_limit"))
        return {"transaction": shown, "result": {"result": True}}

    return _guarded(answer)


def trigger_constant(view: View, params: Params) -> Json:
    """`triggerconstantcontract`: what a call would return and use; nothing changes."""
    return _guarded(lambda: _constant(_Asked(view, params, needs_contract=False)))


def _constant(asked: _Asked) -> Json:
    outcome = _looked_at(asked, MAX_CONSTANT_ENERGY)
    if outcome.failure is not None:
        raise JavaError(f"org.tron.core.vm.program.Program${outcome.failure.java_class}", str(outcome.failure))
    params = asked.params
    memo = params.text("extra_data")
    shown = draft(
        asked.view,
        params,
        asked.message(),
        memo=memo.encode() if params.visible else params.hex("extra_data"),
    )
    shown["ret"] = [{"ret": "FAILED"} if outcome.reverted else {}]
    result: Json = {"result": True}
    if outcome.reverted:
        result["message"] = execution.REVERTED.encode().hex()
    return {
        "transaction": _in_java_order(shown),
        "constant_result": [outcome.returned.hex()],
        "result": result,
        **without_defaults(
            {
                "energy_used": outcome.used,
                "logs": [
                    log_json((address.hex(), [topic.hex() for topic in topics], data.hex()), visible=False)
                    for address, topics, data in outcome.logs
                ],
                "internal_transactions": [
                    {
                        "hash": done.hash.hex(),
                        "caller_address": shown_address(done.caller, visible=params.visible),
                        "transferTo_address": shown_address(done.to, visible=params.visible),
                        "callValueInfo": [without_defaults({"callValue": done.value_sun})],
                        "note": done.note.encode().hex(),
                        **without_defaults({"rejected": done.rejected}),
                    }
                    for done in outcome.internals
                ],
                "energy_penalty": outcome.penalty,
            }
        ),
    }


def _looked_at(asked: _Asked, limit: int) -> Outcome:
    """Run something on a state that is thrown away.

    Raises:
        ContractInvalid: it cannot even begin.
        JavaError: it needs something that this devnet does not carry out.
    """
    view = asked.view
    if asked.value_sun < 0:
        raise ContractInvalid("callValue must be >= 0")
    if asked.contract and contract_at(view.state, asked.contract) is None:
        raise ContractInvalid("Smart contract is not exist.")
    top = view.top
    block = view.chain.block_facts(top.number, top.time_ms, top.header.witness_address)
    run = execution.Run(asked.owner, block, _NO_TXID, limit, top.time_ms)
    state = State(view.state)
    try:
        if asked.contract:
            return execution.call(state, run, asked.contract, asked.value_sun, asked.data)
        address = created_address(_NO_TXID + asked.owner)
        new = Contract(address, asked.owner, bytecode=asked.data, call_value_sun=asked.value_sun, user_percent=100)
        return execution.create(state, run, new)
    except TransferFailed as failure:
        raise ContractInvalid(str(failure)) from failure
    except NotCarriedOut as error:
        raise JavaError("java.lang.UnsupportedOperationException", str(error)) from error


def estimate(view: View, params: Params) -> Json:
    """`estimateenergy`: a fee limit that suffices, found by halving, in energy; not the energy that is used."""

    def answer() -> Json:
        asked = _Asked(view, params, needs_contract=False)
        high = MAX_FEE_LIMIT_SUN
        outcome = _with_fee_limit(asked, high)
        if not outcome.succeeded:
            message = execution.message_of(outcome).encode().hex()
            return {"result": {"code": Code.CONTRACT_EXE_ERROR.name, "message": message}}
        low = ENERGY_PRICE_SUN * outcome.used
        twice = 2 * low
        if twice < high:
            low, high = _halved(asked, low, high, twice)
        while low + _SUN_PER_TRX < high:
            low, high = _halved(asked, low, high, (low + high) // 2)
        return {"result": {"result": True}, "energy_required": -(-high // ENERGY_PRICE_SUN)}

    # Unlike the others this answer is printed as it is, not put through a hash map.
    return _guarded(answer, in_java_order=False)


def _halved(asked: _Asked, low: int, high: int, middle: int) -> tuple[int, int]:
    return (low, middle) if _with_fee_limit(asked, middle).succeeded else (middle, high)


def _with_fee_limit(asked: _Asked, fee_limit_sun: int) -> Outcome:
    return _looked_at(asked, min(MAX_CONSTANT_ENERGY, fee_limit_sun // ENERGY_PRICE_SUN))


def _guarded(answer: Callable[[], Json], *, in_java_order: bool = True) -> Json:
    try:
        found = answer()
    except ContractInvalid as refusal:
        found = {"result": {"code": Code.CONTRACT_VALIDATE_ERROR.name, "message": refusal.reason.encode().hex()}}
    except JavaError as error:
        text = f"class {error.java_class} : {error}".replace('"', "'")
        found = {"result": {"code": Code.OTHER_ERROR.name, "message": text.encode().hex()}}
    return _in_java_order(found) if in_java_order else found


def _is_constant(contract: Contract, selector: bytes) -> bool:
    """Whether a contract's ABI says that a function changes nothing (`WalletUtil.isConstant`)."""
    entries = message_from_json(Abi, json.loads(contract.abi or "{}"), visible=False).entries
    for entry in entries:
        if entry.type.name == "Function" and _selector(entry) == selector:
            return entry.constant or entry.state_mutability in {StateMutability.View, StateMutability.Pure}
    return False


def _selector(entry: AbiEntry) -> bytes:
    return keccak256(f"{entry.name}({','.join(item.type for item in entry.inputs)})".encode())[:4]


# --- deploying ---


def deploy(view: View, params: Params) -> Json:
    """`deploycontract`: the transaction that makes a contract.

    Raises:
        JavaError: a parameter is malformed.
    """
    params.need_object()
    try:
        owner = Address(params.address("owner_address"))
        abi = params.values.get("abi")
        entries = json.loads(abi) if isinstance(abi, str) else abi
        new = NewContract(
            owner,
            from_hex(params.text("bytecode") + params.text("parameter")),
            abi=message_from_json(Abi, {"entrys": entries or []}, visible=params.visible),
            call_value_sun=params.integer("call_value"),
            user_percent=params.integer("consume_user_resource_percent"),
            name=params.text("name"),
            origin_energy_limit=params.integer("origin_energy_limit"),
        )
    except AddressError as error:
        raise PlainError(f"INVALID address, {error}") from error
    except ProtocolError as error:
        raise JavaError("org.tron.core.services.http.JsonFormat$ParseException", str(error)) from error
    except ValueError as error:
        raise JavaError("java.lang.IllegalArgumentException", str(error)) from error
    if not 0 <= new.user_percent <= 100:
        raise JavaError(VALIDATE_EXCEPTION, "percent must be >= 0 and <= 100")
    contract = CreateSmartContract(owner, new, params.integer("call_token_value"), params.integer("token_id"))
    return draft(view, params, contract, fee_limit_sun=params.integer("fee_limit"))


# --- reading ---


def contract(view: View, params: Params) -> Json:
    """`getcontract`: a contract's description, ABI and creation code."""
    found = contract_at(view.state, _contract_address(params))
    return _described(view, found, params) if found else {}


def contract_info(view: View, params: Params) -> Json:
    """`getcontractinfo`: the same with its running code, and how dear it has become."""
    found = contract_at(view.state, _contract_address(params))
    if found is None:
        return {}
    rules, cycle = view.chain.energy_rules, view.state.counters.cycle
    heat = heat_at(view.state, found.address).caught_up(cycle, rules) if rules else Heat(cycle=cycle)
    state = without_defaults({"energy_usage": heat.usage, "energy_factor": heat.factor, "update_cycle": heat.cycle})
    shown = {
        "smart_contract": _described(view, found, params),
        "runtimecode": code_at(view.state, found.address).hex(),
        "contract_state": _in_java_order(state),
    }
    return _in_java_order(shown)


def _contract_address(params: Params) -> bytes:
    """The address of a call whose key does not say that it is one: base58 if the call is visible."""
    given = params.text("value")
    if params.visible and not given.startswith("41"):
        return _from_base58(given)
    try:
        return from_hex(given)
    except ValueError as error:
        raise JavaError("org.tron.core.services.http.JsonFormat$ParseException", "1:10: INVALID hex String") from error


def _from_base58(given: str) -> bytes:
    """A base58 address; no contract's if it is none."""
    try:
        return Address.parse(given).raw
    except AddressError:
        return b""


def _described(view: View, found: Contract, params: Params) -> Json:
    code = code_at(view.state, found.address)
    shown: dict[str, Any] = {
        "origin_address": shown_address(found.origin, visible=params.visible),
        "contract_address": shown_address(found.address, visible=params.visible),
        **({"abi": json.loads(found.abi)} if found.abi else {}),
        **without_defaults(
            {
                "bytecode": found.bytecode.hex(),
                "call_value": found.call_value_sun,
                "consume_user_resource_percent": found.user_percent,
                "name": found.name,
                "origin_energy_limit": found.origin_energy_limit,
                "code_hash": keccak256(code).hex(),
                "trx_hash": found.trx_hash.hex(),
            }
        ),
    }
    return _in_java_order(shown)


def _in_java_order(shown: Json) -> Json:
    return {key: shown[key] for key in java_order(tuple(shown))}


CONSTANT_CALLS = {"triggerconstantcontract": trigger_constant, "estimateenergy": estimate}
"""Those that `/walletsolidity` has too."""

CONTRACT_CALLS = CONSTANT_CALLS | {
    "triggersmartcontract": trigger,
    "deploycontract": deploy,
    "getcontract": contract,
    "getcontractinfo": contract_info,
}
"""All of them."""

POST_ONLY_CALLS = frozenset(CONTRACT_CALLS) - {"getcontract", "getcontractinfo"}
"""Those whose GET is an empty page."""
