"""Which nets direct current can reach. Any other net has no defined voltage, and ngspice may hang or die on it."""

from __future__ import annotations

from app.analog.netlist import Netlist
from app.analog.rules import unreached_nets
from app.simulators.bias import Bias


def floating_nets(netlist: Netlist, bias: Bias) -> tuple[str, ...]:
    """The nets without any path for direct current to VSS, in order of first use.

    Current flows as `unreached_nets` has it, and through voltage sources and loads of the bias, not through its current
    sources.
    """
    return unreached_nets(netlist, [*(source.net for source in bias.voltages), *(load.net for load in bias.loads)])
