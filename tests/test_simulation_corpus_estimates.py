"""Estimates of rows: the table simulator's own words on each row's bench, and nothing where it has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.analog.spice import parse_spice
from app.errors import SimulatorFailure, Unavailable
from app.neural_simulator.arrays import CIRCUIT, DEFINED, FACTS, NOT_RUN, SIMULATOR, Estimates
from app.neural_simulator.dataset import SimulationGroup
from app.neural_simulator.features import Sizings
from app.simulation_corpus.estimates import bench_estimates, group_estimates, with_estimates
from app.table_simulator.device_tables import DeviceTables
from app.table_simulator.noise_tables import NoiseTables
from app.table_simulator.solver import TableSimulator
from app.technologies._base import Technology, technologies
from app.testbenches._base import testbenches
from app.testbenches._simulator import Bench, make_corner, prepare_bench
from tests.bench_rows import archetype
from tests.ekv_transistors import EkvTables
from tests.simulated_rows import GENERIC180, bench_of, group_of, vectors_of

MIRROR = "current_mirror/wide_swing"


@pytest.fixture(scope="module")
def simulator() -> TableSimulator:
    return TableSimulator(EkvTables())


@pytest.fixture(scope="module")
def mixed() -> SimulationGroup:
    """Seven rows of a mirror: two are hot, one of the others has a lower supply and two another input current."""
    group = group_of(bench_of(MIRROR), 7)
    sizings = group.sizings
    settings = sizings.settings.copy()
    settings[[1, 4], 0] = 2e-5
    settings[[0, 2], 1] = np.nan
    celsius, supply_v = sizings.celsius.copy(), sizings.supply_v.copy()
    celsius[[3, 6]], supply_v[2] = 125.0, 1.62
    return replace(group, sizings=Sizings(sizings.sizes, supply_v, celsius, sizings.process, settings))


def bench_like(group: SimulationGroup, row: int) -> Bench:
    """The bench of a row of `mixed`."""
    sizings = group.sizings
    corner = make_corner(GENERIC180, "tt", float(sizings.supply_v[row]), float(sizings.celsius[row]))
    settings = {"input_a": float(sizings.settings[row, 0])}
    return prepare_bench(group.netlist, testbenches["current_mirror"], GENERIC180, corner=corner, settings=settings)


def all_metrics(bench: Bench) -> tuple[str, ...]:
    return tuple(metric.name for metric in bench.metrics)


def same(ours: Estimates, theirs: Estimates) -> None:
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(ours.causes, theirs.causes)
    np.testing.assert_allclose(ours.facts, theirs.facts, rtol=1e-4, atol=1e-12)


def test_an_estimate_is_what_the_table_simulator_says(simulator: TableSimulator):
    bench = bench_of("opamp/two_stage_ahuja")
    vectors = vectors_of(bench, 12)
    devices = ("M3", "M1")
    found, note = bench_estimates(simulator, bench, vectors, all_metrics(bench), devices)
    results = simulator.run(bench, vectors)
    assert note is None
    for place, name in enumerate(all_metrics(bench)):
        if name not in results.metrics:
            assert (found.causes[:, place] == NOT_RUN).all()
            assert np.isnan(found.values[:, place]).all()
            continue
        np.testing.assert_array_equal(found.values[:, place], results.values[:, results.metrics.index(name)])
        is_there = np.isfinite(found.values[:, place])
        np.testing.assert_array_equal(found.causes[:, place], np.where(is_there, DEFINED, CIRCUIT))
    assert CIRCUIT in found.causes
    for place, device in enumerate(devices):
        for column, name in enumerate(FACTS):
            expected = results.facts[name][:, results.devices.index(device)].astype(np.float32)
            np.testing.assert_array_equal(found.facts[:, place, column], expected)


def test_only_metrics_that_were_asked_for_are_estimated(simulator: TableSimulator):
    bench = bench_of("opamp/two_stage_ahuja")
    found, _ = bench_estimates(simulator, bench, vectors_of(bench, 2), ("slew_rate_v_per_s", "power_w"), ())
    assert found.causes.tolist() == [[NOT_RUN, DEFINED]] * 2
    assert found.facts.shape == (2, 0, len(FACTS))


def test_a_sizing_without_a_solution_has_neither_metrics_nor_facts(simulator: TableSimulator):
    bench = bench_of(MIRROR)
    vectors = np.array(vectors_of(bench, 3))
    vectors[1, 0] = np.nan
    found, note = bench_estimates(simulator, bench, vectors, ("current_ratio", "settling_time_s"), ("M1",))
    assert note is None
    assert found.causes[1, 0] == SIMULATOR
    assert np.isnan(found.facts[1]).all()
    assert np.isfinite(found.facts[[0, 2]]).all()


def test_every_row_is_estimated_in_its_own_corner_and_with_its_own_settings(
    simulator: TableSimulator, mixed: SimulationGroup
):
    found, reasons = group_estimates(simulator, mixed, GENERIC180, "all")
    assert reasons == {}
    for row in range(len(mixed)):
        alone, _ = bench_estimates(
            simulator, bench_like(mixed, row), mixed.sizings.sizes[[row]], mixed.metrics, mixed.devices
        )
        same(Estimates(found.values[[row]], found.causes[[row]], found.facts[[row]]), alone)
    ratio = found.values[:, mixed.metrics.index("input_voltage_v")]
    assert len(set(ratio.tolist())) == len(mixed)


def test_rows_beside_the_nominal_corner_may_be_left_out(simulator: TableSimulator, mixed: SimulationGroup):
    every, _ = group_estimates(simulator, mixed, GENERIC180, "all")
    nominal, _ = group_estimates(simulator, mixed, GENERIC180, "nominal")
    hot = [3, 6]
    assert (nominal.causes[hot] == NOT_RUN).all()
    assert np.isnan(nominal.facts[hot]).all()
    rest = [0, 1, 2, 4, 5]
    same(*(Estimates(each.values[rest], each.causes[rest], each.facts[rest]) for each in (nominal, every)))


class Failing:
    """A provider of tables that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def tables(self, technology: Technology, process: str, celsius: float) -> DeviceTables:
        raise self.error

    def noise(self, technology: Technology, process: str, celsius: float) -> NoiseTables:
        raise self.error


