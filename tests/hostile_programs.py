"""OpenQASM texts that mean harm, by what they try."""

from __future__ import annotations

HEAD = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'
HEAD_3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'


def _doubling(count: int) -> str:
    gates = ["gate g0 a { x a; x a; }"] + [f"gate g{i} a {{ g{i - 1} a; g{i - 1} a; }}" for i in range(1, count)]
    return HEAD + "\n".join(gates) + f"\nqreg q[1];\ng{count - 1} q[0];\n"


_LONG_ANGLE = "gate f(t) a { " + f"rx({'+'.join(['t'] * 400)}) a; " * 40 + "}"

_LISTED_BARRIER = "barrier " + ",".join(f"q[{i}]" for i in range(800)) + ";\n"

#: Texts that are meant to keep a reader busy, to fill its memory, or to lead it astray.
HOSTILE = {
    "a doubling of gates, forty times": _doubling(40),
    "a doubling of gates, as deep as allowed": _doubling(16),
    "a doubling of empty gates": _doubling(15).replace("{ x a; x a; }", "{ }") + "g14 q[0];\n" * 500,
    "a million qubits": HEAD + "qreg q[1000000];",
    "a register of absurd size": HEAD + "qreg q[" + "9" * 5000 + "];",
    "a million characters of blanks": HEAD + " " * 999_000,
    "a million characters of one name": HEAD + "a" * 999_000,
    "a million characters of brackets": HEAD + "qreg q[1]; rx" + "(" * 990_000,
    "a million minus signs": HEAD + "qreg q[1]; rx(" + "-" * 990_000,
    "a million digits": HEAD + "qreg q[1]; rx(" + "9" * 990_000 + ") q[0];",
    "a long sum": HEAD + "qreg q[1]; rx(" + "1+" * 490_000 + "1) q[0];",
    "a tower of powers": HEAD + "qreg q[1]; rx(" + "9^" * 50 + "9) q[0];",
    "a comment without an end": HEAD + "//" * 499_000,
    "names and blanks": HEAD + ("a" + " " * 1000) * 900,
    "semicolons": HEAD + ";" * 990_000,
    "wide barriers": HEAD + "qreg q[1024];" + "barrier q;" * 19_000,
    "wide barriers over a part": HEAD + "qreg q[1024]; qreg r[1];" + "barrier q;" * 19_000,
    "barriers that list their qubits": HEAD + "qreg q[1024]; qreg r[1];" + _LISTED_BARRIER * 150,
    "a tower of conditions": HEAD_3 + "qubit q; bit c;\n" + "if (c == true) { " * 58_000,
    "a ladder of conditions": HEAD_3 + "qubit q; bit c;\n" + "if (c == true) { x q; } else " * 30_000,
    "conditions of version 2 without an end": HEAD + "qreg q[1]; creg c[1]; " + "if(c==1) " * 100_000,
    "a condition on an absurd number": HEAD + "qreg q[1]; creg c[1]; if(c==" + "9" * 900_000 + ") x q[0];",
    "many registers": HEAD + "".join(f"qreg q{i}[1];" for i in range(20_000)),
    "wide broadcasts": HEAD + "qreg q[1024];" + "h q;" * 19_000,
    "long angles in expansions": HEAD + _LONG_ANGLE + "qreg q[1]; " + "f(0.1) q[0]; " * 19_000,
    "many formals": HEAD + "gate g " + ",".join(f"a{i}" for i in range(100_000)) + " { }",
    "an unclosed string": HEAD + 'include "' + "x" * 990_000,
    "other alphabets": HEAD + "qreg \u1d452[1]; h \u1d452[0];",
    "a null character": HEAD + "qreg q[1];\x00",
    "a lone surrogate": HEAD + "qreg q[1];\udc80",
}  # fmt: skip
