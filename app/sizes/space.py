"""The variables that a topology's sizing is made of, as values. Knows no simulator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app.errors import InvalidRequest, UnknownName


@dataclass(frozen=True, slots=True)
class SizeVariable:
    """One number that a sizing chooses, in SI units.

    `places` are the (device, size name) pairs that take it; `port` is the bias port whose source has it instead.
    `start` lies between `low` and `high`. A variable that is not `is_log` is drawn evenly (voltages).
    """

    name: str
    unit: str
    low: float
    high: float
    start: float
    places: tuple[tuple[str, str], ...] = ()
    port: str | None = None
    is_integer: bool = False
    is_log: bool = True

    @property
    def is_current(self) -> bool:
        """True for the current of a bias port."""
        return self.port is not None and self.unit == "A"

    def allows(self, value: float) -> bool:
        """True from `low` to `high`, but for rounding."""
        return self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)

    def shown(self, value: float) -> str:
        """The value with its unit, in words."""
        return f"{value:g} {self.unit}".rstrip()


@dataclass(frozen=True)
class SizeSpace:
    """Every variable of a topology, in the netlist's order; `vector` orders values as `variables` are ordered."""

    variables: tuple[SizeVariable, ...]

    @cached_property
    def index_of(self) -> Mapping[str, int]:
        """Position of a variable by name."""
        return {variable.name: index for index, variable in enumerate(self.variables)}

    @cached_property
    def variable_at(self) -> Mapping[tuple[str, str], SizeVariable]:
        """The variable of a (device, size name)."""
        return {place: variable for variable in self.variables for place in variable.places}

    @property
    def start(self) -> tuple[float, ...]:
        """The starting point."""
        return tuple(variable.start for variable in self.variables)

    def starting_at(self, vector: Sequence[float]) -> SizeSpace:
        """The same variables, which start at these values."""
        moved = (replace(variable, start=value) for variable, value in zip(self.variables, vector, strict=True))
        return SizeSpace(tuple(moved))

    def vector(
        self, sizing: Mapping[str, float], *, pointer: str = "/sizings", is_bounded: bool = True
    ) -> tuple[float, ...]:
        """The whole vector of a sizing that names some variables; the others keep their start.

        Raises:
            UnknownName: A name that is no variable here.
            InvalidRequest: A value that is not a number or outside the variable's range; where the vector need not be
                bounded, a size that is not positive.
        """
        values = list(self.start)
        for name, value in sizing.items():
            if name not in self.index_of:
                raise UnknownName("size", name, self.index_of, pointer=pointer)
            variable = self.variables[self.index_of[name]]
            if not math.isfinite(value):
                raise InvalidRequest(f"size {name} is {value}, which is no number", pointer=f"{pointer}/{name}")
            whole = float(round(value)) if variable.is_integer else float(value)
            if is_bounded and not variable.allows(value):
                raise InvalidRequest(
                    f"size {name} is {variable.shown(value)}, it may be {variable.low:g} to "
                    f"{variable.shown(variable.high)}",
                    pointer=f"{pointer}/{name}",
                )
            if variable.is_log and whole <= 0:
                raise InvalidRequest(
                    f"size {name} is {variable.shown(value)}, it must be positive", pointer=f"{pointer}/{name}"
                )
            values[self.index_of[name]] = whole
        return tuple(values)

    def as_sizing(self, vector: Sequence[float]) -> dict[str, float]:
        """Values by name."""
        return {variable.name: value for variable, value in zip(self.variables, vector, strict=True)}
