"""Runs contract code: frames, the loop that executes them, and calls from one contract to another.

Sources: java-tron's `VM.play` for the loop, `Program.callToAddress`, `createContractImpl` and `suicide` for what one
contract does to another, `ProgramResult` for what a run leaves behind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from services.devnet.parameters import INT64_MAX
from services.devnet.vm import operations
from services.devnet.vm.failures import InvalidCode, OutOfEnergy, OutOfTime, TransferFailed, VmFailure
from services.devnet.vm.operations import STOP, Message, Operation, address_of, program_of
from services.devnet.vm.precompiled import Precompiled, precompiled_at
from services.devnet.vm.world import FACTOR_UNIT, Contract, EnergyRules, Heat, World
from services.protocol.hashes import keccak256

MAX_DEPTH = 64
"""Calls deeper than this fail (java-tron, `MAX_DEPTH`)."""

MAX_STEPS = 1_000_000
"""Operations of one transaction. It stands for TRON's limit of 80 ms, which depends on the machine that asks: a real
node does this many in about that time. A run that is longer ends with OUT_OF_TIME."""

CREATE_BYTE_ENERGY = 200
"""Energy for each byte of a new contract's code."""

_MIN_TOKEN_ID = 1_000_000
_DELEGATECALL, _CALLCODE, _STATICCALL = 0xF4, 0xF2, 0xFA

Log = tuple[bytes, tuple[bytes, ...], bytes]
"""Address in 20 bytes, topics, data."""


@dataclass(frozen=True, slots=True)
class Block:
    """The block that a transaction is to be in, as contracts see it."""

    number: int
    """Height."""

    time_ms: int
    """Its time."""

    witness: bytes
    """Who makes it, 21 bytes."""

    id_of: Callable[[int], bytes | None]
    """The id of an earlier block."""

    chain_id: int
    """The last four bytes of block 0's id."""

    energy_price_sun: int
    """Price of energy (BASEFEE)."""

    cycle: int = 0
    """The maintenance period."""

    rules: EnergyRules | None = None
    """How busy contracts get dearer; None when they do not."""


@dataclass(slots=True)
class Internal:
    """Something that a contract did to another account (java-tron, `InternalTransaction`)."""

    hash: bytes
    """Its id."""

    caller: bytes
    """Which contract."""

    to: bytes
    """To whom, 21 bytes."""

    value_sun: int
    """TRX that went along."""

    note: str
    """`call`, `create` or `suicide`."""

    rejected: bool = False
    """Whether it was undone."""


@dataclass(slots=True)
class Outcome:
    """What a run leaves behind (java-tron, `ProgramResult`)."""

    used: int = 0
    """Energy, penalty included."""

    penalty: int = 0
    """The penalty in it."""

    returned: bytes = b""
    """What RETURN or REVERT gave."""

    reverted: bool = False
    """Whether it ended with REVERT."""

    failure: VmFailure | None = None
    """Why it failed."""

    logs: list[Log] = field(default_factory=list)
    """The events, of whatever was not undone."""

    internals: list[Internal] = field(default_factory=list)
    """What contracts did to others, undone or not."""

    destroyed: set[bytes] = field(default_factory=set)
    """Contracts that destroyed themselves."""

    @property
    def succeeded(self) -> bool:
        """Whether its changes stay."""
        return self.failure is None and not self.reverted

    def merge(self, inner: "Outcome") -> None:
        """Take over what an inner call left behind; its energy is settled by whoever called."""
        self.internals += inner.internals
        self.penalty += inner.penalty
        if inner.succeeded:
            self.logs += inner.logs
            self.destroyed |= inner.destroyed

    def reject(self) -> None:
        """Mark everything that was done to others as undone."""
        for internal in self.internals:
            internal.rejected = True


