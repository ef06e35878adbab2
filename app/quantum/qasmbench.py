"""QASMBench's circuits from a clone of its repository, labelled by the names of their files.

Reference:
    [li2023qasmbench].
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from app.errors import CorpusMissing, JosephsonError
from app.quantum.corpus import RESERVED_FAMILIES, CorpusProgram, Dropped, Reading
from app.quantum.program import compacted
from app.quantum.qasm import read_qasm
from app.quantum.skeleton import skeleton_hash

#: What the circuits' `source` is.
QASMBENCH: Final = "QASMBench"

#: Largest file that is read, in bytes: what is longer holds far more statements than a corpus takes.
_LARGEST_FILE = 400_000

#: The stem of a file's name -> the family that the circuit is of.
_FAMILIES: Final = {
    "adder": "adder_scaffold", "basis_change": "basis_change", "basis_test": "basis_test",
    "basis_trotter": "basis_test", "bb84": "bb84", "bell": "bell", "bigadder": "adder_scaffold",
    "bv": "bernstein_vazirani", "cat": "ghz", "cat_state": "ghz", "deutsch": "deutsch_jozsa",
    "dnn": "qnn", "dj": "deutsch_jozsa", "error_correctiond3": "error_correctiond3", "fredkin": "fredkin",
    "ghz": "ghz", "ghz_state": "ghz", "grover": "grover", "hhl": "hhl", "hs4": "hidden_subgroup",
    "inverseqft": "qft_dynamic", "ipea": "qpe_iterative", "ising": "trotter_tfim", "iswap": "iswap", "knn": "knn",
    "linearsolver": "hhl", "lpn": "lpn", "multiplier": "multiplier", "multiply": "multiplier", "pea": "qpe",
    "qaoa": "qaoa", "qec9xz": "qec_shor9", "qec_en": "qec_five_qubit", "qec_sm": "qec_repetition", "qf21": "shor",
    "qft": "qft", "qpe": "qpe", "qram": "qram", "qrng": "qrng", "quantumwalks": "quantum_walk", "qugan": "qugan",
    "sat": "sat", "seca": "seca", "shor": "shor", "simon": "simon", "square_root": "square_root",
    "swap_test": "swap_test", "teleport": "teleportation_dynamic", "teleportation": "teleportation",
    "toffoli": "toffoli", "variational": "vqe_other", "vqe": "vqe_other", "vqe_uccsd": "vqe_uccsd",
    "wstate": "w_state",
}  # fmt: skip


def read_qasmbench(clone: Path) -> Reading:
    """Every ``.qasm`` file below the folder, by name of its path; what cannot be read or labelled is left out.

    Raises:
        CorpusMissing: There is no such file below the folder.
    """
    files = sorted(clone.rglob("*.qasm"))
    if not files:
        raise CorpusMissing(
            f"no .qasm file below {clone}, so it is no clone of QASMBench; name the folder that holds its 'small', "
            "'medium' and 'large'"
        )
    entries = [_read(clone, file) for file in files]
    return Reading(
        tuple(entry for entry in entries if isinstance(entry, CorpusProgram)),
        tuple(entry for entry in entries if isinstance(entry, Dropped)),
    )


def _read(clone: Path, file: Path) -> CorpusProgram | Dropped:
    identity = file.relative_to(clone).as_posix()
    family = family_of(file.stem)
    if family is None or family in RESERVED_FAMILIES:
        return Dropped(identity, family or file.stem, "unlabelled" if family is None else "reserved")
    try:
        if file.stat().st_size > _LARGEST_FILE:
            return Dropped(identity, family, "long")
        program = compacted(read_qasm(file.read_text(encoding="utf-8")).program)
    except (OSError, UnicodeDecodeError, JosephsonError):
        return Dropped(identity, family, "unreadable")
    return CorpusProgram(identity, family, "algorithm", program, QASMBENCH, skeleton_hash(program), False)


def family_of(stem: str) -> str | None:
    """The family that a file's stem tells, such as ``adder_n10`` or ``adder_n10_transpiled``; None where none."""
    return _FAMILIES.get(re.sub(r"(_n\d+)?(_transpiled)?$", "", stem))
