"""Figures of a sizing, as small SVG texts: its search, its margins, its waveforms, and what the offline model learnt.

Equal rows make equal texts. Knows rows of ``analog.size`` and decks; how they came about is not its matter.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from app.simulators.processes import WorkerPool
from app.testbenches._base import testbenches
from app.units import format_engineering

Row = Mapping[str, Any]
Floats = NDArray[np.float64]

#: Colours by light, each with the one that replaces it where the reader's screen is dark.
INK, PALE, PAPER, MISSED = "#1f2328", "#d1d9e0", "#ffffff", "#ffe2e0"
SERIES = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989")
DARK = dict(
    zip(
        (INK, PALE, PAPER, MISSED, *SERIES),
        ("#e6edf3", "#3d444d", "#0d1117", "#4c1b1f", "#58a6ff", "#f0883e", "#3fb950", "#a371f7", "#f778ba"),
        strict=True,
    )
)

_STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "josephson", "path.simplify_threshold": 0.2,
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "legend.fontsize": 8, "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.4, "lines.markersize": 5,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.titlecolor": INK,
    "xtick.color": INK, "ytick.color": INK, "grid.color": PALE, "axes.facecolor": PAPER, "figure.facecolor": PAPER,
}  # fmt: skip

#: Inches that every figure is wide, and that one with curves is high.
_WIDTH, _HEIGHT = 8.4, 2.9

#: A shortfall below this is drawn on a linear scale.
_LINEAR_BELOW = 0.02

#: Nanoseconds after the clock's edge that decisions are shown for.
_DECIDING_NS = 2.0


@dataclass(frozen=True)
class Race:
    """Runs of each method at the same budget."""

    rows: Mapping[str, Sequence[Row]]
    budget: int


@context(_STYLE)
def search(race: Race) -> str:
    """What the best point so far still misses against real simulations: each run thin, the median of a method thick."""
    figure, axes = _figure(_HEIGHT)
    counts = np.arange(race.budget + 1)
    for (method, rows), colour in zip(race.rows.items(), SERIES, strict=False):
        curves = np.array([shortfall(row, counts) for row in rows])
        for row, curve in zip(rows, curves, strict=True):
            axes.step(counts, curve, where="post", color=colour, linewidth=0.6, alpha=0.5)
            if row["met_after"] is not None:
                axes.plot(row["met_after"], 0.0, "o", color=colour, markersize=4, clip_on=False, zorder=5)
        middle = np.median(curves, axis=0)
        met = sum(row["status"] == "ok" for row in rows)
        label = f"{method}: {met} of {len(rows)} runs meet the specification"
        axes.step(counts, middle, where="post", color=colour, linewidth=2.2, label=label)
    axes.set_yscale("symlog", linthresh=_LINEAR_BELOW, linscale=0.5)
    axes.set_ylim(bottom=0.0)
    axes.set_xlim(0, race.budget)
    axes.set_xlabel("real simulations, those at corners included")
    axes.set_ylabel("missed by the best so far")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(race.rows))
    return _svg(figure, "Search")


def shortfall(row: Row, counts: NDArray[np.int_]) -> Floats:
    """What the best point misses after so many simulations, summed over the bounds; 1 is a factor of e, or 8.7 dB.

    NaN before the first point; 0 from the first on that meets everything.
    """
    curve = np.full(len(counts), np.nan)
    for entry in row["trace"]:
        curve[counts >= entry["simulations"]] = max(0.0, -entry["best"])
    return curve


@context(_STYLE)
def corners(row: Row, testbench: str) -> str:
    """Each bounded metric at every corner; what a bound excludes is shaded."""
    names = list(dict.fromkeys(limit["metric"] for limit in row["margins"]))
    places = list(row["metrics"])[::-1]
    figure, *panels = _figure(1.9, columns=len(names), share_y=True)
    for axes, name in zip(panels, names, strict=True):
        factor, unit = _scale(row, name, testbenches[testbench].metric_of[name].unit)
        values = [row["metrics"][place][name] for place in places]
        known = [(value * factor, height) for height, value in enumerate(values) if value is not None]
        limits = [limit for limit in row["margins"] if limit["metric"] == name]
        colours = [SERIES[2] if all(_keeps(limit, at / factor) for limit in limits) else SERIES[1] for at, _ in known]
        axes.scatter(*zip(*known, strict=True), c=colours, s=22, zorder=3)
        _shade(axes, [(float(limit["bound"][len(name) + 1 :]) * factor, _sign(limit)) for limit in limits])
        axes.set_title(name.removesuffix(_suffix(name)) + (f" ({unit})" if unit else ""), fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.set_yticks(range(len(places)), places)
        axes.set_ylim(-0.6, len(places) - 0.4)
        axes.tick_params(axis="y", length=0)
    return _svg(figure, "Metrics at the corners")


def _shade(axes: Axes, ends: Sequence[tuple[float, int]]) -> None:
    """What lies beyond the ends is shaded, and the axis shows them."""
    low, high = axes.get_xlim()
    reach = max([high - low, *(abs(end - at) for end, _ in ends for at in (low, high))]) * 0.15
    low, high = min([low, *(end for end, _ in ends)]) - reach, max([high, *(end for end, _ in ends)]) + reach
    for end, sign in ends:
        axes.axvspan(*((low, end) if sign > 0 else (end, high)), color=MISSED, linewidth=0, zorder=0)
        axes.axvline(end, color=SERIES[1], linewidth=1, zorder=2)
    axes.set_xlim(low, high)


def _sign(limit: Mapping[str, Any]) -> int:
    return 1 if ">" in limit["bound"] else -1


def _keeps(limit: Mapping[str, Any], value: float) -> bool:
    end = float(limit["bound"][len(limit["metric"]) + 1 :])
    return _sign(limit) * (value - end) >= 0


def _suffix(name: str) -> str:
    """The unit at the end of a metric's name, which its axis says again."""
    found = re.search(r"(_v_per_s|_v_per_v|_v_per_rthz|_deg|_db|_hz|_w|_a|_v|_s|_j|_m2)$", name)
    return found[0] if found else ""


