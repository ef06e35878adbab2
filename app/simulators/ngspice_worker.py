"""What runs inside an ngspice worker process: one deck in, its vectors out. The only module that loads PySpice.

Decks are written by this project alone (`deck.py`, `technologies/`), never by a stranger: ngspice executes commands
that a netlist brings along. Answers hold numbers and sentences of this module, and names that stand in the deck; no
line that ngspice printed is handed on.

PySpice 1.5 takes every line on stderr for an error and cannot tell a stale result from a new one, so its message and
exit callbacks are replaced here, and a result counts only if this run made a plot of the right kind with finite values.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySpice.Spice.NgSpice.Shared import NgSpiceShared, ffi, ffi_string_utf8

from app.errors import NgspiceMissing
from app.simulators.bias_search import Judged, Lever, judge, saved_vectors, search_levers
from app.simulators.deck import deck_with_parameters
from app.simulators.library import load_companions

ANALYSES = ("op", "dc", "ac", "noise", "tran")

#: Tolerances of the second try. "Timestep too small" at the defaults is the simulator's failure far more often than the
#: circuit's; of ten such designs nine finished with these.
RELAXED_OPTIONS = ".options abstol=1e-10 vntol=1e-5 itl1=500"

#: Where iteration, gmin stepping and source stepping fail, ngspice would switch the sources on and wait: that takes
#: seconds or for ever, and gives a floating net the voltage of its history and a loop of inductors thousands of
#: amperes.
_NO_PSEUDO_TRANSIENT = "optran 1 1 1 0 0 0"

#: What leaves nothing of the circuit before: its plots, the circuit, its breakpoints, and the one option that outlives
#: its deck (shunt capacitances would go into every circuit from then on).
_FORGET = ("destroy all", "remcirc", "delete all", "unset cshunt_value")

_MOST_LINES = 400
_MOST_MESSAGES = 8
_PARAMETER = re.compile(r"@[a-z0-9_.]+\[[a-z0-9]+\]")
_ABORTED = "simulation(s) aborted"

#: What ngspice prints -> what we say. A group is a name of the deck.
_SENTENCES = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence)
    for pattern, sentence in (
        (r"singular matrix:\s+check nodes? ([\w.#:-]{1,80})", "singular matrix at {}"),
        (r"dynamic gmin stepping completed|true gmin stepping completed", "the operating point needed gmin stepping"),
        (r"source stepping completed", "the operating point needed source stepping"),
        (r"timestep too small", "timestep too small"),
        (r"iteration limit reached", "iteration limit reached"),
        (r"can't find model '([\w.#:-]{1,80})'", "unknown device model {}"),
        (r"unknown subckt: .* ([\w.#:-]{1,80})\s*$", "unknown sub-circuit {}"),
        (r"undefined parameter", "undefined parameter"),
        (r"circuit not parsed", "the deck was not accepted"),
    )
)


class Simulator(NgSpiceShared):  # type: ignore[misc]  # PySpice ships no types
    """libngspice through PySpice, with callbacks that judge nothing and an exit that is noticed."""

    #: PySpice frees ngspice's record of past commands after this many; 10,000 by default, a kilobyte each.
    NUMBER_OF_EXEC_CALLS_TO_RELEASE_MEMORY = 100

    def __init__(self, path: str) -> None:
        self._path = path
        self.lines: deque[str] = deque(maxlen=_MOST_LINES)
        self.has_exited = False
        self._held: str | None = None
        super().__init__()

    @property
    def library_path(self) -> str:
        """The library that was asked for; PySpice's own property takes braces in it for a format."""
        return self._path

    @staticmethod
    def _send_char(message: Any, ngspice_id: int, user_data: Any) -> int:
        """Keeps a line of output; stdout ones also where PySpice looks for its version."""
        self = ffi.from_handle(user_data)
        prefix, _, content = str(ffi_string_utf8(message)).partition(" ")
        self.lines.append(content)
        if prefix == "stdout" and len(self._stdout) < _MOST_LINES:
            self._stdout.append(content)
        return 0

    @staticmethod
    def _exit(status: int, is_immediate: bool, is_quit: bool, ngspice_id: int, user_data: Any) -> int:
        """A controlled exit: from here on nothing this library says can be trusted."""
        ffi.from_handle(user_data).has_exited = True
        return status

    def load(self, deck: str) -> bool:
        """The deck is the only circuit, and no plot of another one is left; False where it was not accepted."""
        self._held = None
        self.lines.clear()
        for command in _FORGET:
            self.command(command)
        try:
            self.load_circuit(deck)
        except NameError:  # how PySpice says that the return code was not 0
            return False
        return not self.has_exited

    def hold(self, deck: str, values: Mapping[str, float]) -> bool:
        """The deck with these values of its parameters is the only circuit, in the state of a fresh one.

        The deck is loaded once for as long as it stays the same: ``reset`` builds the circuit anew, so that digits do
        not depend on the values before. False where it was not accepted.
        """
        if self._held == deck:
            self.lines.clear()
            for name, value in values.items():
                self.command(f"alterparam {name}={value!r}")
            for command in ("destroy all", "reset"):
                self.command(command)
            return not self.has_exited
        accepted = self.load(deck_with_parameters(deck, values))
        self._held = deck if accepted else None
        return accepted

    def new_plots(self, *commands: str) -> list[str]:
        """The names of the plots that the commands made, in the order of their names."""
        before = set(self.plot_names)
        for command in commands:
            self.command(command)
        return sorted(set(self.plot_names) - before)

    def command(self, command: str) -> None:
        """The command was executed; a failure stands among `lines`."""
        try:
            self.exec_command(command)
        except NameError:
            self.lines.append(f"command {_ABORTED}")

    def was_aborted(self) -> bool:
        """True where an analysis since the last `load` or clearing of `lines` said that it gave up."""
        return any(_ABORTED in line for line in self.lines)

    def array(self, name: str) -> NDArray[np.float64] | NDArray[np.complex128] | None:
        """A vector's numbers as an array of its own; None where there is no such vector."""
        info = self._ngspice_shared.ngGet_Vec_Info(name.encode("ascii"))
        if info == ffi.NULL:
            return None
        is_complex = info.v_compdata != ffi.NULL
        if not info.v_length:
            return np.empty(0)
        if is_complex:
            return np.frombuffer(ffi.buffer(info.v_compdata, 16 * info.v_length), dtype=np.complex128).copy()
        return np.frombuffer(ffi.buffer(info.v_realdata, 8 * info.v_length), dtype=np.float64).copy()

    def number(self, name: str) -> float | None:
        """A vector's last number; None where it has none that is finite."""
        array = self.array(name)
        if array is None or not array.size or np.iscomplexobj(array) or not math.isfinite(array[-1]):
            return None
        return float(array[-1].real)

    def values(self, name: str) -> list[float] | dict[str, list[float]] | None:
        """As `array`, ready for JSON; ``{"real": .., "imaginary": ..}`` where complex."""
        array = self.array(name)
        if array is None:
            return None
        if np.iscomplexobj(array):
            return {"real": array.real.tolist(), "imaginary": array.imag.tolist()}
        return [float(value) for value in array]

    def vector_names(self, plot: str) -> list[str]:
        """Every vector of a plot."""
        names = self._ngspice_shared.ngSpice_AllVecs(plot.encode("ascii"))
        return [] if names == ffi.NULL else list(self._convert_string_array(names))


