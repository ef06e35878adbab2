"""Is this machine ready? One check per thing that can be missing; each says what it found and what to do about it.

Heavy packages are imported in child processes: one that is broken, or dies while loading, is a finding here too.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from app import debian
from app.bootstrap import OLDEST_PYTHON
from app.errors import JosephsonError, UnknownName
from app.resources import models_path, user_data_dir
from app.settings import unknown_variables
from app.simulators.library import fetch_ngspice, find_ngspice
from app.simulators.ngspice import ngspice_pool

Status = Literal["ok", "warning", "failed"]

#: Longest time that importing one package may take on a slow disk.
IMPORT_TIMEOUT_S = 180

#: Longest time that one operating point may take, the start of its worker process included.
SIMULATION_TIMEOUT_S = 60.0

_DIVIDER = "divider\nvsource top 0 2\nrtop top half 1k\nrbottom half 0 1k\n.op\n.end\n"

#: Below this much free space the data folder is a worry: the ledger of a million circuits takes about as much.
LOW_DISK_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Check:
    """What was found. `hint` says what to do, where something is to be done."""

    name: str
    status: Status
    detail: str
    hint: str | None = None

    def as_json(self) -> dict[str, str]:
        """The check as a JSON object; an absent hint is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def check_python() -> Check:
    """The interpreter is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Check(
            "python", "failed", f"Python {version}", f"use Python {'.'.join(map(str, OLDEST_PYTHON))} or newer"
        )
    return Check("python", "ok", f"Python {version}")


def check_packages() -> Check:
    """Every package that the distribution asks for is installed."""
    missing = []
    for requirement in importlib.metadata.requires("josephson") or ():
        name, is_extra = _package_name(requirement), "extra ==" in requirement
        if not is_extra and not _is_installed(name):
            missing.append(name)
    if missing:
        return Check(
            "packages", "failed", f"not installed: {', '.join(missing)}", "run 'make setup', or install josephson anew"
        )
    return Check("packages", "ok", "every required package is installed")


def _package_name(requirement: str) -> str:
    end = next(
        (at for at, letter in enumerate(requirement) if not (letter.isalnum() or letter in "-_.")), len(requirement)
    )
    return requirement[:end]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def check_torch() -> Check:
    """Torch loads; which accelerators it sees, and whether the processor is fast at bfloat16."""
    code = (
        "import torch; from app.nn.precision import has_fast_bfloat16 as is_fast; print(torch.__version__, "
        "'cuda' if torch.cuda.is_available() else 'cpu', 'bfloat16' if is_fast('cpu') else 'float32')"
    )
    return import_check("torch", code, "install it: pip install 'torch>=2.6'")


def check_qiskit() -> Check:
    """Qiskit loads."""
    return import_check("qiskit", "import qiskit; print(qiskit.__version__)", "install it: pip install 'qiskit>=2'")


def check_pyspice() -> Check:
    """PySpice loads (it is imported by the simulator's worker processes alone)."""
    code = "import importlib.metadata as m, PySpice.Spice.NgSpice.Shared; print(m.version('PySpice'))"
    return import_check("pyspice", code, "install it: pip install PySpice")


def import_check(name: str, code: str, hint: str) -> Check:
    """Whether a child interpreter that runs `code` ends well; the detail is its last line."""
    status, words = _child(code)
    return Check(name, "ok", words) if status == 0 else Check(name, "failed", words, hint)


def _child(code: str, *arguments: str) -> tuple[int, str]:
    """Exit status and last line of a child interpreter that runs `code`."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=IMPORT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, f"did not load within {IMPORT_TIMEOUT_S} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode, lines[-1] if lines else f"exit status {done.returncode}"


def check_ngspice() -> Check:
    """Libngspice is found, and halves two volts in the simulator's own worker process."""
    hint = "run 'josephson doctor --fetch-ngspice'"
    try:
        library = find_ngspice()
        pool = ngspice_pool(size=1, timeout_s=SIMULATION_TIMEOUT_S)
    except JosephsonError as error:
        return Check("ngspice", "failed", str(error), hint)
    try:
        answer = pool.submit({"deck": _DIVIDER, "analysis": "op"}).result(2 * SIMULATION_TIMEOUT_S)
    except (JosephsonError, TimeoutError) as error:
        return Check("ngspice", "failed", f"{library} does not work: {error}", hint)
    finally:
        pool.close()
    if answer["status"] != "ok" or abs(answer["vectors"]["half"][0] - 1.0) > 1e-6:
        return Check("ngspice", "failed", f"{library} cannot divide two volts: {answer['status']}", hint)
    return Check("ngspice", "ok", library)


#: Prints one line for each model of the folder that is its first argument: its name, and what is wrong with it.
_VERIFY_MODELS = """
import json, pathlib, sys
from app.errors import JosephsonError
from app.inference.checkpoint import verify
found = {}
for folder in sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/config.json")):
    try:
        verify(folder)
        found[folder.name] = None
    except JosephsonError as error:
        found[folder.name] = str(error)
print(json.dumps(found))
"""


def check_models(folder: Path | None = None) -> Check:
    """Every shipped model's files (or those in `folder`) are whole."""
    place = models_path() if folder is None else folder
    status, words = _child(_VERIFY_MODELS, str(place))
    if status != 0:
        return Check("models", "failed", f"could not be checked: {words}", "mend what stands above, then look again")
    found = json.loads(words)
    damaged = [sentence for sentence in found.values() if sentence is not None]
    if damaged:
        return Check("models", "failed", "; ".join(damaged), "install josephson anew, or train the model again")
    if not found:
        return Check("models", "failed", f"no trained model in {place}", "train one: josephson train analog")
    return Check("models", "ok", ", ".join(found))


def check_data_folder() -> Check:
    """The folder for the ledger and caches can be written to."""
    folder = user_data_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(
            "data", "failed", f"{folder} cannot be written to: {error.strerror or error}",
            "make it writable, or name another with JOSEPHSON_DATA_DIR",
        )  # fmt: skip
    return Check("data", "ok", str(folder))


#: Prints what the store of simulated rows in the data folder that is its first argument holds.
_COUNT_ROWS = """
import json, pathlib, sys
from app.simulated_rows import simulated_rows_of
print(json.dumps(simulated_rows_of(pathlib.Path(sys.argv[1])).facts()))
"""


def check_simulated_rows() -> Check:
    """How many simulated rows are kept, which predictions of the same circuits follow."""
    status, words = _child(_COUNT_ROWS, str(user_data_dir()))
    if status != 0:
        return Check("rows", "warning", f"could not be counted: {words}", "mend what stands above, then look again")
    found = json.loads(words)
    if "problem" in found:
        return Check("rows", "warning", found["problem"])
    return Check("rows", "ok", f"{found['rows']:,} simulated rows of {found['circuits']:,} circuits are kept")


def check_disk() -> Check:
    """There is room for ledgers and caches."""
    folder = user_data_dir()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free at {folder}"
    if free < LOW_DISK_BYTES:
        return Check("disk", "warning", detail, "free some, or name a folder on another disk with JOSEPHSON_DATA_DIR")
    return Check("disk", "ok", detail)


def check_settings() -> Check:
    """Every JOSEPHSON_ variable is one that something reads."""
    sentences = unknown_variables(os.environ)
    if sentences:
        return Check("settings", "warning", "; ".join(sentences), "correct or remove them")
    return Check("settings", "ok", "no unknown JOSEPHSON_ variable")


#: Every check by name, in the order in which a person would mend things.
CHECKS: dict[str, Callable[[], Check]] = {
    "python": check_python,
    "packages": check_packages,
    "torch": check_torch,
    "qiskit": check_qiskit,
    "pyspice": check_pyspice,
    "ngspice": check_ngspice,
    "models": check_models,
    "data": check_data_folder,
    "rows": check_simulated_rows,
    "disk": check_disk,
    "settings": check_settings,
}


def run_checks(names: Iterable[str] = CHECKS) -> list[Check]:
    """The named checks' findings; UnknownName for a check that is not there."""
    chosen = []
    for name in names:
        if name not in CHECKS:
            raise UnknownName("check", name, CHECKS)
        chosen.append(CHECKS[name])
    return [check() for check in chosen]


def fetch_missing_ngspice(is_root: bool | None = None, run: debian.Run = debian.run_command) -> str:
    """Libngspice is on this machine; a sentence on what was done. One that is already there is kept.

    Root installs Debian's package; anyone else unpacks it into the data folder.

    Raises:
        Unavailable: it could not be had; the message says what to do.
    """
    if check_ngspice().status == "ok":
        return "libngspice is already here"
    if (debian.is_root() if is_root is None else is_root) and debian.has_apt():
        debian.install_packages(["libngspice0"], run)
        return "libngspice is installed (Debian package libngspice0)"
    return f"libngspice is unpacked: {fetch_ngspice()}"
