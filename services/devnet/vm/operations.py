"""What each opcode takes from the stack, gives to it, costs and does.

Costs: java-tron's `EnergyCost`; effects: `OperationActions`; which opcodes there are: `OperationRegistry` with the
proposals that mainnet has adopted up to Cancun. Words are Python ints from 0 to 2**256 - 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from services.devnet.vm.failures import (
    BadJump,
    IllegalOperation,
    NotCarriedOut,
    OutOfEnergy,
    OutOfMemory,
    ReturnDataOutOfBounds,
    StackTooLarge,
    StackTooSmall,
    StaticViolation,
    TransferFailed,
    VmFailure,
)
from services.protocol.hashes import keccak256

if TYPE_CHECKING:
    from services.devnet.vm.machine import Frame

WORD = (1 << 256) - 1
"""The largest word."""

MAX_STACK = 1_024
"""Most words on a stack."""

_SIGN = 1 << 255
_MODULUS = 1 << 256
_ADDRESS = (1 << 160) - 1
_INT_MAX, _LONG_MAX = (1 << 31) - 1, (1 << 63) - 1
_MEMORY_LIMIT = 3 * 1024 * 1024
_MIN_TOKEN_ID = 1_000_000

_SSTORE_SET, _SSTORE_RESET = 20_000, 5_000
_NEW_ACCOUNT, _VALUE_CALL, _CALL, _CREATE = 25_000, 9_000, 40, 32_000

Run = Callable[["Frame"], None]
Price = Callable[["Frame"], int]


@dataclass(frozen=True, slots=True)
class Operation:
    """One opcode."""

    code: int
    """Its byte."""

    name: str
    """Its name, as failures show it."""

    takes: int
    """Words that it takes from the stack."""

    gives: int
    """Words that it leaves there."""

    cost: int
    """Its energy, when it is always the same."""

    price: Price | None
    """Its energy, when it is not; asked before it runs, while its words are on the stack."""

    run: Run
    """What it does; the program counter stands behind it already."""

    is_call: bool = False
    """Whether its energy includes what is handed on to another contract."""

    most: int = MAX_STACK
    """Most words that may lie on the stack before it, so that there are not too many after it."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one contract asks of another."""

    to: int
    """Whose code, as the word on the stack."""

    value: int
    """TRX in sun, or TRC-10 tokens."""

    token_id: int | None
    """Which token, for CALLTOKEN."""

    data: bytes
    """The call data."""

    out_offset: int
    """Where in memory the answer goes."""

    out_size: int
    """How much of it at most."""


@dataclass(frozen=True, slots=True)
class Program:
    """Code, taken apart once."""

    code: bytes
    """The bytes."""

    operations: tuple[Operation | None, ...]
    """The operation at each byte; None where there is no such opcode."""

    jumps: frozenset[int]
    """Where jumps may go."""

    pushed: dict[int, int]
    """The word that each PUSH pushes, by where its bytes begin."""


@lru_cache(maxsize=256)
def program_of(code: bytes) -> Program:
    """Take code apart; what was seen lately is remembered."""
    jumps, pushed, at = set(), {}, 0
    while at < len(code):
        byte = code[at]
        at += 1
        if byte == 0x5B:
            jumps.add(at - 1)
        elif 0x60 <= byte <= 0x7F:
            size = byte - 0x5F
            pushed[at] = int.from_bytes(_piece(code, at, size))
            at += size
    return Program(code, tuple(OPERATIONS[byte] for byte in code), frozenset(jumps), pushed)


# --- memory ---


def needed(offset: int, size: int) -> int:
    """The end of a piece of memory; 0 for an empty one, wherever it is."""
    return offset + size if size else 0


