"""The grammar of the quantum domain language as tensors, with the look-ahead that leaves no qubit idle.

What a completed sentence guarantees: it decodes; it has as many statements as the constraint asks for, and as the least
depth wanted takes; its registers spell out every qubit below the declared width, in order, and each is used by a gate,
a measurement or a reset; the qubits of a gate are distinct; classical bits are declared; at least one gate is declared
and no other occurs; gates are those of the gate set; two-qubit gates act on coupled pairs only; conditions stand only
where the constraint allows them; the declared depth and size are ones that the constraint asks for and that go together
(whether the program has them is the model's matter); it begins with the constraint's prefix.

Look-ahead. The number of untouched qubits never exceeds the number of statements that may follow, so that the rest can
touch one each. Where the two are equal, the next statement must touch one, and barriers are not allowed. The gates that
are declared, classical bits (for measuring) or a reset must *cover* the qubits: some statement can touch each. Gates on
one qubit do, and gates on more do where the coupling map leaves no qubit alone. The body begins once they are covered.

Length. Barriers list at most eight qubits for each statement that the constraint allows, which bounds a sentence's
tokens.

Room. Where it is due, the one token legal says how many statements may follow, by the size declared and by what the
constraint allows, so it takes nothing from a choice.

Names. Qubits are counted from the first in here; the mask and the tokens taken are translated.

Prefix. Its tokens are forced: each is the only one legal at its place. The gates it uses must be declared, and its size
is one that leaves a statement for every qubit that it leaves idle.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import torch
from torch import Tensor

from app.errors import InvalidRequest
from app.quantum.family_names import FAMILIES
from app.quantum.family_needs import contradictions
from app.quantum.gates import GATES
from app.tokens._angles import GRID
from app.tokens._base import END, PAD, TensorState
from app.tokens.qasm_domain import (
    BARRIER_ON,
    BIN_START,
    BOUNDS,
    CLBIT_START,
    CREG,
    DEPTH_START,
    FAMILY_START,
    GRID_START,
    MAX_CLBITS,
    MAX_PREFIX_TOKENS,
    MAX_QUBITS,
    NOCREG,
    OPERATION_START,
    OPERATIONS,
    QREG,
    QUBIT_START,
    ROOM_START,
    ROOM_STEP,
    SIZE_START,
    USES_START,
    VOCABULARY,
    WHEN_START,
    WIDTH_START,
    ProgramConstraint,
    least_of,
    qubit_token,
)

_VOCAB = len(VOCABULARY)
_KINDS = ROOM_START - USES_START  # gates, which begin the operations
_MEASURE = OPERATIONS.index("measure")
_RESET = OPERATIONS.index("reset")

#: Tokens before the registers, and places for forced tokens: beside the prefix's, one between registers and statements
#: and two after these.
_HEAD = 4
_FORCED = _HEAD + MAX_PREFIX_TOKENS + 3

#: Most qubits that barriers may list, for each statement that the sentence may hold.
_LISTED = 8

#: The least number in each bucket.
_SMALLEST = [least_of(number) for number in range(len(BOUNDS))]

#: Constraints whose first state is kept: a job and its engine start from the same one.
_STARTS_KEPT = 64


class _Phase(IntEnum):
    """What is due next."""

    FAMILY = 0
    WIDTH = 1
    SIZE = 2
    DEPTH = 3
    QREG = 4
    FIRST_QUBIT = 5  # of a register
    LATER_QUBIT = 6  # or what follows a register of qubits
    FIRST_CLBIT = 7
    LATER_CLBIT = 8
    REGISTERED = 9  # a further register, nocreg or a gate to declare: the prefix's last register stays as it is
    USES = 10  # a further gate to declare, or the body
    NEXT = 11  # the room, a statement or the end
    STATEMENT = 12  # the room was told
    WHEN_CLBIT = 13
    CONDITIONED = 14  # a gate or reset
    QUBIT = 15
    CLBIT = 16
    ANGLE = 17
    FINE = 18
    FIRST_LISTED = 19  # of a barrier
    LATER_LISTED = 20  # or what follows the barrier
    DONE = 21
    INSIDE = 22  # stands in the table of phases for what the statement's operation wants next


_P = _Phase


class _Class(IntEnum):
    """Kinds of token, as far as the next phase depends on them."""

    HEAD = 0
    QREG = 1
    CREG = 2
    NOCREG = 3
    USES = 4
    ROOM = 5
    WHEN = 6
    OPERATION = 7
    BARRIER_ON = 8
    QUBIT = 9
    CLBIT = 10
    GRID = 11
    BIN = 12
    END = 13


_CLASSES = len(_Class)
_C = _Class

#: Where each class of token begins in the vocabulary.
_CLASS_STARTS = (
    (_C.HEAD, FAMILY_START), (_C.QREG, QREG), (_C.CREG, CREG), (_C.NOCREG, NOCREG), (_C.USES, USES_START),
    (_C.ROOM, ROOM_START), (_C.WHEN, WHEN_START), (_C.OPERATION, OPERATION_START), (_C.BARRIER_ON, BARRIER_ON),
    (_C.QUBIT, QUBIT_START), (_C.CLBIT, CLBIT_START), (_C.GRID, GRID_START), (_C.BIN, BIN_START),
)  # fmt: skip

_STARTS = {_C.WHEN: _P.WHEN_CLBIT, _C.OPERATION: _P.INSIDE, _C.BARRIER_ON: _P.FIRST_LISTED}
_ENDS = {_C.END: _P.DONE, **_STARTS}
_REGISTERS = {_C.QREG: _P.FIRST_QUBIT, _C.CREG: _P.FIRST_CLBIT, _C.NOCREG: _P.USES, _C.USES: _P.USES}

#: Which classes may follow in each phase, and the phase after each.
_FOLLOWING: dict[_Phase, dict[_Class, _Phase]] = {
    _P.FAMILY: {_C.HEAD: _P.WIDTH},
    _P.WIDTH: {_C.HEAD: _P.SIZE},
    _P.SIZE: {_C.HEAD: _P.DEPTH},
    _P.DEPTH: {_C.HEAD: _P.QREG},
    _P.QREG: {_C.QREG: _P.FIRST_QUBIT},
    _P.FIRST_QUBIT: {_C.QUBIT: _P.LATER_QUBIT},
    _P.LATER_QUBIT: {_C.QUBIT: _P.LATER_QUBIT, **_REGISTERS},
    _P.FIRST_CLBIT: {_C.CLBIT: _P.LATER_CLBIT},
    _P.LATER_CLBIT: {_C.CLBIT: _P.LATER_CLBIT, **_REGISTERS},
    _P.REGISTERED: _REGISTERS,
    _P.USES: {_C.USES: _P.USES, **_STARTS},
    _P.NEXT: {_C.ROOM: _P.STATEMENT, **_ENDS},
    _P.STATEMENT: _ENDS,
    _P.WHEN_CLBIT: {_C.CLBIT: _P.CONDITIONED},
    _P.CONDITIONED: {_C.OPERATION: _P.INSIDE},
    _P.QUBIT: {_C.QUBIT: _P.INSIDE},
    _P.CLBIT: {_C.CLBIT: _P.INSIDE},
    _P.ANGLE: {_C.GRID: _P.INSIDE, _C.BIN: _P.FINE},
    _P.FINE: {_C.BIN: _P.INSIDE},
    _P.FIRST_LISTED: {_C.QUBIT: _P.LATER_LISTED},
    _P.LATER_LISTED: {_C.QUBIT: _P.LATER_LISTED, _C.ROOM: _P.STATEMENT, **_ENDS},
}

#: Tokens of the head, phase by phase.
_HEAD_RANGES = {
    _P.FAMILY: (FAMILY_START, WIDTH_START),
    _P.WIDTH: (WIDTH_START, DEPTH_START),
    _P.DEPTH: (DEPTH_START, SIZE_START),
    _P.SIZE: (SIZE_START, QREG),
}


class _Fact(IntEnum):
    """Columns of what is known of a token; 0 where a token has no such thing."""

    CLASS = 0
    WIDTH = 1  # number of qubits declared
    MOST = 2  # most statements of a program that has the size declared
    LEFT = 3  # what it adds to the statements that may follow
    OPERATION = 4  # index in OPERATIONS
    QUBIT = 5  # place among the names of qubits
    USED = 6  # place of a declared gate, from 1
    COVERS = 7  # 2 where any qubit can be touched once it is declared, 1 where any that has a neighbour
    PERMITS = 8  # the token that may occur once this one has


def _facts() -> Tensor:
    """[vocabulary, facts]."""
    table = torch.zeros(_VOCAB, len(_Fact), dtype=torch.int64)
    for token_class, start in _CLASS_STARTS:
        table[start:, _Fact.CLASS] = int(token_class)
    table[BARRIER_ON + 1 : QUBIT_START, _Fact.CLASS] = int(_C.OPERATION)
    table[END, _Fact.CLASS] = int(_C.END)
    for start, stop, column in (
        (WIDTH_START, DEPTH_START, _Fact.WIDTH), (USES_START, ROOM_START, _Fact.USED),
    ):  # fmt: skip
        table[start:stop, column] = torch.arange(1, stop - start + 1)
    table[SIZE_START:QREG, _Fact.MOST] = torch.tensor(BOUNDS)
    table[OPERATION_START:QUBIT_START, _Fact.LEFT] = -1
    table[OPERATION_START:QUBIT_START, _Fact.OPERATION] = torch.arange(len(OPERATIONS))
    table[QUBIT_START:CLBIT_START, _Fact.QUBIT] = torch.arange(MAX_QUBITS)
    for number, gate in enumerate(GATES.values()):
        table[USES_START + number, _Fact.COVERS] = 2 if gate.qubit_count == 1 else 1
        table[USES_START + number, _Fact.PERMITS] = OPERATION_START + number
    table[CREG, _Fact.COVERS] = 2
    table[CREG, _Fact.PERMITS] = OPERATION_START + _MEASURE
    return table


def _names() -> tuple[Tensor, Tensor]:
    """[MAX_QUBITS + 1, MAX_QUBITS] by width and place among the names of qubits: which one it is, 0 where there is none
    such, and whether it is its name.
    """
    qubits = torch.zeros(MAX_QUBITS + 1, MAX_QUBITS, dtype=torch.int64)
    is_name = torch.zeros(MAX_QUBITS + 1, MAX_QUBITS, dtype=torch.bool)
    for width in range(1, MAX_QUBITS + 1):
        for qubit in range(width):
            place = qubit_token(qubit, width) - QUBIT_START
            qubits[width, place], is_name[width, place] = qubit, True
    return qubits, is_name


def _marked(*phases: _Phase) -> Tensor:
    """Bool [phases]: whether it is one of these."""
    return torch.tensor([phase in phases for phase in _Phase])


def _phase_tables() -> tuple[Tensor, Tensor]:
    """Legal tokens [phases, vocabulary] as far as the phase says, and the next phase [phases * classes]."""
    legal = torch.zeros(len(_Phase), _VOCAB, dtype=torch.bool)
    following = torch.full((len(_Phase), _CLASSES), int(_P.DONE))
    classes = _facts()[:, _Fact.CLASS]
    for phase, classes_after in _FOLLOWING.items():
        for token_class, after in classes_after.items():
            legal[phase] |= classes == token_class
            following[phase, token_class] = int(after)
        start, stop = _HEAD_RANGES.get(phase, (0, _VOCAB))
        legal[phase, :start] = False
        legal[phase, stop:] = False
    legal[_P.DONE, PAD] = True
    return legal, following.flatten()


class QasmDomainState(TensorState):
    """Row tensors of the automaton.

    `done` counts statements that have begun and `left` those that still may; `fewest` must be there in the end, `least`
    and `most` bound the size that may be declared, `most` also the depth; `declared` and `clbits` count the bits that
    registers hold so far; `used` is the place of the last gate declared, from 1; `is_covered` says that some declared
    statement can touch any qubit; `uses` tells by that and by `used` which gates may be declared next, and, last,
    whether the body may begin.

    `idle` marks untouched qubits below the width, `idle_count` counts them; `coupled` is the adjacency of the coupling
    map (all ones where there is none, which `is_full` says), `joined` marks qubits that it joins to any, `idle_near` is
    how many of a qubit's neighbours are untouched (itself counted where there is no map). `taken` marks the qubits of
    the current gate, the first of which is `first_qubit`. The qubits due lie in `lowest`..`highest`; barriers may list
    `spare` more.

    `forced` holds the token that must stand at each place, or PAD where none must, `due` the one at the `place` that is
    next, `first_statement` the one that begins the body.
    """

    FIELDS = (
        "phase", "operation", "operand", "angles_left", "width", "done", "left", "least", "most", "fewest", "grows",
        "declared", "clbits", "used", "is_covered", "covers_pairs", "uses", "idle", "idle_count", "first_qubit",
        "taken", "lowest", "highest", "spare", "coupled", "is_full", "joined", "idle_near", "allowed", "forced",
        "place", "due", "first_statement",
    )  # fmt: skip

    def __init__(self, rows: int, device: torch.device) -> None:
        def ints(*shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=torch.int64, device=device)

        def bools(*shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=torch.bool, device=device)

        self.phase = ints() + int(_P.DONE)
        self.operation, self.operand, self.angles_left = ints(), ints(), ints()
        self.width, self.done, self.left = ints(), ints(), ints()
        self.least, self.most, self.fewest, self.grows = ints(), ints(), ints(), ints()
        self.declared, self.clbits, self.used = ints(), ints(), ints()
        self.is_covered, self.covers_pairs = bools(), ints()
        self.uses = bools(2 * (_KINDS + 1), _KINDS + 1)
        self.idle, self.idle_count = bools(MAX_QUBITS), ints()
        self.first_qubit, self.taken = ints(), bools(MAX_QUBITS)
        self.lowest, self.highest, self.spare = ints(), ints(), ints()
        self.coupled, self.is_full = torch.zeros(rows, MAX_QUBITS, MAX_QUBITS, device=device), ints()
        self.joined, self.idle_near = bools(MAX_QUBITS), torch.zeros(rows, MAX_QUBITS, device=device)
        self.allowed = bools(_VOCAB)
        self.forced, self.place, self.due, self.first_statement = ints(_FORCED), ints(1), ints(1), ints(1)


class QasmDomainGrammar:
    """The grammar; tables live on one accelerator."""

    vocabulary_size = _VOCAB

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gates = [GATES.get(name) for name in OPERATIONS]
        self._qubits = torch.tensor([gate.qubit_count if gate else 0 for gate in gates], device=device)
        self._qubits[[_MEASURE, _RESET]] = 1
        self._touches, self._is_narrow = self._qubits > 0, self._qubits < 2
        self._angles = torch.tensor([gate.angle_count if gate else 0 for gate in gates], device=device)
        self._needed = self._qubits.clone()
        self._needed[BARRIER_ON - OPERATION_START] = 2  # some but not all
        self._is_brief = torch.tensor([name != "barrier_on" for name in OPERATIONS], device=device)
        self._conditionable = torch.tensor([gate is not None for gate in gates], device=device)
        self._conditionable[_RESET] = True
        legal, following = _phase_tables()
        self._legal, self._following = legal.to(device), following.to(device)
        self._closed = torch.arange(len(_Phase), device=device)
        self._closed[[_P.LATER_QUBIT, _P.LATER_CLBIT, _P.LATER_LISTED]] = torch.tensor(
            [_P.REGISTERED, _P.REGISTERED, _P.NEXT], device=device
        )
        self._facts = _facts().to(device)
        self._smallest, self._largest = torch.tensor(_SMALLEST, device=device), torch.tensor(BOUNDS, device=device)
        self._rooms = torch.arange(WHEN_START - ROOM_START, device=device)
        qubits, is_name = _names()
        self._qubit_of, self._is_name = qubits.to(device), is_name.to(device)
        self._numbers = torch.arange(MAX_QUBITS, device=device)
        self._clbits = torch.arange(MAX_CLBITS, device=device)
        self._declares_clbits = _marked(_P.FIRST_CLBIT, _P.LATER_CLBIT).long().to(device)
        self._is_between = _marked(_P.NEXT, _P.LATER_LISTED).to(device)
        self._start = lru_cache(maxsize=_STARTS_KEPT)(self._begin)

    def allocate(self, rows: int) -> QasmDomainState:
        """Rows that are finished."""
        state = QasmDomainState(rows, self.device)
        state.allowed[:] = True
        return state

    def start(self, constraint: ProgramConstraint) -> QasmDomainState:
        """One row before its family token.

        Raises:
            InvalidRequest: no family, width, depth and size together can satisfy the constraint.
        """
        state = QasmDomainState(1, self.device)
        state.put(0, self._start(constraint))
        return state

    def _begin(self, constraint: ProgramConstraint) -> QasmDomainState:
        state = QasmDomainState(1, self.device)
        state.phase[0] = int(_P.FAMILY)
        allowed = state.allowed[0]
        allowed[:] = True
        families = _families(constraint)
        allowed[FAMILY_START:WIDTH_START] = torch.tensor([name in families for name in FAMILIES], device=self.device)
        allowed[WHEN_START:OPERATION_START] = constraint.dynamic
        allowed[[OPERATION_START + _MEASURE, OPERATION_START + _RESET]] = torch.tensor(
            [False, constraint.gate_set is None], device=self.device
        )
        state.is_covered[0] = constraint.gate_set is None
        kinds = _kinds_allowed(constraint)
        allowed[OPERATION_START : OPERATION_START + _KINDS] = False
        allowed[USES_START:ROOM_START] = torch.tensor(kinds, device=self.device)
        self._join(state, constraint)
        state.uses[0] = _uses(constraint, kinds).to(self.device)
        self._bound(state, constraint, kinds)
        if constraint.prefix:
            statements = _HEAD + len(constraint.prefix_registers) + 1
            for start, tokens in ((_HEAD, constraint.prefix_registers), (statements, constraint.prefix_statements)):
                state.forced[0, start : start + len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
            state.first_statement[0, 0] = state.forced[0, statements]
        return state

    def _join(self, state: QasmDomainState, constraint: ProgramConstraint) -> None:
        """The row's coupling map."""
        if constraint.coupling is None:
            state.coupled[0], state.joined[0], state.is_full[0] = 1.0, True, 1
        else:
            first, second = (
                torch.tensor(constraint.coupling, dtype=torch.int64).reshape(-1, 2).to(self.device).unbind(1)
            )
            state.coupled[0, first, second] = state.coupled[0, second, first] = 1.0
            state.idle_near[0] = state.coupled[0].sum(-1)
            state.joined[0] = state.idle_near[0] > 0
        state.covers_pairs[0] = int(bool(state.joined[0, : constraint.width].all()))

    def _bound(self, state: QasmDomainState, constraint: ProgramConstraint, kinds: list[bool]) -> None:
        """The widths, depths and sizes that go together."""
        allowed, program = state.allowed[0], constraint.prefix_program
        fewest = min(gate.qubit_count for gate, is_allowed in zip(GATES.values(), kinds, strict=True) if is_allowed)
        wanted = range(fewest, constraint.max_statements + 1)
        if constraint.width is not None:
            wanted = range(constraint.width, constraint.width + (constraint.width >= fewest))
        if not wanted:
            raise InvalidRequest(
                f"every gate allowed acts on at least {fewest} qubits, "
                + (
                    f"and {constraint.max_statements} statements are too few to use as many"
                    if constraint.width is None
                    else f"the program has {constraint.width}"
                ),
                pointer="/max_gates" if constraint.width is None else "/gate_set",
            )
        for width in range(1, MAX_QUBITS + 1):
            allowed[WIDTH_START + width - 1] = width in wanted
        done, depth = 0, 0
        if program is not None:
            done, depth = len(program.operations) + len(program.idle_qubits), program.depth
        wanted = constraint.depth_buckets
        if depth > BOUNDS[wanted[-1]]:
            raise InvalidRequest(
                f"the prefix has a depth of {depth} already, max_depth is {BOUNDS[wanted[-1]]}", pointer="/max_depth"
            )
        if _SMALLEST[wanted[0]] > constraint.max_statements:
            raise InvalidRequest(
                f"a depth of {_SMALLEST[wanted[0]]} takes as many statements, "
                f"at most {constraint.max_statements} are allowed",
                pointer="/min_depth",
            )
        for bucket, most in enumerate(BOUNDS):
            is_possible = depth <= most and _SMALLEST[bucket] <= constraint.max_statements
            allowed[DEPTH_START + bucket] = is_possible and bucket in wanted
        state.fewest[0] = state.least[0] = max(constraint.min_statements, done, _SMALLEST[wanted[0]])
        state.left[0], state.spare[0] = constraint.max_statements, _LISTED * constraint.max_statements
        state.most[0], state.grows[0] = constraint.max_statements, int(program is None)

    def longest(self, constraint: ProgramConstraint) -> int:
        """The head at its longest, the prefix, the longest possible statements, what tells of room, end."""
        width = constraint.width or min(MAX_QUBITS, constraint.max_statements)
        gates = [
            gate for gate, is_allowed in zip(GATES.values(), _kinds_allowed(constraint), strict=True) if is_allowed
        ]
        most = max(3, *(1 + gate.qubit_count + 2 * gate.angle_count for gate in gates)) + 2 * constraint.dynamic
        statements = (most + min(_LISTED, width)) * constraint.max_statements + constraint.max_statements // ROOM_STEP
        return 1 + _HEAD + 2 * (width + MAX_CLBITS) + len(gates) + len(constraint.prefix) + statements + 1

    def given(self, state: QasmDomainState, rows: int) -> Tensor:
        """Bool [rows]: whether the next token is one of the constraint's prefix."""
        here = state.first(rows)
        return (here.due[:, 0] != PAD) & ~(self._tells_room(here) & (here.phase == _P.NEXT))

    def _tells_room(self, here: QasmDomainState) -> Tensor:
        """Bool [rows]: whether the room stands before the next statement or the end, if one of them follows now."""
        return self._is_between[here.phase] & (here.done % ROOM_STEP == 0)

    def mask(self, state: QasmDomainState, rows: int) -> Tensor:
        """Bool [rows, vocabulary]: the tokens that may follow."""
        here = state.first(rows)
        phase = here.phase[:, None]
        mask = self._legal[here.phase] & here.allowed
        every = torch.arange(rows, device=self.device)
        width, left, clbits = here.width[:, None], here.left[:, None], here.clbits[:, None]

        # the size, registers, and gates to declare
        mask[:, SIZE_START:QREG] &= self._smallest <= here.most[:, None]
        mask[:, SIZE_START:QREG] &= self._largest >= here.least[:, None]
        mask[:, DEPTH_START:SIZE_START] &= self._smallest <= here.most[:, None]
        is_complete = here.declared[:, None] == width
        mask[:, QREG : QREG + 1] &= ~is_complete
        mask[:, CREG : CREG + 1] &= is_complete & (clbits < MAX_CLBITS)
        mask[:, NOCREG : NOCREG + 1] &= is_complete & (clbits == 0)
        uses = here.uses[every, here.used + here.is_covered * (_KINDS + 1)]
        fits = self._needed <= width
        is_declared = is_complete & ((clbits > 0) | (phase == _P.USES))
        mask[:, USES_START:ROOM_START] &= uses[:, :_KINDS] & is_declared & fits[:, :_KINDS]

        # the last statements are for untouched qubits; one that has begun is no longer counted by `left`
        is_operand = phase == _P.QUBIT
        may_idle = here.idle_count[:, None] < left + is_operand
        alone = here.idle | may_idle
        paired = here.joined & (alone | (here.idle_near > here.idle))

        # statements: as many qubits as the operation needs, one of them untouched where it must be
        tells_room = self._tells_room(here)[:, None]
        in_head = phase == _P.USES
        begins = uses[:, _KINDS:] | ~in_head
        may_end = (here.done >= here.fewest) & (here.idle_count == 0)
        mask[:, END : END + 1] &= may_end[:, None] & ~tells_room
        room = (here.most - here.done + ROOM_STEP - 1).clamp(min=0) // ROOM_STEP
        mask[:, ROOM_START:WHEN_START] &= tells_room & (self._rooms == room[:, None])
        begins = begins & ~tells_room & (left > 0)
        is_first = in_head & (here.first_statement != PAD)
        operations = fits & (self._is_narrow | paired.any(-1, keepdim=True)) & (self._touches | may_idle)
        operations &= self._conditionable | (phase != _P.CONDITIONED)
        operations &= begins & ~is_first & (self._is_brief | (here.spare > 0)[:, None])
        mask[:, OPERATION_START:QUBIT_START] &= operations
        conditionable = mask[:, OPERATION_START:QUBIT_START] & self._conditionable
        mask[:, WHEN_START:OPERATION_START] &= conditionable.any(-1, keepdim=True) & (clbits > 0)

        # qubits: in range; for a gate distinct, coupled to the first, one of them untouched where it must be
        operand = here.operand[:, None]
        arity = self._qubits[here.operation][:, None]
        later = (here.coupled[every, here.first_qubit] > 0) & ~here.taken & (alone | (operand + 1 < arity))
        qubits = torch.where(operand > 0, later, torch.where(arity > 1, paired, alone)) | ~is_operand
        qubits &= (self._numbers >= here.lowest[:, None]) & (self._numbers <= here.highest[:, None])
        mask[:, QUBIT_START:CLBIT_START] &= qubits.gather(1, self._qubit_of[here.width]) & self._is_name[here.width]

        # classical bits: declared, or the next to declare
        declares = self._declares_clbits[here.phase][:, None]
        mask[:, CLBIT_START:GRID_START] &= (self._clbits >= clbits * declares) & (self._clbits < clbits + declares)

        # what the prefix spells out: the token that is due, and the first of the body
        is_free = (here.due == PAD) | (tells_room & (phase == _P.NEXT))
        mask &= is_free
        mask.scatter_(1, here.due, mask.gather(1, here.due) | ~is_free)
        return mask.scatter_(1, here.first_statement, mask.gather(1, here.first_statement) | (is_first & begins))

    def advance(self, state: QasmDomainState, tokens: Tensor) -> None:
        """Each of the first len(tokens) rows has taken its token."""
        rows = len(tokens)
        here = state.first(rows)
        every = torch.arange(rows, device=self.device)
        before = here.phase
        facts = self._facts[tokens]
        token_class, wide, most, left, operation, name, used, covers, permits = facts.unbind(1)
        phase = self._following[before * _CLASSES + token_class]

        # the place among the forced tokens
        given = (here.due[:, 0] != PAD) & (token_class != _C.ROOM)
        leaves_head = (before == _P.USES) & (token_class != _C.USES)
        steps = (before <= _P.DEPTH) | given | leaves_head
        here.place += (steps.long() + leaves_head)[:, None]
        torch.gather(here.forced, 1, here.place, out=here.due)

        # the head
        width = here.width.add_(wide).clamp_(max=MAX_QUBITS)  # a bare sentence may declare it twice
        qubit = self._qubit_of[width, name]
        here.left += left
        here.least[:] = torch.maximum(here.least, wide * here.grows)
        here.most[:] = torch.where(before == _P.SIZE, torch.minimum(here.most, most), here.most)
        here.declared += phase == _P.LATER_QUBIT
        is_clbit = phase == _P.LATER_CLBIT
        here.clbits += is_clbit
        here.used[:] = torch.maximum(here.used, used)
        here.is_covered |= covers + here.covers_pairs >= 2
        here.allowed.scatter_(1, permits[:, None], True)

        # a statement and its qubits
        begins = (token_class == _C.OPERATION) | (token_class == _C.BARRIER_ON)
        here.done += begins
        operation = torch.where(begins, operation, here.operation)
        here.operation[:] = operation
        angles_left = torch.where(begins, self._angles[operation], here.angles_left)
        is_operand, is_listed = before == _P.QUBIT, phase == _P.LATER_LISTED
        operand = here.operand * ~begins
        here.first_qubit[:] = torch.where(is_operand & (operand == 0), qubit, here.first_qubit)
        operand = operand + (is_operand | is_listed)
        here.operand[:] = operand
        here.spare -= is_listed.long()
        here.taken &= ~begins[:, None]
        at = qubit[:, None]
        here.taken.scatter_(1, at, here.taken.gather(1, at) | is_operand[:, None])

        # untouched qubits
        here.idle |= self._numbers < wide[:, None]
        was_idle = here.idle.gather(1, at)[:, 0]
        touches = was_idle & is_operand
        here.idle.scatter_(1, at, (was_idle & ~is_operand)[:, None])
        here.idle_count += wide - touches.long()
        here.idle_near += (wide * here.is_full)[:, None] - here.coupled[every, qubit] * touches[:, None]

        # angles: exact in one token, else coarse then fine
        is_angle = ((before == _P.ANGLE) & (token_class == _C.GRID)) | (before == _P.FINE)
        angles_left -= is_angle.long()
        here.angles_left[:] = angles_left

        # what is due next; the last register and barrier of a prefix stay as they are
        inside = torch.where(angles_left > 0, int(_P.ANGLE), int(_P.NEXT))
        inside = torch.where((operation == _MEASURE) & (before != _P.CLBIT), int(_P.CLBIT), inside)
        inside = torch.where(operand < self._qubits[operation], int(_P.QUBIT), inside)
        phase = torch.where(phase == _P.INSIDE, inside, phase)
        phase = torch.where(given & (here.due[:, 0] < QUBIT_START), self._closed[phase], phase)
        here.phase[:] = phase
        declares = (phase == _P.FIRST_QUBIT) | (phase == _P.LATER_QUBIT)
        lists = phase == _P.LATER_LISTED
        here.lowest[:] = torch.where(declares, here.declared, (qubit + 1) * lists)
        is_full = lists & ((operand >= width - 1) | (here.spare < 1))
        here.highest[:] = torch.where(declares, torch.minimum(here.declared, width - 1), (width - 1) * ~is_full)


