"""How a job is cut, and what a failure means for what is left of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.chunks import MAX_CHUNK, MIN_CHUNK, ChunkSpec, chunk_size, cut, ranges_of
from app.jobs.plan import Part, Plan, RetryPolicy

INDICES = st.sets(st.integers(0, 2000), max_size=300)


def indices_of(ranges: tuple[tuple[int, int], ...]) -> list[int]:
    return [index for start, stop in ranges for index in range(start, stop)]


@given(INDICES, st.integers(1, 70))
def test_cutting_loses_and_doubles_no_index(indices: set[int], size: int) -> None:
    groups = list(cut(ranges_of(indices), size))
    assert [index for group in groups for index in indices_of(group)] == sorted(indices)
    assert all(len(indices_of(group)) == size for group in groups[:-1])


@given(st.integers(1, 1_000_000))
def test_a_chunk_is_neither_tiny_nor_huge(total: int) -> None:
    assert MIN_CHUNK <= chunk_size(total) <= MAX_CHUNK


def test_ten_thousand_rows_are_forty_chunks() -> None:
    assert len(list(cut([(0, 10_000)], chunk_size(10_000)))) == 40


def test_a_chunk_crosses_a_border_as_json() -> None:
    chunk = ChunkSpec(job_id="j", kind="analog.generate", request={"count": 9}, ranges=((0, 2), (5, 6)), stall_s=1.0)
    assert ChunkSpec.model_validate_json(chunk.model_dump_json()) == chunk
    assert chunk.indices() == (0, 1, 5)


def test_a_failed_part_is_tried_three_times_with_growing_waits() -> None:
    policy = RetryPolicy(tries=3, backoff_s=1.0)
    (again,) = policy.after_failure(Part(((0, 9),)), range(3, 9), now=100.0)
    assert (again.ranges, again.failures) == (((3, 9),), 1)
    assert 100.5 <= again.ready_at <= 101.0
    (again,) = policy.after_failure(again, range(3, 9), now=200.0)
    assert 201.0 <= again.ready_at <= 202.0
    left, right = policy.after_failure(again, range(3, 9), now=300.0)
    assert (left.ranges, right.ranges) == (((3, 6),), ((6, 9),))
    assert 302.0 <= left.ready_at <= 304.0


def test_waits_are_bounded() -> None:
    assert RetryPolicy(longest_backoff_s=30.0).delay_s(10_000) <= 30.0


@given(st.sets(st.integers(0, 255), min_size=1), st.sets(st.integers(0, 255), max_size=5))
def test_halving_finds_exactly_the_poison(indices: set[int], bad: set[int]) -> None:
    policy = RetryPolicy()
    waiting = [Part(ranges_of(indices))]
    poison: set[int] = set()
    attempts = 0
    while waiting:
        part = waiting.pop()
        attempts += 1
        mine = indices_of(part.ranges)
        if bad.isdisjoint(mine):
            continue
        parts = policy.after_failure(part, mine, now=0.0)
        waiting += parts
        if not parts:
            poison |= set(mine)
    assert poison == bad & indices
    assert attempts <= 3 + 20 * len(bad)


def test_a_good_row_is_not_condemned_for_one_failure_alone() -> None:
    policy = RetryPolicy()
    halves = policy.after_failure(Part(((0, 2),), failures=2), [0, 1], now=0.0)
    assert [len(policy.after_failure(half, indices_of(half.ranges), now=0.0)) for half in halves] == [1, 1]


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_the_last_row_of_a_part_has_two_attempts_alone(failures: int) -> None:
    policy = RetryPolicy()
    (alone,) = policy.after_failure(Part(((0, 9),), failures), [4], now=0.0)
    (again,) = policy.after_failure(alone, [4], now=0.0)
    assert (alone.ranges, again.ranges) == (((4, 5),), ((4, 5),))
    assert policy.after_failure(again, [4], now=0.0) == ()


def test_a_plan_gives_what_is_ready_and_keeps_what_waits() -> None:
    plan = Plan(((0, 5),), size=3)
    assert len(plan) == 2
    first = plan.take(now=0.0)
    assert first.ranges == ((0, 3),)
    plan.put_back(Part(first.ranges, failures=1, ready_at=10.0))
    assert plan.ready_at() == 0.0
    assert plan.take(now=9.0).ranges == ((3, 5),)
    assert plan.ready_at() == 10.0
    with pytest.raises(IndexError):
        plan.take(now=9.0)
    assert plan.take(now=10.0).failures == 1
    assert plan.ready_at() is None
    plan.put_back(first)
    plan.clear()
    assert len(plan) == 0
