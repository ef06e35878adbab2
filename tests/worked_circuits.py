"""Circuits whose numbers can be worked by hand, sized archetypes, and curves that were never simulated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.resources import data_path
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies
from app.testbenches._base import Corner, Reading, Undefined, Waveforms, testbenches
from app.testbenches._simulator import BenchSimulator, make_corner, prepare_bench

NOMINAL = Corner("tt", 1.8, 27.0)

#: Boltzmann's constant times four times 300.15 K, in joules: the noise power density of a resistor per ohm.
FOUR_KT = 4 * 1.380649e-23 * 300.15


def circuit(text: str) -> Netlist:
    """The netlist of SPICE cards; the first line names the ports."""
    ports, _, cards = text.strip().partition("\n")
    return parse_spice(f"* circuit\n* ports: {ports}\n{cards}\n.end\n").netlist


def archetype(name: str, sizes: Mapping[str, Mapping[str, float]] = MappingProxyType({})) -> Netlist:
    """A shipped topology (``ldo/pmos_pass``) with sizes by device; one key may name several devices."""
    drawn = parse_spice(data_path("archetypes", f"{name}.cir").read_text(encoding="utf-8")).netlist
    of_device = {device: given for names, given in sizes.items() for device in names.split()}
    assert of_device.keys() <= {device.name for device in drawn.devices}
    return Netlist(
        tuple(
            replace(device, sizes=MappingProxyType(dict(of_device.get(device.name, {})))) for device in drawn.devices
        ),
        drawn.ports,
    )


def mos(width_um: float, length_um: float) -> dict[str, float]:
    """Sizes of a MOS in micrometres."""
    return {"width_m": width_um * 1e-6, "length_m": length_um * 1e-6}


def ohm(value: float) -> dict[str, float]:
    """The size of a resistor."""
    return {"resistance_ohm": value}


def simulate(
    pool: WorkerPool,
    netlist: Netlist,
    bench: str,
    *,
    supply_v: float | None = None,
    guided: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """The row of a circuit in generic180 at its own sizes (the technology's where it has none), or the guided start."""
    technology = technologies["generic180"]
    corner = make_corner(technology, supply_v=supply_v)
    prepared = prepare_bench(netlist, testbenches[bench], technology, corner=corner, **options)
    simulator = BenchSimulator(pool)
    (row,) = simulator.run(prepared, [simulator.guided_start(prepared) if guided else prepared.space.start])
    return row


def values(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row that has to be fine, those without a value left out."""
    assert row["status"] == "ok", row.get("message")
    return {name: value for name, value in row["metrics"].items() if value is not None}


def reading(bench: str, runs: Mapping[str, Waveforms], node: Mapping[str, str], **settings: float) -> Reading:
    """Curves that were never simulated, as the metrics of a testbench read them."""
    testbench = testbenches[bench]
    chosen = testbench.settings_for(NOMINAL, settings)
    return Reading(runs, {}, node, chosen, NOMINAL, {}, 1e-12, testbench.metric_of)


def reason(found: float | Undefined) -> str:
    """Why a metric has no value."""
    if not isinstance(found, Undefined):
        pytest.fail(f"the metric has the value {found}")
    return found.reason
