"""Every technology: cards that load, transistors that behave like transistors, the same digits twice."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.analog.kinds import KINDS
from app.analog.netlist import Device, Netlist
from app.errors import Unavailable, UnknownName
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.technologies._base import DEFAULT_TECHNOLOGY, Technology, technologies


@pytest.fixture(params=sorted(technologies))
def technology(request: pytest.FixtureRequest) -> Technology:
    return technologies[request.param]


def run(pool: WorkerPool, deck: str, analysis: str) -> dict[str, Any]:
    answer = pool.submit({"deck": deck, "analysis": analysis}).result(timeout=60)
    assert answer["status"] == "ok", answer["messages"]
    vectors: dict[str, Any] = answer["vectors"]
    return vectors


def drain_current(
    pool: WorkerPool, technology: Technology, kind: str, length_m: float, *, gate: str, drain: str, sweep: str
) -> list[float]:
    """The drain current of a transistor 5 um wide along a sweep of `Vg` or `Vd`, positive when it conducts."""
    sign = 1 if kind == "nmos" else -1
    deck = (
        f"sweep\n{technology.models_for([kind])}\nVg g 0 {gate}\nVd d 0 {drain}\n"
        f"M1 d g 0 0 {technology.model_names[kind]} W=5u L={length_m}\n"
        f".dc {sweep} 0 {sign * technology.supply_v} {sign * 0.02}\n.end\n"
    )
    return [-sign * current for current in run(pool, deck, "dc")["vd#branch"]]


def test_the_default_technology_is_registered() -> None:
    assert DEFAULT_TECHNOLOGY in technologies


def test_a_name_that_is_nearly_right_gets_a_proposal() -> None:
    with pytest.raises(UnknownName, match="no technology named 'generic_180'; did you mean 'generic180'"):
        technologies["generic_180"]


def test_every_entry_says_what_it_is_and_whose(technology: Technology) -> None:
    assert technologies[technology.name] is technology
    assert technology.summary
    assert technology.licence
    assert technology.source
    assert 0 < technology.gate_bias_v < technology.supply_v
    assert 0 < technology.base_bias_v < technology.supply_v


def test_every_kind_has_a_card_or_is_a_plain_element_with_a_size(technology: Technology) -> None:
    for kind in KINDS.values():
        assert (kind.name in technology.model_names) != (kind.letter in "RCL")
        assert kind.name in technology.sizes or kind.letter in "QDX"
    for name in technology.model_names.values():
        assert name in technology.cards


def test_every_name_of_a_card_starts_with_the_technologys(technology: Technology) -> None:
    assert all(name.startswith(f"{technology.name}_") for name in technology.cards)


def test_default_sizes_are_within_the_limits(technology: Technology) -> None:
    for kind in ("nmos", "pmos"):
        assert technology.sizes[kind]["length_m"] >= technology.length_min_m
        assert technology.sizes[kind]["width_m"] >= technology.width_min_m


def test_a_text_of_models_holds_what_is_asked_for_and_what_that_needs() -> None:
    generic = technologies["generic180"]
    text = generic.models_for(["diode"])
    assert text.startswith(".model generic180_diode")
    assert text.count(".model") == 1
    assert generic.models_for(["resistor"]) == ""
    gate = generic.models_for(["transmission_gate"])
    assert [line.split()[1] for line in gate.splitlines() if line.startswith((".model", ".subckt"))] == [
        "generic180_nmos", "generic180_pmos", "generic180_inverter", "generic180_transmission_gate",
    ]  # fmt: skip


def test_cards_that_are_gone_say_so(tmp_path: Path) -> None:
    lost = replace(technologies["generic180"], models_file=tmp_path / "models.spice")
    with pytest.raises(Unavailable, match="device models of technology 'generic180' cannot be read"):
        lost.models_for(["nmos"])


@pytest.mark.simulator
@pytest.mark.parametrize("kind", ["nmos", "pmos"])
@pytest.mark.parametrize("lengths", [1, 3, 10])
def test_a_transistor_is_monotone_and_its_gm_over_id_is_physical(
    technology: Technology, kind: str, lengths: int, ngspice: WorkerPool
) -> None:
    length_m = technology.length_min_m * lengths
    sign = 1 if kind == "nmos" else -1
    supply = f"{sign * technology.supply_v}"
    transfer = drain_current(ngspice, technology, kind, length_m, gate="0", drain=supply, sweep="Vg")
    assert all(after > before for before, after in pairwise(transfer))
    assert transfer[0] < 1e-9
    assert transfer[-1] > 1e-5
    gm_over_id = [(math.log(after) - math.log(before)) / 0.02 for before, after in pairwise(transfer)]
    assert max(gm_over_id) < 40
    assert min(gm_over_id) > 1
    for gate_v in (technology.gate_bias_v, technology.supply_v):
        output = drain_current(ngspice, technology, kind, length_m, gate=f"{sign * gate_v}", drain="0", sweep="Vd")
        assert all(after > before for before, after in pairwise(output))


@pytest.mark.simulator
def test_a_default_transistor_carries_about_the_bias_current_at_its_bias(
    technology: Technology, ngspice: WorkerPool
) -> None:
    for kind in ("nmos", "pmos"):
        sign = 1 if kind == "nmos" else -1
        sizes = technology.sizes[kind]
        deck = (
            f"bias\n{technology.models_for([kind])}\nVg g 0 {sign * technology.gate_bias_v}\nVd d 0 {sign * 0.9}\n"
            f"M1 d g 0 0 {technology.model_names[kind]} W={sizes['width_m']} L={sizes['length_m']}\n.op\n.end\n"
        )
        current = -sign * run(ngspice, deck, "op")["vd#branch"][0]
        assert technology.bias_a / 3 < current < technology.bias_a * 3


@pytest.mark.simulator
def test_junctions_conduct_forwards_and_block_backwards(technology: Technology, ngspice: WorkerPool) -> None:
    for volts, conducts in ((technology.base_bias_v, True), (-technology.supply_v, False)):
        deck = (
            f"junctions\n{technology.models_for(['npn', 'pnp', 'diode'])}\nV1 a 0 {volts}\nV2 b 0 {-volts}\nV3 c 0 1\n"
            f"V4 d 0 -1\nV5 e 0 {volts}\nQ1 c a 0 {technology.model_names['npn']}\n"
            f"Q2 d b 0 {technology.model_names['pnp']}\nD1 e 0 {technology.model_names['diode']}\n.op\n.end\n"
        )
        vectors = run(ngspice, deck, "op")
        currents = [-vectors["v3#branch"][0], vectors["v4#branch"][0], -vectors["v5#branch"][0]]
        assert [current > 1e-7 for current in currents] == [conducts] * 3


@pytest.mark.simulator
def test_heat_lowers_the_threshold_and_the_mobility(technology: Technology, ngspice: WorkerPool) -> None:
    def current(gate_v: float, celsius: float) -> float:
        deck = (
            f"heat\n{technology.models_for(['nmos'])}\nVg g 0 {gate_v}\nVd d 0 {technology.supply_v}\n"
            f"M1 d g 0 0 {technology.model_names['nmos']} W=5u L=1u\n.options temp={celsius}\n.op\n.end\n"
        )
        return -float(run(ngspice, deck, "op")["vd#branch"][0])

    assert current(0.3, 125) > current(0.3, 27) > current(0.3, -40)
    assert current(technology.supply_v, 125) < current(technology.supply_v, 27) < current(technology.supply_v, -40)


@pytest.mark.simulator
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_small_circuit_of_every_kind_has_an_operating_point(
    technology: Technology, kind: str, ngspice: WorkerPool
) -> None:
    nets = {"vdd": "VDD", "vss": "VSS", "bulk": "VDD" if kind == "pmos" else "VSS", "gate": "VIN1", "base": "VIN1"}
    inputs = iter(("VIN2", "VIN3", "VOUT1", "VOUT2"))
    device = Device("D1", kind, tuple(nets.get(pin) or next(inputs) for pin in KINDS[kind].pins))
    ports = tuple(dict.fromkeys(("VDD", "VSS", *device.nets)))
    point = OperatingPointSimulator(ngspice, technology).run(Netlist((device,), ports))
    assert point.converged, point.message