def memory_cost(frame: "Frame", end: int, copied: int = 0) -> int:
    """Energy for memory up to `end` and for copying so many bytes.

    Raises:
        OutOfMemory: more than 3 MiB.
    """
    if end > _MEMORY_LIMIT:
        raise OutOfMemory(f"Out of Memory when '{frame.operation.name}' operation executing")
    energy, old = 0, len(frame.memory) // 32
    words = (end + 31) // 32
    if words > old:
        energy = (3 * words + words * words // 512) - (3 * old + old * old // 512)
    return energy + 3 * ((copied + 31) // 32)


def extend(frame: "Frame", end: int) -> None:
    """Make memory reach up to `end`, in whole words."""
    missing = end - len(frame.memory)
    if missing > 0:
        frame.memory.extend(bytes((missing + 31) // 32 * 32))


def read(frame: "Frame", offset: int, size: int) -> bytes:
    """A piece of memory, which grows for it."""
    if size <= 0:
        return b""
    extend(frame, offset + size)
    return bytes(frame.memory[offset : offset + size])


def write(frame: "Frame", offset: int, data: bytes) -> None:
    """Write into memory, which grows for it."""
    if data:
        extend(frame, offset + len(data))
        frame.memory[offset : offset + len(data)] = data


def _piece(data: bytes, offset: int, size: int) -> bytes:
    """A piece of data with zeros behind its end."""
    return data[offset : offset + size].ljust(size, b"\0") if size else b""


# --- arithmetic and bits ---


def _signed(word: int) -> int:
    return word - _MODULUS if word & _SIGN else word


def _binary(function: Callable[[int, int], int]) -> Run:
    def run(frame: "Frame") -> None:
        stack = frame.stack
        first = stack.pop()
        stack[-1] = function(first, stack[-1])

    return run


def _add(frame: "Frame") -> None:
    stack = frame.stack
    stack[-1] = (stack.pop() + stack[-1]) & WORD


def _sub(frame: "Frame") -> None:
    stack = frame.stack
    stack[-1] = (stack.pop() - stack[-1]) & WORD


def _and(frame: "Frame") -> None:
    stack = frame.stack
    stack[-1] = stack.pop() & stack[-1]


def _sdiv(first: int, second: int) -> int:
    one, two = _signed(first), _signed(second)
    if two == 0:
        return 0
    quotient = abs(one) // abs(two)
    return (quotient if (one < 0) == (two < 0) else -quotient) & WORD


def _smod(first: int, second: int) -> int:
    one, two = _signed(first), _signed(second)
    if two == 0:
        return 0
    rest = abs(one) % abs(two)
    return (-rest if one < 0 else rest) & WORD


def _addmod(frame: "Frame") -> None:
    stack = frame.stack
    one, two, modulus = stack.pop(), stack.pop(), stack[-1]
    stack[-1] = (one + two) % modulus if modulus else 0


def _mulmod(frame: "Frame") -> None:
    stack = frame.stack
    one, two, modulus = stack.pop(), stack.pop(), stack[-1]
    stack[-1] = one * two % modulus if modulus else 0


def _exp_price(frame: "Frame") -> int:
    return 10 + 10 * ((frame.stack[-2].bit_length() + 7) // 8)


def _signextend(frame: "Frame") -> None:
    stack = frame.stack
    size = stack.pop()
    if size < 32:
        bit = size * 8 + 7
        word = stack[-1]
        low = (1 << bit) - 1
        stack[-1] = (word | (WORD ^ low)) if word >> bit & 1 else word & low


def _iszero(frame: "Frame") -> None:
    frame.stack[-1] = 0 if frame.stack[-1] else 1


def _not(frame: "Frame") -> None:
    frame.stack[-1] ^= WORD


def _byte(first: int, second: int) -> int:
    return second >> 8 * (31 - first) & 0xFF if first < 32 else 0


def _shl(first: int, second: int) -> int:
    return second << first & WORD if first < 256 else 0


def _shr(first: int, second: int) -> int:
    return second >> first if first < 256 else 0


def _sar(first: int, second: int) -> int:
    return _signed(second) >> min(first, 256) & WORD


def _sha3_price(frame: "Frame") -> int:
    offset, size = frame.stack[-1], frame.stack[-2]
    return 30 + memory_cost(frame, needed(offset, size)) + (min(size, _LONG_MAX) + 31) // 32 * 6


def _sha3(frame: "Frame") -> None:
    stack = frame.stack
    offset = stack.pop()
    stack[-1] = int.from_bytes(keccak256(read(frame, offset, stack[-1])))


# --- what is known about the call ---


def _push(value: Callable[["Frame"], int]) -> Run:
    def run(frame: "Frame") -> None:
        frame.stack.append(value(frame))

    return run


def _number(address: bytes) -> int:
    """An address as contracts see it, in 20 bytes."""
    return int.from_bytes(address[1:])


def address_of(word: int) -> bytes:
    """The address that a word means: its last 20 bytes."""
    return b"\x41" + (word & _ADDRESS).to_bytes(20)


def _balance(frame: "Frame") -> None:
    frame.stack[-1] = frame.world.balance(address_of(frame.stack[-1]))


def _calldataload(frame: "Frame") -> None:
    offset = frame.stack[-1]
    data = frame.data
    frame.stack[-1] = int.from_bytes(_piece(data, offset, 32)) if offset < len(data) else 0


def _copy_price(frame: "Frame") -> int:
    stack = frame.stack
    return memory_cost(frame, needed(stack[-1], stack[-3]), stack[-3])


def _copy(source: Callable[["Frame"], bytes]) -> Run:
    def run(frame: "Frame") -> None:
        stack = frame.stack
        to, offset, size = stack.pop(), stack.pop(), stack.pop()
        write(frame, to, _piece(source(frame), min(offset, _INT_MAX), size))

    return run


def _returndatacopy(frame: "Frame") -> None:
    stack = frame.stack
    to, offset, size = stack.pop(), stack.pop(), stack.pop()
    if min(offset, _INT_MAX) + min(size, _INT_MAX) > len(frame.buffer):
        raise ReturnDataOutOfBounds(
            f"Illegal RETURNDATACOPY arguments: offset ({offset:064x}) + size ({size:064x}) > RETURNDATASIZE "
            f"({len(frame.buffer)})"
        )
    write(frame, to, frame.buffer[offset : offset + size])


def _extcodesize(frame: "Frame") -> None:
    frame.stack[-1] = len(frame.world.code(address_of(frame.stack[-1])))


def _extcodecopy_price(frame: "Frame") -> int:
    stack = frame.stack
    return 20 + memory_cost(frame, needed(stack[-2], stack[-4]), stack[-4])


def _extcodecopy(frame: "Frame") -> None:
    stack = frame.stack
    code = frame.world.code(address_of(stack.pop()))
    to, offset, size = stack.pop(), stack.pop(), stack.pop()
    write(frame, to, _piece(code, min(offset, _INT_MAX), size))


def _extcodehash(frame: "Frame") -> None:
    address = address_of(frame.stack[-1])
    known = frame.world.exists(address)
    frame.stack[-1] = int.from_bytes(keccak256(frame.world.code(address))) if known else 0


def _blockhash(frame: "Frame") -> None:
    wanted, number = min(frame.stack[-1], _INT_MAX), frame.machine.block.number
    found = None
    if max(256, number) - 256 <= wanted < number:
        found = frame.machine.block.id_of(wanted)
    frame.stack[-1] = int.from_bytes(found) if found else 0


def _tokenbalance(frame: "Frame") -> None:
    token_id = _signed(frame.stack.pop())
    if not -_LONG_MAX - 1 <= token_id <= _LONG_MAX:
        raise TransferFailed("validateForSmartContract failure:not valid token id")
    if token_id <= _MIN_TOKEN_ID:
        raise VmFailure("validateForSmartContract failure:not valid token id")
    # There are no TRC-10 tokens on the devnet.
    frame.stack[-1] = 0


def _iscontract(frame: "Frame") -> None:
    frame.stack[-1] = 1 if frame.world.contract(address_of(frame.stack[-1])) else 0


# --- memory, storage, flow ---


def _mload_price(frame: "Frame") -> int:
    end = frame.stack[-1] + 32
    # Most of the time memory is there already.
    return 1 if end <= len(frame.memory) else 1 + memory_cost(frame, end)


def _mload(frame: "Frame") -> None:
    offset = frame.stack[-1]
    extend(frame, offset + 32)
    frame.stack[-1] = int.from_bytes(frame.memory[offset : offset + 32])


def _mstore(frame: "Frame") -> None:
    offset, word = frame.stack.pop(), frame.stack.pop()
    extend(frame, offset + 32)
    frame.memory[offset : offset + 32] = word.to_bytes(32)


def _mstore8_price(frame: "Frame") -> int:
    return 1 + memory_cost(frame, frame.stack[-1] + 1)


def _mstore8(frame: "Frame") -> None:
    offset, word = frame.stack.pop(), frame.stack.pop()
    write(frame, offset, bytes([word & 0xFF]))


def _mcopy_price(frame: "Frame") -> int:
    to, offset, size = frame.stack[-1], frame.stack[-2], frame.stack[-3]
    return 3 + memory_cost(frame, needed(max(to, offset), size), size)


def _mcopy(frame: "Frame") -> None:
    stack = frame.stack
    to, offset, size = stack.pop(), stack.pop(), stack.pop()
    write(frame, to, read(frame, offset, size))


def _sload(frame: "Frame") -> None:
    frame.stack[-1] = frame.world.load(frame.address, frame.stack[-1]) or 0


def _sstore_price(frame: "Frame") -> int:
    if frame.world.load(frame.address, frame.stack[-1]) is None and frame.stack[-2]:
        return _SSTORE_SET
    return _SSTORE_RESET


def _sstore(frame: "Frame") -> None:
    _must_not_be_static(frame)
    key, value = frame.stack.pop(), frame.stack.pop()
    frame.world.save(frame.address, key, value)


def _tload(frame: "Frame") -> None:
    frame.stack[-1] = frame.world.load_transient(frame.address, frame.stack[-1])


def _tstore(frame: "Frame") -> None:
    _must_not_be_static(frame)
    key, value = frame.stack.pop(), frame.stack.pop()
    frame.world.save_transient(frame.address, key, value)


def _must_not_be_static(frame: "Frame") -> None:
    if frame.static:
        raise StaticViolation


def _jump(frame: "Frame") -> None:
    _jump_to(frame, frame.stack.pop())


def _jumpi(frame: "Frame") -> None:
    stack = frame.stack
    to = stack.pop()
    if stack.pop():
        _jump_to(frame, to)


def _jump_to(frame: "Frame", to: int) -> None:
    if to not in frame.program.jumps:
        raise BadJump(f"Operation with pc isn't 'JUMPDEST': PC[{to if to <= _INT_MAX else -1}];")
    frame.pc = to


def _pop(frame: "Frame") -> None:
    frame.stack.pop()


def _nothing(_frame: "Frame") -> None:
    pass


def _pushed(size: int) -> Run:
    def run(frame: "Frame") -> None:
        at = frame.pc
        frame.pc = at + size
        frame.stack.append(frame.program.pushed[at])

    return run


def _dup(depth: int) -> Run:
    def run(frame: "Frame") -> None:
        frame.stack.append(frame.stack[-depth])

    return run


def _swap(depth: int) -> Run:
    def run(frame: "Frame") -> None:
        stack = frame.stack
        stack[-1], stack[-depth] = stack[-depth], stack[-1]

    return run


def _log_price(frame: "Frame") -> int:
    offset, size = frame.stack[-1], frame.stack[-2]
    if size * 8 > frame.left:
        raise OutOfEnergy(
            f"Not enough energy for '{frame.operation.name}' operation executing: opEnergy[{size * 8}], "
            f"programEnergy[{frame.left}]"
        )
    topics = frame.operation.code - 0xA0
    return 375 + 375 * topics + 8 * size + memory_cost(frame, needed(offset, size))


def _log(topics: int) -> Run:
    def run(frame: "Frame") -> None:
        _must_not_be_static(frame)
        stack = frame.stack
        offset, size = stack.pop(), stack.pop()
        words = tuple(stack.pop().to_bytes(32) for _ in range(topics))
        frame.outcome.logs.append((frame.address[1:], words, read(frame, offset, size)))

    return run


def _stop(frame: "Frame") -> None:
    frame.stopped = True


def _return_price(frame: "Frame") -> int:
    return memory_cost(frame, needed(frame.stack[-1], frame.stack[-2]))


def _return(frame: "Frame") -> None:
    offset, size = frame.stack.pop(), frame.stack.pop()
    frame.outcome.returned = read(frame, offset, size)
    frame.stopped = True


def _revert(frame: "Frame") -> None:
    _return(frame)
    frame.outcome.reverted = True


def _selfdestruct_price(frame: "Frame") -> int:
    return 0 if frame.world.exists(address_of(frame.stack[-1])) else _NEW_ACCOUNT


def _selfdestruct(frame: "Frame") -> None:
    _must_not_be_static(frame)
    frame.machine.destroy(frame, address_of(frame.stack.pop()))
    frame.stopped = True


# --- other contracts ---


def _create_price(frame: "Frame") -> int:
    return _CREATE + memory_cost(frame, needed(frame.stack[-2], frame.stack[-3]))


def _create2_price(frame: "Frame") -> int:
    return _create_price(frame) + (min(frame.stack[-3], _INT_MAX) + 31) // 32 * 6


def _create(frame: "Frame") -> None:
    _must_not_be_static(frame)
    stack = frame.stack
    value, offset, size = stack.pop(), stack.pop(), stack.pop()
    frame.machine.create(frame, value, read(frame, offset, size), None)


def _create2(frame: "Frame") -> None:
    _must_not_be_static(frame)
    stack = frame.stack
    value, offset, size, salt = stack.pop(), stack.pop(), stack.pop(), stack.pop()
    frame.machine.create(frame, value, read(frame, offset, size), salt)


def _call_price(first_memory_word: int, *, has_value: bool = True, may_activate: bool = True) -> Price:
    """The energy of a call and of what it hands on; penalty included, since that is settled before handing on."""

    def price(frame: "Frame") -> int:
        stack = frame.stack
        energy = _CALL
        if has_value and stack[-3]:
            energy += _VALUE_CALL
            if may_activate and not frame.world.exists(address_of(stack[-2])):
                energy += _NEW_ACCOUNT
        at = first_memory_word
        asked = max(needed(stack[-at], stack[-at - 1]), needed(stack[-at - 2], stack[-at - 3]))
        energy += memory_cost(frame, asked)
        frame.call_penalty = max(0, energy * frame.factor // 10_000 - energy)
        energy += frame.call_penalty
        if energy > frame.left:
            raise OutOfEnergy(
                f"Not enough energy for '{frame.operation.name}' operation executing: opEnergy[{energy}], "
                f"programEnergy[{frame.left}]"
            )
        frame.handed_on = min(stack[-1], frame.left - energy)
        return energy + frame.handed_on

    return price


def _call(*, has_value: bool, has_token: bool = False) -> Run:
    def run(frame: "Frame") -> None:
        stack = frame.stack
        stack.pop()
        to = stack.pop()
        value = stack.pop() if has_value else 0
        # CALLCODE changes nothing but the caller itself, so it may have a value inside STATICCALL.
        if value and frame.operation.code != 0xF2:
            _must_not_be_static(frame)
        if value:
            frame.handed_on += 2_300
        token_id = stack.pop() if has_token else None
        in_offset, in_size, out_offset, out_size = stack.pop(), stack.pop(), stack.pop(), stack.pop()
        if out_size:
            extend(frame, out_offset + out_size)
        frame.machine.call(frame, Message(to, value, token_id, read(frame, in_offset, in_size), out_offset, out_size))

    return run


def _missing(name: str) -> Run:
    def run(_frame: "Frame") -> None:
        raise NotCarriedOut(f"this devnet does not carry out the opcode {name}")

    return run


# --- the table ---


def _table() -> list[Operation | None]:
    table: list[Operation | None] = [None] * 256

    def add(
        code: int, name: str, words: tuple[int, int], cost: int | Price, run: Run, *, is_call: bool = False
    ) -> None:
        price = None if isinstance(cost, int) else cost
        fixed = cost if isinstance(cost, int) else 0
        table[code] = Operation(code, name, *words, fixed, price, run, is_call, MAX_STACK + words[0] - words[1])

    add(0x00, "STOP", (0, 0), 0, _stop)
    add(0x01, "ADD", (2, 1), 3, _add)
    add(0x02, "MUL", (2, 1), 5, _binary(lambda one, two: one * two & WORD))
    add(0x03, "SUB", (2, 1), 3, _sub)
    add(0x04, "DIV", (2, 1), 5, _binary(lambda one, two: one // two if two else 0))
    add(0x05, "SDIV", (2, 1), 5, _binary(_sdiv))
    add(0x06, "MOD", (2, 1), 5, _binary(lambda one, two: one % two if two else 0))
    add(0x07, "SMOD", (2, 1), 5, _binary(_smod))
    add(0x08, "ADDMOD", (3, 1), 8, _addmod)
    add(0x09, "MULMOD", (3, 1), 8, _mulmod)
    add(0x0A, "EXP", (2, 1), _exp_price, _binary(lambda one, two: pow(one, two, _MODULUS)))
    add(0x0B, "SIGNEXTEND", (2, 1), 5, _signextend)
    add(0x10, "LT", (2, 1), 3, _binary(lambda one, two: 1 if one < two else 0))
    add(0x11, "GT", (2, 1), 3, _binary(lambda one, two: 1 if one > two else 0))
    add(0x12, "SLT", (2, 1), 3, _binary(lambda one, two: 1 if _signed(one) < _signed(two) else 0))
    add(0x13, "SGT", (2, 1), 3, _binary(lambda one, two: 1 if _signed(one) > _signed(two) else 0))
    add(0x14, "EQ", (2, 1), 3, _binary(lambda one, two: 1 if one == two else 0))
    add(0x15, "ISZERO", (1, 1), 3, _iszero)
    add(0x16, "AND", (2, 1), 3, _and)
    add(0x17, "OR", (2, 1), 3, _binary(lambda one, two: one | two))
    add(0x18, "XOR", (2, 1), 3, _binary(lambda one, two: one ^ two))
    add(0x19, "NOT", (1, 1), 3, _not)
    add(0x1A, "BYTE", (2, 1), 3, _binary(_byte))
    add(0x1B, "SHL", (2, 1), 3, _binary(_shl))
    add(0x1C, "SHR", (2, 1), 3, _binary(_shr))
    add(0x1D, "SAR", (2, 1), 3, _binary(_sar))
    add(0x20, "SHA3", (2, 1), _sha3_price, _sha3)
    add(0x30, "ADDRESS", (0, 1), 2, _push(lambda frame: _number(frame.address)))
    add(0x31, "BALANCE", (1, 1), 20, _balance)
    add(0x32, "ORIGIN", (0, 1), 2, _push(lambda frame: _number(frame.machine.origin)))
    add(0x33, "CALLER", (0, 1), 2, _push(lambda frame: _number(frame.caller)))
    add(0x34, "CALLVALUE", (0, 1), 2, _push(lambda frame: frame.value))
    add(0x35, "CALLDATALOAD", (1, 1), 3, _calldataload)
    add(0x36, "CALLDATASIZE", (0, 1), 2, _push(lambda frame: len(frame.data)))
    add(0x37, "CALLDATACOPY", (3, 0), _copy_price, _copy(lambda frame: frame.data))
    add(0x38, "CODESIZE", (0, 1), 2, _push(lambda frame: len(frame.program.code)))
    add(0x39, "CODECOPY", (3, 0), _copy_price, _copy(lambda frame: frame.program.code))
    add(0x3A, "GASPRICE", (0, 1), 2, _push(lambda _frame: 0))
    add(0x3B, "EXTCODESIZE", (1, 1), 20, _extcodesize)
    add(0x3C, "EXTCODECOPY", (4, 0), _extcodecopy_price, _extcodecopy)
    add(0x3D, "RETURNDATASIZE", (0, 1), 2, _push(lambda frame: len(frame.buffer)))
    add(0x3E, "RETURNDATACOPY", (3, 0), _copy_price, _returndatacopy)
    add(0x3F, "EXTCODEHASH", (1, 1), 400, _extcodehash)
    add(0x40, "BLOCKHASH", (1, 1), 20, _blockhash)
    add(0x41, "COINBASE", (0, 1), 2, _push(lambda frame: int.from_bytes(frame.machine.block.witness)))
    add(0x42, "TIMESTAMP", (0, 1), 2, _push(lambda frame: frame.machine.block.time_ms // 1000))
    add(0x43, "NUMBER", (0, 1), 2, _push(lambda frame: frame.machine.block.number))
    add(0x44, "DIFFICULTY", (0, 1), 2, _push(lambda _frame: 0))
    add(0x45, "GASLIMIT", (0, 1), 2, _push(lambda _frame: 0))
    add(0x46, "CHAINID", (0, 1), 2, _push(lambda frame: frame.machine.block.chain_id))
    add(0x47, "SELFBALANCE", (0, 1), 5, _push(lambda frame: frame.world.balance(frame.address)))
    add(0x48, "BASEFEE", (0, 1), 2, _push(lambda frame: frame.machine.block.energy_price_sun))
    add(0x50, "POP", (1, 0), 2, _pop)
    add(0x51, "MLOAD", (1, 1), _mload_price, _mload)
    add(0x52, "MSTORE", (2, 0), _mload_price, _mstore)
    add(0x53, "MSTORE8", (2, 0), _mstore8_price, _mstore8)
    add(0x54, "SLOAD", (1, 1), 50, _sload)
    add(0x55, "SSTORE", (2, 0), _sstore_price, _sstore)
    add(0x56, "JUMP", (1, 0), 8, _jump)
    add(0x57, "JUMPI", (2, 0), 10, _jumpi)
    add(0x58, "PC", (0, 1), 2, _push(lambda frame: frame.pc - 1))
    add(0x59, "MSIZE", (0, 1), 2, _push(lambda frame: len(frame.memory)))
    add(0x5A, "GAS", (0, 1), 2, _push(lambda frame: frame.left))
    add(0x5B, "JUMPDEST", (0, 0), 1, _nothing)
    add(0x5C, "TLOAD", (1, 1), 100, _tload)
    add(0x5D, "TSTORE", (2, 0), 100, _tstore)
    add(0x5E, "MCOPY", (3, 0), _mcopy_price, _mcopy)
    add(0x5F, "PUSH0", (0, 1), 2, _push(lambda _frame: 0))
    for size in range(1, 33):
        add(0x5F + size, f"PUSH{size}", (0, 1), 3, _pushed(size))
    for depth in range(1, 17):
        add(0x7F + depth, f"DUP{depth}", (depth, depth + 1), 3, _dup(depth))
        add(0x8F + depth, f"SWAP{depth}", (depth + 1, depth + 1), 3, _swap(depth + 1))
    for topics in range(5):
        add(0xA0 + topics, f"LOG{topics}", (2 + topics, 0), _log_price, _log(topics))
    add(0xD1, "TOKENBALANCE", (2, 1), 20, _tokenbalance)
    add(0xD2, "CALLTOKENVALUE", (0, 1), 2, _push(lambda frame: frame.token_value))
    add(0xD3, "CALLTOKENID", (0, 1), 2, _push(lambda frame: frame.token_id))
    add(0xD4, "ISCONTRACT", (1, 1), 20, _iscontract)
    for code, name, takes in _STAKE_OPERATIONS:
        add(code, name, (takes, 1), 0, _missing(name))
    add(0xF0, "CREATE", (3, 1), _create_price, _create)
    add(0xF5, "CREATE2", (4, 1), _create2_price, _create2)
    add(0xF1, "CALL", (7, 1), _call_price(4), _call(has_value=True), is_call=True)
    add(0xF2, "CALLCODE", (7, 1), _call_price(4, may_activate=False), _call(has_value=True), is_call=True)
    add(0xF4, "DELEGATECALL", (6, 1), _call_price(3, has_value=False), _call(has_value=False), is_call=True)
    add(0xFA, "STATICCALL", (6, 1), _call_price(3, has_value=False), _call(has_value=False), is_call=True)
    add(0xD0, "CALLTOKEN", (8, 1), _call_price(5), _call(has_value=True, has_token=True), is_call=True)
    add(0xF3, "RETURN", (2, 0), _return_price, _return)
    add(0xFD, "REVERT", (2, 0), _return_price, _revert)
    add(0xFF, "SUICIDE", (1, 0), _selfdestruct_price, _selfdestruct)
    return table


_STAKE_OPERATIONS = (
    (0xD5, "FREEZE", 3),
    (0xD6, "UNFREEZE", 2),
    (0xD7, "FREEZEEXPIRETIME", 2),
    (0xD8, "VOTEWITNESS", 4),
    (0xD9, "WITHDRAWREWARD", 0),
    (0xDA, "FREEZEBALANCEV2", 2),
    (0xDB, "UNFREEZEBALANCEV2", 2),
    (0xDC, "CANCELALLUNFREEZEV2", 0),
    (0xDD, "WITHDRAWEXPIREUNFREEZE", 0),
    (0xDE, "DELEGATERESOURCE", 3),
    (0xDF, "UNDELEGATERESOURCE", 3),
)

OPERATIONS = _table()
"""The operation of each byte."""

STOP = Operation(0x00, "STOP", 0, 0, 0, None, _stop)
"""What stands behind the end of all code."""


def stack_too_small(wanted: int, found: int) -> StackTooSmall:
    """The failure of an operation that finds too few words."""
    return StackTooSmall(f"Expected stack size {wanted} but actual {found};")


def stack_too_large() -> StackTooLarge:
    """The failure of an operation that leaves too many words."""
    return StackTooLarge(f"Expected: overflow {MAX_STACK} elements stack limit")


def illegal(byte: int) -> IllegalOperation:
    """The failure of a byte that is no opcode."""
    return IllegalOperation(f"Invalid operation code: opCode[{byte:02x}];")
