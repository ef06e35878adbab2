"""Values that many threads ask for, made once each; making one holds nobody up who wants another."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

Made = TypeVar("Made")


class MadeOnce(Generic[Made]):
    """The `most` values that were asked for last, by what decides them. A failure is not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, Future[Made]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """The value of a key: what `make` gives, or somebody else's has given.

        Who waited for somebody else's that failed tries for itself: callers write into the errors that they get.
        """
        with self._lock:
            found = self._known.get(key)
            own: Future[Made] = Future()
            if found is None:
                self._known[key] = own
            self._known.move_to_end(key)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        if found is not None:
            return found.result() if found.exception() is None else make()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                if self._known.get(key) is own:
                    del self._known[key]
            own.set_exception(error)
            raise
        own.set_result(value)
        return value
