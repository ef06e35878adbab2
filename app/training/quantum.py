"""Training the quantum generator: programs as sentences of the domain language, split by skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.quantum.corpus import CorpusProgram, build_corpus, read_jsonl
from app.quantum.program import Operation, QuantumProgram
from app.quantum.skeleton import skeleton_hash
from app.training.sentences import Example


def read_programs(source: Path | None) -> tuple[tuple[CorpusProgram, ...], str]:
    """The corpus programs and a sentence on where they are from; rebuilt from mqt.bench and Qiskit without a source."""
    if source is None:
        programs = tuple(build_corpus())
        return programs, f"{len(programs)} programs rebuilt from mqt.bench and Qiskit"
    programs = read_jsonl(source)
    return programs, f"JSON Lines corpus (mqt.bench, Qiskit builders, QASMBench), {len(programs)} programs"


def compacted(program: QuantumProgram) -> QuantumProgram:
    """The program without idle qubits and without classical bits that nothing measures into; the rest keep order."""
    qubits = {q: n for n, q in enumerate(sorted({q for op in program.operations for q in op.qubits}))}
    clbits = {c: n for n, c in enumerate(sorted({op.clbit for op in program.operations if op.clbit is not None}))}
    if len(qubits) == program.qubit_count and len(clbits) == program.clbit_count:
        return program
    operations = tuple(
        Operation(
            op.name, tuple(qubits[q] for q in op.qubits), op.angles, None if op.clbit is None else clbits[op.clbit]
        )
        for op in program.operations
    )
    return QuantumProgram(len(qubits), len(clbits), operations)


def examples(programs: Sequence[CorpusProgram]) -> list[Example[QuantumProgram]]:
    """Each program, compacted, with its family; programs of one skeleton share a split class."""
    compact = ((compacted(entry.program), entry.family) for entry in programs)
    return [Example(program, family, skeleton_hash(program)) for program, family in compact]
