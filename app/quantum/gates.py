"""The gates a program may use: arity, angles, and the definitions that OpenQASM texts must carry for some of them.

Every definition is the gate that Qiskit knows by this name, up to a global phase.

Reference:
    [cross2017openqasm] §3: the 23 gates of the paper's qelib1.inc; Qiskit's later additions are defined by us.
    [cross2022openqasm]: stdgates.inc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate. `angle_period_pi` is the period of every angle in units of pi (2, or 4 where a half angle enters).

    A global phase counts here: `rx` has period 4. `definition` is empty for the gates of the paper's qelib1.inc;
    otherwise OpenQASM 2 text that uses those gates alone.
    """

    name: str
    qubit_count: int
    angle_count: int = 0
    angle_period_pi: int = 4
    definition: str = ""


_ALL: tuple[Gate, ...] = (
    # the paper's qelib1.inc
    Gate("u3", 1, 3), Gate("u2", 1, 2), Gate("u1", 1, 1, 2), Gate("cx", 2), Gate("id", 1),
    Gate("x", 1), Gate("y", 1), Gate("z", 1), Gate("h", 1), Gate("s", 1), Gate("sdg", 1), Gate("t", 1), Gate("tdg", 1),
    Gate("rx", 1, 1), Gate("ry", 1, 1), Gate("rz", 1, 1), Gate("cz", 2), Gate("cy", 2), Gate("ch", 2), Gate("ccx", 3),
    Gate("crz", 2, 1), Gate("cu1", 2, 1, 2), Gate("cu3", 2, 3),
    # Qiskit's extended qelib1.inc
    Gate("u", 1, 3, 4, "gate u(theta,phi,lambda) a { U(theta,phi,lambda) a; }"),
    Gate("p", 1, 1, 2, "gate p(lambda) a { U(0,0,lambda) a; }"),
    Gate("sx", 1, 0, 4, "gate sx a { sdg a; h a; sdg a; }"),
    Gate("sxdg", 1, 0, 4, "gate sxdg a { s a; h a; s a; }"),
    Gate("swap", 2, 0, 4, "gate swap a,b { cx a,b; cx b,a; cx a,b; }"),
    Gate("cswap", 3, 0, 4, "gate cswap a,b,c { cx c,b; ccx a,b,c; cx c,b; }"),
    Gate("crx", 2, 1, 4, "gate crx(theta) a,b { h b; crz(theta) a,b; h b; }"),
    Gate("cry", 2, 1, 4, "gate cry(theta) a,b { ry(theta/2) b; cx a,b; ry(-theta/2) b; cx a,b; }"),
    Gate("cp", 2, 1, 2, "gate cp(lambda) a,b { cu1(lambda) a,b; }"),
    Gate("csx", 2, 0, 4, "gate csx a,b { h b; cu1(pi/2) a,b; h b; }"),
    Gate("cu", 2, 4, 4, "gate cu(theta,phi,lambda,gamma) a,b { u1(gamma) a; cu3(theta,phi,lambda) a,b; }"),
    Gate("rxx", 2, 1, 4, "gate rxx(theta) a,b { h a; h b; cx a,b; rz(theta) b; cx a,b; h b; h a; }"),
    Gate("rzz", 2, 1, 4, "gate rzz(theta) a,b { cx a,b; rz(theta) b; cx a,b; }"),
    Gate("rccx", 3, 0, 4,
         "gate rccx a,b,c { u2(0,pi) c; u1(pi/4) c; cx b,c; u1(-pi/4) c; cx a,c; u1(pi/4) c; cx b,c; u1(-pi/4) c; "
         "u2(0,pi) c; }"),
    Gate("ryy", 2, 1, 4, "gate ryy(theta) a,b { rx(pi/2) a; rx(pi/2) b; cx a,b; rz(theta) b; cx a,b; rx(-pi/2) a; "
         "rx(-pi/2) b; }"),
    Gate("iswap", 2, 0, 4, "gate iswap a,b { s a; s b; h a; cx a,b; cx b,a; h b; }"),
    Gate("ccz", 3, 0, 4, "gate ccz a,b,c { h c; ccx a,b,c; h c; }"),
    # the rest of Qiskit's standard gates; `r` and the two of XX and YY have (theta, phi) and (theta, beta) there
    Gate("cs", 2, 0, 4, "gate cs a,b { cu1(pi/2) a,b; }"),
    Gate("csdg", 2, 0, 4, "gate csdg a,b { cu1(-pi/2) a,b; }"),
    Gate("dcx", 2, 0, 4, "gate dcx a,b { cx a,b; cx b,a; }"),
    Gate("ecr", 2, 0, 4, "gate ecr a,b { s a; sdg b; h b; sdg b; cx a,b; x a; }"),
    Gate("rzx", 2, 1, 4, "gate rzx(theta) a,b { h b; cx a,b; rz(theta) b; cx a,b; h b; }"),
    Gate("r", 1, 2, 4, "gate r(alpha,beta) a { u3(alpha,beta-pi/2,pi/2-beta) a; }"),
    Gate("xx_plus_yy", 2, 2, 4,
         "gate xx_plus_yy(alpha,beta) a,b { rz(beta) a; z b; h b; s a; cx b,a; ry(-alpha/2) b; "
         "ry(-alpha/2) a; cx b,a; sdg a; h b; z b; rz(-beta) a; }"),
    Gate("xx_minus_yy", 2, 2, 4,
         "gate xx_minus_yy(alpha,beta) a,b { rz(-beta) b; z a; h a; s b; cx a,b; ry(alpha/2) a; "
         "ry(-alpha/2) b; cx a,b; sdg b; h a; z a; rz(beta) b; }"),
    Gate("rcccx", 4, 0, 4,
         "gate rcccx a,b,c,d { u2(0,pi) d; u1(pi/4) d; cx c,d; u1(-pi/4) d; u2(0,pi) d; cx a,d; u1(pi/4) d; cx b,d; "
         "u1(-pi/4) d; cx a,d; u1(pi/4) d; cx b,d; u1(-pi/4) d; u2(0,pi) d; u1(pi/4) d; cx c,d; u1(-pi/4) d; "
         "u2(0,pi) d; }"),
)  # fmt: skip

#: Every gate by name, in vocabulary order.
GATES: Final[Mapping[str, Gate]] = MappingProxyType({gate.name: gate for gate in _ALL})

#: What an OpenQASM 2 text must define before it uses the gate: all but the gates of the paper's qelib1.inc.
QASM2_DEFINITIONS: Final[Mapping[str, str]] = MappingProxyType({g.name: g.definition for g in _ALL if g.definition})

#: The gates that OpenQASM 3's stdgates.inc defines.
STDGATES: Final = frozenset(
    ("p", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "rx", "ry", "rz", "cx", "cy", "cz", "cp", "crx", "cry",
     "crz", "ch", "swap", "ccx", "cswap", "cu", "id", "u1", "u2", "u3")
)  # fmt: skip

#: What an OpenQASM 3 text must define before it uses the gate: all but `STDGATES`. A definition may use another one.
#: Parameters are named in alphabetical order because Qiskit's importer (qiskit_qasm3_import 0.6) hands arguments to
#: them in that order, not as declared.
QASM3_DEFINITIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cu1": "gate cu1(lambda) a,b { cp(lambda) a,b; }",
        "cu3": "gate cu3(alpha,beta,gamma) a,b { cu(alpha,beta,gamma,0) a,b; }",
        "u": "gate u(alpha,beta,gamma) a { U(alpha,beta,gamma) a; }",
        **{name: text for name, text in QASM2_DEFINITIONS.items() if name not in STDGATES | {"u"}},
    }
)
