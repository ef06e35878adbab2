"""The domain language of quantum programs: `FAMILY WIDTH SIZE (GATE qubit... angle...)*`.

One list, OpenQASM 2 and 3 out. A statement is a gate with its qubits and angles, `measure` with a qubit and a classical
bit, `reset`, or `barrier` over all qubits. SIZE is a bucket of the number of statements. Registers are flattened.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from app.errors import InvalidRequest, NotASentence, NotExpressible, UnknownName
from app.quantum.family_names import FAMILIES
from app.quantum.gates import GATES
from app.quantum.program import STATEMENTS, Operation, QuantumProgram
from app.tokens._angles import GRID, LEVELS, from_levels, grid_angle, grid_number, reduce, to_levels
from app.tokens._base import BEGIN, END, Vocabulary, languages

if TYPE_CHECKING:
    import torch

    from app.tokens._qasm_domain_grammar import QasmDomainGrammar

#: Most qubits and classical bits that a sentence can name.
MAX_QUBITS = 128
MAX_CLBITS = 128

#: Size buckets: bucket k holds programs of more than SIZES[k - 1] and at most SIZES[k] statements.
SIZES = (4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 181, 256, 362, 512, 724, 1024)

#: Every statement name in vocabulary order.
OPERATIONS = (*GATES, *STATEMENTS)

VOCABULARY = Vocabulary(
    (
        "<pad>", "<begin>", "<end>",
        *(f"family:{name}" for name in FAMILIES),
        *(f"width:{count}" for count in range(1, MAX_QUBITS + 1)),
        *(f"size:{bound}" for bound in SIZES),
        *OPERATIONS,
        *(f"q{number}" for number in range(MAX_QUBITS)),
        *(f"c{number}" for number in range(MAX_CLBITS)),
        *(f"pi*{value}" for value in GRID),
        *(f"bin{number}" for number in range(LEVELS)),
    )
)  # fmt: skip

FAMILY_START = VOCABULARY.index[f"family:{FAMILIES[0]}"]
WIDTH_START = VOCABULARY.index["width:1"]
SIZE_START = VOCABULARY.index[f"size:{SIZES[0]}"]
OPERATION_START = VOCABULARY.index[OPERATIONS[0]]
QUBIT_START = VOCABULARY.index["q0"]
CLBIT_START = VOCABULARY.index["c0"]
GRID_START = VOCABULARY.index[f"pi*{GRID[0]}"]
BIN_START = VOCABULARY.index["bin0"]


@dataclass(frozen=True)
class ProgramConstraint:
    """What a requested program must be. Each field is exact: the grammar enforces it.

    `family` and `qubits` None let the model choose. `max_statements` counts every statement. `gate_set` holds gate
    names; measurement and barriers stay allowed beside it. `coupling` holds the pairs on which two-qubit gates may act,
    in both directions; with a coupling, gates on three qubits are not used.
    """

    family: str | None = None
    qubits: int | None = None
    max_statements: int = SIZES[-1]
    gate_set: tuple[str, ...] | None = None
    coupling: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        """Names are known and the numbers agree, else InvalidRequest or UnknownName with a pointer."""
        if self.family is not None and self.family not in FAMILIES:
            raise UnknownName("family", self.family, FAMILIES, pointer="/family")
        if self.qubits is not None and not 1 <= self.qubits <= MAX_QUBITS:
            raise InvalidRequest(f"{self.qubits} qubits, this language writes 1 to {MAX_QUBITS}", pointer="/qubits")
        if not 1 <= self.max_statements <= SIZES[-1]:
            raise InvalidRequest(
                f"max_gates is {self.max_statements}, it must be 1 to {SIZES[-1]}", pointer="/max_gates"
            )
        if self.qubits is not None and self.qubits > self.max_statements:
            raise InvalidRequest(
                f"{self.qubits} qubits in at most {self.max_statements} statements: no qubit may stay idle, "
                "so allow at least as many statements as qubits",
                pointer="/max_gates",
            )
        for position, gate in enumerate(self.gate_set or ()):
            if gate not in GATES:
                raise UnknownName("gate", gate, GATES, pointer=f"/gate_set/{position}")
        self._check_coupling()

    def _check_coupling(self) -> None:
        if self.coupling is None:
            return
        if self.qubits is None:
            raise InvalidRequest("a coupling map needs a number of qubits", pointer="/qubits")
        for position, (first, second) in enumerate(self.coupling):
            if first == second or not (0 <= first < self.qubits and 0 <= second < self.qubits):
                raise InvalidRequest(
                    f"[{first}, {second}] is not a pair of distinct qubits below {self.qubits}",
                    pointer=f"/coupling_map/{position}",
                )
        narrow = [name for name in self.gate_set or GATES if GATES[name].qubit_count == 1]
        joined = {qubit for pair in self.coupling for qubit in pair}
        if not narrow and len(joined) < self.qubits:
            raise InvalidRequest(
                "some qubit has no neighbour in the coupling map and the gate set has no one-qubit gate",
                pointer="/coupling_map",
            )


class QasmDomain:
    """The language; see the module."""

    name = "qasm_domain"
    vocabulary = VOCABULARY

    def encode(self, circuit: QuantumProgram, label: str, rng: random.Random) -> list[int]:
        """A sentence for `circuit` of family `label`, statements in program order (`rng` is not used).

        Raises:
            NotExpressible: too many qubits, classical bits or statements, or an unknown family.
        """
        count = len(circuit.operations)
        if not 1 <= circuit.qubit_count <= MAX_QUBITS or circuit.clbit_count > MAX_CLBITS:
            raise NotExpressible(
                f"{circuit.qubit_count} qubits and {circuit.clbit_count} classical bits, this language writes "
                f"1 to {MAX_QUBITS} and at most {MAX_CLBITS}"
            )
        if not 1 <= count <= SIZES[-1]:
            raise NotExpressible(f"{count} statements, this language writes 1 to {SIZES[-1]}")
        names = [
            "<begin>",
            f"family:{label}",
            f"width:{circuit.qubit_count}",
            f"size:{SIZES[bisect.bisect_left(SIZES, count)]}",
        ]
        ids = VOCABULARY.ids(names)
        for op in circuit.operations:
            ids.append(VOCABULARY.index[op.name])
            ids += [QUBIT_START + qubit for qubit in op.qubits]
            if op.clbit is not None:
                ids.append(CLBIT_START + op.clbit)
            for angle in op.angles:
                ids += _angle_ids(angle, GATES[op.name].angle_period_pi)
        ids.append(END)
        return ids

    def decode(self, ids: Sequence[int], *, checks_size: bool = True) -> tuple[QuantumProgram, str]:
        """The program and its family; as many classical bits as the highest that is written.

        Without `checks_size` the declared size need not be true, as in what a bare network writes.

        Raises:
            NotASentence: the tokens do not follow the language or leave the declared width or size.
        """
        reader = _Reader(ids)
        if reader.take(BEGIN, BEGIN + 1, "<begin>") != 0:
            raise NotASentence(0, "a sentence begins with <begin>")
        family = FAMILIES[reader.take(FAMILY_START, WIDTH_START, "a family")]
        width = 1 + reader.take(WIDTH_START, SIZE_START, "a width")
        bucket = reader.take(SIZE_START, OPERATION_START, "a size")
        operations: list[Operation] = []
        while not reader.is_at(END):
            operations.append(reader.statement(width))
        if checks_size and not (SIZES[bucket - 1] if bucket else 0) < len(operations) <= SIZES[bucket]:
            raise NotASentence(
                reader.position, f"{len(operations)} statements do not lie in the declared size {SIZES[bucket]}"
            )
        clbits = 1 + max((op.clbit for op in operations if op.clbit is not None), default=-1)
        return QuantumProgram(width, clbits, tuple(operations)), family

    def prompt(self, constraint: ProgramConstraint) -> list[int]:
        """``<begin>``, the family and the width as far as they are asked for."""
        ids = [BEGIN]
        if constraint.family is not None:
            ids.append(VOCABULARY.index[f"family:{constraint.family}"])
            if constraint.qubits is not None:
                ids.append(WIDTH_START + constraint.qubits - 1)
        return ids

    def grammar(self, device: torch.device) -> QasmDomainGrammar:
        """The grammar with its tables on `device`; made once for each."""
        return _grammar(device)


@cache
def _grammar(device: torch.device) -> QasmDomainGrammar:
    from app.tokens._qasm_domain_grammar import QasmDomainGrammar

    return QasmDomainGrammar(device)


@lru_cache(maxsize=100_000)
def _angle_ids(angle: float, period_pi: int) -> tuple[int, ...]:
    reduced = reduce(angle, period_pi)
    number = grid_number(reduced)
    if number is not None:
        return (GRID_START + number,)
    return tuple(BIN_START + level for level in to_levels(reduced))


class _Reader:
    """Walks over ids and says where and why they stop being a sentence."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = ids
        self.position = 0

    def is_at(self, token: int) -> bool:
        """Whether the next id is `token`."""
        return self.position < len(self._ids) and self._ids[self.position] == token

    def take(self, start: int, stop: int, wanted: str) -> int:
        """The next id less `start`; it lies in start..stop-1, else NotASentence."""
        if self.position >= len(self._ids):
            raise NotASentence(self.position, f"the sequence stops where {wanted} is due")
        token = self._ids[self.position]
        if not start <= token < stop:
            raise NotASentence(self.position, f"{VOCABULARY.tokens[token]} where {wanted} is due")
        self.position += 1
        return token - start

    def statement(self, width: int) -> Operation:
        """One statement on qubits below `width`."""
        begin = self.position
        name = OPERATIONS[self.take(OPERATION_START, QUBIT_START, "a statement or <end>")]
        gate = GATES.get(name)
        wanted = gate.qubit_count if gate else int(name != "barrier")
        qubits = tuple(self.take(QUBIT_START, CLBIT_START, "a qubit") for _ in range(wanted))
        if any(qubit >= width for qubit in qubits) or len(set(qubits)) < len(qubits):
            raise NotASentence(begin, f"{name} on qubits {qubits}, which must be distinct and below {width}")
        clbit = self.take(CLBIT_START, GRID_START, "a classical bit") if name == "measure" else None
        angles = tuple(self._angle() for _ in range(gate.angle_count if gate else 0))
        return Operation(name, qubits, angles, clbit)

    def _angle(self) -> float:
        number = self.take(GRID_START, len(VOCABULARY), "an angle")
        if number < len(GRID):
            return grid_angle(number)
        return from_levels(number - len(GRID), self.take(BIN_START, len(VOCABULARY), "a fine bin"))


languages.add(QasmDomain.name, QasmDomain())