_simulator: Simulator | None = None


def simulator() -> Simulator:
    """The library of this process, loaded by `start`."""
    assert _simulator is not None, "start comes first"
    return _simulator


def start(options: dict[str, Any]) -> None:
    """The library ``options["library"]`` is loaded, without initialisation files: it is the same on every machine."""
    global _simulator
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    os.environ["SPICE_LIB_DIR"] = os.environ["SPICE_SCRIPTS"] = os.devnull
    try:
        load_companions(options["library"])
        _simulator = Simulator(options["library"])
    except OSError:
        raise NgspiceMissing([options["library"]]) from None
    _simulator.exec_command(_NO_PSEUDO_TRANSIENT)


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Runs ``request["deck"]``, whose one analysis card is of the kind ``request["analysis"]``.

    A request with ``"about"`` runs nothing and answers ``{"version"}``, the library's; one with ``"search"`` is for
    `_search`.
    Answers ``{"status", "relaxed", "vectors", "parameters", "messages"}``: `status` is ``ok``, ``not_converged``,
    ``simulator_gave_up`` (no end of a transient, or a controlled exit) or ``bad_deck``; `relaxed` is true where the
    result took the second try; `vectors` are lists of numbers by name; `parameters` holds the value of every
    ``@device[name]`` of ``request["parameters"]`` at the last point, None where the device has none. Numbers are SI.
    """
    assert _simulator is not None
    if "about" in request:
        return {"version": str(_simulator.ngspice_version)}
    if "search" in request:
        return _search(_simulator, request["search"])
    deck, analysis = request["deck"], request["analysis"]
    assert analysis in ANALYSES
    answer = _try(_simulator, deck, analysis, request.get("parameters", ()))
    if answer["status"] in ("not_converged", "simulator_gave_up") and not _simulator.has_exited:
        second = _try(_simulator, with_relaxed_options(deck), analysis, request.get("parameters", ()))
        if second["status"] == "ok":
            answer = {**second, "relaxed": True}
    if _simulator.has_exited:
        answer["recycle"] = True
    return answer


def _search(simulator: Simulator, request: Mapping[str, Any]) -> dict[str, Any]:
    """The best of ``request["points"]`` operating points of one deck, as `search_levers` looks for it.

    Answers ``{"status", "points_tried", "points_converged", "values", "plan", "best", "messages"}``: `values` are those
    of the levers at the best point; `plan` and `best` hold the figures of `Judged`, None where nothing converged.
    """
    mos, bipolar = request["mos"], request["bipolar"]
    names = (request["supply"], *saved_vectors(mos, bipolar))
    messages: dict[str, None] = {}
    was_refused = False

    def evaluate(values: Sequence[float]) -> Judged | None:
        nonlocal was_refused
        if simulator.has_exited or was_refused:
            return None
        was_refused = not simulator.hold(request["deck"], dict(zip(request["parameters"], values, strict=True)))
        plots = [] if was_refused else simulator.new_plots("op")
        numbers = (
            []
            if simulator.was_aborted()
            else [simulator.number(f"{plot}.{name}") for plot in plots[-1:] for name in names]
        )
        known = [number for number in numbers if number is not None]
        if not known or len(known) < len(names):
            messages.update(dict.fromkeys(sentences(list(simulator.lines), request["deck"])))
            return None
        supply, *rest = known
        of_mos, of_bipolar = rest[: 3 * len(mos)], rest[3 * len(mos) :]
        return judge(list(zip(of_mos[::3], of_mos[1::3], of_mos[2::3], strict=True)), of_bipolar, -supply)

    trail = search_levers([Lever(**lever) for lever in request["levers"]], evaluate, request["points"])
    status = "ok"
    if trail.best is None:
        status = "simulator_gave_up" if simulator.has_exited else "bad_deck" if was_refused else "not_converged"
    answer = {
        "status": status,
        "points_tried": trail.tried,
        "points_converged": trail.converged,
        "values": trail.values,
        "plan": trail.plan and asdict(trail.plan),
        "best": trail.best and asdict(trail.best),
        "messages": list(messages)[:_MOST_MESSAGES],
    }
    return {**answer, "recycle": True} if simulator.has_exited else answer


def with_relaxed_options(deck: str) -> str:
    """The deck with the tolerances of the second try."""
    body, end, rest = deck.rpartition(".end")
    return f"{body}{RELAXED_OPTIONS}\n{end}{rest}"


def _try(simulator: Simulator, deck: str, analysis: str, parameters: list[str]) -> dict[str, Any]:
    plots = []
    if simulator.load(deck):
        plots = [name for name in simulator.new_plots("run") if name.startswith(analysis)]
    vectors: dict[str, Any] = {}
    if plots and not simulator.has_exited:
        vectors = {name: simulator.values(f"{plots[-1]}.{name}") for name in simulator.vector_names(plots[-1])}
    lines = list(simulator.lines)
    status = _status(simulator, analysis, vectors, lines)
    found: dict[str, float | None] = {}
    if status == "ok":
        found = {name: device_parameter(simulator, name) for name in parameters}
    return {
        "status": status,
        "relaxed": False,
        "vectors": vectors if status == "ok" else {},
        "parameters": found,
        "messages": sentences(lines, deck),
    }


def _status(simulator: Simulator, analysis: str, vectors: dict[str, Any], lines: list[str]) -> str:
    """What became of the run. Lines decide between kinds of failure; success takes a new plot with finite values."""
    if vectors and not simulator.was_aborted() and not simulator.has_exited and all(map(_is_finite, vectors.values())):
        return "ok"
    was_accepted = any(line.startswith("Doing analysis at TEMP") for line in lines)
    if not was_accepted:
        return "bad_deck"
    return "simulator_gave_up" if simulator.has_exited or analysis == "tran" else "not_converged"


def _is_finite(values: list[float] | dict[str, list[float]] | None) -> bool:
    """True for at least one number, and no number that is infinite or not one."""
    if isinstance(values, dict):
        return all(_is_finite(part) for part in values.values())
    return bool(values) and all(math.isfinite(value) for value in values or ())


def device_parameter(simulator: Simulator, name: str) -> float | None:
    """The present value of ``@device[name]``, None where the device has no such parameter."""
    assert _PARAMETER.fullmatch(name)
    values = simulator.values(name)
    return values[-1] if isinstance(values, list) and values and math.isfinite(values[-1]) else None


def sentences(lines: list[str], deck: str) -> list[str]:
    """Our words for what ngspice printed, each once; a name is repeated only if the deck holds it."""
    names = set(re.findall(r"[\w.#:-]+", deck.lower()))
    said: dict[str, None] = {}
    for line in lines:
        for pattern, sentence in _SENTENCES:
            match = pattern.search(line)
            if match:
                name = match[1].lower() if pattern.groups else ""
                said[sentence.format(name if name.partition("#")[0] in names else "an internal place")] = None
    return list(said)