class Frame:
    """One contract at work."""

    __slots__ = (
        "address",
        "buffer",
        "call_penalty",
        "caller",
        "data",
        "depth",
        "factor",
        "handed_on",
        "hash",
        "heat",
        "limit",
        "machine",
        "memory",
        "operation",
        "outcome",
        "pc",
        "program",
        "stack",
        "static",
        "stopped",
        "token_id",
        "token_value",
        "usage",
        "value",
        "world",
    )

    def __init__(
        self,
        machine: "Machine",
        world: World,
        code: bytes,
        *,
        address: bytes,
        caller: bytes,
        value: int,
        data: bytes,
        limit: int,
        hash: bytes,  # noqa: A002 - what java-tron calls it
        depth: int = 0,
        static: bool = False,
    ) -> None:
        self.machine, self.world = machine, world
        self.program = program_of(code)
        self.address, self.caller, self.value, self.data = address, caller, value, data
        self.limit, self.hash, self.depth, self.static = limit, hash, depth, static
        self.token_value = self.token_id = 0
        self.stack: list[int] = []
        self.memory = bytearray()
        self.pc = 0
        self.stopped = False
        # What the last inner call returned.
        self.buffer = b""
        self.outcome = Outcome()
        # Energy that the current call operation hands on, and the penalty on the rest of it.
        self.handed_on = self.call_penalty = 0
        self.operation: Operation = STOP
        # Energy of its own operations before penalty.
        self.usage = 0
        self.factor = FACTOR_UNIT
        self.heat = Heat()

    @property
    def left(self) -> int:
        """Energy that it may still use."""
        return self.limit - self.outcome.used


