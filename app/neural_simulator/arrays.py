"""What the neural simulator learns from, as arrays: wired topologies, and rows of their simulations. Knows no store.

An *element* is a device of the netlist or a bias source of the size space: what a sizing gives numbers to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from app.analog.kinds import KINDS, SUPPLY_NETS
from app.technologies._gmid import DESCRIPTOR_SHARES
from app.testbenches._base import testbenches

#: What an element may be; `Structure.kinds` are positions here.
ELEMENT_KINDS: tuple[str, ...] = (*KINDS, "voltage_source", "current_source")

#: Pins of an element that the structure tells; a block's further pins, those at its supplies first, are left out.
PINS = 4

#: What ngspice says about the operating point of a MOS, in SI units.
FACTS = ("id", "gm", "gds", "vgs", "vds", "vth")

#: Why a metric has no value, as stores of simulations count it. DEFINED has one; NOT_RUN was not asked for.
DEFINED, CIRCUIT, SIMULATOR, NOT_RUN = 0, 1, 2, 3

#: A simulation answered with a value that no circuit can have (`plausible.is_implausible`), so it has none.
IMPLAUSIBLE = 4

#: What `Rows.elements` say about an element, in this order; 0 where it means nothing for the element's kind.
ELEMENT_FEATURE_NAMES: tuple[str, ...] = (
    "log_width", "log_length", "log_aspect", "log_multiplier",
    *(f"{name}_{share:g}" for share in DESCRIPTOR_SHARES
      for name in ("log_current", "gm_over_id", "gate_share", "log_gain", "log_speed")),
    "log_gate_capacitance",
    "log_value", "level_share", "level", "level_below_supply", "follows_supply",
)  # fmt: skip
ELEMENT_FEATURES = len(ELEMENT_FEATURE_NAMES)


@cache
def net_classes() -> tuple[str, ...]:
    """What a net may be to a circuit on a testbench; `Structure.nets` are positions here, the first is no net at all.

    A net is a supply, internal, a port that a bias source holds, or the port of one of the testbenches' roles.
    """
    roles = sorted({role.name for testbench in testbenches.values() for role in testbench.roles})
    return ("", *SUPPLY_NETS, "internal", "bias", *(f"role:{name}" for name in roles))


@cache
def condition_names() -> tuple[str, ...]:
    """What `Rows.conditions` say, in this order: supply, temperature, then every setting of any testbench."""
    settings = sorted({setting.name for testbench in testbenches.values() for setting in testbench.settings})
    return ("log_supply", "supply_ratio", "celsius", *(f"setting:{name}" for name in settings))


@dataclass(frozen=True, eq=False)
class Structure:
    """A topology wired to a testbench: no sizes, no technology. E elements.

    `metrics` go from cheap to costly. `names` are the elements': devices in the netlist's order, then the variables of
    bias sources. A true ``shared[i, j, p * PINS + q]`` says that pin p of element i is on the net of pin q of element
    j, which is not a supply.
    """

    topology_id: str
    testbench: str
    metrics: tuple[str, ...]
    settings: tuple[str, ...]
    names: tuple[str, ...]
    kinds: NDArray[np.int8]  # [E], in ELEMENT_KINDS
    nets: NDArray[np.int16]  # [E, PINS], in net_classes()
    shared: NDArray[np.bool_]  # [E, E, PINS * PINS]

    def __post_init__(self) -> None:
        """Every array is of these elements, else ValueError."""
        count = len(self.names)
        shapes = (self.kinds.shape, self.nets.shape, self.shared.shape)
        if shapes != ((count,), (count, PINS), (count, count, PINS * PINS)):
            raise ValueError(f"a structure of {count} elements has arrays of shapes {shapes}")


@dataclass(frozen=True, eq=False)
class Estimates:
    """What the table simulator says of n rows, before anyone simulated them: M metrics, P elements or devices.

    A cause is DEFINED, CIRCUIT (it says that the circuit has no such metric), SIMULATOR (it found no solution) or
    NOT_RUN (it was not asked, or cannot tell). `values` are in SI units, NaN where the cause is not DEFINED; `facts`
    are those of its operating point, NaN where it has none.
    """

    values: NDArray[np.float64]  # [n, M]
    causes: NDArray[np.int8]  # [n, M]
    facts: NDArray[np.float32]  # [n, P, FACTS]

    @classmethod
    def nothing(cls, rows: int, metrics: int, places: int) -> Estimates:
        """Those of a simulator that was not asked."""
        return cls(
            np.full((rows, metrics), np.nan),
            np.full((rows, metrics), NOT_RUN, dtype=np.int8),
            np.full((rows, places, len(FACTS)), np.nan, dtype=np.float32),
        )


def facts_at(names: Sequence[str], devices: Sequence[str], facts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Facts by element, n x `names` x FACTS, from those of devices, n x `devices` x FACTS; NaN for other elements."""
    found = np.full((len(facts), len(names), len(FACTS)), np.nan, dtype=np.float32)
    found[:, [names.index(device) for device in devices]] = facts
    return found


