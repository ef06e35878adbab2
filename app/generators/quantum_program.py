"""OpenQASM programs from a family, a width, depths, a gate set, a coupling map and a program to continue.

Validity is the validators' matter.
"""

from __future__ import annotations

from functools import lru_cache

from app.errors import InvalidRequest, NotASentence, NotExpressible, pointing_at
from app.generators._base import AnyLanguage, Candidate, Plan, generators, satisfiable
from app.inference.engine import Prompt
from app.measures.novelty import TrainingIndex
from app.quantum.coupling import Pair, coupling_map
from app.quantum.family_needs import contradictions
from app.quantum.program import QuantumProgram
from app.quantum.qasm import read_qasm, write_qasm2, write_qasm3
from app.quantum.skeleton import ngram_labels, skeleton_hash
from app.requests import QuantumGenerateRequest
from app.tokens.qasm_domain import BOUNDS, MAX_STATEMENTS, ProgramConstraint, QasmDomain
from app.validators._base import Subject

#: Most statements where a request does not say: about what fits the training context.
DEFAULT_MAX_STATEMENTS = 256

_PREFIXES_KEPT = 16


class QuantumProgramGenerator:
    """See the module."""

    kind = "quantum.generate"

    def plan(self, request: QuantumGenerateRequest, language: AnyLanguage) -> Plan:
        """The prompt; under a grammar every constraint but the depth is exact, without one the prompt alone binds.

        Raises:
            UnknownName: There is no such family or gate.
            InvalidInput: No program is what the request asks for; the pointer tells the field.
        """
        begun = _begun(request)
        constraint = ProgramConstraint(
            family=request.family,
            qubits=request.qubits,
            max_statements=request.max_gates or _usual_ceiling(request, begun),
            min_statements=request.min_gates or 1,
            depth=_depth(request),
            gate_set=request.gate_set,
            coupling=_coupling(request, begun),
            prefix=_prefix(begun),
            dynamic=request.dynamic,
        )
        _check_family(constraint)
        prompt = Prompt(tuple(language.prompt(constraint)), constraint, request.grammar)
        return Plan(prompt, satisfiable(language, constraint).longest(constraint))

    def candidate(
        self, ids: list[int], request: QuantumGenerateRequest, language: AnyLanguage, seen: TrainingIndex | None
    ) -> Candidate:
        """The program's text in the format asked for, and how near it is to the training programs.

        What the bare network wrote (without the grammar) is taken at whatever size it ended.
        """
        program, family = language.decode(ids, checks_size=request.grammar)
        try:
            text = write_qasm3(program) if request.format == "qasm3" else write_qasm2(program)
        except NotExpressible as error:
            raise NotASentence(len(ids), str(error)) from error
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


def _begun(request: QuantumGenerateRequest) -> QuantumProgram | None:
    """The program to continue; None where there is none."""
    if request.dynamic and request.format != "qasm3":
        raise InvalidRequest(
            "a program whose gates depend on measured bits is written in OpenQASM 3; set format to qasm3",
            pointer="/format",
        )
    if request.prefix is None:
        return None
    if not request.grammar:
        raise InvalidRequest(
            "the grammar alone keeps a prefix; leave one of the two out, or set grammar to true", pointer="/grammar"
        )
    with pointing_at("/prefix"):
        return _read(request.prefix)


@lru_cache(maxsize=_PREFIXES_KEPT)
def _read(text: str) -> QuantumProgram:
    program = read_qasm(text).program
    if program.qubit_count < 1:
        raise InvalidRequest("the prefix declares no qubit")
    return program


def _prefix(begun: QuantumProgram | None) -> tuple[int, ...]:
    """The program to continue in the words of a sentence."""
    if begun is None:
        return ()
    try:
        return QasmDomain().prefix(begun)
    except NotExpressible as error:
        raise InvalidRequest(f"the prefix cannot be continued: {error}", pointer="/prefix") from error


def _usual_ceiling(request: QuantumGenerateRequest, begun: QuantumProgram | None) -> int:
    """Most statements where a request does not say."""
    width, done = (begun.qubit_count, len(begun.operations)) if begun else (request.qubits or 0, 0)
    return min(MAX_STATEMENTS, max(DEFAULT_MAX_STATEMENTS, 2 * width, 2 * done, request.min_gates or 1))


def _depth(request: QuantumGenerateRequest) -> tuple[int, int] | None:
    """The least and the greatest depth asked for."""
    if request.min_depth is None and request.max_depth is None:
        return None
    return request.min_depth or 0, request.max_depth or BOUNDS[-1]


def _coupling(request: QuantumGenerateRequest, begun: QuantumProgram | None) -> tuple[Pair, ...] | None:
    """Pairs of a named or explicit coupling map; None where any two qubits may interact."""
    if request.coupling_map is None or request.coupling_map == "full":
        return None
    if not isinstance(request.coupling_map, str):
        return request.coupling_map
    qubits = request.qubits if begun is None else begun.qubit_count
    if qubits is None:
        raise InvalidRequest("a coupling map needs a number of qubits", pointer="/qubits")
    return coupling_map(request.coupling_map, qubits)


def _check_family(constraint: ProgramConstraint) -> None:
    """The family asked for can have what is asked for, else InvalidRequest."""
    if constraint.family is not None:
        for error in contradictions(
            constraint.family,
            qubits=constraint.width,
            gate_set=constraint.gate_set,
            coupling=constraint.coupling,
            is_dynamic=constraint.dynamic,
        ):
            raise error


generators.add("quantum_program", QuantumProgramGenerator())
