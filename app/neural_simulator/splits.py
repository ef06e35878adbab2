"""Which rows a predictor learns from, which set its intervals, and which it is judged by. Draws no random numbers.

Three questions, one split each: sizings that it has not seen, topologies that it has not seen, a technology that it has
not seen. A side is a function of the seed and of what a row is, not of where it lies in a store: rows that are added
later move no others. The sizings of a store are drawn independently of each other, also within one unit of work in one
corner, so a row may be on another side than its neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.analog.canonical import wiring_hash
from app.analog.complement import complement
from app.analog.netlist import Netlist
from app.errors import InvalidInput
from app.neural_simulator.arrays import Rows
from app.split import held_out_classes

Sides = NDArray[np.int8]

#: The sides of a split. Intervals are set by rows that the predictor has not learnt from, and is not judged by.
TRAINING, CALIBRATION, TEST = 0, 1, 2

#: The share of rows, or of topologies, on each side where nobody asks for another.
TEST_SIZINGS, TEST_TOPOLOGIES, CALIBRATION_SHARE = 0.2, 0.1, 0.1


class Split(Protocol):
    """A rule that puts every row on a side."""

    def sides(self, rows: Rows) -> Sides:
        """TRAINING, CALIBRATION or TEST of each row [n]."""
        ...

    def as_json(self) -> dict[str, Any]:
        """What makes the same split again."""
        ...


@dataclass(frozen=True)
class SizingSplit:
    """Unseen sizings: a share of the rows of every topology, testbench and technology.

    A sizing of a topology is on one side in every corner, on every testbench and in every technology.
    """

    seed: int
    test: float = TEST_SIZINGS
    calibration: float = CALIBRATION_SHARE

    def __post_init__(self) -> None:
        _check(self.test, self.calibration)

    def sides(self, rows: Rows) -> Sides:
        """Of each row by its topology and sizes."""
        return _sides(_positions(rows, self.seed), self.test, self.calibration)

    def as_json(self) -> dict[str, Any]:
        """What makes the same split again."""
        return {"split": "sizings", "seed": self.seed, "test": self.test, "calibration": self.calibration}


@dataclass(frozen=True)
class TopologySplit:
    """Unseen topologies: every row of a topology is on one side; a topology that is named nowhere is for training."""

    test: frozenset[str]
    calibration: frozenset[str]

    def sides(self, rows: Rows) -> Sides:
        """The one side of the rows' topology."""
        name = rows.structure.topology_id
        side = TEST if name in self.test else CALIBRATION if name in self.calibration else TRAINING
        return np.full(len(rows), side, np.int8)

    def as_json(self) -> dict[str, Any]:
        """What makes the same split again."""
        return {"split": "topologies", "test": sorted(self.test), "calibration": sorted(self.calibration)}


@dataclass(frozen=True)
class TechnologySplit:
    """An unseen technology: all of its rows are for the test; of the others a share sets the intervals."""

    technology: str
    seed: int
    calibration: float = CALIBRATION_SHARE

    def __post_init__(self) -> None:
        _check(0.0, self.calibration)

    def sides(self, rows: Rows) -> Sides:
        """TEST in the technology; elsewhere as `SizingSplit` without a test."""
        if rows.technology == self.technology:
            return np.full(len(rows), TEST, np.int8)
        return _sides(_positions(rows, self.seed), 0.0, self.calibration)

    def as_json(self) -> dict[str, Any]:
        """What makes the same split again."""
        return {
            "split": "technology", "technology": self.technology, "seed": self.seed, "calibration": self.calibration,
        }  # fmt: skip


