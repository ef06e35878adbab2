"""`josephson predict NETLIST --testbench NAME`: metrics by the neural simulator, without a service."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import TYPE_CHECKING, Any

import typer

from app.cli import options as o
from app.cli.bench_rows import Output, answer_rows, place_of, units_of, write_sizes
from app.cli.door import door_of, write_line
from app.cli.simulation_options import predict_request

if TYPE_CHECKING:
    from app.workshop import Row

#: Different reasons that are counted; some carry numbers, so that there may be as many as rows.
_MOST_REASONS = 100


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    app.command("predict", no_args_is_help=True)(predict)


@o.with_request(predict_request)
def predict(context: typer.Context, request: dict[str, Any], output: Output = None, as_json: o.AsJson = False) -> int:
    """Metrics of a SPICE netlist by the neural simulator, at one or many sizings. Status 1 where not one is told."""
    return answer_rows(door_of(context).make_predictions, "analog.predict", request, Summary, output, as_json)


class Summary:
    """What was predicted, for people: every figure of a single sizing, or of many the range of each metric."""

    def __init__(self, is_single: bool) -> None:
        self._is_single = is_single
        self._row: Row | None = None
        self._count = 0
        self._flagged = 0
        self._values: dict[str, array[float]] = {}
        self._reasons: Counter[str] = Counter()

    def take(self, row: Row) -> None:
        """One more row."""
        self._row = row
        self._count += 1
        self._flagged += row.get("out_of_distribution", False)
        for name, found in row.get("metrics", {}).items():
            values = self._values.setdefault(name, array("d"))
            if found["value"] is not None:
                values.append(found["value"])
        for reason in row.get("reasons", ()):
            if reason in self._reasons or len(self._reasons) < _MOST_REASONS:
                self._reasons[reason] += 1

    def write(self, heading: Mapping[str, Any]) -> None:
        """The tables are on standard output; `heading` as `workshop.RowMaker.heading` gives it."""
        if self._row is None:
            return
        if self._is_single:
            flagged = "unlike what was learnt from" if self._flagged else "like what was learnt from"
        else:
            flagged = f"{self._flagged} of {self._count} unlike what was learnt from"
        write_line(f"{place_of(heading)}, predicted by {heading['model']}: {flagged}")
        if "physics_note" in heading:
            write_line(f"  without the table simulator: {heading['physics_note']}")
        if "adaptation" in heading:
            write_line(f"  following {heading['adaptation']['rows']} simulations of this circuit on this machine")
        for reason, count in self._reasons.most_common(5):
            write_line(f"  {reason}" if self._is_single else f"  {reason} ({count})")
        units = units_of(heading)
        if self._is_single:
            self._write_single(self._row, heading["level"], units)
        else:
            self._write_ranges(units)

    def _write_single(self, row: Row, level: float, units: Mapping[str, str]) -> None:
        if "problem" in row:
            write_line(f"  {row['problem']['detail']}")
        write_line(f"\n{'metric':<28} {'value':>12} {'low':>12} {'high':>12}  unit       interval of {level:.0%}")
        for name, found in row.get("metrics", {}).items():
            ends = " ".join(_shown(found[end]) for end in ("value", "low", "high"))
            remark = "known" if found["known"] else f"defined {found['defined']:.0%}" if found["defined"] < 0.9 else ""
            write_line(f"{name:<28} {ends}  {units.get(name, ''):<10} {remark}".rstrip())
        write_sizes(row, units)
        for near in row.get("nearest", ()):
            write_line(f"\nsimulated, {near['distance']:.2g} decades away, in {near['technology']}:")
            for name in row.get("metrics", {}):
                write_line(f"{name:<28} {_shown(near['metrics'].get(name))}  {units.get(name, '')}".rstrip())

    def _write_ranges(self, units: Mapping[str, str]) -> None:
        write_line(f"\n{'metric':<28} {'defined':>9} {'lowest':>12} {'median':>12} {'highest':>12}  unit")
        for name, values in self._values.items():
            ends = (min(values), median(values), max(values)) if values else (None, None, None)
            share = f"{len(values)}/{self._count}"
            write_line(f"{name:<28} {share:>9} {' '.join(map(_shown, ends))}  {units.get(name, '')}".rstrip())


def _shown(value: float | None) -> str:
    return f"{'-':>12}" if value is None else f"{value:>12.5g}"
