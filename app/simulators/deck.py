"""Complete decks: a netlist with sizes, device models, supply, bias and loads, ready for ``ngspice -b``.

Every name in a deck is ours or prefixed. ngspice knows no case, and a node that is named like a device model silently
rewires the cards of a sub-circuit; so only supplies and ports of a known role keep their names, and every model name
starts with its technology's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.analog.kinds import SUPPLY_NETS
from app.analog.netlist import Device, Netlist, port_role
from app.analog.spice_cards import VALUE_OF
from app.simulators.bias import Bias, bias_plan
from app.technologies._base import DeviceModels, Technology
from app.units import format_spice_number

_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_OTHER_CHARACTERS = re.compile(r"[^a-z0-9_]")

#: How the names of sources and loads start; no device keeps a name like these.
SUPPLY_SOURCE = "V_VDD"
_OWN_PREFIXES = ("r_port_", "r_wire_", "r_load_", "c_load_")


@dataclass(frozen=True, slots=True)
class Deck:
    """A deck's text, and what the netlist's nets and devices are called in it (lower case, as ngspice answers)."""

    text: str
    node_of: Mapping[str, str]
    instance_of: Mapping[str, str]


def default_sizes(netlist: Netlist, technology: Technology) -> Netlist:
    """The netlist with the technology's default size wherever a device has none; sizes that are there stay."""
    devices = tuple(
        replace(device, sizes=MappingProxyType({**technology.sizes.get(device.kind, {}), **device.sizes}))
        for device in netlist.devices
    )
    return Netlist(devices=devices, ports=netlist.ports)


def complete_deck(netlist: Netlist, technology: Technology, bias: Bias | None = None) -> str:
    """The text of `operating_point_deck`: self-contained; ``ngspice -b`` runs it as written and prints the result."""
    return operating_point_deck(netlist, technology, bias).text


def operating_point_deck(
    netlist: Netlist,
    technology: Technology,
    bias: Bias | None = None,
    *,
    parameter_of: Mapping[str, str] = MappingProxyType({}),
    saved: Sequence[str] = (),
) -> Deck:
    """The netlist made complete for ``.op``: sizes, device models, supply, bias (`bias_plan` where none is given).

    The source at a net of `parameter_of` has the deck's parameter of that name for its value; `deck_with_parameters`
    gives it one. `saved` are the vectors that are kept, everything where there are none.
    """
    sized = default_sizes(netlist, technology)
    bias = bias_plan(sized, technology) if bias is None else bias
    models = technology.device_models()
    node_of = node_names(sized)
    instance_of = instance_names(sized)
    lines = [
        f"* operating point, technology {technology.name}, {technology.supply_v:g} V, {technology.celsius:g} degrees",
        "",
        *circuit_cards(sized, technology, models, node_of, instance_of),
        "",
        "* supply and bias",
        "V_VSS VSS 0 DC 0",
        *_bias_cards(bias, node_of, parameter_of),
        "",
        *models.text_for(dict.fromkeys(device.kind for device in sized.devices), mos_sizes([sized])).splitlines(),
        "",
        f".options temp={technology.celsius:g}",
        *((f".save {' '.join(saved)}",) if saved else ()),
        ".op",
        ".end",
    ]
    return Deck("\n".join(lines) + "\n", _lower(node_of), _lower(instance_of))


def deck_with_parameters(deck: str, values: Mapping[str, float]) -> str:
    """The deck with ``.param`` cards of these values after its title: what a worker simulates."""
    title, _, rest = deck.partition("\n")
    cards = "".join(f".param {name}={value!r}\n" for name, value in values.items())
    return f"{title}\n{cards}{rest}"


def mos_sizes(netlists: Iterable[Netlist]) -> dict[str, set[tuple[float, float]]]:
    """MOS kind -> every (width, length) in metres that its devices have in one of the netlists."""
    found: dict[str, set[tuple[float, float]]] = {}
    for netlist in netlists:
        for device in netlist.devices:
            if device.kind_of.is_mos:
                found.setdefault(device.kind, set()).add((device.sizes["width_m"], device.sizes["length_m"]))
    return found


