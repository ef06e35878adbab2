"""Which nets direct current can reach. Any other net has no defined voltage, and ngspice may hang or die on it."""

from __future__ import annotations

from app.analog.netlist import Netlist
from app.simulators.bias import Bias


def floating_nets(netlist: Netlist, bias: Bias) -> tuple[str, ...]:
    """The nets without any path for direct current to VSS, in order of first use.

    Current flows through every pin but MOS gates, logic inputs and capacitors (the bulk belongs to the junctions), and
    through voltage sources and loads of the bias, not through its current sources.
    """
    leader: dict[str, str] = {}

    def find(net: str) -> str:
        while leader.setdefault(net, net) != net:
            leader[net] = leader[leader[net]]
            net = leader[net]
        return net

    def join(nets: list[str]) -> None:
        for net in nets[1:]:
            leader[find(net)] = find(nets[0])

    join(["VSS", "VDD", *(source.net for source in bias.voltages), *(load.net for load in bias.loads)])
    for device in netlist.devices:
        if device.kind != "capacitor":
            join([net for pin, net in device.pins() if pin == "bulk" or pin not in device.kind_of.sense_pins])
    return tuple(net for net in netlist.nets if find(net) != find("VSS"))
