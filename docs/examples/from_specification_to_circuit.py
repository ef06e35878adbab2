"""Regenerates the tutorial docs/tutorials/from-specification-to-circuit.md and its plots.

From the root of a checkout: ``python -m docs.examples.from_specification_to_circuit``. The page's commands are run as
they stand there, and its numbers are what they answer; its words are in the template beside it. Seconds differ from
machine to machine, the rest follows from the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import math
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

from app.cli.main import main as josephson
from app.simulators.processes import WorkerPool
from app.testbenches._pool import simulation_pool
from docs.examples.circuit_plots import Race, Row, bode, corners, decision, model, regulator, search

ROOT = Path(__file__).resolve().parent.parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"
NAME = "from-specification-to-circuit"

#: The method that the page shows and the one beside it.
METHODS = ("insight-m", "random")


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its rows."""

    words: tuple[str, ...]
    printed: str
    rows: tuple[dict[str, Any], ...]

    @property
    def command(self) -> str:
        """The command as it is typed."""
        return shlex.join(["josephson", *self.words])


#: Runs the words of a command; tests bring their own.
Ask = Callable[[Sequence[str]], Answer]


@dataclass(frozen=True)
class Walk:
    """One circuit: what it is asked for, most simulations, runs of each method, and how its waveforms are drawn."""

    name: str
    title: str
    netlist: str
    testbench: str
    bounds: tuple[str, ...]
    conditions: tuple[str, ...]
    objective: str | None
    simulations: int
    runs: int
    waveforms: Callable[[Row, WorkerPool], str]

    def words(self, *options: str) -> list[str]:
        """The words of a sizing without its objective."""
        bounds = [word for bound in self.bounds for word in ("--spec", bound)]
        budget = ["--simulations", str(self.simulations), "--seed", "3"]
        return ["size", self.netlist, "--testbench", self.testbench, *bounds, *self.conditions, *budget, *options]

    def sized(self, ask: Ask) -> Answer:
        """The run that the page shows."""
        objective = [] if self.objective is None else ["--objective", self.objective]
        return ask(self.words(*objective, "--method", METHODS[0]))

    def raced(self, ask: Ask, method: str) -> Answer:
        """Runs of a method that end when the bounds are met."""
        return ask(self.words("--method", method, "--runs", str(self.runs), "--no-deck"))


WALKS = (
    Walk(
        name="opamp",
        title="op-amp",
        netlist="data/archetypes/opamp/two_stage_miller.cir",
        testbench="opamp",
        bounds=("gain_db>70", "ugf_hz>30meg", "phase_margin_deg>60", "slew_rate_v_per_s>15meg", "power_w<300u"),
        conditions=("--load-f", "2p"),
        objective="minimize:power_w",
        simulations=120,
        runs=3,
        waveforms=bode,
    ),
    Walk(
        name="ldo",
        title="LDO",
        netlist="data/archetypes/ldo/pmos_pass.cir",
        testbench="ldo",
        bounds=("output_v>1.15", "output_v<1.25", "phase_margin_deg>50", "psrr_db>60", "quiescent_current_a<120u",
                "undershoot_v<200m"),
        conditions=("--load-f", "100p", "--setting", "load_a=1m", "--setting", "reference_v=0.8"),
        objective=None,
        simulations=100,
        runs=1,
        waveforms=regulator,
    ),
    Walk(
        name="comparator",
        title="comparator",
        netlist="data/archetypes/comparator/strongarm.cir",
        testbench="comparator",
        bounds=("decision_swing>0.9", "propagation_delay_s<800p", "energy_per_decision_j<450f", "area_m2<20p"),
        conditions=("--load-f", "20f"),
        objective=None,
        simulations=100,
        runs=3,
        waveforms=decision,
    ),
)  # fmt: skip

#: What no sizing of the op-amp does.
TOO_MUCH = (
    "size", "data/archetypes/opamp/two_stage_miller.cir", "--testbench", "opamp", "--spec", "gain_db>70",
    "--spec", "ugf_hz>200meg", "--spec", "phase_margin_deg>60", "--spec", "power_w<100u", "--load-f", "2p",
    "--corners", "nominal", "--simulations", "40", "--seed", "3", "--method", METHODS[0],
)  # fmt: skip

#: Seconds after which a sizing ends that is not given more.
MOST_S = 600.0

#: What is put behind the first AC analysis of the op-amp's deck, so that ngspice itself tells gain and phase margin.
MEASURES = (
    "set units=degrees",
    "meas ac gain_db FIND vdb(vout1) AT=10",
    "meas ac ugf_hz WHEN vdb(vout1)=0",
    "meas ac phase_at_ugf_deg FIND vp(vout1) WHEN vdb(vout1)=0",
)


def run_command(words: Sequence[str]) -> Answer:
    """The command's answer. Raises SystemExit where it has no rows."""
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(ROOT):
        rows = Path(folder) / "rows.ndjson"
        with contextlib.redirect_stdout(printed):
            status = josephson([*words, "--output", str(rows)])
        if not rows.exists() or not rows.stat().st_size:
            raise SystemExit(f"{shlex.join(words)} ended with status {status} and has no rows")
        lines = rows.read_text(encoding="utf-8").splitlines()
    return Answer(tuple(words), printed.getvalue(), tuple(json.loads(line) for line in lines))


