"""Circuits and specifications to compare sizing methods on, each with sizes that are known to meet it.

They ship in ``data/sizing``, a file for each testbench; `app.benchmarks.sizing_specifications` makes them. Knows no
method.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from app.analog.netlist import Netlist
from app.errors import UnknownName
from app.resources import data_path
from app.sizing.problem import SizingProblem
from app.sizing.setup import sizing_setup
from app.specification import CornerSet, Specification, specification_of
from app.technologies._base import technologies
from app.technologies._gmid import GmIdProvider
from app.testbenches._base import testbenches


@dataclass(frozen=True, eq=False)
class SizingCase:
    """One circuit and what it is to do.

    `circuit` is an archetype's id and `profile` says what is asked of it. `bounds` are texts of the specification,
    which were `steps` backed off from what the `solution` does; `meeting` of `draws` sizings of the method ``random``
    meet them. A solution that `is_improved` is better than all of these draws.
    """

    circuit: str
    profile: str
    testbench: str
    technology: str
    bounds: tuple[str, ...]
    settings: Mapping[str, float]
    corners: CornerSet
    solution: Mapping[str, float]
    steps: int
    draws: int
    meeting: int
    is_improved: bool

    @property
    def name(self) -> str:
        """``opamp/folded_cascode/fast``."""
        return f"{self.circuit}/{self.profile}"

    @property
    def specification(self) -> Specification:
        """What is asked for."""
        return specification_of(self.bounds, settings=self.settings, corners=self.corners)

    @property
    def digest(self) -> str:
        """Changes with whatever decides how hard the case is; the solution does not."""
        asked = [
            self.circuit,
            self.testbench,
            self.technology,
            self.bounds,
            sorted(self.settings.items()),
            self.corners,
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]

    def problem(self, netlist: Netlist, gmid: GmIdProvider) -> SizingProblem:
        """The circuit's netlist at its guided start; raises as `sizing_setup`."""
        testbench, technology = testbenches[self.testbench], technologies[self.technology]
        return sizing_setup(netlist, testbench, technology, self.specification, gmid).problem

    def as_json(self) -> dict[str, Any]:
        """What its file says of it; testbench and technology stand there once."""
        return {
            "circuit": self.circuit, "profile": self.profile, "bounds": list(self.bounds),
            "settings": dict(self.settings), "corners": self.corners, "steps": self.steps, "meeting": self.meeting,
            "is_improved": self.is_improved, "solution": dict(self.solution),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class CaseFile:
    """The cases of one testbench. `profiles` says in words what each profile asks for."""

    testbench: str
    technology: str
    seed: int
    draws: int
    profiles: Mapping[str, str]
    cases: tuple[SizingCase, ...]

    @classmethod
    def read(cls, path: Path) -> CaseFile:
        """The file that `write` wrote."""
        table = json.loads(path.read_text(encoding="utf-8"))
        shared = {name: table[name] for name in ("testbench", "technology", "draws")}
        cases = tuple(SizingCase(**shared, **{**case, "bounds": tuple(case["bounds"])}) for case in table["cases"])
        return cls(**shared, seed=table["seed"], profiles=table["profiles"], cases=cases)

    def write(self, path: Path) -> None:
        """The cases are in the file, one line each."""
        head = {
            "testbench": self.testbench, "technology": self.technology, "seed": self.seed, "draws": self.draws,
            "profiles": dict(self.profiles),
        }  # fmt: skip
        lines = ",\n".join(f"  {json.dumps(case.as_json())}" for case in self.cases)
        text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
        path.write_text(f'{text},\n "cases": [\n{lines}\n ]\n}}\n', encoding="utf-8")


def read_cases(folder: Path | None = None) -> tuple[CaseFile, ...]:
    """The files of a folder, the shipped one when absent; op-amps come first."""
    files = [CaseFile.read(path) for path in sorted((folder or data_path("sizing")).glob("*.json"))]
    return tuple(sorted(files, key=lambda file: file.testbench != "opamp"))


def chosen_cases(cases: Sequence[SizingCase], patterns: Iterable[str] | None) -> tuple[SizingCase, ...]:
    """The cases whose name, circuit or profile any of the patterns (``opamp/*``, ``fast``) matches; all without.

    Raises:
        UnknownName: a pattern matches none.
    """
    if patterns is None:
        return tuple(cases)
    chosen: set[str] = set()
    for pattern in patterns:
        found = {
            case.name
            for case in cases
            if any(fnmatchcase(name, pattern) for name in (case.name, case.circuit, case.profile))
        }
        if not found:
            raise UnknownName("specification", pattern, [case.name for case in cases], pointer="--specifications")
        chosen |= found
    return tuple(case for case in cases if case.name in chosen)
