"""What a program computes: final states and the outcomes of its measurements, within bounds of memory and time.

Up to `MAX_DENSE_QUBITS` qubits every amplitude is kept; beyond, only those that are not zero, as long as there are few.
Measurements at the end read the final state through the measure map. Those in the middle, resets and conditions split
the state into branches. Clifford programs of any width are the matter of `stabilizers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from app.errors import LimitExceeded
from app.quantum.gate_matrices import Matrix, gate_matrix
from app.quantum.gates import GATES
from app.quantum.program import Operation, QuantumProgram

#: Widest program whose every amplitude is kept.
MAX_DENSE_QUBITS: Final = 12

#: Most amplitudes that are not zero of a wider program.
MAX_TERMS: Final = 2**14

#: Longest and widest program that is simulated at all.
MAX_STATEMENTS: Final = 1_024
MAX_QUBITS: Final = 512

#: Most ways in which measurements in the middle may come out.
MAX_BRANCHES: Final = 64

#: Amplitudes below it are nothing; probabilities below its square root are no outcome.
_NOTHING: Final = 1e-9

Amplitudes: TypeAlias = Matrix
Keys: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Outline:
    """A program's gates, apart from the measurements at its end.

    `steps` are the operations that act on the state, barriers and the measurements at the end left out; `read` is the
    measure map: the qubit that each classical bit holds at the end, by classical bit. `is_static` says that all the
    steps are gates without a condition.
    """

    steps: tuple[Operation, ...]
    read: Mapping[int, int]
    is_static: bool


def outline(program: QuantumProgram) -> Outline:
    """Where a program's gates end and its reading begins.

    A measurement belongs to the end when nothing acts on its qubit, and nothing reads or writes its bit, afterwards. A
    reset of a qubit that nothing has acted on is left out.

    Raises:
        LimitExceeded: The program is longer or wider than what is simulated.
    """
    if len(program.operations) > MAX_STATEMENTS:
        raise LimitExceeded("the number of statements to simulate", len(program.operations), MAX_STATEMENTS)
    if program.qubit_count > MAX_QUBITS:
        raise LimitExceeded("the number of qubits to simulate", program.qubit_count, MAX_QUBITS)
    steps: list[Operation] = []
    read: dict[int, int] = {}
    touched_qubits: set[int] = set()
    touched_clbits: set[int] = set()
    for op in reversed(program.operations):
        if op.name == "barrier":
            continue
        is_last = op.clbit is not None and op.qubits[0] not in touched_qubits and op.clbit not in touched_clbits
        if is_last and op.clbit is not None:
            read[op.clbit] = op.qubits[0]
        else:
            steps.append(op)
            touched_qubits.update(op.qubits)
        touched_clbits.update(op.clbits)
    steps.reverse()
    begun: set[int] = set()
    kept: list[Operation] = []
    for op in steps:
        if op.name != "reset" or op.qubits[0] in begun:
            kept.append(op)
        begun.update(op.qubits)
    is_static = all(op.name in GATES and op.condition is None for op in kept)
    return Outline(tuple(kept), dict(sorted(read.items())), is_static)


@dataclass(frozen=True, slots=True)
class State:
    """The amplitudes of a state that are not zero: of basis state `keys[i]`, 64 qubits a word, `amplitudes[i]`."""

    qubit_count: int
    keys: Keys
    amplitudes: Amplitudes

    def bits(self, qubit: int) -> npt.NDArray[np.uint64]:
        """The qubit's value in each basis state."""
        word, shift = divmod(qubit, 64)
        return (self.keys[:, word] >> np.uint64(shift)) & np.uint64(1)

    def table(self, qubits: Sequence[int]) -> npt.NDArray[np.uint64]:
        """Values of qubits: a row a basis state, a column a qubit."""
        if not qubits:
            return np.zeros((len(self.keys), 0), dtype=np.uint64)
        return np.stack([self.bits(qubit) for qubit in qubits], axis=1)


@dataclass(frozen=True, slots=True)
class Branch:
    """One way in which the measurements in the middle come out.

    `settled` holds the qubits that a measurement or reset in the middle has left in a basis state and that no gate has
    acted on since: helpers that are done with. `clbits` are the bits that were written.
    """

    probability: float
    state: State
    clbits: Mapping[int, int]
    settled: frozenset[int] = frozenset()


def final_branches(program: QuantumProgram) -> tuple[Branch, ...]:
    """The state before the measurements at the end, in each of the ways that those in the middle come out.

    Raises:
        LimitExceeded: The program is too wide for the states it goes through, or branches too often.
    """
    plan = outline(program)
    if plan.is_static:
        return (Branch(1.0, final_state(program.qubit_count, plan.steps), {}),)
    if program.qubit_count > MAX_DENSE_QUBITS:
        raise LimitExceeded(
            "the number of qubits of a program that measures, resets or decides in its middle", program.qubit_count,
            MAX_DENSE_QUBITS,
        )  # fmt: skip
    return tuple(_branched(program.qubit_count, plan.steps))