def remembering(folder: Path, ask: Ask) -> Ask:
    """As `ask`, but that an answer that is in the folder is not asked for again."""
    folder.mkdir(parents=True, exist_ok=True)

    def answered(words: Sequence[str]) -> Answer:
        file = folder / f"{hashlib.sha256(json.dumps(list(words)).encode()).hexdigest()[:16]}.json"
        if not file.exists():
            file.write_text(json.dumps(asdict(ask(words))), encoding="utf-8")
        told = json.loads(file.read_text(encoding="utf-8"))
        return Answer(tuple(told["words"]), told["printed"], tuple(told["rows"]))

    return answered


def regenerate(folder: Path, ask: Ask) -> None:
    """Page and plots are in the folder, from what the commands answer."""
    facts: dict[str, str] = {}
    plots: dict[str, str] = {}
    shown: dict[str, Row] = {}
    for walk in WALKS:
        answer = walk.sized(ask)
        race = {method: walk.raced(ask, method) for method in METHODS}
        (row,) = answer.rows
        shown[walk.title] = row
        facts |= {f"{walk.name}_{name}": text for name, text in _facts(walk, answer, race).items()}
        rows_of = {method: each.rows for method, each in race.items()}
        plots[f"{walk.name}-search"] = search(Race(rows_of, walk.simulations))
        plots[f"{walk.name}-corners"] = corners(row, walk.testbench)
        with simulation_pool(size=1) as pool:
            plots[f"{walk.name}-waveforms"] = walk.waveforms(row, pool)
    plots["model"] = model(shown)
    too_much = ask(TOO_MUCH)
    facts |= {
        "too_much_command": too_much.command,
        "too_much_printed": _block(too_much.printed),
        "measures": _block("\n".join(MEASURES)),
        "measured": _block(ngspice_says(next(iter(shown[WALKS[0].title]["decks"].values()))["open_loop"])),
    }
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for name, text in plots.items():
        (folder / "plots" / f"{name}.svg").write_text(text, encoding="utf-8")
    template = Template((TUTORIALS / f"{NAME}.template").read_text(encoding="utf-8"))
    (folder / f"{NAME}.md").write_text(template.substitute(facts), encoding="utf-8")


def _facts(walk: Walk, answer: Answer, race: Mapping[str, Answer]) -> dict[str, str]:
    """What the page says of a walk, by the names of the template's placeholders."""
    (row,) = answer.rows
    return {
        "netlist": _block((ROOT / walk.netlist).read_text(encoding="utf-8")),
        "command": answer.command,
        "printed": _block(answer.printed),
        "cost": _cost(row),
        "gained": _gained(row),
        "race_command": race[METHODS[0]].command,
        "runs": str(walk.runs),
        "race": "\n".join(_race_line(method, each.rows) for method, each in race.items()),
    }


def _cost(row: Row) -> str:
    cpu, ended = row["cpu_s"], "; its time was over then" if row["wall_s"] >= MOST_S else ""
    return (
        f"{cpu['simulator']:.1f} s of CPU in ngspice and {cpu['own']:.1f} s in the search and its offline model{ended}"
    )


def _gained(row: Row) -> str:
    """By how much the objective rose from the first point that met every bound to the last."""
    gains = [entry["best"] for entry in row["trace"] if entry["best"] > 0]
    if len(gains) < 2:
        return "no better point was found after the first that met every bound"
    return f"{1 - math.exp(gains[0] - gains[-1]):.0%} better than the first point that met every bound"


def _race_line(method: str, rows: Sequence[Row]) -> str:
    """A line of the page's table of methods."""
    met = sorted(row["met_after"] for row in rows if row["status"] == "ok")
    after = ", ".join(map(str, met)) or "never"
    offline = median(row["offline_simulations"] for row in rows)
    cpu_s = median(row["cpu_s"]["simulator"] + row["cpu_s"]["own"] for row in rows)
    return f"| `{method}` | {len(met)} of {len(rows)} | {after} | {offline:,.0f} | {cpu_s:.1f} |"


def ngspice_says(deck: str) -> str:
    """What the program ngspice prints for `MEASURES` of a deck, or that it is not on this machine."""
    program = shutil.which("ngspice")
    if program is None:
        return "the program ngspice is not on the machine that made this page"
    lines = deck.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("ac "))
    lines[first + 1 : first + 1] = MEASURES
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "deck.cir"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = subprocess.run([program, "-n", "-b", str(file)], capture_output=True, text=True, timeout=60, check=False)
    names = [measure.split()[2] for measure in MEASURES if measure.startswith("meas")]
    return "\n".join(line for line in done.stdout.splitlines() if line.split("=")[0].strip() in names)


def _block(text: str) -> str:
    """The text as a block of code."""
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines())


def main(arguments: Sequence[str] | None = None, ask: Ask = run_command) -> int:
    """Page and plots are as the commands answer now."""
    parser = argparse.ArgumentParser(description="Regenerate the tutorial from a specification to a circuit.")
    parser.add_argument("--folder", type=Path, default=TUTORIALS, help="where page and plots go")
    parser.add_argument("--work", type=Path, help="keep answers here; those that are here are not asked for again")
    options = parser.parse_args(arguments)
    regenerate(options.folder, ask if options.work is None else remembering(options.work, ask))
    return 0


if __name__ == "__main__":
    sys.exit(main())
