"""Corpora of every kind, read and made ready for training. Needs what reads circuits: networkx, and Qiskit for programs
that are rebuilt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.netlist import Netlist
from app.errors import InvalidRequest
from app.quantum.program import QuantumProgram
from app.quantum.skeleton import ngram_labels, skeleton_hash
from app.tokens._base import languages
from app.training import analog, quantum
from app.training.prepared import CircuitFacts, Prepared, prepare
from app.training.sentences import Example, split

#: By kind: what circuits of one split class share, and what a sentence's length is measured by.
_SPLIT = {"analog": "by wiring and by the op-amps inside", "quantum": "by skeleton"}
_UNIT = {"analog": "device", "quantum": "statement"}


def read_examples(kind: str, source: Path | None) -> tuple[list[Example[Any]], str]:
    """The corpus of a kind with its split classes, and a sentence on where it is from."""
    if kind == "analog":
        circuits, told = analog.read_circuits(source)
        return analog.examples(circuits), told
    if kind == "quantum":
        programs, told = quantum.read_programs(source)
        return quantum.examples(programs), told
    raise InvalidRequest(f"no training for kind {kind!r}; known: analog, quantum")


def facts_of(circuit: Netlist | QuantumProgram) -> CircuitFacts:
    """Size, identity and labels of a circuit of either kind."""
    if isinstance(circuit, Netlist):
        return CircuitFacts(len(circuit.devices), canonical_hash(circuit), wl_labels(circuit))
    return CircuitFacts(len(circuit.operations), skeleton_hash(circuit), ngram_labels(circuit))


def prepared_corpus(kind: str, language: str, held_out_share: float, source: Path | None) -> Prepared:
    """The corpus of a kind as sentences of a language, with its held-out side.

    Args:
        source: A corpus folder or file, or None for what the project ships or rebuilds.
    """
    examples, told = read_examples(kind, source)
    seen, unseen = split(examples, held_out_share)
    if kind == "analog":
        others = analog.complements(seen, unseen)
        seen += others
        told += f"; complements of {len(others)} of the training circuits"
    held_out = {id(example) for example in unseen}
    examples = [*seen, *unseen]
    return prepare(
        examples, [id(example) in held_out for example in examples], languages[language], facts_of,
        kind=kind, corpus=told, split=_SPLIT[kind], held_out_share=held_out_share, unit=_UNIT[kind],
    )  # fmt: skip