def _scale(row: Row, name: str, unit: str) -> tuple[float, str]:
    """A factor and a unit with a prefix in which the metric's largest value reads well."""
    if unit == "m^2":
        return 1e12, "um^2"
    largest = max((abs(metrics[name]) for metrics in row["metrics"].values() if metrics[name]), default=1.0)
    number, prefixed = format_engineering(largest, "" if unit == "1" else unit)
    return float(number) / largest, prefixed


@context(_STYLE)
def model(rows: Mapping[str, Row]) -> str:
    """How far the neural simulator was off on a run's last simulations: as it ships, and after what the run taught it.

    A panel for each circuit. 1 is what a metric usually varies by within a circuit.
    """
    told = {title: row["model"]["errors"] for title, row in rows.items()}
    height = 0.75 + 0.24 * max(len(errors) for errors in told.values())
    figure, *panels = _figure(height, columns=len(told), share_x=True)
    for axes, (title, errors) in zip(panels, told.items(), strict=True):
        names = list(errors)[::-1]
        for height, name in enumerate(names):
            before, after = (max(errors[name][key], 1e-4) for key in ("last_unadapted", "last"))
            axes.plot([before, after], [height, height], color=PALE, linewidth=2, zorder=1)
            axes.plot(before, height, "o", markerfacecolor=PAPER, color=SERIES[1], label="as it ships", markersize=5)
            axes.plot(after, height, "o", color=SERIES[0], label="after the run's own simulations", markersize=5)
        axes.set_xscale("log")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_title(title)
        axes.tick_params(axis="y", length=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles[:2], labels[:2], loc="outside lower center", ncols=2)
    return _svg(figure, "Errors of the neural simulator")


def simulated(deck: str, analysis: str, pool: WorkerPool) -> dict[str, NDArray[Any]]:
    """The vectors of a deck's first analysis of a kind (``ac``, ``tran``), simulated by the pool's libngspice."""
    body, _, control = deck.partition(".control\n")
    command = next(line for line in control.splitlines() if line.split()[0] == analysis)
    answer = pool.submit({"deck": f"{body}.{command}\n.end\n", "analysis": analysis}).result()
    if answer["status"] != "ok":
        raise SystemExit(f"ngspice did not simulate the deck: {answer['status']}, {answer['messages']}")
    return {name: _array(values) for name, values in answer["vectors"].items()}


def _array(values: Any) -> NDArray[Any]:
    if isinstance(values, dict):
        return np.asarray(values["real"]) + 1j * np.asarray(values["imaginary"])
    return np.asarray(values)


@context(_STYLE)
def bode(row: Row, pool: WorkerPool) -> str:
    """Gain and phase of an op-amp's open loop at every corner."""
    figure, gain, phase = _figure(_HEIGHT, columns=2)
    for corner in _corners(row, "open_loop"):
        found = simulated(corner.deck, "ac", pool)
        frequency, response = found["frequency"].real, found["vout1"]
        is_shown = abs(response) >= 0.1
        shown = frequency[is_shown]
        gain.semilogx(shown, 20 * np.log10(abs(response[is_shown])), **corner.line)
        phase.semilogx(shown, np.degrees(np.unwrap(np.angle(response[is_shown]))), **corner.line)
    gain.axhline(0.0, color=INK, linewidth=0.8)
    gain.set(xlabel="frequency (Hz)", ylabel="gain (dB)", yticks=range(-20, 100, 20))
    phase.axhline(-180.0, color=INK, linewidth=0.8)
    phase.set(xlabel="frequency (Hz)", ylabel="phase (degrees)", yticks=range(-180, 1, 45))
    gain.legend(loc="lower left")
    return _svg(figure, "Open loop of the op-amp")


