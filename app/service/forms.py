"""The form of a new job: what it offers, the request that it says, and the field that each problem of it is about.

Fields are named as the parts of the request, joined by points: ``specification.settings.load_f``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from app.quantum.coupling import COUPLING_NAMES
from app.requests import DEFAULT_SIZING_METHOD, ProgramFormat
from app.service.problems import ProblemError
from app.units import format_quantity, format_spice_number, parse_spice_number

#: Kinds of jobs that have a form, and what their tabs say.
KINDS = {"analog.generate": "analog", "quantum.generate": "quantum", "analog.size": "size", "analog.design": "design"}

#: Those that ask for a specification.
SPECIFIED_KINDS = frozenset({"analog.size", "analog.design"})

#: Most fields of a form, those of the testbench with the most settings included.
MAX_FIELDS = 48

#: What programs may be written as.
PROGRAM_FORMATS: Sequence[str] = get_args(ProgramFormat)

#: What is chosen where nothing is yet, if it is there.
_FIRST_CHOICE = "opamp"

_SETTINGS = "specification.settings"


@dataclass(frozen=True)
class SettingField:
    """The field of a testbench's setting. `default` is as one would write it, or words where testbenches differ."""

    name: str
    label: str
    hint: str
    default: str


@dataclass(frozen=True)
class SubmitForm:
    """A form as it is shown. `described` is what `Workshop.describe` says; `errors` are sentences by field."""

    kind: str
    described: Mapping[str, Any]
    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def kinds(self) -> Mapping[str, str]:
        """What the tabs say, by kind."""
        return KINDS

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """What each selection offers, by field."""
        if self.kind == "quantum.generate":
            return {
                "family": list(self.described["families"]["quantum"]),
                "coupling_map": COUPLING_NAMES,
                "format": PROGRAM_FORMATS,
            }
        if self.kind == "analog.generate":
            return {"type": list(self.described["families"]["analog"])}
        benches = self.described["testbenches"]
        choices = {
            "technology": [each["name"] for each in self.described["technologies"] if each["is_available"]],
            "method": [each["name"] for each in self.described["sizing_methods"]],
        }
        if self.kind == "analog.size":
            return choices | {"testbench": [each["name"] for each in benches]}
        types = sorted({name for each in benches for name in each["types"]})
        measuring = [each["name"] for each in benches if self._chosen(types, "type") in each["types"]]
        return choices | {"type": types, "testbench": measuring}

    def value(self, name: str, default: str = "") -> str:
        """What a field holds."""
        return self.values.get(name, default)

    def chosen(self, name: str) -> str:
        """What a selection that always has a choice holds."""
        return self._chosen(self.choices[name], name)

    @property
    def focus(self) -> str | None:
        """The field that is to be looked at first: one that was wrong."""
        return next((name for name in self.errors if name), None)

    @property
    def method_summary(self) -> str:
        """What the chosen sizing method does."""
        methods = {each["name"]: each["summary"] for each in self.described["sizing_methods"]}
        return str(methods.get(self.chosen("method"), ""))

    @property
    def nominal_supply(self) -> str:
        """The chosen technology's supply in volts, as one would write it."""
        supply_v = self._technology_supply_v
        return "" if supply_v is None else _written(supply_v)

    @property
    def settings(self) -> list[SettingField]:
        """The settings of the testbench; where it is not chosen yet, those that all of the type have."""
        benches = self._benches
        if not benches:
            return []
        others = [{setting["name"]: setting for setting in bench["settings"]} for bench in benches[1:]]
        return [
            self._setting_field([first, *(other[first["name"]] for other in others)])
            for first in benches[0]["settings"]
            if all(first["name"] in other for other in others)
        ]

    @property
    def metrics(self) -> list[Mapping[str, Any]]:
        """What the testbench measures; where it is not chosen yet, what any of the type does."""
        return list({metric["name"]: metric for bench in self._benches for metric in bench["metrics"]}.values())

    @property
    def objectives(self) -> Mapping[str, Sequence[str]]:
        """What may be wished for, by goal: the metrics of which less, or more, may be better."""
        return {
            "minimize": [each["name"] for each in self.metrics if each["better"] != "higher"],
            "maximize": [each["name"] for each in self.metrics if each["better"] != "lower"],
        }

    @property
    def has_conditions(self) -> bool:
        """Supply or a setting is filled in, or was wrong."""
        names = [*(name for name, text in self.values.items() if text), *self.errors]
        return any(name == "specification.supply_v" or name.startswith(_SETTINGS) for name in names)

    def _chosen(self, choices: Sequence[str], name: str) -> str:
        first = DEFAULT_SIZING_METHOD if name == "method" else _FIRST_CHOICE
        fallback = first if first in choices else next(iter(choices), "")
        return self.values[name] if self.values.get(name) in choices else fallback

    @property
    def _benches(self) -> list[Mapping[str, Any]]:
        """The testbench that is chosen; those of the type where a design is to choose it."""
        names = self.choices["testbench"]
        if self.kind == "analog.size" or self.value("testbench") in names:
            names = [self.chosen("testbench")]
        return [each for each in self.described["testbenches"] if each["name"] in names]

    @property
    def _technology_supply_v(self) -> float | None:
        chosen = self.chosen("technology")
        return next((each["supply_v"] for each in self.described["technologies"] if each["name"] == chosen), None)

    @property
    def _supply_v(self) -> float | None:
        """The supply that parts of the supply are parts of."""
        asked = _number(self.value("specification.supply_v"))
        return asked if isinstance(asked, float) else self._technology_supply_v

    def _setting_field(self, settings: Sequence[Mapping[str, Any]]) -> SettingField:
        """The field of a setting that one testbench has, or several have."""
        first = settings[0]
        unit = "" if first["unit"] == "1" else first["unit"]
        summary = ", or ".join(dict.fromkeys(each["summary"] for each in settings))
        low, high = max(each["low"] for each in settings), min(each["high"] for each in settings)
        if first["of_supply"]:
            scale, ends = self._supply_v, f"{low:g} to {high:g} of the supply"
        else:
            scale, ends = 1.0, f"{format_quantity(low, unit)} to {format_quantity(high, unit)}"
        is_clear = all(each["default"] == first["default"] for each in settings)
        return SettingField(
            name=f"{_SETTINGS}.{first['name']}",
            label=first["name"] + (f" ({unit})" if unit else ""),
            hint=f"{summary}; {ends}",
            default=_written(first["default"] * scale) if scale is not None and is_clear else "the testbench's",
        )


