"""Debian packages on this machine: installed as root, or unpacked into a folder of the user's without root.

Knows nothing of what the packages are for. Standard library only, since it also runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from app.errors import Unavailable

#: Runs a command in a folder and gives (exit status, last words). Tests pass their own.
Run = Callable[[Sequence[str], Path], "tuple[int, str]"]

#: A download that hangs for this long is given up.
COMMAND_TIMEOUT_S = 600


def run_command(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """The command has run in `folder`, unattended; its exit status and the last line it said."""
    surroundings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=surroundings, stdin=subprocess.DEVNULL, text=True, timeout=COMMAND_TIMEOUT_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return 127, f"{command[0]} is not on this machine"
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {COMMAND_TIMEOUT_S} s"
    lines = done.stdout.strip().splitlines()
    return done.returncode, lines[-1] if lines else ""


def has_apt() -> bool:
    """Debian's package tools are on this machine."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def is_root() -> bool:
    """This process may install packages for the whole machine."""
    return os.geteuid() == 0


def install_packages(packages: Sequence[str], run: Run = run_command) -> None:
    """The packages are installed on the machine; the package lists are brought up to date once where that is needed.

    Raises:
        Unavailable: apt-get could not; the message carries its last words.
    """
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    here = Path("/")
    if run(install, here)[0] == 0:
        return
    run(["apt-get", "update"], here)
    status, words = run(install, here)
    if status != 0:
        raise Unavailable(
            f"apt-get could not install {' '.join(packages)} (exit status {status}: {words}); "
            "see that the machine's package sources work, then try again"
        )


def unpack_packages(packages: Sequence[str], destination: Path, run: Run = run_command) -> None:
    """The packages' files lie under `destination` as they would under ``/``; nothing is installed, root is not needed.

    Where the machine has no package lists (a bare image), lists are fetched into a temporary folder of our own.

    Raises:
        Unavailable: a package could not be had or unpacked.
    """
    with tempfile.TemporaryDirectory(prefix="josephson-deb-") as name:
        folder = Path(name)
        download = ["apt-get", "download", *packages]
        status, words = run(download, folder)
        if status != 0:
            private = _private_lists(folder)
            run(["apt-get", *private, "update"], folder)
            status, words = run(["apt-get", *private, "download", *packages], folder)
        archives = sorted(folder.glob("*.deb"))
        if status != 0 or len(archives) < len(packages):
            raise Unavailable(
                f"apt-get could not download {' '.join(packages)} (exit status {status}: {words}); "
                "see that the machine's package sources work, then try again"
            )
        destination.mkdir(parents=True, exist_ok=True)
        for archive in archives:
            status, words = run(["dpkg-deb", "--extract", str(archive), str(destination)], folder)
            if status != 0:
                raise Unavailable(
                    f"dpkg-deb could not unpack {archive.name} into {destination} (exit status {status}: {words}); "
                    "see that the folder is writable and has 50 MB free"
                )


def _private_lists(folder: Path) -> list[str]:
    """Options that make apt-get keep its lists and cache under `folder`, where an ordinary user may write."""
    lists, cache = folder / "lists", folder / "cache"
    for made in (lists / "partial", cache / "archives" / "partial"):
        made.mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}", "-o", "Debug::NoLocking=1"]
