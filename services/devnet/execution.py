"""Runs contracts on the chain's state: one call, or one constructor, all or nothing.

Source: java-tron's `VMActuator.execute`. Billing is the caller's business (`energy`).
"""

from dataclasses import dataclass

from services.devnet.state import State
from services.devnet.vm.failures import OutOfTime, TransferFailed
from services.devnet.vm.machine import Block, Frame, Machine, Outcome, keep_code
from services.devnet.vm.world import Contract, World, code_at

REVERTED = "REVERT opcode executed"
"""What java-tron says of a run that ended with REVERT."""


@dataclass(frozen=True, slots=True)
class Run:
    """Who runs something, and when."""

    caller: bytes
    """Who sent the transaction, 21 bytes."""

    block: Block
    """The block around it."""

    txid: bytes
    """Its id."""

    limit: int
    """Most energy that it may use."""

    head_ms: int
    """Time of the head block: when accounts that it activates are created."""


def call(state: State, run: Run, contract: bytes, value_sun: int, data: bytes) -> Outcome:
    """Call a contract; the state has what it changed if it succeeded.

    Raises:
        TransferFailed: the caller cannot send the TRX that goes along.
        NotCarriedOut: it needs something that this devnet does not carry out.
    """
    machine, world = _machine(run), World(State(state), run.head_ms)
    frame = _frame(machine, world, run, code_at(state, contract), address=contract, value_sun=value_sun, data=data)
    if value_sun > 0:
        world.transfer(run.caller, contract, value_sun)
    _play(machine, frame)
    return _settled(state, frame)


def create(state: State, run: Run, contract: Contract) -> Outcome:
    """Make a contract; the state has it if that succeeded.

    Raises:
        TransferFailed: the maker cannot send the TRX that goes along.
        NotCarriedOut: it needs something that this devnet does not carry out.
    """
    machine, world = _machine(run), World(State(state), run.head_ms)
    value_sun = contract.call_value_sun
    frame = _frame(machine, world, run, contract.bytecode, address=contract.address, value_sun=value_sun, data=b"")
    world.put_contract(contract, contract.name)
    if value_sun > 0:
        world.transfer(run.caller, contract.address, value_sun)
    _play(machine, frame)
    keep_code(frame, "save just created contract code")
    return _settled(state, frame)


def message_of(outcome: Outcome) -> str:
    """Why a run failed, in java-tron's words; empty if it did not."""
    if outcome.failure is not None:
        return str(outcome.failure)
    return REVERTED if outcome.reverted else ""


def result_of(outcome: Outcome) -> str:
    """How a run ended, as the receipt says it (`RuntimeImpl.setResultCode`)."""
    if outcome.reverted:
        return "REVERT"
    return outcome.failure.result if outcome.failure is not None else "SUCCESS"


def _machine(run: Run) -> Machine:
    return Machine(run.block, run.caller, run.txid)


def _frame(
    machine: Machine, world: World, run: Run, code: bytes, *, address: bytes, value_sun: int, data: bytes
) -> Frame:
    return Frame(
        machine,
        world,
        code,
        address=address,
        caller=run.caller,
        value=value_sun,
        data=data,
        limit=run.limit,
        hash=run.txid,
    )


def _play(machine: Machine, frame: Frame) -> None:
    try:
        machine.run(frame)
    except OutOfTime as failure:
        # It may have happened in a contract that this one called.
        frame.outcome.failure = failure


def _settled(state: State, frame: Frame) -> Outcome:
    outcome = frame.outcome
    if outcome.succeeded:
        frame.world.finish()
        for address in outcome.destroyed:
            frame.world.destroy(address)
        state.merge(frame.world.state)
        return outcome
    outcome.logs.clear()
    outcome.destroyed.clear()
    outcome.reject()
    if outcome.failure is not None and not isinstance(outcome.failure, TransferFailed):
        outcome.used = frame.limit
    return outcome
