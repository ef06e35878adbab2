"""Imports go down, and heavy libraries stay in their rooms. Reads every import there is, inside functions too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
APP = REPOSITORY / "app"

#: Floor of every module or package directly under `app`. A new one gets its line here.
FLOORS = {
    "debian": 0, "errors": 0, "findings": 0, "made_once": 0, "recipes": 0, "registry": 0, "resources": 0, "split": 0,
    "units": 0,
    "analog": 1, "bootstrap": 1, "quantum": 1, "specification_words": 1, "statistics": 1,
    "nn": 2, "tokens": 2,
    "inference": 3, "simulators": 3, "sizes": 3, "technologies": 3, "testbenches": 3,
    "generators": 4, "measures": 4, "neural_simulator": 4, "requests": 4, "sizing": 4, "specification": 4,
    "table_simulator": 4, "training": 4, "validators": 4,
    "benchmarks": 5, "design": 5, "evaluation": 5, "hand_over": 5, "jobs": 5, "reward": 5, "simulation_corpus": 5,
    "testing": 5, "workshop": 5,
    "circuit_model": 5, "prediction_subject": 5, "predictions": 5, "simulated_rows": 5, "simulations": 5, "sizings": 5,
    "workshop_local": 5,
    "__main__": 6, "cli": 6, "service": 6, "settings": 6,
}  # fmt: skip

#: Heavy library -> the modules (or packages) that may import it.
ROOMS = {
    "PySpice": ("app.simulators.ngspice_worker",),
    "qiskit": ("app.quantum", "app.validators"),
    "qiskit_qasm3_import": ("app.quantum", "app.validators"),
    "mqt": ("app.quantum", "app.validators"),
    "stim": ("app.quantum",),
    "fastapi": ("app.service",),
    "starlette": ("app.service",),
    "torch": (
        "app.tokens", "app.nn", "app.inference", "app.generators", "app.measures", "app.training", "app.workshop_local",
        "app.benchmarks", "app.reward", "app.neural_simulator", "app.sizing.methods",
    ),
    "pydantic": ("app.requests", "app.service", "app.settings", "app.cli", "app.jobs"),
    "bqskit": ("app.evaluation",),
    "pytket": ("app.evaluation",),
    "transformers": ("app.benchmarks",),
    "pyarrow": ("app.simulation_corpus",),
    "qiskit_aer": ("app.quantum",),
    "sklearn": ("app.measures",),
    "botorch": ("app.sizing.methods",),
    "gpytorch": ("app.sizing.methods",),
    "linear_operator": ("app.sizing.methods",),
    "optuna": ("app.sizing.methods",),
    "cmaes": ("app.sizing.methods",),
}  # fmt: skip

#: Floor from which a library may be used at all. Pydantic belongs to the request's schema and to the doors.
LOWEST_FLOOR = {"pydantic": 4, "pydantic_settings": 6, "typer": 6, "rich": 6, "httpx": 6, "sqlalchemy": 5}

#: Packages that must import where neither Qiskit nor ngspice is installed: on a machine that only trains. It has torch,
#: numpy and networkx (pure Python; isomorphism of netlists).
TRAINS_ALONE = (
    "errors", "findings", "registry", "resources", "split", "units", "analog", "quantum", "tokens", "nn", "inference",
    "measures", "neural_simulator", "statistics", "training",
)  # fmt: skip
SOMETIMES_ABSENT = (
    "PySpice", "qiskit", "qiskit_aer", "sklearn", "mqt", "stim", "fastapi", "starlette", "pydantic", "sqlalchemy",
    "typer",
)  # fmt: skip


class Import(NamedTuple):
    """One import statement's target, and where it stands."""

    importer: str
    target: str
    line: int


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str, *, is_package: bool) -> Iterator[Import]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                yield Import(module, f"{base}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"importlib.import_module", "__import__"}:
            target = node.args[0] if node.args else None
            if isinstance(target, ast.Constant):
                yield Import(module, str(target.value), node.lineno)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in sorted(APP.rglob("*.py")):
        name = module_name(path, REPOSITORY)
        found += imports_of(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py")
    return found


def floor_of(module: str) -> int | None:
    """The floor of ``app.x.y``; None for the package `app` itself (its version) and for other libraries."""
    parts = module.split(".")
    return FLOORS.get(parts[1]) if parts[0] == "app" and len(parts) > 1 else None


def arrows_up(imports: list[Import]) -> list[str]:
    wrong = []
    for found in imports:
        own, other = floor_of(found.importer), floor_of(found.target)
        if own is not None and other is not None and other > own:
            wrong.append(f"{found.importer}:{found.line} (floor {own}) imports {found.target} (floor {other})")
    return wrong


def outside_rooms(imports: list[Import]) -> list[str]:
    wrong = []
    for found in imports:
        library = found.target.split(".")[0]
        rooms = ROOMS.get(library)
        if rooms is not None and not any(
            found.importer == room or found.importer.startswith(room + ".") for room in rooms
        ):
            wrong.append(f"{found.importer}:{found.line} imports {library}, which belongs in {', '.join(rooms)}")
        lowest, own = LOWEST_FLOOR.get(library), floor_of(found.importer)
        if lowest is not None and own is not None and own < lowest:
            wrong.append(
                f"{found.importer}:{found.line} (floor {own}) imports {library}, allowed from floor {lowest} up"
            )
    return wrong


def cycles_between_rooms(imports: list[Import]) -> list[str]:
    """Pairs of top-level names of one floor that import each other."""
    arrows = {
        (a.split(".")[1], b.split(".")[1])
        for a, b, _ in imports
        if floor_of(a) is not None and floor_of(a) == floor_of(b) and a.split(".")[1] != b.split(".")[1]
    }
    return sorted(f"{a} and {b} import each other" for a, b in arrows if a < b and (b, a) in arrows)


def test_every_module_has_a_floor():
    modules = {path.stem for path in APP.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in APP.glob("*/__init__.py")}
    assert sorted((modules | packages) - FLOORS.keys()) == []


def test_imports_only_go_down():
    assert arrows_up(all_imports()) == []


def test_heavy_libraries_stay_in_their_rooms():
    assert outside_rooms(all_imports()) == []


def test_rooms_of_one_floor_do_not_import_each_other_in_circles():
    assert cycles_between_rooms(all_imports()) == []


def test_an_arrow_that_runs_up_is_named_wherever_it_hides():
    source = (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from app.service import api\n"
        "def late():\n    from .. import jobs\n    import PySpice.Spice\n"
    )
    found = list(imports_of(source, "app.analog.spice", is_package=False))
    assert arrows_up(found) == [
        "app.analog.spice:3 (floor 1) imports app.service.api (floor 6)",
        "app.analog.spice:5 (floor 1) imports app.jobs (floor 5)",
    ]
    assert outside_rooms(found) == [
        "app.analog.spice:6 imports PySpice, which belongs in app.simulators.ngspice_worker"
    ]


@pytest.mark.parametrize("name", TRAINS_ALONE)
def test_what_trains_imports_without_the_packages_of_other_floors(name: str):
    if not (APP / name).exists() and not (APP / f"{name}.py").exists():
        pytest.fail(f"app.{name} is gone; correct TRAINS_ALONE")
    code = (
        "import importlib, pkgutil, sys\n"
        f"for absent in {SOMETIMES_ABSENT!r}: sys.modules[absent] = None\n"
        f"module = importlib.import_module('app.{name}')\n"
        "for found in pkgutil.walk_packages(getattr(module, '__path__', []), module.__name__ + '.'):\n"
        "    if '.families.' not in found.name: importlib.import_module(found.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]


def test_nothing_below_the_networks_loads_torch():
    code = (
        "import sys, importlib\n"
        "for name in ('app.errors', 'app.findings', 'app.registry', 'app.resources', 'app.analog.netlist',\n"
        "             'app.quantum.program', 'app.simulators.processes', 'app.requests', 'app.workshop'):\n"
        "    importlib.import_module(name)\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
