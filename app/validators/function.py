"""Whether an analog circuit does what its type is for, on the testbenches of that type.

The testbenches are those that `simulate` uses: one mechanism. Asked for only where a caller names a type, since a
circuit that does not work costs every sizing of the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import UnknownName
from app.findings import Finding
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.testbenches._base import Bound, testbenches
from app.testbenches._function import FUNCTION_BUDGET, FunctionVerdict, check_function, testbenches_for
from app.validators._base import Rung, Subject, ValidationTools, Verdict, validators


class FunctionValidator:
    """Tries sizings in the default technology until one meets the least function of the type."""

    kind: Literal["analog", "quantum"] = "analog"
    rung: Rung = "function"
    summary = "on a testbench of its type, some sizing does what the type is for (only where a type is named)"
    example_type = "amplifier"
    accepts = """\
* a common-source stage with a resistor
* ports: VDD VSS VIN1 VOUT1
M1 VOUT1 VIN1 VSS VSS nmos
R1 VDD VOUT1 20k
.end
"""
    rejects = """\
* an output that no input reaches
* ports: VDD VSS VIN1 VOUT1
M1 VDD VIN1 VSS VSS nmos
R1 VDD VOUT1 20k
R2 VOUT1 VSS 20k
.end
"""

    def check(self, circuit: Subject, tools: ValidationTools) -> Verdict:
        """An error where no sizing of the budget works; facts hold the testbench, the sizing and its metrics."""
        assert circuit.netlist is not None, "an analog subject carries its netlist"
        circuit_type = circuit.function_of
        if circuit_type is None:
            return Verdict()
        if circuit_type not in CIRCUIT_TYPES:
            raise UnknownName("circuit type", circuit_type, CIRCUIT_TYPES, pointer="/type")
        if not testbenches_for(circuit_type):
            return Verdict((_note(f"there is no testbench for circuits of type {circuit_type}"),))
        if tools.benches is None:
            return Verdict((_note("there is no simulator here; run 'josephson doctor' to see what is missing"),))
        found = check_function(circuit.netlist, circuit_type, technologies[DEFAULT_TECHNOLOGY], tools.benches)
        row = found.row or {}
        facts = {
            "technology": DEFAULT_TECHNOLOGY,
            "type": circuit_type,
            "testbench": found.testbench,
            "works": found.works,
            "sizings_tried": found.tried,
            "sizes": row.get("sizes"),
            "metrics": row.get("metrics"),
        }
        return Verdict(tuple(_findings(found, circuit_type)), facts)


def _note(reason: str) -> Finding:
    return Finding("function_not_tried", "note", f"the function was not tried: {reason}")


def _findings(found: FunctionVerdict, circuit_type: str) -> Iterator[Finding]:
    if found.works:
        return
    if found.testbench is None:
        reasons = "; ".join(found.refused.values())
        yield Finding("function_not_drivable", "error", f"no testbench for type {circuit_type} can drive it: {reasons}")
        return
    bounds = ", ".join(_said(found.testbench, bound, found) for bound in found.unmet)
    yield Finding(
        "function_not_found",
        "error",
        f"no sizing of {found.tried} tried on testbench {found.testbench} works as {circuit_type}; "
        f"the best has {bounds}",
        hint=f"{FUNCTION_BUDGET} sizings prove nothing: give sizes in the netlist to have them tried first",
    )


def _said(testbench: str, bound: Bound, found: FunctionVerdict) -> str:
    """One bound and what was found instead: "gain_db 3.1 dB (at least 20)"."""
    unit = testbenches[testbench].metric_of[bound.metric].unit
    row = found.row or {}
    value = row.get("metrics", {}).get(bound.metric)
    reason = row.get("undefined", {}).get(bound.metric, {}).get("reason", "no value")
    sides = (("at least", bound.low), ("at most", bound.high))
    limits = [f"{word} {limit:g}" for word, limit in sides if limit is not None]
    shown = f"{value:.3g} {unit}" if value is not None else f"undefined, {reason}"
    return f"{bound.metric} {shown} ({' and '.join(limits)})"


validators.add("function", FunctionValidator())
