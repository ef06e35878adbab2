"""Values that many threads ask for, made once each; making one holds nobody up who wants another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Made = TypeVar("Made")


class MadeOnce(Generic[Made]):
    """The `most` values that were asked for last. A failure is told to all who wait for it, and not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[Hashable, Future[Made]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """The value of a key: what `make` gives, or somebody else's has given."""
        with self._lock:
            found = self._known.pop(key, None)
            is_mine = found is None
            if found is None:
                found = Future()
            self._known[key] = found
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]
        if is_mine:
            try:
                found.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._known.pop(key, None)
                found.set_exception(error)
        return found.result()
