"""Reads OpenQASM into a program by recursive descent, in time linear in the text and within fixed limits.

Version 2 is read in the paper's strict form plus numbers like `.5` and `1e5`; with ``include "qelib1.inc"`` every gate
of `GATES` is known, also those that the paper lacks. Of version 3 the same statements are read in its own words
(`qubit[5] q;`, `c[0] = measure q[0];`). Of classical control, gates and resets that hang on one bit are read. Not read:
any other control, `opaque`, modifiers, and any file: includes are never opened.

Reference:
    [cross2017openqasm] §4 and appendix A; [cross2022openqasm] for version 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

from app.errors import LimitExceeded
from app.findings import Finding
from app.quantum.gates import GATES, Gate
from app.quantum.program import Operation, QuantumProgram, barrier
from app.quantum.qasm_dialects import QASM2, QASM3, Dialect
from app.quantum.qasm_expressions import Expression, ExpressionReader, Formal, evaluate
from app.quantum.qasm_limits import QASM_LIMITS, QasmLimits
from app.quantum.qasm_tokens import HEADER_3, shorten


@dataclass(frozen=True, slots=True)
class ParsedQasm:
    """A program, and what of its text it does not carry."""

    program: QuantumProgram
    notes: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Call:
    callee: Gate | _Definition
    angles: tuple[Expression, ...]
    qubits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Definition:
    name: str
    angle_count: int
    qubit_count: int
    nesting: int
    body: tuple[_Call, ...]


@dataclass(frozen=True, slots=True)
class _Register:
    start: int
    size: int


@dataclass(slots=True)
class _Registers:
    """The registers of one sort of bit, flattened. `what` is the word for such a bit."""

    what: str
    limit: int
    size: int = 0
    by_name: dict[str, _Register] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bits of each register, in order of declaration."""
        return tuple(register.size for register in self.by_name.values())


def parse_qasm2(text: str, *, limits: QasmLimits = QASM_LIMITS) -> QuantumProgram:
    """The program of an OpenQASM 2 text; see `read_qasm2`, which also tells what was left out."""
    return read_qasm2(text, limits=limits).program


def read_qasm2(text: str, *, limits: QasmLimits = QASM_LIMITS) -> ParsedQasm:
    """The program of an OpenQASM 2 text, and a note for each kind of thing that a program does not carry.

    Bits are numbered across the registers in order of declaration and broadcast statements written out. A gate defined
    in the text as `GATES` defines it is that gate; any other definition is expanded where it is used, without the
    barriers that it may hold, with a note.

    Raises:
        QasmSyntaxError: The text is outside the grammar, at a line and column; also angles that are not finite.
        LimitExceeded: The text or its program is larger than `limits`.
    """
    return _read(text, QASM2, limits)


def read_qasm3(text: str, *, limits: QasmLimits = QASM_LIMITS) -> ParsedQasm:
    """The same for an OpenQASM 3 text that holds the statements of version 2 only."""
    return _read(text, QASM3, limits)


def is_qasm3(text: str) -> bool:
    """True where the text begins, after blanks and comments, with the header of version 3."""
    return HEADER_3.match(text) is not None


def read_qasm(text: str, *, limits: QasmLimits = QASM_LIMITS) -> ParsedQasm:
    """`read_qasm3` where the text says that it is version 3, else `read_qasm2`."""
    return _read(text, QASM3 if is_qasm3(text) else QASM2, limits)


def _read(text: str, dialect: Dialect, limits: QasmLimits) -> ParsedQasm:
    if len(text) > limits.characters:
        raise LimitExceeded("the length of the program in characters", len(text), limits.characters)
    reader = _Reader(text, dialect, limits, _own_definitions(dialect.library))
    try:
        return reader.read()
    except LimitExceeded as reason:
        reason.line, reason.column = reader.place
        raise


@cache
def _own_definitions(library: str) -> Mapping[str, _Definition]:
    """The definitions that our texts carry in the dialect with this library, to recognise them in a text."""
    dialect = QASM2 if library == QASM2.library else QASM3
    text = f'OPENQASM {dialect.versions[0]};\ninclude "{library}";\n'
    own: dict[str, _Definition] = {}
    for definition in dialect.definitions.values():
        text += definition + "\n"
        reader = _Reader(text, dialect, QASM_LIMITS, own)
        reader.read()
        own |= reader.definitions
    return own


