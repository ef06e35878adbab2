"""OpenQASM programs from a family, a width, a gate set and a coupling map. Validity is the validators' matter."""

from __future__ import annotations

from app.errors import InvalidRequest
from app.generators._base import AnyLanguage, Candidate, Plan, generators, satisfiable
from app.inference.engine import Prompt
from app.measures.novelty import TrainingIndex
from app.quantum.qasm import write_qasm2, write_qasm3
from app.quantum.skeleton import ngram_labels, skeleton_hash
from app.requests import QuantumGenerateRequest
from app.tokens.qasm_domain import ProgramConstraint
from app.validators._base import Subject

#: Most statements where a request does not say: about what fits the training context.
DEFAULT_MAX_STATEMENTS = 256


class QuantumProgramGenerator:
    """See the module."""

    kind = "quantum.generate"

    def plan(self, request: QuantumGenerateRequest, language: AnyLanguage) -> Plan:
        """The prompt; under a grammar every constraint is exact, without one only family and width are asked for."""
        statements = request.max_gates or max(DEFAULT_MAX_STATEMENTS, 2 * (request.qubits or 0))
        constraint = ProgramConstraint(
            family=request.family,
            qubits=request.qubits,
            max_statements=statements,
            gate_set=request.gate_set,
            coupling=_coupling(request),
        )
        prompt = Prompt(tuple(language.prompt(constraint)), constraint, request.grammar)
        return Plan(prompt, satisfiable(language, constraint).longest(constraint))

    def candidate(
        self, ids: list[int], request: QuantumGenerateRequest, language: AnyLanguage, seen: TrainingIndex | None
    ) -> Candidate:
        """The program's text in the format asked for, and how near it is to the training programs.

        What the bare network wrote (without the grammar) is taken at whatever size it ended.
        """
        program, family = language.decode(ids, checks_size=request.grammar)
        text = write_qasm3(program) if request.format == "qasm3" else write_qasm2(program)
        fields = {
            "family": family,
            "program": text,
            "format": request.format,
            "qubits": program.qubit_count,
            "gate_count": program.gate_count,
            "depth": program.depth,
        }
        if seen is not None:
            fields["novelty"] = seen.novelty(skeleton_hash(program), ngram_labels(program)).as_json()
        return Candidate(Subject(text, program=program), fields)


def _coupling(request: QuantumGenerateRequest) -> tuple[tuple[int, int], ...] | None:
    """Pairs of a named or explicit coupling map; None where any two qubits may interact."""
    if request.coupling_map is None or request.coupling_map == "full":
        return None
    if request.coupling_map == "line":
        if request.qubits is None:
            raise InvalidRequest("a coupling map needs a number of qubits", pointer="/qubits")
        return tuple((qubit, qubit + 1) for qubit in range(request.qubits - 1))
    return request.coupling_map


generators.add("quantum_program", QuantumProgramGenerator())
