"""What a validator is: something that reads a circuit and says what is wrong with it. Knows no particular check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from app.analog.netlist import Netlist
from app.findings import Finding, has_errors
from app.quantum.program import QuantumProgram
from app.registry import Registry

if TYPE_CHECKING:
    from app.simulators.operating_point import OperatingPointSimulator
    from app.simulators.processes import WorkerPool
    from app.testbenches._simulator import BenchSimulator

#: How far a circuit is checked, from cheap to dear: wiring, DC solution, conduction after a bias search, function.
Rung: TypeAlias = Literal["structure", "operating_point", "conduction", "function"]

RUNGS: tuple[Rung, ...] = ("structure", "operating_point", "conduction", "function")

#: Operating points that the bias search of the rung ``conduction`` may try for one circuit.
BIAS_POINTS = 64

#: A value that `json.dumps` writes.
JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


@dataclass(frozen=True, slots=True)
class Subject:
    """A circuit to check: its text, and its parsed value (`netlist` for analog, `program` for quantum).

    `function_of` is the circuit type whose function an analog circuit is to be tried for; it is not tried where None.
    """

    text: str
    netlist: Netlist | None = None
    program: QuantumProgram | None = None
    function_of: str | None = None

    @property
    def kind(self) -> Literal["analog", "quantum"]:
        """What kind of circuit it is."""
        return "quantum" if self.netlist is None else "analog"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one validator says: findings, and facts worth keeping beside the circuit (JSON, units in the names)."""

    findings: tuple[Finding, ...] = ()
    facts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def is_valid(self) -> bool:
        """True when no finding is an error."""
        return not has_errors(self.findings)


@dataclass(frozen=True, slots=True)
class ValidationTools:
    """The machinery a validator may use; None where the caller runs without it.

    A validator that needs a tool which is absent says so with a finding of severity `note` and checks what it can.
    `bias_points` are the operating points that a bias search may try.
    """

    simulator: OperatingPointSimulator | None = None
    qiskit: WorkerPool | None = None
    benches: BenchSimulator | None = None
    bias_points: int = BIAS_POINTS


class Validator(Protocol):
    """One check of circuits of one kind.

    `rung` is its place on the ladder: it is asked only where no validator below it found an error.
    `accepts` and `rejects` are texts (SPICE or OpenQASM) of a circuit it finds no error in and of one it does; the
    conformance test runs both. `check` blocks, may be called from many threads at once, and raises only when the
    work could not be done (SimulatorFailure, Unavailable): a wrong circuit is a finding.
    """

    kind: Literal["analog", "quantum"]
    rung: Rung
    summary: str
    accepts: str
    rejects: str

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        """The verdict on one circuit."""
        ...


#: Every validator by name: one module of `app.validators` each, which calls ``validators.add("<module name>", ...)``.
validators: Registry[Validator] = Registry("validator", "app.validators")
