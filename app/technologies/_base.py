"""What a technology is: device models by process corner, limits, default sizes and bias levels. Knows no circuit.

Device models are *compiled*: numbers only, no library sections, no expressions but those in a device's own width and
length. That is what makes a binned foundry library as quick to load as a plain card (`docs/experiments.md`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from app.analog.netlist import Device
from app.errors import InvalidInput, Unavailable, UnknownName
from app.registry import Registry

#: Sizes this close to a bin's edge, relatively, count for the bins on both sides; ngspice then chooses between them.
_EDGE = 1e-6


@dataclass(frozen=True, slots=True)
class ModelBin:
    """One ``.model`` card of a MOS and the half-open ranges of length and width, in metres, that it is for."""

    name: str
    card: str
    length_m: tuple[float, float] = (0.0, float("inf"))
    width_m: tuple[float, float] = (0.0, float("inf"))

    def fits(self, width_m: float, length_m: float) -> bool:
        """True where ngspice may choose this card for a device of that size."""
        return _is_in(length_m, self.length_m) and _is_in(width_m, self.width_m)


def _is_in(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] * (1 - _EDGE) <= value <= limits[1] * (1 + _EDGE)


@dataclass(frozen=True)
class MosModel:
    """The device model of one MOS polarity.

    `name` is what device cards call it (bins are ``name.1``, ``name.2``, ...). `instance` are further parameters of the
    device's card, as ngspice expressions in which ``{w}``, ``{l}`` and ``{m}`` stand for width and length in metres and
    the multiplier.
    """

    name: str
    bins: tuple[ModelBin, ...]
    instance: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def bins_for(self, sizes: Collection[tuple[float, float]]) -> tuple[ModelBin, ...]:
        """The bins that ngspice may choose for a device of one of these (width, length), in metres."""
        lengths = {bin.length_m for bin in self.bins}
        widths = {bin.width_m for bin in self.bins}
        wanted = {
            (of_length, of_width)
            for width, length in set(sizes)
            for of_length in lengths
            if _is_in(length, of_length)
            for of_width in widths
            if _is_in(width, of_width)
        }
        return tuple(bin for bin in self.bins if (bin.length_m, bin.width_m) in wanted)


@dataclass(frozen=True)
class DeviceModels:
    """Every device model of a technology at one process corner.

    `mos` holds ``nmos`` and ``pmos``. `cards` are the other models and sub-circuits by name, in the order they need one
    another; `names` gives the card of each other kind that has one. Resistors, capacitors and inductors are linear.
    `inner_sizes` are the (width, length) in metres of the transistors inside blocks, by kind.
    """

    process: str
    mos: Mapping[str, MosModel]
    cards: Mapping[str, str]
    names: Mapping[str, str]
    inner_sizes: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def card_hash(self) -> str:
        """The first 16 hexadecimal digits of SHA-256 over everything that could change a result."""
        digest = hashlib.sha256()
        for kind in sorted(self.mos):
            model = self.mos[kind]
            for text in (kind, model.name, repr(sorted(model.instance.items())), *(bin.card for bin in model.bins)):
                digest.update(text.encode() + b"\0")
        for name, card in self.cards.items():
            digest.update(f"{name}\0{card}\0".encode())
        return digest.hexdigest()[:16]

    def device_card(self, device: Device, expressions: Mapping[str, str]) -> str:
        """The element card of a MOS. `expressions` give its sizes: numbers, or ``{name}`` of a deck's parameter."""
        model = self.mos[device.kind]
        width, length = expressions["width_m"], expressions["length_m"]
        multiplier = expressions.get("multiplier", "1")
        bare = {key: text.strip("{}") for key, text in (("w", width), ("l", length), ("m", multiplier))}
        words = [device.name, *device.nets, model.name, f"W={width}", f"L={length}"]
        if multiplier != "1":
            words.append(f"M={multiplier}")
        for parameter, expression in model.instance.items():
            filled = expression
            for key, text in bare.items():
                filled = filled.replace(f"{{{key}}}", f"({text})")
            words.append(f"{parameter}={filled}" if filled == expression else f"{parameter}={{{filled}}}")
        return " ".join(words)

    def text_for(
        self, kinds: Iterable[str], mos_sizes: Mapping[str, Collection[tuple[float, float]]] | None = None
    ) -> str:
        """The cards that devices of these kinds need, and those they need in turn.

        `mos_sizes` are the (width, length) in metres that devices of a MOS kind take, so that only their bins are
        written, and those of transistors inside the blocks among `kinds`; every bin where it is None.
        """
        wanted = list(dict.fromkeys(kinds))
        needed = self._needed_cards(wanted)
        words = {word for name in needed for word in self.cards[name].split()}
        lines = []
        for kind, model in self.mos.items():
            is_inside = model.name in words
            if kind not in wanted and not is_inside:
                continue
            bins = model.bins
            if mos_sizes is not None:
                bins = model.bins_for(
                    [*mos_sizes.get(kind, ()), *(self.inner_sizes.get(kind, ()) if is_inside else ())]
                )
            lines += [bin.card for bin in bins]
        lines += [text for name, text in self.cards.items() if name in needed]
        return "\n".join(lines)

    def _needed_cards(self, kinds: Iterable[str]) -> set[str]:
        wanted = [self.names[kind] for kind in kinds if kind in self.names]
        needed: set[str] = set()
        while wanted:
            name = wanted.pop()
            if name not in needed:
                needed.add(name)
                words = set(self.cards[name].split())
                wanted += [other for other in self.cards if other in words]
        return needed