def final_state(qubit_count: int, gates: Iterable[Operation]) -> State:
    """What the gates make of the state in which every qubit is zero; raises LimitExceeded as `final_branches`."""
    if qubit_count <= MAX_DENSE_QUBITS:
        start = np.zeros((1, 2**qubit_count), dtype=np.complex128)
        start[0, 0] = 1
        return _sparse(qubit_count, run_dense(start, gates)[0])
    keys = np.zeros((1, -(-qubit_count // 64)), dtype=np.uint64)
    return run_sparse(State(qubit_count, keys, np.ones(1, dtype=np.complex128)), gates)


def run_dense(states: Amplitudes, gates: Iterable[Operation]) -> Amplitudes:
    """Every row of `states`, which are 2**qubits amplitudes, after the gates. Bit `q` of a column is qubit `q`."""
    states = states.copy()
    qubit_count = states.shape[1].bit_length() - 1
    for op in gates:
        where = _positions(qubit_count, op.qubits)
        states[:, where] = np.matmul(gate_matrix(op.name, op.angles), states[:, where])
    return states


def run_sparse(state: State, gates: Iterable[Operation]) -> State:
    """The state after the gates; raises LimitExceeded where more than `MAX_TERMS` amplitudes are not zero.

    A gate on one qubit waits until another qubit is concerned, so that as few amplitudes as can be are there meanwhile.
    """
    waiting: dict[int, Matrix] = {}
    for op in gates:
        matrix = gate_matrix(op.name, op.angles)
        if len(op.qubits) == 1:
            before = waiting.get(op.qubits[0])
            waiting[op.qubits[0]] = matrix if before is None else matrix @ before
            continue
        for qubit in op.qubits:
            if qubit in waiting:
                state = _applied(state, waiting.pop(qubit), (qubit,))
        state = _applied(state, matrix, op.qubits)
    for qubit, matrix in waiting.items():
        state = _applied(state, matrix, (qubit,))
    return state


@dataclass(frozen=True, slots=True)
class Image:
    """What a program makes of a basis state: the basis state `value` with amplitude `amplitude`, its largest part."""

    value: int
    amplitude: complex


def images(qubit_count: int, gates: Sequence[Operation], inputs: Sequence[int]) -> tuple[Image, ...]:
    """What the gates make of each of the basis states `inputs` (bit `q` is qubit `q`).

    Raises:
        LimitExceeded: The gates spread the inputs over too many basis states of too many qubits.
    """
    count = len(inputs)
    if qubit_count <= MAX_DENSE_QUBITS:
        states = np.zeros((count, 2**qubit_count), dtype=np.complex128)
        states[np.arange(count), list(inputs)] = 1
        states = run_dense(states, gates)
        peaks = np.abs(states).argmax(axis=1)
        return tuple(Image(int(peak), complex(states[row, peak])) for row, peak in enumerate(peaks))
    # Each input carries its number on further qubits, which no gate acts on, so that all go through at once.
    label_count = max(1, (count - 1).bit_length())
    whole = qubit_count + label_count
    words = -(-whole // 64)
    tagged = [value | number << qubit_count for number, value in enumerate(inputs)]
    keys = np.array([[value >> 64 * word & (2**64 - 1) for word in range(words)] for value in tagged], dtype=np.uint64)
    state = run_sparse(State(whole, keys, np.ones(count, dtype=np.complex128)), gates)
    best: list[Image] = [Image(0, 0)] * count
    for row, amplitude in zip(state.keys.tolist(), state.amplitudes.tolist(), strict=True):
        value = sum(part << 64 * word for word, part in enumerate(row))
        number = value >> qubit_count
        if abs(amplitude) > abs(best[number].amplitude):
            best[number] = Image(value & (2**qubit_count - 1), amplitude)
    return tuple(best)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How likely each string of the classical bits is. Bit `i` of a string is the `i`-th bit that is written.

    Where nothing is measured, every qubit counts as measured at the end: bit `i` is qubit `i`.
    """

    bit_count: int
    probabilities: Mapping[int, float]

    def text(self, string: int) -> str:
        """The string, its bit 0 last."""
        return f"{string:0{max(1, self.bit_count)}b}"


def outcomes(program: QuantumProgram) -> Outcomes:
    """How the program's measurements come out; raises LimitExceeded as `final_branches`."""
    read = read_map(program)
    branches = final_branches(program)
    written = sorted(read.keys() | {clbit for branch in branches for clbit in branch.clbits})
    found: dict[int, float] = {}
    for branch in branches:
        values = branch.state.table([read.get(clbit, 0) for clbit in written]).astype(np.uint8)
        for column, clbit in enumerate(written):
            if clbit not in read:
                values[:, column] = branch.clbits.get(clbit, 0)
        weights = np.abs(branch.state.amplitudes) ** 2 * branch.probability
        packed = np.packbits(values, axis=1, bitorder="little")
        for row, weight in zip(packed, weights.tolist(), strict=True):
            string = int.from_bytes(row.tobytes(), "little")
            found[string] = found.get(string, 0.0) + weight
    return Outcomes(len(written), found)


def read_map(program: QuantumProgram) -> Mapping[int, int]:
    """The qubit that each classical bit reads at the end; every qubit by itself where nothing is measured."""
    if any(op.name == "measure" for op in program.operations):
        return outline(program).read
    return {qubit: qubit for qubit in range(program.qubit_count)}


@lru_cache(maxsize=1_024)
def _positions(qubit_count: int, qubits: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Columns by the state of some of the qubits (rows; bit `k` is `qubits[k]`) and by that of all others."""
    others = np.zeros(1, dtype=np.intp)
    for qubit in range(qubit_count):
        if qubit not in qubits:
            others = np.concatenate([others, others + (1 << qubit)])
    return _patterns(qubits)[:, None] + others[None, :]


def _patterns(qubits: Sequence[int]) -> npt.NDArray[np.intp]:
    patterns = np.zeros(1, dtype=np.intp)
    for qubit in qubits:
        patterns = np.concatenate([patterns, patterns + (1 << qubit)])
    return patterns


def _applied(state: State, matrix: Matrix, qubits: tuple[int, ...]) -> State:
    size = len(matrix)
    inner = np.zeros(len(state.keys), dtype=np.intp)
    outer = state.keys.copy()
    patterns = np.zeros((size, state.keys.shape[1]), dtype=np.uint64)
    for position, qubit in enumerate(qubits):
        word, shift = divmod(qubit, 64)
        inner += state.bits(qubit).astype(np.intp) << position
        outer[:, word] &= ~np.uint64(1 << shift)
        patterns[np.arange(size) >> position & 1 == 1, word] |= np.uint64(1 << shift)
    is_there = np.abs(matrix) > _NOTHING
    if (is_there.sum(axis=0) == 1).all():
        rows = is_there.argmax(axis=0)[inner]
        return replace(state, keys=outer | patterns[rows], amplitudes=state.amplitudes * matrix[rows, inner])
    if outer.shape[1] == 1:  # the same as below, sooner
        words, of_group = np.unique(outer[:, 0], return_inverse=True)
        groups = words[:, None]
    else:
        groups, of_group = np.unique(outer, axis=0, return_inverse=True)
    blocks = np.zeros((len(groups), size), dtype=np.complex128)
    blocks[of_group.reshape(-1), inner] = state.amplitudes
    blocks = blocks @ matrix.T
    group, row = np.nonzero(np.abs(blocks) > _NOTHING)
    if len(group) > MAX_TERMS:
        raise LimitExceeded(
            f"the number of basis states in the superposition of {state.qubit_count} qubits", len(group), MAX_TERMS
        )
    return replace(state, keys=groups[group] | patterns[row], amplitudes=blocks[group, row])


def _sparse(qubit_count: int, amplitudes: Amplitudes) -> State:
    keys = np.nonzero(np.abs(amplitudes) > _NOTHING)[0]
    return State(qubit_count, keys.astype(np.uint64)[:, None], amplitudes[keys])


@dataclass(slots=True)
class _Run:
    """A branch in the making."""

    probability: float
    amplitudes: Amplitudes
    clbits: dict[int, int]
    settled: set[int]


def _branched(qubit_count: int, steps: Sequence[Operation]) -> Iterator[Branch]:
    start = np.zeros((1, 2**qubit_count), dtype=np.complex128)
    start[0, 0] = 1
    runs = [_Run(1.0, start, {}, set())]
    for op in steps:
        next_runs: list[_Run] = []
        for run in runs:
            if op.condition is not None and run.clbits.get(op.condition[0], 0) != op.condition[1]:
                next_runs.append(run)
            elif op.name in GATES:
                run.amplitudes = run_dense(run.amplitudes, (op,))
                run.settled.difference_update(op.qubits)
                next_runs.append(run)
            else:
                next_runs += _split(run, op)
        runs = next_runs
        if len(runs) > MAX_BRANCHES:
            raise LimitExceeded("the number of ways in which measurements come out", len(runs), MAX_BRANCHES)
    for run in runs:
        state = _sparse(qubit_count, run.amplitudes[0])
        yield Branch(run.probability, state, run.clbits, frozenset(run.settled))


def _split(run: _Run, op: Operation) -> Iterator[_Run]:
    """The branches after a measurement or a reset."""
    qubit = op.qubits[0]
    is_one = np.arange(run.amplitudes.shape[1]) >> qubit & 1 == 1
    for value in (0, 1):
        kept = np.where(is_one == bool(value), run.amplitudes, 0)
        share = float((np.abs(kept) ** 2).sum())
        if share < _NOTHING:
            continue
        kept = kept / np.sqrt(share)
        clbits = run.clbits if op.clbit is None else {**run.clbits, op.clbit: value}
        if op.name == "reset" and value:
            kept = run_dense(kept, (Operation("x", (qubit,)),))
        yield _Run(run.probability * share, kept, dict(clbits), run.settled | {qubit})