@dataclass(frozen=True, eq=False)
class RowInputs:
    """What a predictor sees of sizings of one structure in one technology: n rows, E elements, M metrics.

    `elements` and `conditions` are plain numbers of order 1, not standardised over any data. `estimates`,
    `estimate_causes` and `estimated_facts` are those of `Estimates`.
    """

    structure: Structure
    technology: str
    elements: NDArray[np.float32]  # [n, E, ELEMENT_FEATURES]
    conditions: NDArray[np.float32]  # [n, condition_names()], NaN where the testbench lacks the setting
    estimates: NDArray[np.float64]  # [n, M]
    estimate_causes: NDArray[np.int8]  # [n, M]
    estimated_facts: NDArray[np.float32]  # [n, E, FACTS]

    def __post_init__(self) -> None:
        """Every array has these rows, elements and metrics, else ValueError."""
        count, elements, metrics = len(self.elements), len(self.structure.names), len(self.structure.metrics)
        shapes = self._shapes(count, elements, metrics)
        told = tuple(getattr(self, name).shape[: len(shape)] for name, shape in shapes.items())
        if told != tuple(shapes.values()):
            raise ValueError(f"rows of {elements} elements and {metrics} metrics have arrays of shapes {told}")

    def __len__(self) -> int:
        return len(self.elements)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """These rows, by number or by a mask, in this order."""
        taken: dict[str, Any] = {name: part[rows] for name, part in vars(self).items() if isinstance(part, np.ndarray)}
        return replace(self, **taken)

    def plain(self) -> Self:
        """These rows as if the table simulator had not been asked."""
        nothing = Estimates.nothing(len(self), len(self.structure.metrics), len(self.structure.names))
        return replace(self, estimates=nothing.values, estimate_causes=nothing.causes, estimated_facts=nothing.facts)

    def _shapes(self, count: int, elements: int, metrics: int) -> dict[str, tuple[int, ...]]:
        """The first lengths that every array has to have."""
        return {
            "elements": (count, elements),
            "conditions": (count,),
            "estimates": (count, metrics),
            "estimate_causes": (count, metrics),
            "estimated_facts": (count, elements, len(FACTS)),
        }


@dataclass(frozen=True, eq=False)
class Rows(RowInputs):
    """Simulations: what a predictor sees of them, and what ngspice found. V variables.

    `values` are in SI units, NaN where `causes` is not DEFINED; a cause is one of `Estimates`, or IMPLAUSIBLE. `facts`
    are NaN where there are none. `process` is each row's process corner, `methods` how its sizes were drawn,
    `simulate_s` the processor time that its simulation took.
    """

    values: NDArray[np.float64]  # [n, M]
    causes: NDArray[np.int8]  # [n, M]
    facts: NDArray[np.float32]  # [n, E, FACTS]
    sizes: NDArray[np.float64]  # [n, V]
    methods: NDArray[np.str_]  # [n]
    process: NDArray[np.str_]  # [n]
    simulate_s: NDArray[np.float32]  # [n]

    @property
    def inputs(self) -> RowInputs:
        """The part that a predictor sees."""
        return RowInputs(
            self.structure, self.technology, self.elements, self.conditions, self.estimates, self.estimate_causes,
            self.estimated_facts,
        )  # fmt: skip

    def _shapes(self, count: int, elements: int, metrics: int) -> dict[str, tuple[int, ...]]:
        return {
            **super()._shapes(count, elements, metrics),
            "values": (count, metrics),
            "causes": (count, metrics),
            "facts": (count, elements, len(FACTS)),
            **dict.fromkeys(("sizes", "methods", "process", "simulate_s"), (count,)),
        }