def _written(value: float) -> str:
    """The number to six digits, as SPICE writes it."""
    return format_spice_number(float(f"{value:.6g}"))


def _number(text: str) -> float | str:
    """The number that is written, as SPICE reads it; the text where it is none."""
    try:
        return parse_spice_number("".join(text.split()))
    except ValueError:
        return text


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _objective(text: str) -> dict[str, str]:
    goal, _, metric = text.partition(":")
    return {goal.strip(): metric.strip()}


#: Fields whose text is no value of the request as it stands; settings are numbers too.
_READERS: Mapping[str, Callable[[str], Any]] = {
    "gate_set": _names,
    "specification.bounds": _lines,
    "specification.objective": _objective,
    "specification.supply_v": _number,
}


def request_of(filled: Mapping[str, str]) -> dict[str, Any]:
    """The request that a form says, its empty fields left out."""
    request: dict[str, Any] = {}
    for name in sorted(name for name, text in filled.items() if text):
        *holders, own = name.split(".")
        place = request
        for holder in holders:
            if not isinstance(place.get(holder), dict):
                place[holder] = {}
            place = place[holder]
        read = _number if name.startswith(f"{_SETTINGS}.") else _READERS.get(name, str)
        place[own] = read(filled[name])
    return request


def errors_by_field(errors: Sequence[ProblemError], fields: Collection[str]) -> dict[str, list[str]]:
    """The sentences of a submission's problem by the field that their pointer leads to.

    Where it leads to none of the `fields`, its own path stands for one, and nothing where there is no pointer. An item
    of a field of many lines is told by its line, counted from 1 and without those that are empty.
    """
    found: dict[str, list[str]] = {}
    for error in errors:
        parts = (error.pointer or "").removeprefix("/request").split("/")[1:]
        paths = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
        name = next((path for path in paths if path in fields), paths[0] if paths else "")
        rest = parts[name.count(".") + 1 :]
        is_of_a_line = _READERS.get(name) is _lines and rest and rest[0].isdecimal()
        line = f"line {int(rest[0]) + 1}: " if is_of_a_line else ""
        found.setdefault(name, []).append(f"{line}{error.detail}")
    return found
