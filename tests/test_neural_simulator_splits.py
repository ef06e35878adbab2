"""Sides of rows: the same for the same row and seed, whole where they have to be, and none empty."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from app.analog.complement import complement
from app.analog.corpus import read_archetypes
from app.analog.netlist import Netlist
from app.errors import InvalidInput
from app.neural_simulator.arrays import Rows
from app.neural_simulator.splits import (
    CALIBRATION,
    TEST,
    TRAINING,
    SizingSplit,
    Split,
    TechnologySplit,
    TopologySplit,
    first_rows,
    split_topologies,
)
from tests.simulator_rows import rows_of, structure_of

METRICS = ("gain_db",)


def some_rows(count: int = 2000, *, topology: str = "a", technology: str = "generic180", seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    structure = structure_of(METRICS, topology=topology)
    return rows_of(
        structure, rng.normal(size=count), sizes=10 ** rng.uniform(-7, -5, (count, 6)), technology=technology
    )


def circuits() -> dict[str, Netlist]:
    return {circuit.id: circuit.netlist for circuit in read_archetypes()}


def test_each_side_has_its_share():
    sides = SizingSplit(seed=3, test=0.2, calibration=0.1).sides(some_rows(5000))
    shares = [(sides == side).mean() for side in (TRAINING, CALIBRATION, TEST)]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.02)


def test_a_row_is_on_its_side_whoever_else_is_there():
    rows, split = some_rows(), SizingSplit(seed=3)
    chosen = np.array([1999, 7, 7, 320])
    assert split.sides(rows.take(chosen)).tolist() == split.sides(rows)[chosen].tolist()


def test_a_sizing_is_on_one_side_on_every_testbench_and_in_every_technology():
    split = SizingSplit(seed=3)
    here = split.sides(some_rows())
    assert split.sides(some_rows(technology="sky130")).tolist() == here.tolist()
    assert split.sides(some_rows(topology="b")).tolist() != here.tolist()


def test_another_seed_is_another_split():
    rows = some_rows()
    assert SizingSplit(0).sides(rows).tolist() == SizingSplit(0).sides(rows).tolist()
    assert SizingSplit(0).sides(rows).tolist() != SizingSplit(1).sides(rows).tolist()


def test_an_unseen_technology_is_all_test():
    split = TechnologySplit("sky130", seed=0)
    assert set(split.sides(some_rows(technology="sky130")).tolist()) == {TEST}
    assert set(split.sides(some_rows()).tolist()) == {TRAINING, CALIBRATION}


def test_an_unseen_topology_is_all_test():
    split = TopologySplit(test=frozenset("a"), calibration=frozenset("b"))
    sides = {name: set(split.sides(some_rows(50, topology=name)).tolist()) for name in "abc"}
    assert sides == {"a": {TEST}, "b": {CALIBRATION}, "c": {TRAINING}}


def test_every_testbench_with_five_topologies_has_unseen_ones():
    netlists = circuits()
    members = [(name, name.partition("/")[0]) for name in netlists]
    split = split_topologies(netlists, members, seed=0)
    of_bench = defaultdict(list)
    for name, testbench in members:
        of_bench[testbench].append(name)
    lacking = [bench for bench, names in of_bench.items() if len(names) > 7 and not split.test.intersection(names)]
    assert lacking == []
    assert not split.test & split.calibration
    assert len(split.test) == pytest.approx(0.1 * len(netlists), abs=0.06 * len(netlists))


def test_complements_and_topologies_wired_alike_stay_together():
    netlists = {f"{name} {twin}": made for name, each in circuits().items()
                for twin, made in (("itself", each), ("complement", complement(each)))}  # fmt: skip
    members = [(name, name.partition("/")[0]) for name in netlists]
    for seed in range(4):
        split = split_topologies(netlists, members, seed, test=0.3, calibration=0.2)
        assert min(len(split.test), len(split.calibration)) > 0
        for side in (split.test, split.calibration):
            names = {name.removesuffix(" itself").removesuffix(" complement") for name in side}
            assert side >= {f"{name} {twin}" for name in names for twin in ("itself", "complement")}


def test_another_seed_leaves_other_topologies_out():
    netlists = circuits()
    members = [(name, name.partition("/")[0]) for name in netlists]
    assert split_topologies(netlists, members, 0) == split_topologies(netlists, reversed(members), 0)
    assert split_topologies(netlists, members, 0).test != split_topologies(netlists, members, 1).test


def test_a_few_rows_are_among_more_rows():
    rows = some_rows(500)
    few, more = first_rows(rows, 20, seed=0), first_rows(rows, 50, seed=0)
    assert (len(few), len(more)) == (20, 50)
    assert set(few.tolist()) < set(more.tolist())
    assert first_rows(rows, 50, seed=1).tolist() != more.tolist()
    assert first_rows(rows, 10**6, seed=0).tolist() == list(range(500))


def test_which_rows_a_circuit_is_adapted_by_has_nothing_to_do_with_their_side():
    rows = some_rows(5000)
    chosen = first_rows(rows, 2500, seed=3)
    assert (SizingSplit(seed=3).sides(rows)[chosen] == TEST).mean() == pytest.approx(0.2, abs=0.03)


def test_a_split_says_what_makes_it_again():
    splits: list[Split] = [SizingSplit(1), TechnologySplit("sky130", 2), TopologySplit(frozenset("ba"), frozenset("c"))]
    assert [split.as_json() for split in splits] == [
        {"split": "sizings", "seed": 1, "test": 0.2, "calibration": 0.1},
        {"split": "technology", "technology": "sky130", "seed": 2, "calibration": 0.1},
        {"split": "topologies", "test": ["a", "b"], "calibration": ["c"]},
    ]


@pytest.mark.parametrize(("test", "calibration"), [(0.9, 0.1), (-0.1, 0.1), (0.1, float("nan"))])
def test_shares_that_leave_nothing_to_train_on_are_refused(test: float, calibration: float):
    with pytest.raises(
        InvalidInput, match=r"leave no rows for training; both are at least 0, and together less than 1"
    ):
        SizingSplit(0, test, calibration)
