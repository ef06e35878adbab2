"""Where a circuit that biases itself settles when it is kicked. Knows which way is on, not how far.

Such a circuit has a second solution at which nothing flows, and an operating point may be either. A transient from
charged junctions and current sources that are hard on, as a start-up circuit would leave them, ends at the working one
where there is one; the operating point is then looked for there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Netlist
from app.testbenches._base import BenchCircuit, Reading, Run, Setup
from app.testbenches._pairs import pair_partner

#: The run and setup that kicks; what is read after it depends on it.
KICKED = "kicked"

#: First guesses of a forward-biased base-emitter junction and of the base of an NPN core, in volts.
_JUNCTION_V = 0.7
_BANDGAP_V = 1.2

#: How far below VDD the gates of current sources are kicked, over what turns a transistor on.
_HARD = 1.5

#: Points of the transient's window that are asked for at least.
_POINTS = 20


def kicked_setup(circuit: BenchCircuit, cards: tuple[str, ...], held: Collection[str], window_s: float) -> Setup:
    """The transient that ends where the circuit settles. `held` are the nets whose voltage `cards` set."""
    guesses = {net: volts for net, volts in _guesses(circuit).items() if net in _free_nets(circuit, held)}
    starts = (f".ic v({circuit.node_of[net]})={volts:.4g}" for net, volts in guesses.items())
    vectors = tuple(f"v({circuit.node_of[net]})" for net in _free_nets(circuit, held))
    run = Run(KICKED, "tran", f"tran {window_s / _POINTS:.6g} {window_s:.12g}", vectors)
    return Setup(KICKED, (*cards, *starts), (run,))


def settled_cards(circuit: BenchCircuit, held: Collection[str]) -> tuple[str, ...]:
    """What makes an operating point start from where the circuit settled; `settled` fills the numbers in."""
    nodes = (circuit.node_of[net] for net in _free_nets(circuit, held))
    return tuple(f".nodeset v({node})={{tb_{node}}}" for node in nodes)


def settled(reading: Reading) -> dict[str, float]:
    """The number of every `settled_cards`: the last voltage of each net."""
    run = reading.run(KICKED)
    return {f"tb_{name[2:-1]}": float(run.real(name)[-1]) for name in run.vectors}


def _free_nets(circuit: BenchCircuit, held: Collection[str]) -> tuple[str, ...]:
    """The nets whose voltage no source sets."""
    taken = {*SUPPLY_NETS, *circuit.wiring.biased, *held}
    return tuple(net for net in circuit.netlist.nets if net not in taken)


def _guesses(circuit: BenchCircuit) -> dict[str, float]:
    """Roughly where a net is when the circuit works, for every net that some rule gives one.

    A junction drops `_JUNCTION_V`; the base of an NPN core that is the output is near the bandgap; the inputs of a
    differential pair are alike; a PMOS at VDD conducts.
    """
    netlist, output = circuit.netlist, circuit.wiring.port_of["output"]
    level = {"VSS": 0.0, **_conducting_gates(circuit)}
    if any(device.kind == "npn" and device.nets[1] == output for device in netlist.devices):
        level.setdefault(output, _BANDGAP_V)
    drops = [*_junctions(netlist)]
    drops += [(net, partner, 0.0) for net in netlist.internal_nets if (partner := pair_partner(netlist, net))]
    count = 0
    while count != len(level):
        count = len(level)
        for upper, lower, drop in drops:
            if lower in level:
                level.setdefault(upper, level[lower] + drop)
            elif upper in level:
                level.setdefault(lower, level[upper] - drop)
    return level


def _conducting_gates(circuit: BenchCircuit) -> dict[str, float]:
    """Nets that hold the gate of a PMOS whose source is VDD, at what turns it hard on."""
    level = max(0.0, circuit.corner.supply_v - _HARD * circuit.technology.gate_bias_v)
    return {
        device.nets[1]: level
        for device in circuit.netlist.devices
        if device.kind == "pmos" and device.nets[2] == "VDD" and device.nets[1] not in SUPPLY_NETS
    }


def _junctions(netlist: Netlist) -> Iterator[tuple[str, str, float]]:
    """(upper net, lower net, drop) of every base-emitter junction that does not end at VDD."""
    for device in netlist.devices:
        if device.kind in ("npn", "pnp"):
            _, base, emitter = device.nets
            upper, lower = (base, emitter) if device.kind == "npn" else (emitter, base)
            if upper != "VDD":
                yield upper, lower, _JUNCTION_V
