"""From a bare Python to a working environment: ``python3 -m app.bootstrap .venv``, which `make setup` runs.

Runs before anything is installed, so it needs the standard library alone. It does not fetch libngspice (`josephson
doctor --fetch-ngspice` does) and never touches an environment's packages other than by pip with `constraints.txt`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from app import debian
from app.errors import JosephsonError, Unavailable

#: The oldest Python that the project runs on.
OLDEST_PYTHON = (3, 11)

#: What is installed, in this order. torch comes first and alone, so that the pinned version is there before a package
#: that would take any version asks for it.
STEPS: tuple[tuple[str, ...], ...] = (("torch",), ("-e", "{root}[train,evaluate,dev]"))

Call = Callable[[Sequence[str]], int]


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """This Python is new enough, else Unavailable."""
    if version < OLDEST_PYTHON:
        found, wanted = (".".join(map(str, pair)) for pair in (version, OLDEST_PYTHON))
        raise Unavailable(
            f"this is Python {found}, the project needs {wanted} or newer; "
            f"name one with: make setup PYTHON=python{wanted}"
        )


def has_ensurepip() -> bool:
    """This Python can put pip into an environment by itself (Debian leaves that to the package python3-venv)."""
    return importlib.util.find_spec("ensurepip") is not None


def make_environment(folder: Path, call: Call = subprocess.call) -> Path:
    """`folder` is a virtual environment with pip; its Python. One that already works is kept.

    Without ensurepip the Debian package of pip's wheel is installed (as root) or unpacked into a temporary folder.

    Raises:
        Unavailable: pip could not be had; the message says how to get it.
    """
    python = folder / "bin" / "python"
    if python.exists() and call([str(python), "-c", "import pip"]) == 0:
        return python
    if has_ensurepip():
        venv.EnvBuilder(with_pip=True, clear=folder.exists()).create(folder)
        return python
    version = ".".join(map(str, sys.version_info[:2]))
    advice = f"install Debian's package python{version}-venv (or python3-venv), then run 'make setup' again"
    if not debian.has_apt():
        raise Unavailable(f"this Python has no ensurepip and the machine no apt-get; {advice}")
    venv.EnvBuilder(with_pip=False, clear=folder.exists()).create(folder)
    with tempfile.TemporaryDirectory(prefix="josephson-pip-") as name:
        try:
            debian.unpack_packages(["python3-pip-whl"], Path(name))
        except Unavailable as error:
            raise Unavailable(f"this Python has no ensurepip, and {error}; or {advice}") from error
        wheels = sorted(Path(name).glob("usr/share/python-wheels/pip-*.whl"))
        if not wheels or call([str(python), f"{wheels[-1]}/pip", "install", "--no-index", str(wheels[-1])]) != 0:
            raise Unavailable(f"pip could not be put into {folder}; {advice}")
    return python


def install_project(python: Path, root: Path, call: Call = subprocess.call) -> None:
    """The project (editable) and what it needs are installed for `python` at the versions of `constraints.txt`.

    Raises:
        Unavailable: pip could not; its own messages stand above.
    """
    for step in STEPS:
        wanted = [part.format(root=root) for part in step]
        command = [str(python), "-m", "pip", "install", "--quiet", "-c", str(root / "constraints.txt"), *wanted]
        if call(command) != 0:
            raise Unavailable(
                f"pip could not install {' '.join(wanted)} (its message stands above); "
                "see that the package index can be reached and 3 GB of disk are free, then run 'make setup' again"
            )


def main(arguments: Sequence[str]) -> int:
    """The environment named by the first argument is ready; 0, or 1 with a sentence on standard error."""
    folder = Path(arguments[0] if arguments else ".venv")
    try:
        check_python()
        _say(f"making the environment {folder} (Python {sys.version.split()[0]})")
        python = make_environment(folder)
        _say("installing torch, then the project; the first time this takes a minute or more")
        install_project(python, Path.cwd())
    except JosephsonError as error:
        _say(f"setup stopped: {error}")
        return 1
    return 0


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
