"""TriggerSmartContract (type 31) and CreateSmartContract (type 30): calling contracts and making them.

Order and words of the checks: java-tron's `VMActuator`. A call that fails is part of a block all the same: what it
changed is undone, what it used is paid, and its receipt says how it ended.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from services.devnet import energy, execution
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractFailed, ContractInvalid, OtherError
from services.devnet.rules.rule import Context
from services.devnet.state import State
from services.devnet.vm.failures import NotCarriedOut, TransferFailed
from services.devnet.vm.machine import Outcome, created_address
from services.devnet.vm.world import Contract, code_at, contract_at
from services.protocol.address import Address
from services.protocol.contracts import Abi, CreateSmartContract
from services.protocol.json import message_to_json
from services.protocol.wire import Field, Kind, ProtocolError, decode

MAX_FEE_LIMIT_SUN = 15_000_000_000
"""Highest fee limit (`getMaxFeeLimit`)."""

MAX_NAME_BYTES = 32
"""Longest name of a contract (java-tron, `CONTRACT_NAME_LENGTH`)."""

_MIN_TOKEN_ID = 1_000_000


@dataclass(frozen=True, slots=True)
class _Trigger:
    """The contract with addresses as they came, valid or not."""

    owner: Annotated[bytes, Field(1, "owner_address", Kind.BYTES)]
    contract: Annotated[bytes, Field(2, "contract_address", Kind.BYTES)]
    call_value_sun: Annotated[int, Field(3, "call_value", Kind.INT64)]
    data: Annotated[bytes, Field(4, "data", Kind.BYTES)]
    token_value: Annotated[int, Field(5, "call_token_value", Kind.INT64)]
    token_id: Annotated[int, Field(6, "token_id", Kind.INT64)]


class TriggerRule:
    """The rules of a contract call."""

    def activates(self, _state: State, _value: bytes) -> bool:
        """Never, as far as bandwidth is concerned: accounts that contracts activate are paid with energy."""
        return False

    def receiver(self, value: bytes) -> bytes | None:
        """Which contract."""
        return _read_trigger(value).contract

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check contract, amounts and fee limit.

        Raises:
            ContractInvalid: one of them is wrong.
            OtherError: the contract has no code, over which java-tron stumbles.
        """
        trigger = _read_trigger(value)
        if contract_at(state, trigger.contract) is None:
            raise ContractInvalid("No contract or not a smart contract")
        _check_amounts(trigger.call_value_sun, trigger.token_value)
        _check_token(trigger.token_value, trigger.token_id)
        if not code_at(state, trigger.contract):
            raise OtherError("null")
        _check_fee_limit(context)
        _check_no_token(trigger.token_value)

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Run the contract and bill its energy.

        Raises:
            ContractInvalid: the TRX that goes along cannot be sent.
            ContractFailed: it needs something that this devnet does not carry out.
        """
        trigger = _read_trigger(value)
        contract = contract_at(state, trigger.contract)
        caller = state.account(trigger.owner)
        if contract is None or caller is None:
            raise AssertionError("validated before")
        spendable = energy.budget(state, caller, contract, context, trigger.call_value_sun)
        receipt.contract = trigger.contract.hex()
        with _as_refusals():
            run = _run(context, spendable.limit)
            outcome = execution.call(state, run, trigger.contract, trigger.call_value_sun, trigger.data)
        _write(receipt, outcome)
        energy.pay(state, receipt, contract, context, spendable)


class CreateRule:
    """The rules of making a contract."""

    def activates(self, _state: State, _value: bytes) -> bool:
        """Never, as far as bandwidth is concerned."""
        return False

    def receiver(self, _value: bytes) -> bytes | None:
        """Nobody that there was before."""
        return None

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check description, amounts and fee limit.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        wanted = _read_create(value)
        new = wanted.new_contract
        if wanted.owner != new.origin:
            raise ContractInvalid("OwnerAddress is not equals OriginAddress")
        if len(new.name.encode()) > MAX_NAME_BYTES:
            raise ContractInvalid("contractName's length cannot be greater than 32")
        if not 0 <= new.user_percent <= 100:
            raise ContractInvalid("percent must be >= 0 and <= 100")
        address = created_address(context.txid + wanted.owner.raw)
        if state.account(address) is not None:
            raise ContractInvalid(
                f"Trying to create a contract with existing contract address: {Address(address).base58}"
            )
        _check_fee_limit(context)
        _check_amounts(new.call_value_sun, wanted.call_token_value)
        if new.origin_energy_limit <= 0:
            raise ContractInvalid("The originEnergyLimit must be > 0")
        _check_token(wanted.call_token_value, wanted.token_id)
        _check_no_token(wanted.call_token_value)

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Run the constructor, keep the code that it returns, and bill its energy.

        Raises:
            ContractInvalid: the TRX that goes along cannot be sent.
            ContractFailed: it needs something that this devnet does not carry out.
        """
        wanted = _read_create(value)
        new = wanted.new_contract
        caller = state.account(wanted.owner.raw)
        if caller is None:
            raise AssertionError("validated before")
        address = created_address(context.txid + wanted.owner.raw)
        contract = Contract(
            address,
            wanted.owner.raw,
            name=new.name,
            abi=abi_text(new.abi),
            bytecode=new.bytecode,
            call_value_sun=new.call_value_sun,
            user_percent=new.user_percent,
            origin_energy_limit=new.origin_energy_limit,
        )
        spendable = energy.budget(state, caller, None, context, new.call_value_sun)
        receipt.contract = address.hex()
        with _as_refusals():
            outcome = execution.create(state, _run(context, spendable.limit), contract)
        _write(receipt, outcome)
        energy.pay(state, receipt, None, context, spendable)