def test_without_tables_only_what_takes_no_solution_is_told(simulator: TableSimulator):
    bench = bench_of(MIRROR)
    metrics, vectors = all_metrics(bench), vectors_of(bench, 2)
    failing = TableSimulator(Failing(Unavailable("no tables of tt")))
    found, note = bench_estimates(failing, bench, vectors, metrics, ("M1",))
    assert note == "no tables of tt"
    place = metrics.index("area_m2")
    expected, _ = bench_estimates(simulator, bench, vectors, ("area_m2",), ())
    np.testing.assert_array_equal(found.values[:, place], expected.values[:, 0])
    assert (found.causes[:, place] == DEFINED).all()
    assert (np.delete(found.causes, place, axis=1) == NOT_RUN).all()
    assert np.isnan(np.delete(found.values, place, axis=1)).all()
    assert np.isnan(found.facts).all()


def test_a_circuit_without_equations_has_its_area_all_the_same(simulator: TableSimulator):
    netlist = parse_spice(
        "sampler\nX1 VIN1 VOUT1 VCLK1 VDD VSS transmission_gate\nM1 VOUT1 VIN1 VSS VSS nmos W=2u L=1u\n.end\n"
    ).netlist
    bench = prepare_bench(netlist, testbenches["sampler"], GENERIC180)
    found, note = bench_estimates(simulator, bench, [bench.space.start], ("area_m2", "track_noise_v"), ("M1",))
    assert note == "the table simulator has no equations for blocks (x1)"
    assert found.causes.tolist() == [[DEFINED, NOT_RUN]]
    assert found.values[0, 0] == pytest.approx(2e-12)


def test_a_circuit_without_a_solution_has_none_for_any_metric_that_takes_one():
    bench = bench_of(MIRROR)
    found, note = bench_estimates(
        TableSimulator(Failing(SimulatorFailure("no solution"))), bench, vectors_of(bench, 2),
        ("current_ratio", "startup_time_s", "area_m2"), ("M1",),
    )  # fmt: skip
    assert note == "no solution"
    assert found.causes.tolist() == [[SIMULATOR, NOT_RUN, DEFINED]] * 2


def test_rows_that_make_no_bench_have_no_estimates_and_a_reason(simulator: TableSimulator, mixed: SimulationGroup):
    settings = mixed.sizings.settings.copy()
    settings[5, 0] = 1e9
    found, reasons = group_estimates(
        simulator, replace(mixed, sizings=replace(mixed.sizings, settings=settings)), GENERIC180, "all"
    )
    assert list(reasons.values()) == [1]
    assert next(iter(reasons)).startswith("setting input_a is 1e+09 A, testbench current_mirror takes")
    assert (found.causes[5] == NOT_RUN).all()
    assert (found.causes[4] != NOT_RUN).any()


def test_rows_of_other_variables_have_no_estimates_and_a_reason(simulator: TableSimulator, mixed: SimulationGroup):
    variables = (replace(mixed.variables[0], name="w_other"), *mixed.variables[1:])
    found, reasons = group_estimates(simulator, replace(mixed, variables=variables), GENERIC180, "all")
    assert (found.causes == NOT_RUN).all()
    assert sum(reasons.values()) == len(mixed)
    assert all(
        "now, its rows w_other" in reason and reason.startswith("the circuit has the variables") for reason in reasons
    )


def test_groups_get_their_estimates_in_their_order(simulator: TableSimulator, mixed: SimulationGroup):
    other = prepare_bench(archetype(MIRROR), testbenches["current_mirror"], technologies["generic45"])
    groups = (mixed, group_of(other, 2), group_of(bench_of("opamp/two_stage_ahuja"), 2))
    notes: list[str] = []
    found = with_estimates(groups, simulator, technologies, "nominal", notes.append)
    assert [(group.testbench, group.technology) for group in found] == [
        ("current_mirror", "generic180"), ("current_mirror", "generic45"), ("opamp", "generic180"),
    ]  # fmt: skip
    assert [note.partition(",")[0] for note in notes] == [f"estimates of group {place} of 3" for place in (1, 2, 3)]
    for group in found:
        exact, _ = group_estimates(simulator, group, technologies[group.technology], "nominal")
        np.testing.assert_allclose(group.estimates.values, exact.values, rtol=1 / 65_000)
        np.testing.assert_array_equal(group.estimates.causes, exact.causes)
        np.testing.assert_allclose(group.estimates.facts, exact.facts, rtol=1 / 4_000)
        values, facts = group.estimates.values.astype(np.float32), group.estimates.facts
        np.testing.assert_array_equal(values.astype(np.float64), group.estimates.values)
        assert (values[np.isfinite(values)].view(np.uint32) & 0xFF == 0).all()
        assert (facts[np.isfinite(facts)].view(np.uint32) & 0xFFF == 0).all()