@dataclass(frozen=True)
class ModelSplit:
    """All three questions of one model: new topologies, new sizings of the others, and a technology it never saw.

    Rows of the topologies that `topologies` keeps are on its sides; rows of the technology `left_out`, where there is
    one, are for the test; all others are as `sizings` says.
    """

    sizings: SizingSplit
    topologies: TopologySplit
    left_out: str | None = None

    def sides(self, rows: Rows) -> Sides:
        """By the technology, the topology, the sizes."""
        if rows.technology == self.left_out:
            return np.full(len(rows), TEST, np.int8)
        return self.topologies.sides(rows) if self._keeps(rows.structure.topology_id) else self.sizings.sides(rows)

    def is_new(self, rows: Rows) -> bool:
        """Whether no row of the topology, or of the technology, is for training."""
        return rows.technology == self.left_out or self._keeps(rows.structure.topology_id)

    def _keeps(self, topology_id: str) -> bool:
        return topology_id in self.topologies.test or topology_id in self.topologies.calibration

    def as_json(self) -> dict[str, Any]:
        """What makes the same split again, by `split_from_json`."""
        return {
            "split": "model", "sizings": self.sizings.as_json(), "topologies": self.topologies.as_json(),
            "left_out": self.left_out,
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> ModelSplit:
        """The split that `as_json` told."""
        sizings, topologies = told["sizings"], told["topologies"]
        return cls(
            SizingSplit(sizings["seed"], sizings["test"], sizings["calibration"]),
            TopologySplit(frozenset(topologies["test"]), frozenset(topologies["calibration"])),
            told["left_out"],
        )


def split_topologies(
    netlists: Mapping[str, Netlist],
    members: Iterable[tuple[str, str]],
    seed: int,
    *,
    test: float = TEST_TOPOLOGIES,
    calibration: float = CALIBRATION_SHARE,
) -> TopologySplit:
    """A share of the topologies of every testbench for the test and for calibration, as `held_out_classes` deals them.

    Topologies that are wired alike whatever their ports are called, or are each other's complement, stay together: a
    predictor that knew one would know both. A testbench of fewer than five such classes gives none to the test, and
    those that are then left few give none to calibration.

    Args:
        netlists: Of every topology by its id.
        members: (topology id, testbench) of all that there is to split.
        seed: Another one chooses other topologies.
        test: Share of the topologies of each testbench.
        calibration: Likewise.

    Raises:
        InvalidInput: shares that are negative or leave nothing for training.
    """
    _check(test, calibration)
    members = sorted(set(members))
    class_of = {name: f"{seed} {_wiring_class(netlists[name])}" for name in sorted({name for name, _ in members})}
    pairs = [(class_of[name], testbench) for name, testbench in members]
    tested = held_out_classes(pairs, test)
    left = [(f"calibration {each}", testbench) for each, testbench in pairs if each not in tested]
    calibrating = held_out_classes(left, calibration)
    return TopologySplit(
        frozenset(name for name, each in class_of.items() if each in tested),
        frozenset(name for name, each in class_of.items() if f"calibration {each}" in calibrating),
    )


def first_rows(rows: Rows, count: int, seed: int) -> NDArray[np.int64]:
    """The numbers of up to `count` rows, in the rows' order: what a predictor gets to adapt to a new circuit.

    The rows of a smaller count are among those of a larger one.
    """
    order = np.argsort(_positions(rows, seed, "adaptation"), kind="stable")
    return np.sort(order[:count])


def _wiring_class(netlist: Netlist) -> str:
    """What a topology, those wired like it and their complements share."""
    return min(wiring_hash(netlist), wiring_hash(complement(netlist)))


def _positions(rows: Rows, seed: int, purpose: str = "side") -> NDArray[np.float64]:
    """A number from 0 to 1 of each row, by its topology and sizes."""
    return np.fromiter(_numbers(rows, f"{purpose} {seed} {rows.structure.topology_id} "), np.float64, len(rows))


def _numbers(rows: Rows, words: str) -> Iterator[float]:
    start = hashlib.blake2b(words.encode(), digest_size=8)
    for sizes in np.ascontiguousarray(rows.sizes, dtype="<f8"):
        state = start.copy()
        state.update(sizes.tobytes())
        yield int.from_bytes(state.digest(), "big") / 2.0**64


def _sides(positions: NDArray[np.float64], test: float, calibration: float) -> Sides:
    sides = np.full(len(positions), TRAINING, np.int8)
    sides[positions < test + calibration] = CALIBRATION
    sides[positions < test] = TEST
    return sides


def _check(test: float, calibration: float) -> None:
    if not (test >= 0 and calibration >= 0 and test + calibration < 1):
        raise InvalidInput(
            f"a test share of {test:g} and a calibration share of {calibration:g} leave no rows for training; "
            "both are at least 0, and together less than 1"
        )
