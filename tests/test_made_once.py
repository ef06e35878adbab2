"""Values for many callers at once: each is made once, the last used are kept, and a failure is everybody's own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.errors import InvalidRequest
from app.made_once import MadeOnce


class Maker:
    """Makes values that count how often anything was made; waits until it is let, and fails where it is told to."""

    def __init__(self) -> None:
        self.made = 0
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.failures = 0

    def __call__(self) -> int:
        self.made += 1
        self.has_begun.set()
        assert self.may_end.wait(30)
        if self.made <= self.failures:
            raise InvalidRequest(f"failure {self.made}", pointer="/made")
        return self.made


def test_who_asks_while_a_value_is_made_gets_the_same_one_and_another_key_does_not_wait() -> None:
    kept: MadeOnce[int] = MadeOnce(4)
    maker = Maker()
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(kept.get, "key", maker)
        assert maker.has_begun.wait(30)
        others = [threads.submit(kept.get, "key", maker) for _ in range(2)]
        assert kept.get("other", lambda: -1) == -1
        maker.may_end.set()
        assert [each.result(30) for each in (first, *others)] == [1, 1, 1]


def test_who_waited_for_a_failure_has_an_error_of_its_own_and_the_next_value_is_kept() -> None:
    kept: MadeOnce[int] = MadeOnce(4)
    maker = Maker()
    maker.failures = 2
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(kept.get, "key", maker)
        assert maker.has_begun.wait(30)
        second = threads.submit(kept.get, "key", maker)
        maker.may_end.set()
        errors = [each.exception(30) for each in (first, second)]
    assert all(isinstance(error, InvalidRequest) for error in errors)
    assert errors[0] is not errors[1]
    assert len(kept) == 0
    assert (kept.get("key", maker), kept.get("key", maker), maker.made) == (3, 3, 3)


def test_the_values_that_were_asked_for_last_are_kept() -> None:
    kept: MadeOnce[str] = MadeOnce(2)
    for key in ("a", "b", "a", "c"):
        kept.get(key, lambda key=key: key)  # type: ignore[misc]
    assert len(kept) == 2
    assert kept.get("a", lambda: "made again") == "a"
    assert kept.get("b", lambda: "made again") == "made again"


def test_a_value_that_fell_out_while_it_was_made_takes_no_other_with_it() -> None:
    kept: MadeOnce[int] = MadeOnce(1)
    maker = Maker()
    maker.failures = 1
    with ThreadPoolExecutor(1) as threads:
        fallen = threads.submit(kept.get, "key", maker)
        assert maker.has_begun.wait(30)
        kept.get("other", lambda: 0)
        kept.get("key", lambda: 7)
        maker.may_end.set()
        with pytest.raises(InvalidRequest):
            fallen.result(30)
    assert kept.get("key", lambda: 8) == 7
