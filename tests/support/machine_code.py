"""What depends on data in the instructions of an object file: a taint analysis of disassembled x86-64 code.

Arguments, constants, and what is computed of them are public. Whatever is loaded from memory is data, but for
arguments and what a function itself put onto its stack; so is whatever comes out of a vector or a mask. No
conditional jump, address, divisor, called function or count of a repeated instruction may depend on data.

Not looked at: whether a function that is handed an address on the stack writes beyond what it was handed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import llvmlite.binding as llvm
from iced_x86 import (
    Decoder,
    FlowControl,
    Formatter,
    FormatterSyntax,
    Instruction,
    InstructionInfo,
    InstructionInfoFactory,
    MemorySizeExt,
    Mnemonic,
    OpAccess,
    Register,
    RegisterExt,
    UsedMemory,
)
from msgspec import Struct

READ = {OpAccess.READ, OpAccess.COND_READ, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
WRITTEN = {OpAccess.WRITE, OpAccess.COND_WRITE, OpAccess.READ_WRITE, OpAccess.READ_COND_WRITE}
POINTERS = (Register.RSP, Register.RBP)
KEPT = {Register.RBX, *POINTERS, Register.R12, Register.R13, Register.R14, Register.R15}
"""Registers that a call keeps (System V ABI, x86-64)."""
ENDS = {
    FlowControl.RETURN,
    FlowControl.INDIRECT_BRANCH,
    FlowControl.UNCONDITIONAL_BRANCH,
    FlowControl.EXCEPTION,
}
FLAGS = "flags"

_info = InstructionInfoFactory()
_formatter = Formatter(FormatterSyntax.INTEL)
_Place = tuple[object, int]
"""An address on the stack: a frame, begun by a function or an alignment, and bytes from there."""


class State(Struct, frozen=True):
    """Before an instruction: public registers, flags and bytes of the stack, and where pointers point."""

    public: frozenset[object]
    pointers: Mapping[int, _Place | None]

    def met(self, other: State | None) -> State:
        """What holds on both ways."""
        if other is None:
            return self
        same = {one: at if at == other.pointers[one] else None for one, at in self.pointers.items()}
        return State(self.public & other.public, same)


def dependent(code: bytes) -> list[str]:
    """Instructions of an object file in which something that must be public depends on data."""
    listed = _listed(code)
    seen = dict[int, State]()
    broken = set[int]()
    for one in listed.values():
        if one.ip not in seen and one.mnemonic not in (Mnemonic.NOP, Mnemonic.INT3):
            general = range(Register.RAX, Register.R15 + 1)
            entry = State(frozenset({FLAGS, *general}), {Register.RSP: (one.ip, 0), Register.RBP: None})
            _follow(listed, one.ip, entry, seen, broken)
    return [_formatter.format(listed[at]) for at in sorted(broken)]


def conditional_jumps(code: bytes) -> int:
    """How many there are in an object file."""
    return sum(one.flow_control == FlowControl.CONDITIONAL_BRANCH for one in _listed(code).values())


def _listed(code: bytes) -> Mapping[int, Instruction]:
    sections = llvm.ObjectFileRef.from_data(code).sections()
    (text,) = (one.data() for one in sections if one.is_text() and one.size())
    return {one.ip: one for one in Decoder(64, text)}


def _follow(
    listed: Mapping[int, Instruction], at: int, entry: State, seen: dict[int, State], broken: set[int]
) -> None:
    """All ways from an instruction, until nothing new is learnt."""
    waiting = [(at, entry)]
    while waiting:
        at, state = waiting.pop()
        met = state.met(seen.get(at))
        if seen.get(at) != met:
            seen[at] = met
            one = listed[at]
            info = _info.info(listed[at])
            if _breaks(one, info, met):
                broken.add(at)
            waiting += [(following, _after(one, info, met)) for following in _following(one)]


def _following(one: Instruction) -> Iterator[int]:
    if one.flow_control in (FlowControl.CONDITIONAL_BRANCH, FlowControl.UNCONDITIONAL_BRANCH):
        yield one.near_branch_target
    if one.flow_control not in ENDS:
        yield one.next_ip


def _place(base: int, index: int, displacement: int, state: State) -> _Place | None:
    """Where on the stack, if it is known."""
    at = state.pointers.get(base)
    return (at[0], at[1] + _signed(displacement)) if at is not None and not index else None


def _signed(word: int) -> int:
    return word - (word >> 63 << 64)


def _accessed(used: UsedMemory, state: State) -> _Place | None:
    return _place(used.base, used.index, used.displacement, state)


def _slots(used: UsedMemory, place: _Place) -> set[object]:
    """The bytes that an access takes, as elements of `State.public`."""
    return {(place[0], place[1] + at) for at in range(max(MemorySizeExt.size(used.memory_size), 1))}


def _loads_data(used: UsedMemory, state: State) -> bool:
    place = _accessed(used, state)
    if place is None:
        return True
    arrived = place[1] >= 8 and not isinstance(place[0], tuple)  # behind the return address
    return not arrived and not _slots(used, place) <= state.public


def _of_data(one: Instruction, info: InstructionInfo, state: State) -> bool:
    """Does what an instruction computes depend on data?"""
    registers = (
        RegisterExt.full_register(used.register) for used in info.used_registers() if used.access in READ
    )
    return (
        any(register not in state.public for register in registers)
        or any(_loads_data(used, state) for used in info.used_memory() if used.access in READ)
        or bool(one.rflags_read and FLAGS not in state.public)
    )


def _breaks(one: Instruction, info: InstructionInfo, state: State) -> bool:
    for used in info.used_memory():
        for register in (used.base, used.index):
            if register not in (Register.NONE, Register.RIP) and register not in state.public:
                return True
    decides = one.flow_control in (
        FlowControl.CONDITIONAL_BRANCH, FlowControl.INDIRECT_BRANCH, FlowControl.INDIRECT_CALL
    ) or one.mnemonic in (Mnemonic.DIV, Mnemonic.IDIV)  # fmt: skip
    repeats = (one.has_rep_prefix or one.has_repne_prefix) and Register.RCX not in state.public
    return repeats or (decides and _of_data(one, info, state))


def _after(one: Instruction, info: InstructionInfo, state: State) -> State:
    data = _of_data(one, info, state)
    public = set(state.public)
    written: set[object] = {FLAGS} if one.rflags_modified else set()
    for used in info.used_registers():
        full = RegisterExt.full_register(used.register)
        if used.access in WRITTEN and full not in POINTERS[:1]:
            whole = RegisterExt.size(used.register) >= 4 or full in public
            written |= {full} if whole else set()
    for memory in info.used_memory():
        place = _accessed(memory, state)
        if memory.access in WRITTEN and place is not None:
            written |= _slots(memory, place)
    vectors = {one for one in written if isinstance(one, int) and not RegisterExt.is_gpr64(one)}
    public = public - written if data else public | written - vectors
    if one.flow_control in (FlowControl.CALL, FlowControl.INDIRECT_CALL):
        public = {kept for kept in public if isinstance(kept, tuple) or kept in KEPT}
    return State(frozenset(public), _pointers(one, info, state))


def _pointers(one: Instruction, info: InstructionInfo, state: State) -> Mapping[int, _Place | None]:
    """Where the stack pointer, and one that frames are kept in, point afterwards."""
    after = dict(state.pointers)
    into = one.op0_register if one.op_count else Register.NONE
    changes = {RegisterExt.full_register(u.register) for u in info.used_registers() if u.access in WRITTEN}
    if one.stack_pointer_increment and one.flow_control == FlowControl.NEXT:
        frame, at = after[Register.RSP] or (None, 0)
        after[Register.RSP] = (frame, at + one.stack_pointer_increment)
    elif into in after and into in changes:
        after[into] = _moved(one, state, after[into])
    if Register.RBP in changes and into != Register.RBP:
        after[Register.RBP] = None
    return after


def _moved(one: Instruction, state: State, now: _Place | None) -> _Place | None:
    match one.mnemonic:
        case Mnemonic.MOV:
            return state.pointers.get(one.op1_register)
        case Mnemonic.LEA:
            return _place(one.memory_base, one.memory_index, one.memory_displacement, state)
        case Mnemonic.ADD | Mnemonic.SUB if now and one.op1_register == Register.NONE:
            amount = _signed(one.immediate(1))
            return now[0], now[1] + (amount if one.mnemonic == Mnemonic.ADD else -amount)
        case Mnemonic.AND:
            return ("aligned", one.ip), 0
    return None
