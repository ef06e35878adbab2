"""Sweeps of the table simulator: every point is an operating point, and no design depends on who shares its batch."""

from __future__ import annotations

import numpy as np

from app.table_simulator.network import System
from app.table_simulator.operating_point import OperatingPointSolver
from app.table_simulator.sweeps import swept_points
from tests.test_table_simulator import solved, system_of

STAGE = "v_vdd vdd 0 DC 1.8\nv_in g 0 DC 0\nr1 vdd d {r}\nm1 d g 0 0 generic180_nmos W=5u L=1u"
OHM = np.array([5e3, 2e4, 1e5])
RISING = np.linspace(0.0, 1.8, 37)

#: Two inverters, the second of which feeds back: the input has to go beyond the middle to turn it over.
TRIGGER = """v_vdd vdd 0 DC 1.8
v_in in 0 DC 0
r1 in a 20k
r2 q a {r}
m1 b a 0 0 generic180_nmos W=2u L=1u
m2 b a vdd vdd generic180_pmos W=5u L=1u
m3 q b 0 0 generic180_nmos W=2u L=1u
m4 q b vdd vdd generic180_pmos W=5u L=1u"""


def swept(system: System, levels: np.ndarray) -> np.ndarray:
    """Unknown x point x design with ``v_in`` at levels (design x point)."""
    solver = OperatingPointSolver(system.network)
    return swept_points(solver, system, solver.start(system, {}), "v_in", levels)


def test_every_point_of_a_sweep_is_the_operating_point_at_its_level() -> None:
    system = system_of(STAGE, 3, r=OHM)
    found = swept(system, np.tile(RISING, (3, 1)))
    for place, level in enumerate(RISING):
        alone = solved(system.altered({"v_in": level}, {}))
        nodes = slice(0, system.network.node_count)
        np.testing.assert_allclose(found[nodes, place], alone.unknowns[nodes], atol=1e-6)


def test_designs_may_be_swept_over_levels_of_their_own() -> None:
    system = system_of(STAGE, 2, r=OHM[:2])
    found = swept(system, np.stack([RISING, RISING[::-1]]))
    row = system.network.index["g"]
    np.testing.assert_allclose(found[row].T, [RISING, RISING[::-1]], atol=1e-12)


def test_a_circuit_with_two_states_keeps_the_one_it_is_in_until_it_has_to_leave() -> None:
    system = system_of(TRIGGER, 1, r=np.array([4e4]))
    row, middle = system.network.index["q"], len(RISING) // 2
    up, down = swept(system, RISING[None])[row, :, 0], swept(system, RISING[::-1][None])[row, ::-1, 0]
    assert up[0] < up[middle] < 0.1
    assert down[-1] > down[middle] > 1.7


def test_a_design_is_swept_the_same_alone_and_in_a_crowd() -> None:
    ohm = np.array([3e4, 4e4, 8e4, 1e6])
    crowd = swept(system_of(TRIGGER, 4, r=ohm), np.tile(RISING, (4, 1)))
    for design in range(4):
        alone = swept(system_of(TRIGGER, 1, r=ohm[design : design + 1]), RISING[None])
        np.testing.assert_allclose(crowd[:, :, design], alone[:, :, 0], rtol=1e-6, atol=1e-9)


def test_a_design_that_is_lost_on_its_way_spoils_no_other() -> None:
    """The node is at the upper root of ``v^2 + v + offset = level`` as long as there is one."""
    offset, falling = np.array([0.0, 1.0, -5.0]), RISING[::-1]
    found = swept(system_of("v_in in 0 DC 0\nr1 in a 1\nb1 a 0 i=v(a)*v(a)+{x}", 3, x=offset), np.tile(falling, (3, 1)))
    ends = int(np.argmax(falling < 0.75))
    roots = np.sqrt(np.maximum(0.25 + falling - offset[:, None], 0.0)) - 0.5
    assert np.isnan(found[1, ends:, 1]).all()
    np.testing.assert_allclose(found[1, :ends, 1], roots[1, :ends], atol=1e-4)
    np.testing.assert_allclose(found[1][:, [0, 2]].T, roots[[0, 2]], atol=1e-6)
