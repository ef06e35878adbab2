"""`josephson train simulator --adapt ROWS`: predictions of one circuit learn from its own simulations."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.door import DONE, Door, say, write_document, write_line
from app.cli.simulation_options import predict_request, rows_of
from app.errors import InvalidRequest

if TYPE_CHECKING:
    from app.testbenches._simulator import SimulationRow

Adapt = Annotated[
    str | None,
    typer.Option(
        "--adapt",
        metavar="ROWS",
        help="Keep rows that 'josephson simulate --output' wrote: predictions of that circuit follow them from now on.",
    ),
]
Netlist = Annotated[str | None, typer.Option("--netlist", help="With --adapt: the SPICE file that was simulated.")]
TestbenchName = Annotated[str | None, typer.Option("--testbench", help="With --adapt: what it was simulated on.")]
Technology = Annotated[str | None, typer.Option("--technology", help="With --adapt: the default one when absent.")]
Corner = Annotated[
    str | None,
    typer.Option("--corner", metavar="PROCESS[,VOLTS[,CELSIUS]]", help="With --adapt: nominal when absent."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--setting", metavar="NAME=VALUE", help="With --adapt: as it was simulated.")
]
Ports = Annotated[
    list[str] | None, typer.Option("--port", metavar="ROLE=NET", help="With --adapt: as it was simulated.")
]
Adapted = Annotated[bool, typer.Option("--adapted", help="Only tell which circuits have rows that predictions follow.")]
Forget = Annotated[
    str | None,
    typer.Option("--forget", metavar="TOPOLOGY", help="Drop the rows of a circuit that --adapted names, or of all."),
]

#: What --forget takes for every circuit.
_ALL = "all"

#: Fewest letters of a topology's name that --forget takes.
_LEAST_LETTERS = 6


@dataclass(frozen=True)
class AdaptationWords:
    """The words of the command that only adaptation takes."""

    rows: str | None
    netlist: str | None
    testbench: str | None
    technology: str | None
    corner: str | None
    settings: list[str] | None
    ports: list[str] | None
    is_listing: bool
    forgotten: str | None

    def are_given(self) -> bool:
        """Whether anything but training is asked for.

        Raises:
            InvalidRequest: words stand alone that need the others, or exclude each other.
        """
        kinds = {"--adapt": self.rows, "--adapted": self.is_listing or None, "--forget": self.forgotten}
        given = [word for word, value in kinds.items() if value is not None]
        if len(given) > 1:
            raise InvalidRequest(f"{given[0]} and {given[1]} are both given; give one of them")
        words = {
            "--netlist": self.netlist, "--testbench": self.testbench, "--technology": self.technology,
            "--corner": self.corner, "--setting": self.settings, "--port": self.ports,
        }  # fmt: skip
        alone = [word for word, value in words.items() if value]
        if alone and self.rows is None:
            raise InvalidRequest(f"{alone[0]} goes with --adapt ROWS; leave it out otherwise")
        missing = [word for word in ("--netlist", "--testbench") if words[word] is None]
        if self.rows is not None and missing:
            raise InvalidRequest(f"--adapt needs {missing[0]}: rows do not say what was simulated")
        return bool(given)

    def fields(self) -> dict[str, Any]:
        """Of a request for the bench, without sizings."""
        assert self.netlist is not None
        assert self.testbench is not None
        return predict_request(
            self.netlist, self.testbench, self.technology, self.corner, setting=self.settings, port=self.ports
        )


def adapt(words: AdaptationWords, door: Door, as_json: bool) -> int:
    """What is asked for of stored rows is done; the exit status."""
    from app.settings import read_settings
    from app.simulated_rows import simulated_rows_of

    if words.rows is not None:
        return _adapt(words, words.rows, door, as_json)
    stored = simulated_rows_of(read_settings().data_dir)
    if words.forgotten is not None:
        return _forget(words.forgotten, stored.forget, as_json)
    circuits = stored.circuits()
    if as_json:
        write_document({"circuits": [asdict(circuit) for circuit in circuits]})
    for circuit in () if as_json else circuits:
        place = f"{circuit.topology_id[:12]}  {circuit.testbench} in {circuit.technology}"
        corners = f"in {circuit.benches} corners" if circuit.benches > 1 else "in one corner"
        write_line(f"{place:<50} {circuit.rows:>6} rows {corners}, the last {circuit.newest}")
    if not circuits:
        say("no circuit was simulated here that predictions follow; see 'josephson train simulator --adapt'")
    return DONE


def _forget(topology: str, forget: Any, as_json: bool) -> int:
    if topology != _ALL and len(topology) < _LEAST_LETTERS:
        raise InvalidRequest(
            f"--forget {topology!r} is too short a name; give {_LEAST_LETTERS} letters of one that --adapted tells, or "
            f"{_ALL}"
        )
    count = forget(None if topology == _ALL else topology)
    if as_json:
        write_document({"forgotten": count})
    say(f"{count} rows are gone" if count else "there were no such rows")
    return DONE


def _adapt(words: AdaptationWords, file: str, door: Door, as_json: bool) -> int:
    from app.cli.rows import read_request
    from app.predictions import KIND, Predictions
    from app.requests import AnalogPredictRequest
    from app.settings import read_settings

    given = rows_of(file, "--adapt")
    simulated = [_simulated(row, f"--adapt: row {number}") for number, row in enumerate(given, start=1)]
    request = read_request(KIND, words.fields() | {"sizings": [row["sizes"] for row in simulated]})
    assert isinstance(request, AnalogPredictRequest)
    predictions = door.make_predictions(read_settings())
    assert isinstance(predictions, Predictions)
    try:
        heading = predictions.heading(KIND, predictions.prepare(KIND, request))
        _check_complete(simulated, [size["name"] for size in heading["sizes"]])
        gains = predictions.adapt(request, simulated)
    finally:
        predictions.close()
    place = f"{heading['testbench']} in {heading['technology']}"
    if as_json:
        write_document({**{key: heading[key] for key in ("testbench", "technology", "corner", "physics")},
                        "rows": len(simulated), "metrics": [asdict(gain) for gain in gains]})  # fmt: skip
        return DONE
    write_line(f"{place}: median error of rows that were left out, 1 is what a metric usually varies by")
    write_line(f"\n{'metric':<28} {'rows':>6} {'before':>9} {'after':>9}")
    for gain in gains:
        write_line(f"{gain.metric:<28} {gain.rows:>6} {gain.before:>9.3g} {gain.after:>9.3g}")
    say(f"{len(simulated)} rows are kept; predictions of this circuit follow them")
    return DONE


def _simulated(row: Mapping[str, Any], place: str) -> SimulationRow:
    """The part of a row that there is to learn from. Raises InvalidRequest where it is none of a simulation."""
    sizes, metrics, undefined = row.get("sizes"), row.get("metrics"), row.get("undefined", {})
    if not (isinstance(sizes, dict) and isinstance(metrics, dict) and isinstance(undefined, dict)):
        raise InvalidRequest(f"{place} is no row of a simulation; give what 'josephson simulate --output' wrote")
    for name, value in (*sizes.items(), *metrics.items()):
        if (value is not None or name in sizes) and not _is_number(value):
            raise InvalidRequest(f"{place}: {str(name)[:80]} is {str(value)[:80]!r}, which is no number")
    if not all(isinstance(why, dict) and why.get("cause") in _CAUSES for why in undefined.values()):
        raise InvalidRequest(f"{place}: 'undefined' does not say why; give what 'josephson simulate --output' wrote")
    points = row.get("operating_point")
    return {
        "sizes": {name: float(value) for name, value in sizes.items()},
        "metrics": metrics,
        "undefined": undefined,
        "operating_point": points if isinstance(points, dict) else {},
    }


_CAUSES = ("circuit", "simulator", "not_run")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_complete(simulated: Sequence[SimulationRow], names: Collection[str]) -> None:
    for number, row in enumerate(simulated, start=1):
        for name in names:
            if name not in row["sizes"]:
                raise InvalidRequest(f"--adapt: row {number} has no size {name}; give rows of this netlist")
