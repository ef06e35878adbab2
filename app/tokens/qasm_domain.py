"""The domain language of quantum programs: a head that declares, then `([WHEN] STATEMENT [ROOM])*`.

    <begin> family:F width:N size:S depth:D (qreg q..q)+ ((creg c..c)+ | nocreg) uses:G.. body <end>

One list, OpenQASM 2 and 3 out. A statement is a gate with its qubits and angles, `measure` with a qubit and a classical
bit, `reset`, `barrier` over all qubits, or `barrier_on` with some of them. `when:V c` before a gate or reset makes it
hang on a classical bit. Depth and number of statements are declared to a factor of the square root of 2, and are what
the program is about to be, not what it must be: a network that plans a program need not know its length. The head
spells out every bit of every register and names every gate that the body uses, and after every eighth statement a
sentence says how many more the declared size has room for: a network looks back, and counts badly.

A qubit is named from the nearer end, `q0 q1 q2 q-2 q-1` of five: what a program does to its last qubits reads alike at
every width, and a name beyond the width is seldom written.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import pairwise, takewhile
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

#: Most qubits and classical bits that a sentence can name, and most statements that it can hold.
MAX_QUBITS = 128
MAX_CLBITS = 128
MAX_STATEMENTS = 1023

#: Most tokens that a constraint's prefix can hold.
MAX_PREFIX_TOKENS = 4096

#: Buckets of depths and of numbers of statements: bucket k holds what is above BOUNDS[k - 1] and up to BOUNDS[k].
BOUNDS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 181, 256, 362, 512, 724, 1024)

#: A sentence says how much room is left, in multiples of this, where the number of its statements is such a multiple.
ROOM_STEP = 8

#: Every statement token in vocabulary order.
OPERATIONS = (*GATES, *STATEMENTS, "barrier_on")

VOCABULARY = Vocabulary(
    (
        "<pad>", "<begin>", "<end>",
        *(f"family:{name}" for name in FAMILIES),
        *(f"width:{count}" for count in range(1, MAX_QUBITS + 1)),
        *(f"depth:{bound}" for bound in BOUNDS),
        *(f"size:{bound}" for bound in BOUNDS),
        "qreg", "creg", "nocreg",
        *(f"uses:{name}" for name in GATES),
        *(f"room:{left}" for left in range(0, MAX_STATEMENTS, ROOM_STEP)),
        "when:0", "when:1",
        *OPERATIONS,
        *(f"q{number}" for number in range(MAX_QUBITS // 2)),
        *(f"q-{number}" for number in range(MAX_QUBITS // 2, 0, -1)),
        *(f"c{number}" for number in range(MAX_CLBITS)),
        *(f"pi*{value}" for value in GRID),
        *(f"bin{number}" for number in range(LEVELS)),
    )
)  # fmt: skip

FAMILY_START = VOCABULARY.index[f"family:{FAMILIES[0]}"]
WIDTH_START = VOCABULARY.index["width:1"]
DEPTH_START = VOCABULARY.index[f"depth:{BOUNDS[0]}"]
SIZE_START = VOCABULARY.index[f"size:{BOUNDS[0]}"]
QREG = VOCABULARY.index["qreg"]
CREG = VOCABULARY.index["creg"]
NOCREG = VOCABULARY.index["nocreg"]
USES_START = VOCABULARY.index[f"uses:{next(iter(GATES))}"]
ROOM_START = VOCABULARY.index["room:0"]
WHEN_START = VOCABULARY.index["when:0"]
OPERATION_START = VOCABULARY.index[OPERATIONS[0]]
BARRIER_ON = VOCABULARY.index["barrier_on"]
QUBIT_START = VOCABULARY.index["q0"]
CLBIT_START = VOCABULARY.index["c0"]
GRID_START = VOCABULARY.index[f"pi*{GRID[0]}"]
BIN_START = VOCABULARY.index["bin0"]


def bucket(number: int) -> int:
    """The bucket of BOUNDS that holds a depth or number of statements of 0..1024."""
    return bisect.bisect_left(BOUNDS, number)


def least_of(number: int) -> int:
    """The least depth or number of statements that bucket `number` holds."""
    return BOUNDS[number - 1] + 1 if number else 0


@dataclass(frozen=True)
class ProgramConstraint:
    """What a requested program must be. Each field is exact, for the grammar enforces it, but `depth`.

    `family` and `qubits` None let the model choose. The counts are of statements of every kind. `depth` holds the least
    and the greatest depth wanted: the sentence declares a bucket that overlaps them, and may be found to differ.
    `gate_set` holds gate names; measurement and barriers stay allowed beside it. `coupling` holds the pairs on which
    two-qubit gates may act, in both directions; with a coupling, gates on three and more qubits are not used. `prefix`
    are the ids of registers and whole statements, as `QasmDomain.prefix` writes them, that every sentence has first:
    its qubits are all there are, while further classical registers may follow. Only `dynamic` allows conditions.
    """

    family: str | None = None
    qubits: int | None = None
    max_statements: int = MAX_STATEMENTS
    min_statements: int = 1
    depth: tuple[int, int] | None = None
    gate_set: tuple[str, ...] | None = None
    coupling: tuple[tuple[int, int], ...] | None = None
    prefix: tuple[int, ...] = ()
    dynamic: bool = False

    def __post_init__(self) -> None:
        """Names are known and the numbers agree, else InvalidRequest or UnknownName with a pointer."""
        if self.family is not None and self.family not in FAMILIES:
            raise UnknownName("family", self.family, FAMILIES, pointer="/family")
        if self.qubits is not None and not 1 <= self.qubits <= MAX_QUBITS:
            raise InvalidRequest(f"{self.qubits} qubits, this language writes 1 to {MAX_QUBITS}", pointer="/qubits")
        self._check_counts()
        for position, gate in enumerate(self.gate_set or ()):
            if gate not in GATES:
                raise UnknownName("gate", gate, GATES, pointer=f"/gate_set/{position}")
        self._check_prefix()
        self._check_coupling()

    def _check_counts(self) -> None:
        if not 1 <= self.max_statements <= MAX_STATEMENTS:
            raise InvalidRequest(
                f"max_gates is {self.max_statements}, it must be 1 to {MAX_STATEMENTS}", pointer="/max_gates"
            )
        if not 1 <= self.min_statements <= self.max_statements:
            raise InvalidRequest(
                f"min_gates is {self.min_statements}, it must be 1 to max_gates, which is {self.max_statements}",
                pointer="/min_gates",
            )
        if self.qubits is not None and self.qubits > self.max_statements:
            raise InvalidRequest(
                f"{self.qubits} qubits in at most {self.max_statements} statements: no qubit may stay idle, "
                "so allow at least as many statements as qubits",
                pointer="/max_gates",
            )
        if self.depth is None:
            return
        least, most = self.depth
        if not 1 <= most <= BOUNDS[-1]:
            raise InvalidRequest(f"max_depth is {most}, it must be 1 to {BOUNDS[-1]}", pointer="/max_depth")
        if not 0 <= least <= most:
            raise InvalidRequest(
                f"min_depth is {least}, it must be 0 to max_depth, which is {most}", pointer="/min_depth"
            )

    def _check_coupling(self) -> None:
        if self.coupling is None:
            return
        width = self.width
        if width is None:
            raise InvalidRequest("a coupling map needs a number of qubits", pointer="/qubits")
        for position, (first, second) in enumerate(self.coupling):
            if first == second or not (0 <= first < width and 0 <= second < width):
                raise InvalidRequest(
                    f"[{first}, {second}] is not a pair of distinct qubits below {width}",
                    pointer=f"/coupling_map/{position}",
                )
        narrow = [name for name in self.gate_set or GATES if GATES[name].qubit_count == 1]
        joined = {qubit for pair in self.coupling for qubit in pair}
        if not narrow and len(joined) < width:
            raise InvalidRequest(
                "some qubit has no neighbour in the coupling map and the gate set has no one-qubit gate",
                pointer="/coupling_map",
            )

    def _check_prefix(self) -> None:
        """The prefix is empty, or registers and whole statements that the other fields allow."""
        if len(self.prefix) > MAX_PREFIX_TOKENS:
            raise InvalidRequest(
                f"the prefix takes {len(self.prefix)} tokens, at most {MAX_PREFIX_TOKENS} can be continued",
                pointer="/prefix",
            )
        try:
            program = self.prefix_program
        except NotASentence as error:
            raise InvalidRequest(
                f"the prefix is not made of registers and statements: {error.reason}", pointer="/prefix"
            ) from error
        if program is None:
            return
        if self.qubits not in (None, program.qubit_count):
            raise InvalidRequest(
                f"{self.qubits} qubits are asked for and the prefix has {program.qubit_count}; ask for as many as it "
                "has, or leave the number out",
                pointer="/qubits",
            )
        most = self.max_statements - len(program.operations)
        idle = len(program.idle_qubits)
        if most < idle or most < 0:
            raise InvalidRequest(
                f"the prefix has {len(program.operations)} statements and leaves {idle} qubits idle, which does not "
                f"fit into {self.max_statements}",
                pointer="/max_gates",
            )
        if program.is_dynamic and not self.dynamic:
            raise InvalidRequest(
                "the prefix has a statement under a condition; ask for a dynamic program", pointer="/dynamic"
            )
        self._check_prefix_gates(program)

    def _check_prefix_gates(self, program: QuantumProgram) -> None:
        pairs = {frozenset(pair) for pair in self.coupling or ()}
        for op in program.operations:
            if op.name not in GATES:
                if op.name == "reset" and self.gate_set is not None:
                    raise InvalidRequest(
                        "the prefix has a reset, which a gate set leaves out; leave gate_set out", pointer="/gate_set"
                    )
                continue
            if self.gate_set is not None and op.name not in self.gate_set:
                raise InvalidRequest(
                    f"the prefix uses the gate {op.name}, which gate_set leaves out; add it there", pointer="/gate_set"
                )
            if self.coupling is not None and len(op.qubits) > 1 and frozenset(op.qubits) not in pairs:
                raise InvalidRequest(
                    f"the prefix applies {op.name} to qubits {op.qubits}, which coupling_map does not join",
                    pointer="/coupling_map",
                )

    @property
    def width(self) -> int | None:
        """How many qubits the program must have, asked for or given by the prefix; None where the model chooses."""
        return self.qubits if self.prefix_program is None else self.prefix_program.qubit_count

    @cached_property
    def depth_buckets(self) -> range:
        """The depth buckets that a sentence may declare."""
        if self.depth is None:
            return range(len(BOUNDS))
        return range(bucket(self.depth[0]), bucket(self.depth[1]) + 1)

    @cached_property
    def prefix_program(self) -> QuantumProgram | None:
        """The program that the prefix spells out; None where there is no prefix. Raises NotASentence."""
        if not self.prefix:
            return None
        reader = _Reader((*self.prefix, END))
        qubits, clbits = reader.registers()
        return _program(qubits, clbits, reader.loose_body((sum(qubits), sum(clbits)), has_room=False))

    @cached_property
    def prefix_registers(self) -> tuple[int, ...]:
        """The ids of the prefix that declare registers."""
        return self.prefix[: len(self.prefix) - len(self.prefix_statements)]

    @cached_property
    def prefix_statements(self) -> tuple[int, ...]:
        """The ids of the prefix that are statements."""
        starts = (place for place, token in enumerate(self.prefix) if WHEN_START <= token < QUBIT_START)
        return self.prefix[next(starts, len(self.prefix)) :]


def room_after(done: int, most: int) -> list[int]:
    """The token ids that stand once `done` statements are written, where `most` are declared."""
    return [] if done < 1 or done % ROOM_STEP else [ROOM_START + max(0, -(-(most - done) // ROOM_STEP))]


def qubit_token(qubit: int, width: int) -> int:
    """The token id of a qubit among `width`."""
    return QUBIT_START + (qubit if 2 * qubit < width else MAX_QUBITS - width + qubit)


def named_qubit(token: int, width: int) -> int:
    """The qubit among `width` that a token id names; below 0 or beyond the width where there is none such."""
    place = token - QUBIT_START
    return place if 2 * place < MAX_QUBITS else width - MAX_QUBITS + place


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
        if not 1 <= count <= MAX_STATEMENTS:
            raise NotExpressible(f"{count} statements, this language writes 1 to {MAX_STATEMENTS}")
        registers = _register_ids(circuit)
        ids = VOCABULARY.ids(["<begin>", f"family:{label}"])
        ids += [WIDTH_START + circuit.qubit_count - 1, SIZE_START + bucket(count), DEPTH_START + bucket(circuit.depth)]
        ids += registers if circuit.clbit_count else [*registers, NOCREG]
        ids += VOCABULARY.ids([f"uses:{name}" for name in circuit.gates_used])
        for done, op in enumerate(circuit.operations, start=1):
            ids += [*_statement_ids(op, circuit.qubit_count), *room_after(done, BOUNDS[bucket(count)])]
        ids.append(END)
        return ids

    def prefix(self, circuit: QuantumProgram) -> tuple[int, ...]:
        """The registers and statements of `circuit` as a constraint's prefix.

        Raises:
            NotExpressible: too many qubits or classical bits.
        """
        statements = (_statement_ids(op, circuit.qubit_count) for op in circuit.operations)
        return (*_register_ids(circuit), *(token for statement in statements for token in statement))

    def decode(self, ids: Sequence[int], *, checks_size: bool = True) -> tuple[QuantumProgram, str]:
        """The program and its family.

        Without `checks_size` the registers, as they are spelt out, say how many bits there are, and nothing else that
        the head declares need be true nor need room be told of, as in what a bare network writes.

        Raises:
            NotASentence: the tokens do not follow the language, or the body is not what the head declares (its depth
                and size, and so the room, apart, which are never checked).
        """
        reader = _Reader(ids)
        if reader.take(BEGIN, BEGIN + 1, "<begin>") != 0:
            raise NotASentence(0, "a sentence begins with <begin>")
        family = FAMILIES[reader.take(FAMILY_START, WIDTH_START, "a family")]
        width = 1 + reader.take(WIDTH_START, DEPTH_START, "a width")
        reader.take(SIZE_START, QREG, "a size")
        reader.take(DEPTH_START, SIZE_START, "a depth")
        qubits, clbits = reader.registers(width if checks_size else None)
        if checks_size and sum(qubits) != width:
            raise NotASentence(reader.position, f"{sum(qubits)} qubits in registers, {width} were declared")
        reader.pass_nocreg(is_due=checks_size and not clbits)
        uses = reader.uses(is_ordered=checks_size)
        bits = (sum(qubits), sum(clbits))
        body = reader.body(uses, bits) if checks_size else reader.loose_body(bits, has_room=True)
        program = _program(qubits, clbits, body)
        if not program.operations:
            raise NotASentence(reader.position, "no statement")
        return program, family

    def prompt(self, constraint: ProgramConstraint) -> list[int]:
        """``<begin>`` and as much of the head as the constraint leaves no choice in, up to the first that it does."""
        ids = [BEGIN]
        if constraint.family is None:
            return ids
        ids.append(VOCABULARY.index[f"family:{constraint.family}"])
        if constraint.width is None:
            return ids
        ids.append(WIDTH_START + constraint.width - 1)
        size = bucket(constraint.max_statements)
        if bucket(constraint.min_statements) < size:
            return ids
        ids.append(SIZE_START + size)
        if len(constraint.depth_buckets) > 1:
            return ids
        return [*ids, DEPTH_START + constraint.depth_buckets[0], *(constraint.prefix_registers or (QREG, QUBIT_START))]

    def grammar(self, device: torch.device) -> QasmDomainGrammar:
        """The grammar with its tables on `device`; made once for each."""
        return _grammar(device)


@cache
def _grammar(device: torch.device) -> QasmDomainGrammar:
    from app.tokens._qasm_domain_grammar import QasmDomainGrammar

    return QasmDomainGrammar(device)


def _register_ids(circuit: QuantumProgram) -> list[int]:
    """Every register with its bits; NotExpressible where there are too many bits."""
    if not 1 <= circuit.qubit_count <= MAX_QUBITS or circuit.clbit_count > MAX_CLBITS:
        raise NotExpressible(
            f"{circuit.qubit_count} qubits and {circuit.clbit_count} classical bits, this language writes "
            f"1 to {MAX_QUBITS} and at most {MAX_CLBITS}"
        )
    sizes = circuit.qubit_registers or (circuit.qubit_count,)
    ids = _registers(QREG, _qubit_tokens(circuit.qubit_count), sizes)
    if circuit.clbit_count:
        ids += _registers(CREG, _CLBIT_TOKENS, circuit.clbit_registers or (circuit.clbit_count,))
    return ids


@cache
def _qubit_tokens(width: int) -> tuple[int, ...]:
    """The names of all qubits among `width`."""
    return tuple(qubit_token(qubit, width) for qubit in range(width))


_CLBIT_TOKENS = range(CLBIT_START, GRID_START)


def _registers(keyword: int, bits: Sequence[int], sizes: Sequence[int]) -> list[int]:
    ids = []
    start = 0
    for size in sizes:
        ids += [keyword, *bits[start : start + size]]
        start += size
    return ids


def _statement_ids(op: Operation, width: int) -> list[int]:
    ids = []
    if op.condition is not None:
        clbit, value = op.condition
        ids = [WHEN_START + value, CLBIT_START + clbit]
    ids.append(BARRIER_ON if op.name == "barrier" and op.qubits else VOCABULARY.index[op.name])
    ids += [qubit_token(qubit, width) for qubit in op.qubits]
    if op.clbit is not None:
        ids.append(CLBIT_START + op.clbit)
    for angle in op.angles:
        ids += _angle_ids(angle, GATES[op.name].angle_period_pi)
    return ids


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

    def _is_in(self, start: int, stop: int) -> bool:
        """Whether the next id lies in start..stop-1."""
        return self.position < len(self._ids) and start <= self._ids[self.position] < stop

    def take(self, start: int, stop: int, wanted: str) -> int:
        """The next id less `start`; it lies in start..stop-1, else NotASentence."""
        if self.position >= len(self._ids):
            raise NotASentence(self.position, f"the sequence stops where {wanted} is due")
        if not self._is_in(start, stop):
            raise NotASentence(self.position, f"{VOCABULARY.tokens[self._ids[self.position]]} where {wanted} is due")
        self.position += 1
        return self._ids[self.position - 1] - start

    def registers(self, width: int | None = None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The sizes of the registers of qubits, at least one, and of classical bits.

        Qubits are named as among `width`, or as among as many as are named where it is None.
        """
        if not self._is_in(QREG, CREG):
            self.take(QREG, CREG, "qreg")
        if width is None:
            declared = takewhile(lambda token: token == QREG or _is_qubit(token), self._ids[self.position :])
            width = min(MAX_QUBITS, max(1, sum(map(_is_qubit, declared))))
        return self._sizes(QREG, _qubit_tokens(width)), self._sizes(CREG, _CLBIT_TOKENS)

    def _sizes(self, keyword: int, bits: Sequence[int]) -> tuple[int, ...]:
        sizes: list[int] = []
        due = 0
        while self._is_in(keyword, keyword + 1):
            self.position += 1
            before = due
            while due == before or (due < len(bits) and self._is_in(bits[0], bits[-1] + 1)):
                if due == len(bits):
                    self.take(0, 0, "no further bit")
                self.take(bits[due], bits[due] + 1, VOCABULARY.tokens[bits[due]])
                due += 1
            sizes.append(due - before)
        return tuple(sizes)

    def pass_nocreg(self, *, is_due: bool) -> None:
        """Go on behind ``nocreg``, which must be there where it `is_due`."""
        if is_due or self._is_in(NOCREG, NOCREG + 1):
            self.take(NOCREG, NOCREG + 1, "creg or nocreg")

    def uses(self, *, is_ordered: bool) -> frozenset[str]:
        """The gates declared, which come in vocabulary order where it `is_ordered`."""
        gates: list[int] = []
        while self._is_in(USES_START, ROOM_START):
            gates.append(self.take(USES_START, ROOM_START, "a gate"))
            if is_ordered and len(gates) > 1 and gates[-1] <= gates[-2]:
                raise NotASentence(self.position - 1, f"uses:{OPERATIONS[gates[-1]]} out of order")
        return frozenset(OPERATIONS[gate] for gate in gates)

    def body(self, uses: frozenset[str], bits: tuple[int, int]) -> Iterator[Operation]:
        """The statements up to ``<end>``, with the room told wherever it is due and declared gates only."""
        read = 0
        while not self._is_in(END, END + 1):
            begin = self.position
            op = self._statement(*bits)
            read += 1
            if read > MAX_STATEMENTS:
                raise NotASentence(begin, f"more than {MAX_STATEMENTS} statements, no sentence has as many")
            if op.name in GATES and op.name not in uses:
                raise NotASentence(begin, f"{op.name}, which the sentence does not declare that it uses")
            yield op
            if read % ROOM_STEP == 0:
                self.take(ROOM_START, WHEN_START, "the room left")

    def loose_body(self, bits: tuple[int, int], *, has_room: bool) -> Iterator[Operation]:
        """The statements up to ``<end>``; where it `has_room`, that may be told after each."""
        while not self._is_in(END, END + 1):
            yield self._statement(*bits)
            if has_room and self._is_in(ROOM_START, WHEN_START):
                self.position += 1

    def _statement(self, qubit_count: int, clbit_count: int) -> Operation:
        """One statement on bits that are declared."""
        begin = self.position
        condition = None
        if self._is_in(WHEN_START, OPERATION_START):
            value = self.take(WHEN_START, OPERATION_START, "a condition")
            condition = (self._clbit(clbit_count), value)
        name = OPERATIONS[self.take(OPERATION_START, QUBIT_START, "a statement or <end>")]
        if condition is not None and name not in GATES and name != "reset":
            raise NotASentence(begin, f"a condition before {name}, it belongs to gates and reset")
        if name == "barrier_on":
            return Operation("barrier", self._barrier_qubits(qubit_count))
        gate = GATES.get(name)
        wanted = gate.qubit_count if gate else int(name != "barrier")
        qubits = tuple(self._qubit(qubit_count) for _ in range(wanted))
        if any(not 0 <= qubit < qubit_count for qubit in qubits) or len(set(qubits)) < len(qubits):
            raise NotASentence(begin, f"{name} on qubits {qubits}, which must be distinct and below {qubit_count}")
        clbit = self._clbit(clbit_count) if name == "measure" else None
        angles = tuple(self._angle() for _ in range(gate.angle_count if gate else 0))
        return Operation(name, qubits, angles, clbit, condition)

    def _barrier_qubits(self, qubit_count: int) -> tuple[int, ...]:
        """The qubits after ``barrier_on``: some but not all, ascending."""
        begin = self.position - 1
        qubits = [self._qubit(qubit_count)]
        while self._is_in(QUBIT_START, CLBIT_START):
            qubits.append(self._qubit(qubit_count))
        if any(one >= other for one, other in pairwise((-1, *qubits, qubit_count))) or len(qubits) == qubit_count:
            raise NotASentence(
                begin, f"barrier_on {tuple(qubits)}, which must ascend, be below {qubit_count} and not be all of these"
            )
        return tuple(qubits)

    def _qubit(self, qubit_count: int) -> int:
        """A qubit by either name; below 0 or beyond the width where there is none such."""
        return named_qubit(QUBIT_START + self.take(QUBIT_START, CLBIT_START, "a qubit"), qubit_count)

    def _clbit(self, clbit_count: int) -> int:
        clbit = self.take(CLBIT_START, GRID_START, "a classical bit")
        if clbit >= clbit_count:
            raise NotASentence(self.position - 1, f"c{clbit}, of {clbit_count} classical bits declared")
        return clbit

    def _angle(self) -> float:
        number = self.take(GRID_START, len(VOCABULARY), "an angle")
        if number < len(GRID):
            return grid_angle(number)
        return from_levels(number - len(GRID), self.take(BIN_START, len(VOCABULARY), "a fine bin"))


def _is_qubit(token: int) -> bool:
    return QUBIT_START <= token < CLBIT_START


def _program(qubits: tuple[int, ...], clbits: tuple[int, ...], operations: Iterable[Operation]) -> QuantumProgram:
    return QuantumProgram(sum(qubits), sum(clbits), tuple(operations), qubits, clbits)


languages.add(QasmDomain.name, QasmDomain())
