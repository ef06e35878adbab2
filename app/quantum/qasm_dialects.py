"""What OpenQASM 2 and 3 say in different words, as far as programs need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.quantum.gates import GATES, QASM2_DEFINITIONS, QASM3_DEFINITIONS, STDGATES, Gate
from app.quantum.qasm_expressions import FUNCTIONS

_QELIB1 = frozenset(GATES) - frozenset(QASM2_DEFINITIONS)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the versions say differently. `built_in` gates are known without the `library` that may be included.

    `bit_values` are the words for what one bit may be compared to.

    The library holds `library_gates`; `further_gates` are known with it and may be defined anew by the text.
    """

    versions: tuple[str, ...]
    library: str
    built_in: Mapping[str, Gate]
    library_gates: frozenset[str]
    further_gates: frozenset[str]
    definitions: Mapping[str, str]
    aliases: Mapping[str, str]
    functions: Mapping[str, str]
    power: str
    has_integers: bool
    quantum_register: str
    classical_register: str
    bit_values: Mapping[str, int]
    keywords: frozenset[str]
    unsupported: frozenset[str]


QASM2: Final = Dialect(
    versions=("2.0", "2"),
    library="qelib1.inc",
    built_in={"U": GATES["u"], "CX": GATES["cx"]},
    library_gates=_QELIB1,
    further_gates=frozenset(QASM2_DEFINITIONS),
    definitions=QASM2_DEFINITIONS,
    aliases={},
    functions={name: name for name in FUNCTIONS},
    power="^",
    has_integers=False,
    quantum_register="qreg",
    classical_register="creg",
    bit_values={"0": 0, "1": 1},
    keywords=_words("OPENQASM include qreg creg gate opaque barrier measure reset if pi U CX"),
    unsupported=_words("opaque"),
)


_CONTROL = _words(
    "else for while switch def defcal cal extern box delay let const input output return end int uint float angle bool "
    "gphase ctrl negctrl inv pow qreg creg"
)

QASM3: Final = Dialect(
    versions=("3.0", "3", "3.1"),
    library="stdgates.inc",
    built_in={"U": GATES["u"]},
    library_gates=STDGATES,
    further_gates=frozenset(),
    definitions=QASM3_DEFINITIONS,
    aliases={"CX": "cx", "phase": "p", "cphase": "cp"},
    functions={"log" if name == "ln" else name: name for name in FUNCTIONS},
    power="**",
    has_integers=True,
    quantum_register="qubit",
    classical_register="bit",
    bit_values={"false": 0, "true": 1, "0": 0, "1": 1},
    keywords=_words("OPENQASM include qubit bit gate barrier measure reset pi U if true false") | _CONTROL,
    unsupported=_CONTROL,
)
