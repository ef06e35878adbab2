"""A chain over whole lines of OpenQASM: what writing circuits line by line comes to without a network.

Stands beside a model's samples as a proxy of generators whose vocabulary is lines; it is none of them.

Reference:
    [apak2024ketgpt] §3: one token a line, the prompt up to the qubit register, a ban of lines that hold a number
    beyond it, the five likeliest lines, a length drawn from the data. A chain of order ORDER stands for the network.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from app.quantum.program import QuantumProgram
from app.quantum.qasm import write_qasm2

ORDER = 3
_LIKELIEST = 5
_NUMBER = re.compile(r"\d+")
_HEAD = ("OPENQASM 2.0;", 'include "qelib1.inc";')


class LineChain:
    """Counts of which line follows which ORDER lines."""

    def __init__(self, programs: Iterable[QuantumProgram]) -> None:
        """From the texts of the programs without definitions of gates; dynamic ones, which have none, are no part."""
        self._after: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self._lengths: list[int] = []
        for program in programs:
            if program.is_dynamic:
                continue
            lines = _lines(program)
            self._lengths.append(len(lines))
            for place in range(len(_HEAD) + 1, len(lines)):
                for order in range(1, ORDER + 1):
                    self._after[tuple(lines[max(0, place - order) : place])][lines[place]] += 1

    def text(self, qubits: int, rng: random.Random) -> str:
        """A text that begins with a register of so many qubits, as the chain goes on.

        It is as long as some text of the data, or shorter where nothing is known to follow. Where the last lines were
        never seen together, fewer of them decide.
        """
        lines = [*_HEAD, f"qreg q[{qubits}];"]
        for _ in range(rng.choice(self._lengths) - len(lines)):
            following = self._following(lines, qubits)
            if not following:
                break
            lines += rng.choices(list(following), list(following.values()))
        return "\n".join(lines) + "\n"

    def _following(self, lines: list[str], qubits: int) -> dict[str, int]:
        for order in range(ORDER, 0, -1):
            known = self._after.get(tuple(lines[-order:]), Counter())
            allowed = Counter({line: count for line, count in known.items() if _is_below(line, qubits)})
            if allowed:
                return dict(allowed.most_common(_LIKELIEST))
        return {}


def _is_below(line: str, qubits: int) -> bool:
    """Whether every whole number of the line is below, those of angles included."""
    return all(int(number) < qubits for number in _NUMBER.findall(line)) or line.startswith("creg")


def _lines(program: QuantumProgram) -> list[str]:
    flat = QuantumProgram(program.qubit_count, program.clbit_count, program.operations)
    return [line for line in write_qasm2(flat).splitlines() if not line.startswith("gate ")]
