"""The variables of a topology: one for each size that matched devices share, and one for each bias source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from app.analog.kinds import SUPPLY_NETS
from app.analog.matching import SizeGroup, size_groups
from app.analog.netlist import Device, Netlist
from app.errors import InvalidRequest
from app.simulators.bias import Bias
from app.simulators.deck import instance_names, node_names
from app.sizes.space import SizeSpace, SizeVariable
from app.technologies._base import Technology

#: The most fingers that a MOS has unless the netlist says more.
MOST_FINGERS = 32

#: The largest area of a bipolar transistor or diode, in unit devices, unless the netlist says more.
MOST_UNITS = 64

#: Lowest and highest bias current, as multiples of the technology's.
CURRENT_RANGE = (0.1, 100.0)

#: Kind -> its sizes: (size name, prefix of the variable's name, unit). The order is that of the variables.
_SIZES: Mapping[str, tuple[tuple[str, str, str], ...]] = MappingProxyType(
    {
        **dict.fromkeys(("nmos", "pmos"), (("width_m", "w", "m"), ("length_m", "l", "m"))),
        **dict.fromkeys(("npn", "pnp", "diode"), (("area", "area", ""),)),
        "resistor": (("resistance_ohm", "r", "ohm"),),
        "capacitor": (("capacitance_f", "c", "F"),),
        "inductor": (("inductance_h", "ind", "H"),),
    }
)


def size_space(netlist: Netlist, technology: Technology, bias: Bias) -> SizeSpace:
    """Every number that sizes the circuit in this technology.

    Devices come first, group by group (`size_groups`): ``w_m1`` and ``l_m1`` after the group's first device, a
    multiplier ``m_m1`` for each set of copies, and ``r_``, ``c_``, ``ind_`` or ``area_`` for the other kinds. Then
    follow the sources of `bias` but the supply's: ``vb1_v``, ``ib1_a``. Given sizes are starting points and widen the
    ranges of passive devices, areas and multipliers; where there is none, the technology's default size is.

    Raises:
        InvalidRequest: A given size is not positive, or a width or length is none that the technology makes.
    """
    devices = {device.name: device for device in netlist.devices}
    names = instance_names(netlist)
    variables = [
        variable
        for group in size_groups(netlist)
        for variable in _of_group(group, devices, {name: names[name].lower() for name in group.devices}, technology)
    ]
    return SizeSpace((*variables, *_of_bias(netlist, technology, bias)))


def _of_group(
    group: SizeGroup, devices: Mapping[str, Device], names: Mapping[str, str], technology: Technology
) -> Iterator[SizeVariable]:
    members = [devices[name] for name in group.devices]
    for size, prefix, unit in _SIZES.get(group.kind, ()):
        low, high = _range(group.kind, size, technology)
        given = _given(members, size)
        if given is not None and unit == "m" and not low * (1 - 1e-9) <= given <= high * (1 + 1e-9):
            raise InvalidRequest(
                f"{members[0].name} has {size.removesuffix('_m')} {given:g} m, {technology.name} makes "
                f"{low:g} to {high:g} m; change it or choose another technology",
                pointer="/netlist",
            )
        start = given if given is not None else technology.sizes.get(group.kind, {}).get(size, 1.0)
        yield SizeVariable(
            name=f"{prefix}_{names[group.devices[0]]}",
            unit=unit,
            low=min(low, start),
            high=max(high, start),
            start=start,
            places=tuple((name, size) for name in group.devices),
            is_integer=size == "area",
        )
    if members[0].kind_of.is_mos:
        for copies in group.copies:
            start = _given([devices[name] for name in copies], "multiplier") or 1.0
            yield SizeVariable(
                name=f"m_{names[copies[0]]}",
                unit="",
                low=min(1.0, start),
                high=max(float(MOST_FINGERS), start),
                start=start,
                places=tuple((name, "multiplier") for name in copies),
                is_integer=start == round(start),
            )


def _range(kind: str, size: str, technology: Technology) -> tuple[float, float]:
    return (1.0, float(MOST_UNITS)) if size == "area" else technology.ranges[kind][size]


def _given(members: Sequence[Device], size: str) -> float | None:
    """The size that members bring along, None where none does; InvalidRequest where it is not positive."""
    for device in members:
        if size in device.sizes:
            value = device.sizes[size]
            if not 0 < value < math.inf:
                raise InvalidRequest(f"{device.name} has {size} {value:g}, which has to be above 0", pointer="/netlist")
            return value
    return None


def _of_bias(netlist: Netlist, technology: Technology, bias: Bias) -> Iterator[SizeVariable]:
    nodes = node_names(netlist)
    for source in bias.voltages:
        if source.net not in SUPPLY_NETS:
            yield SizeVariable(
                name=f"{nodes.get(source.net, source.net).lower()}_v",
                unit="V",
                low=min(0.0, source.volts),
                high=max(technology.supply_v, source.volts),
                start=source.volts,
                port=source.net,
                is_log=False,
            )
    for current in bias.currents:
        low, high = (factor * technology.bias_a for factor in CURRENT_RANGE)
        yield SizeVariable(
            name=f"{nodes.get(current.net, current.net).lower()}_a",
            unit="A",
            low=min(low, current.amperes),
            high=max(high, current.amperes),
            start=current.amperes,
            port=current.net,
        )


def sized(netlist: Netlist, space: SizeSpace, vector: Sequence[float]) -> Netlist:
    """The netlist with the sizes of a vector; bias values have no place in it."""
    values: dict[str, dict[str, float]] = {device.name: dict(device.sizes) for device in netlist.devices}
    for variable, value in zip(space.variables, vector, strict=True):
        for name, size in variable.places:
            values[name][size] = value
    devices = tuple(replace(device, sizes=MappingProxyType(values[device.name])) for device in netlist.devices)
    return Netlist(devices, netlist.ports)


def mos_area_m2(netlist: Netlist) -> float:
    """The sum of width x length x multiplier over the MOS of a sized netlist, those inside blocks left out."""
    return sum(
        device.sizes["width_m"] * device.sizes["length_m"] * device.sizes.get("multiplier", 1.0)
        for device in netlist.devices
        if device.kind_of.is_mos
    )
