"""The grammar of the quantum domain language as tensors, with the look-ahead that leaves no qubit idle.

What a completed sentence guarantees: it decodes; qubits lie below the declared width and are distinct within a gate;
the number of statements lies in the declared size and under the constraint's limit; every qubit is used by a gate, a
measurement or a reset; gates are those of the gate set; two-qubit gates act on coupled pairs only.

Look-ahead: the number of untouched qubits never exceeds the number of statements left, so that the rest can touch one
each. Where the two are equal, the next statement must touch one, and barriers are not allowed.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

from app.errors import InvalidRequest
from app.quantum.gates import GATES
from app.tokens._angles import GRID
from app.tokens._base import END, PAD, TensorState
from app.tokens.qasm_domain import (
    BIN_START,
    CLBIT_START,
    FAMILY_START,
    GRID_START,
    MAX_CLBITS,
    MAX_QUBITS,
    OPERATION_START,
    OPERATIONS,
    QUBIT_START,
    SIZE_START,
    SIZES,
    VOCABULARY,
    WIDTH_START,
    ProgramConstraint,
)

_VOCAB = len(VOCABULARY)
_MOST_OPERANDS = 3
_BARRIER = OPERATIONS.index("barrier")
_MEASURE = OPERATIONS.index("measure")


class _Phase(IntEnum):
    """What is due next."""

    FAMILY = 0
    WIDTH = 1
    SIZE = 2
    STATEMENT = 3
    QUBIT = 4
    CLBIT = 5
    ANGLE = 6
    FINE = 7
    DONE = 8


class QasmDomainState(TensorState):
    """Row tensors of the automaton.

    `left` counts statements that may still begin, `owed` those that must still begin before ``<end>``; `idle` marks
    untouched qubits below the width, `idle_count` counts them; `coupled` is the adjacency of the coupling map (all ones
    where there is none), `neighbours` its row sums, `idle_near` how many of a qubit's neighbours are untouched (itself
    counted where there is no map).
    """

    FIELDS = (
        "phase", "operation", "operand", "angles_left", "width", "left", "owed", "idle", "idle_count", "line",
        "highest_clbit", "limit", "coupled", "neighbours", "idle_near", "allowed",
    )  # fmt: skip

    def __init__(self, rows: int, device: torch.device) -> None:
        def ints(*shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=torch.int64, device=device)

        def bools(*shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=torch.bool, device=device)

        self.phase = ints() + int(_Phase.DONE)
        self.operation, self.operand, self.angles_left = ints(), ints(), ints()
        self.width, self.left, self.owed, self.idle_count = ints(), ints(), ints(), ints()
        self.idle = bools(MAX_QUBITS)
        self.line = ints(_MOST_OPERANDS)
        self.highest_clbit = ints() - 1
        self.limit = ints()
        self.coupled = torch.zeros(rows, MAX_QUBITS, MAX_QUBITS, device=device)
        self.neighbours = torch.zeros(rows, MAX_QUBITS, device=device)
        self.idle_near = torch.zeros(rows, MAX_QUBITS, device=device)
        self.allowed = bools(_VOCAB)


class QasmDomainGrammar:
    """The grammar; tables live on one accelerator."""

    vocabulary_size = _VOCAB

    def __init__(self, device: torch.device) -> None:
        self.device = device
        qubits = [GATES[name].qubit_count if name in GATES else int(name != "barrier") for name in OPERATIONS]
        angles = [GATES[name].angle_count if name in GATES else 0 for name in OPERATIONS]
        self._qubits = torch.tensor(qubits, device=device)
        self._angles = torch.tensor(angles, device=device)
        bounds = torch.tensor(SIZES, device=device)
        self._bounds = bounds
        self._least = torch.cat((torch.zeros(1, dtype=torch.int64, device=device), bounds[:-1])) + 1
        phases = torch.zeros(len(_Phase), _VOCAB, dtype=torch.bool)
        phases[_Phase.FAMILY, FAMILY_START:WIDTH_START] = True
        phases[_Phase.WIDTH, WIDTH_START:SIZE_START] = True
        phases[_Phase.SIZE, SIZE_START:OPERATION_START] = True
        phases[_Phase.STATEMENT, OPERATION_START:QUBIT_START] = True
        phases[_Phase.STATEMENT, END] = True
        phases[_Phase.QUBIT, QUBIT_START:CLBIT_START] = True
        phases[_Phase.CLBIT, CLBIT_START:GRID_START] = True
        phases[_Phase.ANGLE, GRID_START:] = True
        phases[_Phase.FINE, BIN_START:] = True
        phases[_Phase.DONE, PAD] = True
        self._phases = phases.to(device)
        self._numbers = torch.arange(MAX_QUBITS, device=device)
        self._clbits = torch.arange(MAX_CLBITS, device=device)

    def allocate(self, rows: int) -> QasmDomainState:
        """Rows that are finished."""
        state = QasmDomainState(rows, self.device)
        state.allowed[:] = True
        return state

    def start(self, constraint: ProgramConstraint) -> QasmDomainState:
        """One row before its family token.

        Raises:
            InvalidRequest: no family, width and size together can satisfy the constraint.
        """
        state = QasmDomainState(1, self.device)
        state.phase[0] = int(_Phase.FAMILY)
        allowed = state.allowed[0]
        allowed[:] = True
        if constraint.family is not None:
            allowed[FAMILY_START:WIDTH_START] = False
            allowed[VOCABULARY.index[f"family:{constraint.family}"]] = True
        widths = range(1, MAX_QUBITS + 1) if constraint.qubits is None else (constraint.qubits,)
        for width in range(1, MAX_QUBITS + 1):
            allowed[WIDTH_START + width - 1] = width in widths and width <= constraint.max_statements
        for number in range(len(SIZES)):
            allowed[SIZE_START + number] = int(self._least[number]) <= constraint.max_statements
        if constraint.gate_set is not None:
            for number, name in enumerate(OPERATIONS):
                allowed[OPERATION_START + number] = name in constraint.gate_set or name in ("measure", "barrier")
        if constraint.coupling is None:
            state.coupled[0] = 1.0
        else:
            for first, second in constraint.coupling:
                state.coupled[0, first, second] = state.coupled[0, second, first] = 1.0
            for number, name in enumerate(OPERATIONS):
                if name in GATES and GATES[name].qubit_count > 2:
                    allowed[OPERATION_START + number] = False
        if not any(allowed[OPERATION_START + number] for number, name in enumerate(OPERATIONS) if name in GATES):
            raise InvalidRequest("no gate is left under this gate set and coupling map", pointer="/gate_set")
        state.neighbours[0] = state.coupled[0].sum(-1)
        state.limit[0] = constraint.max_statements
        return state

    def longest(self, constraint: ProgramConstraint) -> int:
        """Header, a statement of at most eleven tokens each, end."""
        most = max(1 + gate.qubit_count + 2 * gate.angle_count for gate in GATES.values())
        return 5 + constraint.max_statements * most

    def given(self, state: QasmDomainState, rows: int) -> Tensor:
        """Bool [rows]: no token is spelt out by a constraint of this language."""
        return torch.zeros(rows, dtype=torch.bool, device=self.device)

    def mask(self, state: QasmDomainState, rows: int) -> Tensor:
        """Bool [rows, vocabulary]: the tokens that may follow."""
        here = state.first(rows)
        mask = self._phases[here.phase] & here.allowed
        width, idle, left = here.width[:, None], here.idle, here.left[:, None]
        idle_count = here.idle_count[:, None]

        # sizes that hold a statement for every qubit
        mask[:, SIZE_START:OPERATION_START] &= torch.minimum(self._bounds, here.limit[:, None]) >= width

        # statements: as many qubits as the gate needs; the last statements are for untouched qubits
        must_touch = idle_count > left - 1
        declared = self._numbers < width
        degree = (here.neighbours > 0) & declared
        near_idle = here.idle_near > idle
        has_pair = torch.where(must_touch, degree & (idle | near_idle), degree).any(-1, keepdim=True)
        operations = (self._qubits <= width) & (left > 0) & ((self._qubits < 2) | has_pair)
        operations[:, _BARRIER] &= ~must_touch[:, 0]
        mask[:, OPERATION_START:QUBIT_START] &= operations
        mask[:, END] &= (here.phase != _Phase.STATEMENT) | ((here.owed <= 0) & (idle_count[:, 0] == 0))

        # qubits: below the width, distinct, coupled to the first; one of them untouched where it must be. The statement
        # has begun, so `left` no longer counts it.
        operand = here.operand[:, None]
        line = here.line
        arity = self._qubits[here.operation][:, None]
        must_touch = idle_count > left
        first = torch.where(must_touch, idle | (near_idle & (arity >= 2)), declared) & (degree | (arity < 2))
        partners = here.coupled[torch.arange(rows, device=self.device), line[:, 0]] > 0
        later = declared & partners & (self._numbers != line[:, :1])
        later &= (operand < 2) | (self._numbers != line[:, 1:2])
        later &= idle | ~must_touch | (operand + 1 < arity)
        mask[:, QUBIT_START:CLBIT_START] &= torch.where(operand == 0, first, later)

        # classical bits: as many as qubits, or one more than so far
        mask[:, CLBIT_START:GRID_START] &= (self._clbits < width) | (self._clbits <= here.highest_clbit[:, None] + 1)
        return mask

    def advance(self, state: QasmDomainState, tokens: Tensor) -> None:
        """Each of the first len(tokens) rows has taken its token."""
        rows = len(tokens)
        here = state.first(rows)
        phase = here.phase.clone()
        is_width, is_size = phase == _Phase.WIDTH, phase == _Phase.SIZE
        begins = (phase == _Phase.STATEMENT) & (tokens != END)
        is_qubit, is_angle, is_fine = phase == _Phase.QUBIT, phase == _Phase.ANGLE, phase == _Phase.FINE

        # header
        width = torch.where(is_width, tokens - WIDTH_START + 1, here.width)
        here.width[:] = width
        here.idle |= is_width[:, None] & (self._numbers < width[:, None])
        here.idle_count += width * is_width
        bucket = (tokens - SIZE_START).clamp(0, len(SIZES) - 1)
        left = torch.where(is_size, torch.minimum(self._bounds[bucket], here.limit), here.left)
        owed = torch.where(is_size, self._least[bucket], here.owed)
        here.left[:], here.owed[:] = left - begins.long(), owed - begins.long()

        # a statement and its qubits
        operation = torch.where(begins, (tokens - OPERATION_START).clamp(0, len(OPERATIONS) - 1), here.operation)
        here.operation[:] = operation
        here.angles_left[:] = torch.where(begins, self._angles[operation], here.angles_left)
        qubit = (tokens - QUBIT_START).clamp(0, MAX_QUBITS - 1)[:, None]
        was_idle = here.idle.gather(1, qubit)[:, 0] & is_qubit
        here.idle.scatter_(1, qubit, (here.idle.gather(1, qubit)[:, 0] & ~is_qubit)[:, None])
        here.idle_count -= was_idle.long()
        lost = here.coupled[torch.arange(rows, device=self.device), qubit[:, 0]] * was_idle[:, None]
        declared = torch.minimum(here.neighbours, width[:, None])
        here.idle_near[:] = torch.where(is_width[:, None], declared, here.idle_near - lost)
        operand = torch.where(begins, torch.zeros_like(here.operand), here.operand)
        place = operand.clamp(max=_MOST_OPERANDS - 1)[:, None]
        held = here.line.gather(1, place)
        here.line.scatter_(1, place, torch.where(is_qubit[:, None], qubit, held))
        operand = operand + is_qubit.long()
        here.operand[:] = operand
        clbit = torch.where(phase == _Phase.CLBIT, tokens - CLBIT_START, here.highest_clbit)
        here.highest_clbit[:] = torch.maximum(here.highest_clbit, clbit)

        # angles: exact in one token, else coarse then fine
        is_coarse = is_angle & (tokens >= BIN_START)
        here.angles_left -= ((is_angle & ~is_coarse) | is_fine).long()

        wants_qubit = operand < self._qubits[operation]
        wants_clbit = (operation == _MEASURE) & (phase != _Phase.CLBIT)
        wants_angle = here.angles_left > 0
        inside = torch.where(wants_angle, int(_Phase.ANGLE), int(_Phase.STATEMENT))
        inside = torch.where(is_coarse, int(_Phase.FINE), inside)
        inside = torch.where(wants_clbit, int(_Phase.CLBIT), inside)
        inside = torch.where(wants_qubit, int(_Phase.QUBIT), inside)
        header = torch.where(phase < _Phase.STATEMENT, phase + 1, inside)
        finished = (phase == _Phase.DONE) | ((phase == _Phase.STATEMENT) & (tokens == END))
        here.phase[:] = torch.where(finished, int(_Phase.DONE), header)


assert len(GRID) == BIN_START - GRID_START, "the exact angles are one run of the vocabulary"