#: What is built on a chip or beside it, lowest and highest, by kind and size.
PASSIVE_RANGES: Mapping[str, Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "resistor": MappingProxyType({"resistance_ohm": (10.0, 10e6)}),
        "capacitor": MappingProxyType({"capacitance_f": (5e-15, 100e-12)}),
        "inductor": MappingProxyType({"inductance_h": (50e-12, 100e-6)}),
    }
)

#: What they have before anyone sizes them.
PASSIVE_SIZES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "resistor": MappingProxyType({"resistance_ohm": 10e3}),
        "capacitor": MappingProxyType({"capacitance_f": 1e-12}),
        "inductor": MappingProxyType({"inductance_h": 1e-9}),
    }
)


@dataclass(frozen=True)
class Technology:
    """One process. All quantities are SI; bias levels are magnitudes, at the default sizes and a current near `bias_a`.

    `processes` are the process corners, the nominal one first; `load` compiles the device models of one, given this
    technology and the corner's name. `sizes` are the default sizes by kind. `gate_bias_v` turns a MOS on (a pmos where
    `pmos_gate_bias_v` does not say otherwise), `base_bias_v` a bipolar transistor; `bias_a` is the current a bias
    current port carries. `inductor_ohm` is the series resistance of a coil. `borrowed` are device kinds whose models
    are not the technology's own but this project's (bipolar transistors of a card that has none); `is_added` tells that
    it was added on this machine. `passive_ranges` are the lowest and highest sensible value of resistors, capacitors
    and inductors; `ranges` has those of transistors too. `require` raises Unavailable where the cards are not on this
    machine, and reads none of them.
    """

    name: str
    summary: str
    licence: str
    source: str
    processes: tuple[str, ...]
    load: Callable[[Technology, str], DeviceModels]
    supply_v: float
    celsius: float
    length_min_m: float
    length_max_m: float
    width_min_m: float
    width_max_m: float
    sizes: Mapping[str, Mapping[str, float]]
    gate_bias_v: float
    base_bias_v: float
    bias_a: float
    inductor_ohm: float
    borrowed: tuple[str, ...] = ()
    is_added: bool = False
    pmos_gate_bias_v: float | None = None
    passive_ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=lambda: PASSIVE_RANGES)
    require: Callable[[], object] = lambda: None
    _loaded: dict[str, DeviceModels] = field(default_factory=dict, init=False, repr=False, compare=False, hash=False)

    @cached_property
    def ranges(self) -> Mapping[str, Mapping[str, tuple[float, float]]]:
        """Of every device kind with sizes: the lowest and highest value of each."""
        transistor = {
            "width_m": (self.width_min_m, self.width_max_m),
            "length_m": (self.length_min_m, self.length_max_m),
        }
        return MappingProxyType({"nmos": transistor, "pmos": transistor, **self.passive_ranges})

    def turn_on_v(self, kind: str) -> float:
        """The magnitude of the control voltage that turns a transistor of a kind on, at the default sizes."""
        if kind == "pmos" and self.pmos_gate_bias_v is not None:
            return self.pmos_gate_bias_v
        return self.gate_bias_v if kind in ("nmos", "pmos") else self.base_bias_v

    @property
    def is_available(self) -> bool:
        """True where the cards are on this machine."""
        try:
            self.require()
        except Unavailable:
            return False
        return True

    def device_models(self, process: str | None = None) -> DeviceModels:
        """The compiled models of a process corner (the nominal one by default), read once.

        Raises:
            UnknownName: no corner of that name.
            Unavailable: the cards are not on this machine, or are not what they should be.
        """
        process = self.processes[0] if process is None else process
        if process not in self.processes:
            raise UnknownName(f"process corner of {self.name}", process, self.processes, pointer="/corner")
        if process not in self._loaded:
            try:
                self._loaded[process] = self.load(self, process)
            except InvalidInput as error:
                raise Unavailable(f"the cards of technology {self.name!r} cannot be used: {error}") from None
        return self._loaded[process]


#: Every technology by name: one module of `app.technologies` each, and those that were added on this machine.
technologies: Registry[Technology] = Registry("technology", "app.technologies")

#: The technology of sizes, decks and operating points whose request names none.
DEFAULT_TECHNOLOGY = "generic180"