def _families(constraint: ProgramConstraint) -> list[str]:
    """The families that a sentence may declare: the one asked for, or those that can have what is asked for."""
    if constraint.family is not None:
        return [constraint.family]
    return [
        family
        for family in FAMILIES
        if not any(
            contradictions(
                family,
                qubits=constraint.width,
                gate_set=constraint.gate_set,
                coupling=constraint.coupling,
                is_dynamic=constraint.dynamic,
            )
        )
    ]


def _kinds_allowed(constraint: ProgramConstraint) -> list[bool]:
    """Whether each gate may be declared.

    Raises:
        InvalidRequest: none may.
    """
    widest = MAX_QUBITS
    if constraint.coupling is not None:
        widest = 2 if constraint.coupling else 1
    allowed = [
        gate.qubit_count <= widest and (constraint.gate_set is None or name in constraint.gate_set)
        for name, gate in GATES.items()
    ]
    if not any(allowed):
        raise InvalidRequest("no gate is left under this gate set and coupling map", pointer="/gate_set")
    return allowed


def _uses(constraint: ProgramConstraint, kinds: list[bool]) -> Tensor:
    """[2 * (gates + 1), gates + 1]: which gates may be declared next, and whether the body may begin.

    A row for each last gate declared (0 is none), once while the qubits are not covered and once when they are. Gates
    are declared in order, so the prefix's are not passed over, and none may end the hope of covering.
    """
    gates = torch.arange(_KINDS)
    single = torch.tensor([gate.qubit_count == 1 for gate in GATES.values()])
    last_single = max((number for number in range(_KINDS) if kinds[number] and single[number]), default=-1)
    program = constraint.prefix_program
    required = [number for number, name in enumerate(GATES) if program is not None and name in program.gates_used]
    is_joined = (
        constraint.coupling is None or len({q for pair in constraint.coupling for q in pair}) == constraint.width
    )
    table = torch.zeros(2, _KINDS + 1, _KINDS + 1, dtype=torch.bool)
    for last in range(-1, _KINDS):
        due = next((number for number in required if number > last), None)
        follows = (gates > last) & (gates <= (_KINDS if due is None else due))
        table[1, last + 1, :_KINDS] = follows
        table[0, last + 1, :_KINDS] = follows & (single | is_joined | (gates < last_single))
        table[1, last + 1, _KINDS] = last >= 0 and due is None
    return table.flatten(0, 1)


assert len(GRID) == BIN_START - GRID_START, "the exact angles are one run of the vocabulary"
