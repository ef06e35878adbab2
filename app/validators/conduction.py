"""Do the transistors conduct once the outside sets the bias well? Asks ngspice for a bounded number of points.

Sizes are the default ones: a circuit that needs others (a reference that starts only with unequal transistors) may fall
short here and work all the same. Switches whose load draws no current never conduct at DC, so shares below 1 are
ordinary; what is said of them is a warning or a note, and an error only where nothing conducts at any point.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from app.errors import SimulatorFailure
from app.findings import Finding
from app.simulators.bias_search import BiasSearchResult, search_bias
from app.technologies._base import Technology
from app.validators._base import JsonValue, Rung, Subject, ValidationTools, Verdict, validators

#: Below this share of conducting transistors, and of saturated MOS, a designer should look: nineteen of twenty circuits
#: of the AnalogGenie data reach more (docs/experiments.md).
FEW_CONDUCT = 0.4
FEW_SATURATED = 0.2

#: A transistor that carries this many times the technology's bias current is overdriven: one real circuit in seventy
#: has such a one, and two of three whose pins were shuffled.
OVERDRIVE = 100.0


class Conduction:
    """A search over bias voltages, currents and clock levels for the point at which most transistors conduct.

    Without a simulator it says so in a note. What the simulator could not do is no verdict: SimulatorFailure is raised.
    """

    kind: Literal["analog", "quantum"] = "analog"
    rung: Rung = "conduction"
    summary = "after a bounded search over bias voltages, currents and clock levels, transistors conduct"
    accepts = """\
* a cascode whose plan leaves room
* ports: VDD VSS VIN1 VB1 VOUT1
M1 N1 VIN1 VSS VSS nmos
M2 VOUT1 VB1 N1 VSS nmos
R1 VDD VOUT1 10k
.end
"""
    rejects = """\
* the gate of the lower transistor is tied off, so nothing above it ever conducts
* ports: VDD VSS VIN1 VB1 VOUT1
M1 N1 VSS VSS VSS nmos
M2 N2 VIN1 N1 VSS nmos
M3 VOUT1 VB1 N2 VSS nmos
R1 VDD VOUT1 10k
.end
"""

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        """The findings; facts hold the best point's shares (0 to 1), the plan's beside them, and its bias by port."""
        assert circuit.netlist is not None, "an analog subject carries its netlist"
        if tools.simulator is None:
            return Verdict(
                (
                    Finding(
                        "bias_not_searched",
                        "note",
                        "conduction was not checked: there is no simulator here",
                        hint="run 'josephson doctor' to see what is missing",
                    ),
                )
            )
        technology = tools.simulator.technology
        found = search_bias(circuit.netlist, technology, tools.simulator.pool, points=tools.bias_points)
        if found.status in ("bad_deck", "simulator_gave_up"):
            raise SimulatorFailure(f"{found.message}; this says nothing about the circuit")
        return Verdict(tuple(_findings(found, technology)), _facts(found, technology))


def _facts(found: BiasSearchResult, technology: Technology) -> dict[str, JsonValue]:
    facts: dict[str, JsonValue] = {
        "technology": technology.name,
        "converged": found.status == "ok",
        "points_tried": found.points_tried,
        "points_converged": found.points_converged,
        "score": found.score,
        "conducting_share": found.conducting_share,
        "saturated_share": found.saturated_share,
        "plan_conducting_share": found.plan_conducting_share,
        "plan_saturated_share": found.plan_saturated_share,
        "supply_current_a": found.supply_current_a,
        "largest_current_a": found.largest_current_a,
    }
    if found.bias is not None:
        facts["bias"] = {
            "voltages_v": {source.net: source.volts for source in found.bias.voltages},
            "currents_a": {source.net: source.amperes for source in found.bias.currents},
        }
    return facts


def _findings(found: BiasSearchResult, technology: Technology) -> Iterator[Finding]:
    if found.status == "no_dc_path":
        yield Finding(
            "no_dc_path",
            "error",
            f"{found.message}, so its voltage is undefined",
            where=f"net {found.floating[0]}",
            hint="connect it through something that conducts, for example a bias resistor",
        )
        return
    points = "1 bias point" if found.points_tried == 1 else f"{found.points_tried} bias points"
    if found.status == "not_converged":
        yield Finding(
            "bias_not_found",
            "error",
            f"none of {points} that were tried has an operating point: {found.message}",
            hint="look for loops of sources and inductors, and for positive feedback that nothing limits",
        )
        return
    if found.conducting_share is None:
        return
    if found.conducting_share == 0:
        yield Finding(
            "nothing_conducts",
            "error",
            f"no transistor conducts at any of {points} that were tried",
            hint="lead a path of channels from VDD to VSS, and give every gate in it a bias port or a signal",
        )
        return
    if found.conducting_share < FEW_CONDUCT:
        yield Finding(
            "few_conduct",
            "warning",
            f"{found.conducting_share:.0%} of the transistors conduct at the best of {points}",
            hint="check which gates nothing turns on, and stacks of more transistors than the supply has room for",
        )
    elif found.saturated_share is not None and found.saturated_share < FEW_SATURATED:
        yield Finding(
            "few_saturated",
            "note",
            f"{found.saturated_share:.0%} of the MOS are saturated at the best of {points}",
            hint="in a circuit that is not made of switches, look for stacks without room and for outputs at a rail",
        )
    if found.largest_current_a is not None and found.largest_current_a > OVERDRIVE * technology.bias_a:
        yield Finding(
            "overdriven",
            "note",
            f"a transistor carries {found.largest_current_a * 1e3:.3g} mA at the best point, more than {OVERDRIVE:g} "
            f"times the bias current of {technology.bias_a * 1e6:g} uA",
            hint="a path of low resistance leads through it from VDD to VSS; limit its current",
        )


validators.add("conduction", Conduction())