@context(_STYLE)
def regulator(row: Row, pool: WorkerPool) -> str:
    """What a regulator's output does when its load rises, and the gain of its loop, at every corner."""
    figure, step, loop = _figure(_HEIGHT, columns=2)
    settled = 2.0 * max(metrics["settling_time_s"] or 0.0 for metrics in row["metrics"].values())
    for corner in _corners(row, "step"):
        found = simulated(corner.deck, "tran", pool)
        rise, fall = _load_edges(corner.deck)
        is_shown = (found["time"] > 0.8 * rise) & (found["time"] < fall)
        since, output = (found["time"][is_shown] - rise) * 1e9, found["vout1"][is_shown]
        step.plot(since, 1e3 * (output - output[0]), **corner.line)
    step.set(xlabel="time since the load rises (ns)", ylabel="output, less that before (mV)")
    step.set_xlim(-5e7 * settled, 1e9 * settled if settled else None)
    step.legend(loc="lower right")
    for corner in _corners(row, "loop"):
        found = simulated(corner.deck, "ac", pool)
        gain = -found["tb_feedback"] / found["tb_open"]
        is_shown = abs(gain) >= 0.1
        loop.semilogx(found["frequency"].real[is_shown], 20 * np.log10(abs(gain[is_shown])), **corner.line)
    loop.axhline(0.0, color=INK, linewidth=0.8)
    loop.set(xlabel="frequency (Hz)", ylabel="loop gain (dB)")
    return _svg(figure, "Load step and loop gain of the regulator")


def _load_edges(deck: str) -> tuple[float, float]:
    """When the load begins to rise and to fall, in seconds."""
    rise, fall = (re.search(rf"^\.param {name}=(\S+)", deck, re.MULTILINE) for name in ("tb_rise", "tb_fall"))
    assert rise is not None
    assert fall is not None
    return float(rise[1]), float(fall[1])


@context(_STYLE)
def decision(row: Row, pool: WorkerPool) -> str:
    """Both outputs of a clocked comparator at its first corner, and how they part at every corner."""
    figure, whole, close = _figure(_HEIGHT, columns=2)
    for corner in _corners(row, "decide"):
        found = simulated(corner.deck, "tran", pool)
        time, first, second = found["time"], found["vout1"], found["vout2"]
        begins, period = _clock(corner.deck)
        if corner.is_first:
            for output, name, colour in zip((first, second), ("VOUT1", "VOUT2"), SERIES, strict=False):
                whole.plot(time * 1e9, output, color=colour, label=name)
            for edge in begins + period * np.arange(3):
                whole.axvline(edge * 1e9, color=INK, linewidth=0.8, linestyle=":")
            whole.set(xlabel="time (ns); dotted: the clock rises", ylabel=f"outputs at {corner.name} (V)")
        since = (time - begins - period) * 1e9
        is_shown = (since > -0.1) & (since < _DECIDING_NS)
        close.plot(since[is_shown], abs(first - second)[is_shown], **corner.line)
    whole.legend(loc="center", bbox_to_anchor=(0.53, 0.5), handlelength=1.0)
    close.set(xlabel="time since the clock's edge (ns)", ylabel="outputs apart (V)")
    close.legend(loc="lower right")
    return _svg(figure, "Decisions of the comparator")


def _clock(deck: str) -> tuple[float, float]:
    """When the clock's first active edge is half-way, and the clock's period, in seconds."""
    found = re.search(r"^v_tb_clock .*PULSE\((.*)\)", deck, re.MULTILINE)
    assert found is not None
    _, _, delay, rise, _, _, period = map(float, found[1].split())
    return delay + rise / 2, period


@dataclass(frozen=True)
class _Corner:
    name: str
    deck: str
    colour: str
    is_first: bool

    @property
    def line(self) -> dict[str, Any]:
        """How its curves are drawn."""
        return {"label": self.name, "color": self.colour, "linewidth": 2.0 if self.is_first else 1.2}


def _corners(row: Row, setup: str) -> list[_Corner]:
    """The corners with their decks of a setup, in the row's order."""
    colours = (INK, *SERIES)
    return [
        _Corner(name, decks[setup], colour, number == 0)
        for number, ((name, decks), colour) in enumerate(zip(row["decks"].items(), colours, strict=False))
    ]


def _figure(height: float, *, columns: int = 1, share_x: bool = False, share_y: bool = False) -> tuple[Any, ...]:
    """A figure so many inches high, and its axes from left to right."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots(1, columns, sharex=share_x, sharey=share_y, squeeze=False)
    return figure, *axes[0]


def _svg(figure: Figure, title: str) -> str:
    """The figure as text, to a hundredth of a point, in other colours on a dark screen, without a date."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_locator(NullLocator())
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
    )
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(?<=\.\d\d)\d+", "", path[0]), file.getvalue())
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', Arial, sans-serif")
    text = text.replace("<defs>", f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>\n <defs>", 1)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