class Machine:
    """Runs one transaction."""

    def __init__(self, block: Block, origin: bytes, txid: bytes) -> None:
        self.block = block
        """The block around it."""
        self.origin = origin
        """Who sent the transaction."""
        self.txid = txid
        """Its id."""
        self._nonce = 0
        self._steps = MAX_STEPS

    def run(self, frame: Frame) -> Outcome:
        """Execute a frame to its end; failures are in the outcome.

        Raises:
            OutOfTime: the whole transaction has run too long.
        """
        outcome, rules = frame.outcome, self.block.rules
        if rules is not None:
            frame.heat = frame.world.heat(frame.address, self.block.cycle, rules)
            frame.factor = frame.heat.factor + FACTOR_UNIT
        try:
            self._execute(frame)
        except VmFailure as failure:
            outcome.failure = failure
            if not isinstance(failure, TransferFailed):
                outcome.used = frame.limit
            if isinstance(failure, OutOfTime):
                raise
        else:
            if rules is not None:
                frame.world.add_heat(frame.address, frame.heat, frame.usage)
        return outcome

    def _execute(self, frame: Frame) -> None:
        # Nine tenths of a transaction's time are spent in this loop.
        code, known, stack, outcome = frame.program.code, frame.program.operations, frame.stack, frame.outcome
        size, limit, is_plain = len(code), frame.limit, self.block.rules is None
        while not frame.stopped:
            at = frame.pc
            operation = known[at] if at < size else STOP
            if operation is None:
                raise operations.illegal(code[at])
            frame.operation = operation
            depth = len(stack)
            if depth < operation.takes:
                raise operations.stack_too_small(operation.takes, depth)
            if depth > operation.most:
                raise operations.stack_too_large()
            price = operation.price
            energy = operation.cost if price is None else price(frame)
            if not is_plain:
                energy = self._with_penalty(frame, energy)
            used = outcome.used + energy
            if used > limit:
                raise self._not_enough(frame, energy)
            outcome.used = used
            self._steps -= 1
            if self._steps < 0:
                raise OutOfTime(f"CPU timeout for '{operation.name}' operation executing")
            frame.pc = at + 1
            operation.run(frame)

    def _with_penalty(self, frame: Frame, energy: int) -> int:
        """Count an operation's energy and add the penalty; the price of calls has it in it already."""
        if frame.factor == FACTOR_UNIT:
            frame.usage += energy - frame.handed_on if frame.operation.is_call else energy
            return energy
        if frame.operation.is_call:
            frame.usage += energy - frame.handed_on - frame.call_penalty
            penalty = frame.call_penalty
        else:
            frame.usage += energy
            penalty = energy * frame.factor // FACTOR_UNIT - energy
            energy += penalty
        if frame.left >= energy:
            frame.outcome.penalty += penalty
        return energy

    def _not_enough(self, frame: Frame, energy: int) -> OutOfEnergy:
        used = frame.outcome.used
        head = (
            f"Not enough energy for '{frame.operation.name}' operation executing: curInvokeEnergyLimit[{frame.limit}]"
        )
        if frame.factor == FACTOR_UNIT:
            return OutOfEnergy(f"{head}, curOpEnergy[{energy}], usedEnergy[{used}]")
        penalty = energy - energy * FACTOR_UNIT // frame.factor
        return OutOfEnergy(f"{head}, curOpEnergy[{energy - penalty}], penaltyEnergy[{penalty}], usedEnergy[{used}]")

    # --- one contract calls another ---

    def call(self, frame: Frame, message: Message) -> None:
        """Carry out CALL and its kin: leaves 1 or 0 on the stack, and settles the energy.

        Raises:
            TransferFailed: TRX was to be sent that may not be.
        """
        value, energy = message.value, frame.handed_on
        precompiled = precompiled_at(message.to)
        frame.buffer = b""
        if frame.depth == MAX_DEPTH:
            self._refuse_call(frame)
            return
        if precompiled is None and value > INT64_MAX:
            frame.outcome.used -= energy
            raise TransferFailed("endowment out of long range")
        self._check_token(frame, message.token_id)
        # There are no TRC-10 tokens on the devnet, so nobody has any to send.
        if (0 if message.token_id else frame.world.balance(frame.address)) < value:
            self._refuse_call(frame)
        elif precompiled is not None:
            self._call_precompiled(frame, message, precompiled)
        else:
            self._call_contract(frame, message)

    def _refuse_call(self, frame: Frame) -> None:
        frame.stack.append(0)
        frame.outcome.used -= frame.handed_on

    def _check_token(self, frame: Frame, token_id: int | None) -> None:
        if token_id is not None and not _MIN_TOKEN_ID < token_id <= INT64_MAX:
            frame.outcome.used -= frame.handed_on
            raise TransferFailed("validateForSmartContract failure:not valid token id")

    def _call_contract(self, frame: Frame, message: Message) -> None:
        opcode, value = frame.operation.code, message.value
        code_address = address_of(message.to)
        address = frame.address if opcode in {_CALLCODE, _DELEGATECALL} else code_address
        code = frame.world.code(code_address) if frame.world.exists(code_address) else b""
        world = frame.world.layer()
        # A contract that sends to itself is refused further on, but for CALLCODE, where nothing is sent.
        if value > 0 and opcode != _CALLCODE:
            self._send(frame, world, address, value)
        internal = self._internal(frame, address, value, message.data, "call")
        if not code:
            frame.world.merge(world)
            frame.stack.append(1)
            frame.outcome.used -= frame.handed_on
            return
        delegated = opcode == _DELEGATECALL
        inner = Frame(
            self,
            world,
            code,
            address=address,
            caller=frame.caller if delegated else frame.address,
            value=frame.value if delegated else value,
            data=message.data,
            limit=frame.handed_on,
            hash=internal.hash,
            depth=frame.depth + 1,
            static=frame.static or opcode == _STATICCALL,
        )
        if message.token_id is not None:
            inner.token_id, inner.token_value, inner.value = message.token_id, value, 0
        frame.outcome.merge(self.run(inner))
        self._settle_call(frame, inner, internal, message)

    def _settle_call(self, frame: Frame, inner: Frame, internal: Internal, message: Message) -> None:
        result = inner.outcome
        if result.succeeded:
            frame.world.merge(inner.world)
            frame.stack.append(1)
        else:
            internal.rejected = True
            result.reject()
            frame.stack.append(0)
            if result.failure is not None:
                return
        kept = result.returned[: message.out_size]
        frame.memory[message.out_offset : message.out_offset + len(kept)] = kept
        frame.buffer = result.returned
        if inner.limit > result.used:
            frame.outcome.used -= inner.limit - result.used

    def _send(self, frame: Frame, world: World, to: bytes, value: int) -> None:
        world.activate(to)
        try:
            world.transfer(frame.address, to, value)
        except TransferFailed as failure:
            frame.outcome.used -= frame.handed_on
            raise TransferFailed(f"transfer trx failed: {failure}") from failure

    def _call_precompiled(self, frame: Frame, message: Message, contract: Precompiled) -> None:
        if message.value > 0 and frame.operation.code != _CALLCODE:
            try:
                frame.world.transfer(frame.address, address_of(message.to), message.value)
            except TransferFailed as failure:
                raise VmFailure("transfer failure") from failure
        needed = contract.energy(message.data)
        if needed > frame.handed_on:
            frame.stack.append(0)
            return
        returned = contract.run(message.data)
        frame.outcome.used -= frame.handed_on - needed
        frame.stack.append(1)
        frame.buffer = returned
        # All of it, however little room the caller left.
        operations.write(frame, message.out_offset, returned)

    def create(self, frame: Frame, value: int, code: bytes, salt: int | None) -> None:
        """Carry out CREATE and CREATE2: leaves the new contract's address or 0 on the stack."""
        frame.buffer = b""
        if salt is None:
            if frame.depth == MAX_DEPTH:
                frame.stack.append(0)
                return
            address = created_address(self.txid + self._nonce.to_bytes(8))
        else:
            address = created_address(frame.address + salt.to_bytes(32) + keccak256(code))
        if value > INT64_MAX:
            raise VmFailure("BigInteger out of long range")
        if frame.world.balance(frame.address) < value:
            frame.stack.append(0)
            return
        self._create_at(frame, value, code, address, self.txid if salt is not None else b"")

    def _create_at(self, frame: Frame, value: int, code: bytes, address: bytes, trx_hash: bytes) -> None:
        exists = frame.world.contract(address) is not None
        world = frame.world.layer()
        if not exists:
            contract = Contract(address, frame.address, user_percent=100, trx_hash=trx_hash)
            world.put_contract(contract, "CreatedByContract")
        if value > 0:
            world.transfer(frame.address, address, value)
        limit = frame.left
        frame.outcome.used += limit
        internal = self._internal(frame, address, value, code, "create")
        inner = Frame(
            self,
            world,
            code,
            address=address,
            caller=frame.address,
            value=value,
            data=b"",
            limit=limit,
            hash=internal.hash,
            depth=frame.depth + 1,
        )
        result = inner.outcome
        if exists:
            result.failure = VmFailure(f"Trying to create a contract with existing contract address: 0x{address.hex()}")
        elif code:
            self.run(inner)
        keep_code(inner, "No energy to save just created contract code")
        frame.outcome.merge(result)
        if result.succeeded:
            frame.world.merge(world)
            frame.stack.append(int.from_bytes(address))
        else:
            internal.rejected = True
            result.reject()
            frame.stack.append(0)
            if result.failure is not None:
                return
            frame.buffer = result.returned
        frame.outcome.used -= limit - result.used

    def destroy(self, frame: Frame, heir: bytes) -> None:
        """Carry out SELFDESTRUCT: everything that the contract owns goes to the heir."""
        world, owner = frame.world, frame.address
        amount_sun = world.balance(owner)
        self._internal(frame, heir, amount_sun, b"", "suicide")
        if heir == owner:
            # java-tron gives it to the black hole, which mainnet has emptied for good.
            world.state.change(owner).balance_sun = 0
            world.state.burn(amount_sun)
        else:
            world.activate(heir)
            if amount_sun:
                world.transfer(owner, heir, amount_sun)
        frame.outcome.destroyed.add(owner)

    def _internal(self, frame: Frame, to: bytes, value: int, data: bytes, note: str) -> Internal:
        self._nonce += 1
        receiver = b"" if note == "create" else to
        identity = frame.hash + receiver + data + value.to_bytes(8) + self._nonce.to_bytes(8)
        internal = Internal(keccak256(identity), frame.address, to, value, note)
        frame.outcome.internals.append(internal)
        return internal


def created_address(seed: bytes) -> bytes:
    """The address of a new contract: the end of a hash, as with keys."""
    return b"\x41" + keccak256(seed)[12:]


def keep_code(frame: Frame, hint: str) -> None:
    """Store what a constructor returned as the contract's code, for 200 energy a byte."""
    outcome = frame.outcome
    if outcome.reverted:
        return
    code = outcome.returned
    if code[:1] == b"\xef" and outcome.failure is None:
        outcome.failure = InvalidCode("invalid code: must not begin with 0xef")
    needed, left = len(code) * CREATE_BYTE_ENERGY, frame.left
    if needed <= left:
        outcome.used += needed
        frame.world.put_code(frame.address, code)
    elif outcome.failure is None:
        outcome.failure = OutOfEnergy(
            f"Not enough energy for '{hint}' executing: needEnergy[{needed}], leftEnergy[{left}];"
        )
