"""Where the project's own files are, in a checkout or in an installed wheel, and where the user's folder is.

A wheel carries `data/` and `models/` as ``app/_bundle/data`` and ``app/_bundle/models`` (pyproject.toml, under
force-include); a checkout and an editable install have them beside ``app/``. Knows nothing of what the files hold.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundle_root(package: Path = _PACKAGE) -> Path:
    """The folder that holds `data/` and `models/`: the wheel's bundle where there is one, else around `package`."""
    bundle = package / "_bundle"
    return bundle if bundle.is_dir() else package.parent


def data_path(*parts: str) -> Path:
    """The path of a shipped data file or folder, e.g. ``data_path("technologies", "generic180")``; it may not exist."""
    return bundle_root().joinpath("data", *parts)


def models_path(*parts: str) -> Path:
    """The path of a shipped model's file or folder, e.g. ``models_path("analog", "card.md")``; it may not exist."""
    return bundle_root().joinpath("models", *parts)


def user_data_dir() -> Path:
    """The folder for the ledger, caches, fetched libraries and added technologies. Not created by this call.

    JOSEPHSON_DATA_DIR where it is set, else ``josephson`` in XDG_DATA_HOME, else in ``~/.local/share``.
    """
    chosen = os.environ.get("JOSEPHSON_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share").absolute() / "josephson"