def abi_text(abi: Abi | None) -> str:
    """An ABI as the text that a contract's description keeps; empty without one."""
    return json.dumps(message_to_json(abi, visible=False), separators=(",", ":")) if abi is not None else ""


def _run(context: Context, limit: int) -> execution.Run:
    if context.block is None:
        raise AssertionError("contracts run in blocks only")
    return execution.Run(context.owner, context.block, context.txid, limit, context.head_ms)


@contextmanager
def _as_refusals() -> Iterator[None]:
    try:
        yield
    except TransferFailed as failure:
        raise ContractInvalid(str(failure)) from failure
    except NotCarriedOut as error:
        raise ContractFailed(str(error)) from error


def _write(receipt: Receipt, outcome: Outcome) -> None:
    receipt.result = execution.result_of(outcome)
    receipt.message = execution.message_of(outcome)
    receipt.energy_total, receipt.energy_penalty = outcome.used, outcome.penalty
    receipt.returned = outcome.returned.hex()
    receipt.logs = tuple(
        (address.hex(), [topic.hex() for topic in topics], data.hex()) for address, topics, data in outcome.logs
    )
    receipt.internals = tuple(
        (done.hash.hex(), done.caller.hex(), done.to.hex(), done.value_sun, done.note, done.rejected)
        for done in outcome.internals
    )


def _check_amounts(value_sun: int, token_value: int) -> None:
    if value_sun < 0:
        raise ContractInvalid("callValue must be >= 0")
    if token_value < 0:
        raise ContractInvalid("tokenValue must be >= 0")


def _check_token(token_value: int, token_id: int) -> None:
    if token_id <= _MIN_TOKEN_ID and token_id != 0:
        raise ContractInvalid(f"tokenId must be > {_MIN_TOKEN_ID}")
    if token_value > 0 and token_id == 0:
        raise ContractInvalid(f"invalid arguments with tokenValue = {token_value}, tokenId = {token_id}")


def _check_no_token(token_value: int) -> None:
    # There are no TRC-10 tokens on the devnet.
    if token_value > 0:
        raise ContractInvalid("No asset !")


def _check_fee_limit(context: Context) -> None:
    if not 0 <= context.fee_limit_sun <= MAX_FEE_LIMIT_SUN:
        raise ContractInvalid(f"feeLimit must be >= 0 and <= {MAX_FEE_LIMIT_SUN}")


@lru_cache(maxsize=1024)
def _read_trigger(value: bytes) -> _Trigger:
    try:
        return decode(_Trigger, value, strict=False)
    except ProtocolError as error:
        raise ContractInvalid(str(error)) from error


@lru_cache(maxsize=8)
def _read_create(value: bytes) -> CreateSmartContract:
    try:
        return decode(CreateSmartContract, value, strict=False)
    except ProtocolError as error:
        raise ContractInvalid(str(error)) from error
