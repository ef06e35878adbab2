"""Which nets direct current can reach. Any other net has no defined voltage, and ngspice may hang or die on it."""

from __future__ import annotations

from app.analog.netlist import Netlist
from app.analog.wiring import JoinedNets
from app.simulators.bias import Bias


def floating_nets(netlist: Netlist, bias: Bias) -> tuple[str, ...]:
    """The nets without any path for direct current to VSS, in order of first use.

    Current flows through every pin but MOS gates, logic inputs and capacitors (the bulk belongs to the junctions), and
    through voltage sources and loads of the bias, not through its current sources.
    """
    reached = JoinedNets()
    reached.join(["VSS", "VDD", *(source.net for source in bias.voltages), *(load.net for load in bias.loads)])
    for device in netlist.devices:
        if device.kind != "capacitor":
            reached.join([net for pin, net in device.pins() if pin == "bulk" or pin not in device.kind_of.sense_pins])
    return tuple(net for net in netlist.nets if reached.find(net) != reached.find("VSS"))
