"""What the neural simulator learns from, as arrays: wired topologies, and rows of their simulations. Knows no store.

An *element* is a device of the netlist or a bias source of the size space: what a sizing gives numbers to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

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
class Rows:
    """Simulations of one structure in one technology: n rows, E elements, M metrics, V variables.

    `elements` and `conditions` are plain numbers of order 1, not standardised over any data. `values` are in SI units,
    NaN where `causes` is not DEFINED; `facts` are NaN where there are none. `process` is each row's process corner,
    `methods` how its sizes were drawn, `simulate_s` the processor time that its simulation took.
    """

    structure: Structure
    technology: str
    elements: NDArray[np.float32]  # [n, E, ELEMENT_FEATURES]
    conditions: NDArray[np.float32]  # [n, condition_names()], NaN where the testbench lacks the setting
    values: NDArray[np.float64]  # [n, M]
    causes: NDArray[np.int8]  # [n, M]
    facts: NDArray[np.float32]  # [n, E, FACTS]
    sizes: NDArray[np.float64]  # [n, V]
    methods: NDArray[np.str_]  # [n]
    process: NDArray[np.str_]  # [n]
    simulate_s: NDArray[np.float32]  # [n]

    def __post_init__(self) -> None:
        """Every array has these rows, elements and metrics, else ValueError."""
        count, elements, metrics = len(self.values), len(self.structure.names), len(self.structure.metrics)
        told = (
            self.values.shape, self.causes.shape, self.elements.shape[:2], self.facts.shape, self.conditions.shape[:1],
            self.sizes.shape[:1], self.methods.shape, self.process.shape, self.simulate_s.shape,
        )  # fmt: skip
        of_rows = (count,)
        wanted = (
            (count, metrics), (count, metrics), (count, elements), (count, elements, len(FACTS)), of_rows,
            of_rows, of_rows, of_rows, of_rows,
        )  # fmt: skip
        if told != wanted:
            raise ValueError(f"rows of {elements} elements and {metrics} metrics have arrays of shapes {told}")

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Rows:
        """These rows, by number or by a mask, in this order."""
        return Rows(
            self.structure, self.technology, self.elements[rows], self.conditions[rows], self.values[rows],
            self.causes[rows], self.facts[rows], self.sizes[rows], self.methods[rows], self.process[rows],
            self.simulate_s[rows],
        )  # fmt: skip