class _Reader(ExpressionReader):
    """One pass over one text; `definitions` holds what it defined in other words than the `own` ones."""

    def __init__(self, text: str, dialect: Dialect, limits: QasmLimits, own: Mapping[str, _Definition]) -> None:
        super().__init__(text, dialect.keywords, dialect.functions, dialect.power, dialect.has_integers, limits)
        self.definitions: dict[str, _Definition] = {}
        self._dialect = dialect
        self._own = own
        self._gates: dict[str, Gate | _Definition] = dict(dialect.built_in)
        self._taken: set[str] = set()
        self._library_is_included = False
        self._qubits = _Registers("qubit", limits.qubits)
        self._clbits = _Registers("classical bit", limits.clbits)
        self._operations: list[Operation] = []
        self._condition: tuple[int, int] | None = None
        self._inner_barriers: list[int] = []
        self._statements = 0
        self._definition_count = 0
        self._work = 0

    # statements

    def read(self) -> ParsedQasm:
        """The whole text."""
        self._header()
        statements: dict[str, Callable[[], None]] = {
            "include": self._include,
            "gate": self._definition,
            "barrier": self._barrier,
            "measure": self._measure,
            "reset": self._reset,
            "if": self._conditioned,
            **dict.fromkeys(self._dialect.unsupported, self._refuse),
            self._dialect.quantum_register: self._declare_qubits,
            self._dialect.classical_register: self._declare_clbits,
        }
        while self._kind != "end":
            self._count_statement()
            if self._kind == "name":
                statements.get(self._text, self._other)()
            elif self._kind == "bit" and self._dialect is QASM3:
                self._declare_or_assign()
            else:
                self._fail(f"expected a statement, found {self._shown()}")
        program = QuantumProgram(
            self._qubits.size, self._clbits.size, tuple(self._operations), self._qubits.sizes, self._clbits.sizes
        )
        return ParsedQasm(program, self._notes())

    def _count_statement(self) -> None:
        self._statements += 1
        if self._statements > self._limits.statements:
            raise LimitExceeded("the number of statements", self._statements, self._limits.statements)

    def _header(self) -> None:
        version = self._dialect.versions[0]
        if self._text != "OPENQASM":
            self._fail(f"a program starts with 'OPENQASM {version};', found {self._shown()}")
        self._step()
        if self._text not in self._dialect.versions:
            self._fail(f"expected OpenQASM version {version}, found {self._shown()}")
        self._step()
        self._expect(";", "the version")

    def _include(self) -> None:
        at = self._at
        library = self._dialect.library
        self._step()
        if self._kind != "string":
            self._fail(f"expected a file name in double quotes after 'include', found {self._shown()}")
        if self._text != f'"{library}"':
            self._fail(f'included files are not read; only "{library}" is known here, found {self._shown()}')
        if self._library_is_included:
            self._fail(f'"{library}" is included twice', at)
        self._step()
        self._expect(";", "the file name")
        self._library_is_included = True
        names = self._dialect.library_gates | frozenset(self._dialect.aliases)
        clash = sorted(names & self._taken)
        if clash:
            self._fail(f'"{library}" defines {clash[0]!r}, which the program declares before it', at)
        self._taken |= names
        for name in names:
            self._gates[name] = GATES[self._dialect.aliases.get(name, name)]
        for name in self._dialect.further_gates:
            self._gates.setdefault(name, GATES[name])

    def _refuse(self) -> None:
        self._fail(
            f"{self._text!r} is not supported; a program here is a list of gates, measurements, resets and barriers, "
            "without modifiers, undefined gates or classical control but 'if' on one bit"
        )

    def _other(self) -> None:
        """A gate's name, or in version 3 a register to measure into."""
        if self._dialect is QASM3 and self._text in self._clbits.by_name:
            self._assign()
        else:
            self._application()

    def _take(self, name: str, at: int) -> None:
        """The name is taken for a register or gate. A gate that only `further_gates` holds may be declared anew."""
        if name in self._taken:
            self._fail(f"{name!r} is declared twice", at)
        self._taken.add(name)

    def _declare_qubits(self) -> None:
        self._declare(self._qubits)

    def _declare_clbits(self) -> None:
        self._declare(self._clbits)

    def _declare(self, registers: _Registers) -> None:
        """``qreg q[5];`` or, in version 3, ``qubit q;``."""
        keyword = self._text
        self._step()
        if self._dialect is QASM3:
            self._add_register(registers, self._at, self._expect_name("a register name"), 1)
        else:
            if self._kind != "bit":
                self._fail(
                    f"expected a register name with its size after {keyword!r}, like q[5], found {self._shown()}"
                )
            name, at, size = self._match.group("register"), self._at, self._index()
            if name in self._keywords:
                self._fail(f"{name!r} is a keyword and cannot name a register")
            self._step()
            self._add_register(registers, at, name, size)
        self._expect(";", "the register")

    def _declare_or_assign(self) -> None:
        """``qubit[5] q;`` and ``bit[5] c;``, else ``c[0] = measure q[0];``."""
        word = self._match.group("register")
        if word not in (self._dialect.quantum_register, self._dialect.classical_register):
            self._assign()
            return
        size = self._index()
        self._step()
        registers = self._qubits if word == self._dialect.quantum_register else self._clbits
        self._add_register(registers, self._at, self._expect_name("a register name"), size)
        self._expect(";", "the register")

    def _add_register(self, registers: _Registers, at: int, name: str, size: int) -> None:
        self._take(name, at)
        if size == 0:
            self._fail(f"register {name!r} has no bits; a register needs at least one", at)
        if registers.size + size > registers.limit:
            raise LimitExceeded(f"the number of {registers.what}s", registers.size + size, registers.limit)
        registers.by_name[name] = _Register(registers.size, size)
        registers.size += size

    def _index(self) -> int:
        """The number in brackets; absurdly long digit strings are cut to a number that is still absurd."""
        return int(self._match.group("index")[:18])

    def _operand(self, registers: _Registers) -> int | _Register:
        """A bit's flat index, or a whole register."""
        if self._kind not in ("bit", "name"):
            self._fail(f"expected a {registers.what} or a register, found {self._shown()}")
        name = self._match.group("register") if self._kind == "bit" else self._text
        register = registers.by_name.get(name)
        if register is None:
            is_other = name in self._qubits.by_name or name in self._clbits.by_name
            reason = f"holds no {registers.what}s" if is_other else "is not declared"
            self._fail(f"register {shorten(name)!r} {reason}")
        if self._kind == "name":
            self._step()
            return register
        index = self._index()
        if index >= register.size:
            self._fail(f"{name}[{index}] is outside register {name!r} of size {register.size}")
        self._step()
        return register.start + index

    def _operands(self) -> list[int | _Register]:
        operands = [self._operand(self._qubits)]
        while self._accept(","):
            operands.append(self._operand(self._qubits))
        return operands

    def _barrier(self) -> None:
        self._step()
        mask = 0
        if self._dialect is QASM3 and self._text == ";":
            mask = (1 << self._qubits.size) - 1
        else:
            for operand in self._operands():
                mask |= 1 << operand if isinstance(operand, int) else ((1 << operand.size) - 1) << operand.start
        self._expect(";", "the barrier's qubits")
        self._charge(mask.bit_count())
        self._emit(barrier([qubit for qubit in range(self._qubits.size) if mask >> qubit & 1], self._qubits.size))

    def _measure(self) -> None:
        at = self._at
        self._step()
        source = self._operand(self._qubits)
        self._expect("->", "the measured qubit")
        self._emit_measurement(source, self._operand(self._clbits), at)

    def _assign(self) -> None:
        """``c[0] = measure q[0];`` of version 3."""
        at = self._at
        target = self._operand(self._clbits)
        self._expect("=", "the classical bit")
        if self._text != "measure":
            self._fail(f"expected 'measure' after '=', found {self._shown()}")
        self._step()
        self._emit_measurement(self._operand(self._qubits), target, at)

    def _emit_measurement(self, source: int | _Register, target: int | _Register, at: int) -> None:
        self._expect(";", "the measurement")
        if isinstance(source, int) and isinstance(target, int):
            self._emit(Operation("measure", (source,), clbit=target))
        elif isinstance(source, _Register) and isinstance(target, _Register):
            if source.size != target.size:
                self._fail(f"measures {source.size} qubits into {target.size} classical bits; the sizes must agree", at)
            for offset in range(source.size):
                self._emit(Operation("measure", (source.start + offset,), clbit=target.start + offset))
        else:
            self._fail("measures a register into one bit or one qubit into a register; both must be of one kind", at)

    def _reset(self) -> None:
        self._step()
        operand = self._operand(self._qubits)
        self._expect(";", "the qubit")
        qubits = (operand,) if isinstance(operand, int) else range(operand.start, operand.start + operand.size)
        for qubit in qubits:
            self._emit(Operation("reset", (qubit,), condition=self._condition))

    # conditions

    def _conditioned(self) -> None:
        """``if(c==1) x q[0];``, or in version 3 ``if (c[0]) { x q[0]; } else { y q[0]; }``."""
        self._step()
        self._expect("(", "'if'")
        is_negated = self._dialect is QASM3 and self._accept("!")
        at = self._at
        operand = self._operand(self._clbits)
        value = 1 - is_negated
        if self._dialect is QASM2 or (not is_negated and self._text == "=="):
            self._expect("==", "the condition's register")
            value = self._bit_value()
        if isinstance(operand, _Register):
            if operand.size > 1:
                self._fail(f"the condition reads a register of {operand.size} bits; a condition here reads one bit", at)
            operand = operand.start
        self._expect(")", "the condition")
        self._branch((operand, value))
        if self._dialect is QASM3 and self._kind == "name" and self._text == "else":
            self._step()
            self._branch((operand, 1 - value))

    def _bit_value(self) -> int:
        if self._text not in self._dialect.bit_values:
            known = ", ".join(self._dialect.bit_values)
            self._fail(f"expected the value of one bit ({known}), found {self._shown()}")
        value = self._dialect.bit_values[self._text]
        self._step()
        return value

    def _branch(self, condition: tuple[int, int]) -> None:
        """One statement under the condition, or in version 3 several in braces. None of them can change the bit."""
        self._condition = condition
        if self._dialect is QASM3 and self._accept("{"):
            while not self._accept("}"):
                self._count_statement()
                self._conditional_statement()
        else:
            self._conditional_statement()
        self._condition = None

    def _conditional_statement(self) -> None:
        if self._kind == "name" and self._text == "reset":
            self._reset()
        elif self._kind == "name" and self._text not in self._keywords - set(self._dialect.built_in):
            self._application()
        else:
            self._fail(f"a condition may stand before a gate or a reset only, found {self._shown()}")

    # gate applications

    def _callee(self) -> Gate | _Definition:
        name = self._text
        gate = self._gates.get(name)
        if gate is None:
            has_hint = name in GATES and not self._library_is_included
            hint = f"; add 'include \"{self._dialect.library}\";' at the top" if has_hint else ""
            self._fail(f"no gate named {shorten(name)!r} is defined here{hint}")
        self._step()
        return gate

    def _application(self) -> None:
        at = self._at
        gate = self._callee()
        angles: tuple[float, ...] = ()
        if self._text == "(":
            angles = self._angles()
        operands = self._operands()
        self._expect(";", "the gate's qubits")
        self._check_arity(gate, len(angles), len(operands), at)
        registers = [operand for operand in operands if isinstance(operand, _Register)]
        if not registers:
            self._apply(gate, angles, tuple(operands), at)  # type: ignore[arg-type]  # no registers: all are int
            return
        sizes = {register.size for register in registers}
        if len(sizes) > 1:
            self._fail(f"{gate.name!r} is applied to registers of different sizes {sorted(sizes)}", at)
        for offset in range(sizes.pop()):
            self._apply(gate, angles, tuple(o if isinstance(o, int) else o.start + offset for o in operands), at)

    def _check_arity(self, gate: Gate | _Definition, angles: int, qubits: int, at: int) -> None:
        if angles != gate.angle_count:
            self._fail(f"{gate.name!r} has {angles} angles, needs {gate.angle_count}", at)
        if qubits != gate.qubit_count:
            self._fail(f"{gate.name!r} has {qubits} qubits, needs {gate.qubit_count}", at)

    def _apply(self, gate: Gate | _Definition, angles: tuple[float, ...], qubits: tuple[int, ...], at: int) -> None:
        if len(qubits) > 1 and len(set(qubits)) != len(qubits):
            self._fail(f"{gate.name!r} is applied to one qubit twice", at)
        if isinstance(gate, Gate):
            self._emit(Operation(gate.name, qubits, angles, condition=self._condition))
        else:
            self._expand(gate, angles, qubits, at)

    def _expand(self, gate: _Definition, angles: tuple[float, ...], qubits: tuple[int, ...], at: int) -> None:
        """The operations of a defined gate, in place. Calls go at most `limits.nesting` deep."""
        for call in gate.body:
            self._charge(1 + sum(map(len, call.angles)))
            try:
                values = tuple(evaluate(expression, angles) for expression in call.angles)
            except ValueError as reason:
                self._fail(f"an angle of {call.callee.name!r} in gate {gate.name!r} {reason}", at)
            self._apply(call.callee, values, tuple(qubits[index] for index in call.qubits), at)

    def _charge(self, units: int) -> None:
        self._work += units
        if self._work > self._limits.work:
            raise LimitExceeded("the work of expanding gates and barriers", self._work, self._limits.work)

    def _emit(self, operation: Operation) -> None:
        if len(self._operations) >= self._limits.operations:
            raise LimitExceeded("the number of operations", len(self._operations) + 1, self._limits.operations)
        self._operations.append(operation)

    # gate definitions

    def _definition(self) -> None:
        self._definition_count += 1
        if self._definition_count > self._limits.definitions:
            raise LimitExceeded("the number of gate definitions", self._definition_count, self._limits.definitions)
        self._step()
        name_at = self._at
        name = self._expect_name("a gate name")
        self._take(name, name_at)
        angles: dict[str, int] = {}
        if self._accept("("):
            if self._text != ")":
                angles = self._formals("a parameter name", {})
            self._expect(")", "the gate's parameters")
        qubits = self._formals("a qubit name", angles)
        self._expect("{", "the gate's qubits")
        body: list[_Call] = []
        while not self._accept("}"):
            self._count_statement()
            call = self._call(angles, qubits)
            if call is not None:
                body.append(call)
        nesting = 1 + max((call.callee.nesting for call in body if isinstance(call.callee, _Definition)), default=0)
        if nesting > self._limits.nesting:
            raise LimitExceeded("the nesting of gate definitions", nesting, self._limits.nesting)
        definition = _Definition(name, len(angles), len(qubits), nesting, tuple(body))
        if definition == self._own.get(name):
            self._gates[name] = GATES[name]
        else:
            self._gates[name] = self.definitions[name] = definition

    def _formals(self, what: str, taken: dict[str, int]) -> dict[str, int]:
        names: dict[str, int] = {}
        while True:
            at = self._at
            name = self._expect_name(what)
            if name in names or name in taken:
                self._fail(f"{name!r} is declared twice", at)
            names[name] = len(names)
            if not self._accept(","):
                return names

    def _call(self, angles: dict[str, int], qubits: dict[str, int]) -> _Call | None:
        """One statement of a gate's body; None for a barrier, which is left out there."""
        at = self._at
        if self._kind != "name":
            self._fail(f"expected a gate in the gate's body, found {self._shown()}")
        if self._text == "barrier":
            self._step()
            self._inner_qubits(qubits)
            self._inner_barriers.append(at)
            return None
        callee = self._callee()
        expressions: tuple[Expression, ...] = ()
        if self._text == "(":
            expressions = self._expressions(angles)
        operands = self._inner_qubits(qubits)
        self._check_arity(callee, len(expressions), len(operands), at)
        if len(set(operands)) != len(operands):
            self._fail(f"{callee.name!r} is applied to one qubit twice", at)
        for expression in expressions:
            if not any(isinstance(term, Formal) for term in expression):
                self._value(expression, at)
        return _Call(callee, expressions, operands)

    def _inner_qubits(self, qubits: dict[str, int]) -> tuple[int, ...]:
        operands: list[int] = []
        while True:
            index = qubits.get(self._text) if self._kind == "name" else None
            if index is None:
                self._fail(f"expected one of the gate's qubits, found {self._shown()}")
            operands.append(index)
            self._step()
            if not self._accept(","):
                break
        self._expect(";", "the qubits")
        return tuple(operands)

    # angles

    def _angles(self) -> tuple[float, ...]:
        at = self._at
        return tuple([self._value(expression, at) for expression in self._expressions({})])

    # notes

    def _notes(self) -> tuple[Finding, ...]:
        notes: list[Finding] = []
        if self._inner_barriers:
            what = "a barrier inside a gate's definition is left out"
            count = len(self._inner_barriers)
            if count > 1:
                what = f"{count} barriers inside gates' definitions are left out, the first of them on this line"
            line, column = self._place(self._inner_barriers[0])
            hint = "write it beside the gate where it matters"
            notes.append(Finding("gate_barrier_dropped", "note", what, f"line {line}", hint, line, column))
        if self.definitions:
            names = [shorten(name) for name in self.definitions]
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            notes.append(Finding(
                "gate_expanded", "note", f"gates defined by the program are written out where they are used: {shown}",
            ))  # fmt: skip
        return tuple(notes)
