"""The queue in front of the network: who shares a batch, who goes first, and whose fault is whose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import EngineClosed
from app.neural_simulator.arrays import RowInputs
from app.neural_simulator.batching import PredictionQueue, QueueShare
from app.neural_simulator.inputs import Known
from tests.simulator_rows import rows_of, structure_of


@dataclass(frozen=True)
class Sums:
    """What the network below says: a number a row."""

    total: NDArray[np.float64]


@dataclass
class Summing:
    """A network that sums what it sees, and what is known of it. It waits for its gate, and refuses negative rows."""

    gate: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    has_begun: threading.Event = field(default_factory=threading.Event)

    def predict(self, rows: RowInputs, known: Known | None = None) -> Sums:
        self.batches.append(len(rows))
        self.threads.add(threading.get_ident())
        self.has_begun.set()
        assert self.gate.wait(10)
        if (rows.elements < 0).any():
            raise ValueError(f"a fault among {len(rows)} rows")
        total = rows.elements.sum(axis=(1, 2), dtype=np.float64)
        if known is not None:
            total = total + np.nansum(known.values, axis=1) + 100 * known.has_none.sum(axis=1)
        return Sums(total)


@pytest.fixture
def network() -> Summing:
    return Summing()


@pytest.fixture
def queue(network: Summing) -> Iterator[PredictionQueue[Sums]]:
    made = PredictionQueue(network, most_rows=10)
    yield made
    network.gate.set()
    made.close()


def inputs(
    count: int, value: float, *, topology: str = "a", testbench: str = "opamp", technology: str = "t"
) -> RowInputs:
    """`count` rows whose elements are `value`."""
    structure = structure_of(["gain_db"], topology=topology, testbench=testbench, sources=["voltage_source"])
    rows = rows_of(structure, np.zeros((count, 1)), technology=technology).inputs
    return replace(rows, elements=np.full_like(rows.elements, value))


def size(rows: RowInputs) -> int:
    return int(rows.elements[0].size)


def blocked(queue: PredictionQueue[Sums], network: Summing) -> None:
    """The thread is busy with a row of its own, so that what follows waits."""
    queue.submit(inputs(1, 0.0, testbench="ldo"))
    assert network.has_begun.wait(10)


def test_rows_that_wait_go_through_together_and_everyone_gets_their_own(
    queue: PredictionQueue[Sums], network: Summing
) -> None:
    blocked(queue, network)
    parts = [inputs(count, value) for count, value in ((3, 1.0), (2, 2.0), (4, 3.0))]
    answers = [queue.submit(part) for part in parts]
    network.gate.set()
    for part, answer, value in zip(parts, answers, (1.0, 2.0, 3.0), strict=True):
        np.testing.assert_allclose(answer.result(10).prediction.total, np.full(len(part), value * size(part)))
        assert answer.result().seconds_a_row >= 0
    assert network.batches == [1, 9]
    assert len(network.threads) == 1


def test_a_batch_has_a_limit_and_rows_of_another_structure_or_technology_wait_for_their_own(
    queue: PredictionQueue[Sums], network: Summing
) -> None:
    blocked(queue, network)
    answers = [
        queue.submit(part)
        for part in (
            inputs(4, 1.0), inputs(1, 1.0, technology="u"), inputs(7, 1.0), inputs(6, 1.0),
            inputs(2, 1.0, testbench="ldo"),
        )
    ]  # fmt: skip
    network.gate.set()
    for answer in answers:
        answer.result(10)
    assert network.batches == [1, 10, 1, 7, 2]


def test_what_a_topology_is_called_is_no_reason_to_wait(queue: PredictionQueue[Sums], network: Summing) -> None:
    blocked(queue, network)
    answers = [queue.submit(inputs(2, 1.0, topology=name)) for name in ("a", "b")]
    network.gate.set()
    for answer in answers:
        answer.result(10)
    assert network.batches == [1, 4]


def test_more_rows_than_a_batch_takes_go_through_alone(queue: PredictionQueue[Sums], network: Summing) -> None:
    network.gate.set()
    assert len(queue.submit(inputs(25, 1.0)).result(10).prediction.total) == 25
    assert network.batches == [25]


def test_known_and_unknown_rows_share_a_batch(queue: PredictionQueue[Sums], network: Summing) -> None:
    blocked(queue, network)
    part = inputs(2, 1.0)
    told = Known(np.array([[5.0], [np.nan]]), np.array([[False], [True]]))
    answers = [queue.submit(part), queue.submit(part, told)]
    network.gate.set()
    plain, known = (answer.result(10).prediction.total for answer in answers)
    np.testing.assert_allclose(known - plain, [5.0, 100.0])
    assert network.batches == [1, 4]


def test_who_waits_is_served_before_the_background(queue: PredictionQueue[Sums], network: Summing) -> None:
    blocked(queue, network)
    done: list[str] = []
    behind = queue.submit(inputs(2, 1.0), in_background=True)
    before = queue.submit(inputs(3, 2.0))
    behind.add_done_callback(lambda _: done.append("behind"))
    before.add_done_callback(lambda _: done.append("before"))
    network.gate.set()
    behind.result(10)
    assert done == ["before", "behind"]
    assert network.batches == [1, 3, 2]


def test_a_fault_reaches_the_one_whose_it_is_and_nobody_else(queue: PredictionQueue[Sums], network: Summing) -> None:
    blocked(queue, network)
    good, bad = queue.submit(inputs(2, 1.0)), queue.submit(inputs(3, -1.0))
    network.gate.set()
    with pytest.raises(ValueError, match="a fault among 3 rows"):
        bad.result(10)
    assert len(good.result(10).prediction.total) == 2
    assert len(queue.submit(inputs(1, 1.0)).result(10).prediction.total) == 1


def test_a_caller_who_leaves_takes_what_waits_along(queue: PredictionQueue[Sums], network: Summing) -> None:
    blocked(queue, network)
    leaving, staying = QueueShare(queue), QueueShare(queue)
    lost = [leaving.submit(inputs(2, 1.0)) for _ in range(3)]
    kept = staying.submit(inputs(4, 1.0))
    leaving.stop()
    for answer in (*lost, leaving.submit(inputs(1, 1.0))):
        with pytest.raises(CancelledError):
            answer.result(10)
    network.gate.set()
    kept.result(10)
    assert network.batches == [1, 4]


def test_a_closed_queue_fails_what_waits_and_takes_nothing_more(network: Summing) -> None:
    queue = PredictionQueue(network)
    blocked(queue, network)
    waiting = queue.submit(inputs(1, 1.0))
    closing = threading.Thread(target=queue.close)
    closing.start()
    with pytest.raises(EngineClosed, match="was closed"):
        waiting.result(10)
    network.gate.set()
    closing.join(10)
    assert not closing.is_alive()
    with pytest.raises(EngineClosed, match="is closed"):
        queue.submit(inputs(1, 1.0))


def test_a_queue_that_was_never_asked_has_no_thread_to_close(network: Summing) -> None:
    PredictionQueue(network).close()
    assert not network.threads
