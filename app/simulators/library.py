"""Where libngspice is, and how to get it onto a Debian or Ubuntu machine without being root."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from app import debian
from app.errors import NgspiceMissing, Unavailable
from app.resources import user_data_dir

#: Names the shared library to use, before any other place.
LIBRARY_VARIABLE = "JOSEPHSON_NGSPICE_LIBRARY"

#: libngspice needs libgomp, which a bare Debian lacks.
_PACKAGES = ("libngspice0", "libgomp1")
_FILE_NAMES = ("libngspice.so.0", "libngspice.so", "libngspice.0.dylib", "libngspice.dylib")
_SYSTEM_FOLDERS = ("/usr/lib", "/usr/local/lib", "/lib", "/opt/homebrew/lib", "/opt/local/lib")


def fetched_folder() -> Path:
    """Where `fetch_ngspice` puts the library by default, and where `find_ngspice` looks for it."""
    return user_data_dir() / "ngspice"


def find_ngspice(system_folders: Sequence[str] = _SYSTEM_FOLDERS) -> str:
    """The shared library to load: a path, or a name that the system's loader knows.

    Looks at JOSEPHSON_NGSPICE_LIBRARY (which must be right where it is set), then at the user's data folder, then at
    the Python installation's own and the system's folders, then asks the loader. Raises NgspiceMissing.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise NgspiceMissing([f"{named}, which {LIBRARY_VARIABLE} names and which is not a file"])
        return named
    folders = [fetched_folder() / "usr" / "lib", Path(sys.prefix) / "lib", *map(Path, system_folders)]
    for folder in folders:
        found = _library_under(folder)
        if found is not None:
            return str(found)
    name = ctypes.util.find_library("ngspice") if system_folders else None
    if name is not None:
        return name
    raise NgspiceMissing([LIBRARY_VARIABLE, *map(str, folders)])


def fetch_ngspice(target: Path | None = None, run: debian.Run = debian.run_command) -> Path:
    """The distribution's libngspice0 is unpacked below `target` (the user's data folder by default).

    Returns the library's path. Installs nothing and needs no root; the downloads' signatures are checked. Raises
    Unavailable with the reason where that cannot be done.
    """
    target = fetched_folder() if target is None else target
    if not debian.has_apt():
        raise Unavailable(
            f"apt-get is not on this machine, so {_PACKAGES[0]} cannot be fetched (that works on Debian and Ubuntu); "
            f"install ngspice's shared library by other means and set {LIBRARY_VARIABLE} to it"
        )
    debian.unpack_packages(_PACKAGES, target, run)
    found = _library_under(target / "usr" / "lib")
    if found is None:
        raise Unavailable(f"{_PACKAGES[0]} holds no libngspice for this machine; set {LIBRARY_VARIABLE} instead")
    return found


def load_companions(library: str) -> None:
    """Shared libraries that were fetched beside `library` are loaded, so that the loader need not find them itself."""
    for companion in sorted(Path(library).parent.glob("libgomp.so.?")):
        ctypes.CDLL(str(companion), mode=ctypes.RTLD_GLOBAL)


def _library_under(folder: Path) -> Path | None:
    """The library in `folder` or in one of its direct subfolders (Debian's has the machine's name)."""
    for name in _FILE_NAMES:
        for candidate in (folder / name, *sorted(folder.glob(f"*/{name}"))):
            if candidate.is_file():
                return candidate.resolve()
    return None
