"""One new thing, one file: named entries, each registered by the module of the same name."""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from app.errors import UnknownName

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Names to entries, filled by importing the modules of one package on first look-up.

    Modules whose name starts with an underscore are machinery, not entries. Nothing is imported before someone asks;
    who asks while another thread imports waits for all of them.
    """

    def __init__(self, what: str, package: str) -> None:
        """`what` is the word for an entry in messages ("technology"); `package` holds one module an entry."""
        self.what = what
        self._package = package
        self._entries: dict[str, Entry] = {}
        self._is_filled = False
        self._is_filling = False
        self._lock = threading.RLock()

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Decorator: the decorated object becomes the entry `name`. Two entries of one name are a defect."""

        def add(entry: Entry) -> Entry:
            self.add(name, entry)
            return entry

        return add

    def add(self, name: str, entry: Entry) -> None:
        """The entry `name` is in the registry."""
        if name in self._entries:
            raise ValueError(f"two {self.what} entries named {name!r}")
        self._entries[name] = entry

    def remove(self, name: str) -> None:
        """The entry `name` is not in the registry any more; raises UnknownName where it was not."""
        self._fill()
        if name not in self._entries:
            raise UnknownName(self.what, name, self._entries)
        del self._entries[name]

    def _fill(self) -> None:
        if not self._is_filled:
            with self._lock:
                self._fill_once()

    def _fill_once(self) -> None:
        """What the thread does that has the lock; a module that looks something up while it is imported comes again."""
        if self._is_filled or self._is_filling:
            return
        self._is_filling = True
        try:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self._package}.{module.name}")
        finally:
            self._is_filling = False
        self._is_filled = True

    def __getitem__(self, name: str) -> Entry:
        """The entry; raises UnknownName (which proposes the nearest name) where there is none."""
        self._fill()
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(self.what, name, self._entries) from None

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._fill()
        return len(self._entries)