def circuit_cards(
    netlist: Netlist,
    technology: Technology,
    models: DeviceModels,
    node_of: Mapping[str, str],
    instance_of: Mapping[str, str],
    parameter_of: Mapping[tuple[str, str], str] = MappingProxyType({}),
) -> Iterator[str]:
    """The element cards of every device under the deck's names.

    A (device, size) of `parameter_of` is written as the deck's parameter of that name, any other size as its number.
    Every MOS has its width and length one way or the other.
    """
    parameters: dict[str, dict[str, str]] = {}
    for (name, size), parameter in parameter_of.items():
        parameters.setdefault(name, {})[size] = f"{{{parameter}}}"
    for device in netlist.devices:
        expressions = {size: format_spice_number(value) for size, value in device.sizes.items()}
        expressions |= parameters.get(device.name, {})
        renamed = replace(device, name=instance_of[device.name], nets=tuple(node_of[net] for net in device.nets))
        yield from _device_cards(renamed, technology, models, expressions)


def _device_cards(
    device: Device, technology: Technology, models: DeviceModels, expressions: Mapping[str, str]
) -> Iterator[str]:
    """The device's card. An inductor gets the resistance of its wire: ideal ones in a loop have no DC solution."""
    letter = device.kind_of.letter
    if letter == "M":
        yield models.device_card(device, expressions)
    elif letter == "L":
        inside = f"s_{device.name}"
        first, second = device.nets
        yield f"{device.name} {first} {inside} {expressions[VALUE_OF[letter]]}"
        yield f"R_wire_{device.name} {inside} {second} {format_spice_number(technology.inductor_ohm)}"
    elif letter in "RC":
        yield f"{device.name} {' '.join(device.nets)} {expressions[VALUE_OF[letter]]}"
    else:
        area = f" AREA={expressions['area']}" if "area" in expressions else ""
        yield f"{device.name} {' '.join(device.nets)} {models.names[device.kind]}{area}"


def _bias_cards(bias: Bias, node_of: Mapping[str, str], parameter_of: Mapping[str, str]) -> Iterable[str]:
    """Cards of sources and loads. VSS is held at 0 V by a source of its own, so that cards keep the net's name."""

    def level(net: str, value: float) -> str:
        return f"{{{parameter_of[net]}}}" if net in parameter_of else format_spice_number(value)

    for source in bias.voltages:
        node = node_of.get(source.net, source.net)
        value = level(source.net, source.volts)
        if source.series_ohm:
            yield f"V_{node} s_{node} VSS DC {value}"
            yield f"R_port_{node} s_{node} {node} {format_spice_number(source.series_ohm)}"
        else:
            yield f"V_{node} {node} VSS DC {value}"
    for current in bias.currents:
        node = node_of.get(current.net, current.net)
        ends = f"VDD {node}" if current.flows_in else f"{node} VSS"
        yield f"I_{node} {ends} DC {level(current.net, current.amperes)}"
    for load in bias.loads:
        node = node_of.get(load.net, load.net)
        yield f"R_load_{node} {node} VSS {format_spice_number(load.ohm)}"
        yield f"C_load_{node} {node} VSS {format_spice_number(load.farad)}"


def node_names(netlist: Netlist) -> dict[str, str]:
    """Net -> node. Supplies and ports of a role keep their name, all else starts with ``n_``; no two are equal."""
    kept = {net: net for net in (*netlist.nets, *netlist.ports) if net in SUPPLY_NETS or port_role(net) is not None}
    others = [net for net in dict.fromkeys((*netlist.nets, *netlist.ports)) if net not in kept]
    return {**kept, **_unique({net: f"n_{net}" for net in others})}


def instance_names(netlist: Netlist) -> dict[str, str]:
    """Device -> instance name that starts with the card's letter; no two are equal, none is one of ours."""
    wanted = {}
    for device in netlist.devices:
        letter, name = device.kind_of.letter, device.name
        is_fine = name.upper().startswith(letter) and not name.lower().startswith(_OWN_PREFIXES)
        wanted[device.name] = name if is_fine and len(name) > 1 else f"{letter}x{name}"
    return _unique(wanted)


def _unique(wanted: Mapping[str, str]) -> dict[str, str]:
    """Each name made plain (letters, digits, underscores) and, regardless of case, unlike all others."""
    used: set[str] = set()
    given = {}
    for key, name in wanted.items():
        plain = name if _PLAIN_NAME.fullmatch(name.lower()) else _OTHER_CHARACTERS.sub("_", name.lower())[:48]
        chosen, number = plain, 2
        while chosen.lower() in used:
            chosen, number = f"{plain}_{number}", number + 1
        used.add(chosen.lower())
        given[key] = chosen
    return given


def _lower(names: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({key: name.lower() for key, name in names.items()})
