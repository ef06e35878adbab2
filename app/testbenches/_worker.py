"""What runs inside a worker process for testbenches: setups loaded once, sizings by ``alterparam`` and ``reset``.

A request holds decks with named parameters and many values for them; the answer holds metrics, so that no curve crosses
the pipe. Requests without setups go to `ngspice_worker`, so that one pool serves both.

Every sizing is simulated from a fresh state (``reset`` builds the circuit anew from its deck), so its digits do not
depend on the sizings before it, nor on the worker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from app.simulators import ngspice_worker
from app.simulators.deck import deck_with_parameters
from app.simulators.ngspice_worker import Simulator, device_parameter, sentences, with_relaxed_options
from app.testbenches._base import (
    ComplexWave,
    Corner,
    Reading,
    Run,
    RunFailed,
    Testbench,
    Undefined,
    Wave,
    Waveforms,
    testbenches,
)
from app.testbenches._decks import DEVICE_FACTS

start = ngspice_worker.start

#: The vector that another one is drawn over, by analysis; a sweep's ends in ``-sweep``.
_SCALES = {"ac": "frequency", "noise": "frequency", "tran": "time"}

_SEVERITY = ("ok", "not_converged", "simulator_gave_up")


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Simulates ``request["sizings"]`` on ``request["setups"]`` and measures ``request["metrics"]``.

    Answers ``{"rows": [...]}``, one row a sizing in their order:
    ``{"status", "metrics", "undefined", "relaxed", "message", "cpu_s", "facts"}``. After a controlled exit, rows that
    were not done have the status ``simulator_gave_up``, and the process ends.
    """
    if "setups" not in request:
        return ngspice_worker.handle(request)
    simulator = ngspice_worker.simulator()
    rows = _Bench(simulator, request).rows()
    return {"rows": rows, "recycle": True} if simulator.has_exited else {"rows": rows}


@dataclass
class _Failure:
    """Why a run has no result, as a row's status and a sentence. With status ``ok`` the circuit is the reason."""

    status: str
    reason: str

    def undefined(self) -> Undefined:
        return Undefined(self.reason, "circuit" if self.status == "ok" else "simulator")


@dataclass
class _Progress:
    """What is known of one sizing so far."""

    sizing: Sequence[float]
    area_m2: float
    done: dict[str, Waveforms] = field(default_factory=dict)
    failed: dict[str, _Failure] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    derived: dict[str, dict[str, float]] = field(default_factory=dict)
    was_relaxed: bool = False
    cpu_s: float = 0.0


class _Bench:
    """The setups of one request on this process's simulator, one after the other, every sizing on each."""

    def __init__(self, simulator: Simulator, request: Mapping[str, Any]) -> None:
        self._simulator = simulator
        self._request = request
        self._testbench: Testbench = testbenches[request["testbench"]]
        self._names: Sequence[str] = request["parameters"]

    def rows(self) -> list[dict[str, Any]]:
        """Everything the request wants to know, one row a sizing."""
        sizings, areas = self._request["sizings"], self._request["areas"]
        all_progress = [_Progress(sizing, area_m2) for sizing, area_m2 in zip(sizings, areas, strict=True)]
        for setup in self._request["setups"]:
            runs = [Run(**{key: _frozen(value) for key, value in run.items()}) for run in setup["runs"]]
            for progress in all_progress:
                began = time.process_time()
                self._simulate(setup["name"], setup["deck"], runs, progress)
                progress.cpu_s += time.process_time() - began
        return [self._row(progress) for progress in all_progress]

    def _row(self, progress: _Progress) -> dict[str, Any]:
        began = time.process_time()
        failed = progress.failed.values()
        answer = self._measured(progress)
        answer["status"] = max((failure.status for failure in failed), key=_SEVERITY.index, default="ok")
        reasons = dict.fromkeys(failure.reason for failure in failed if failure.status != "ok")
        if reasons:
            answer["message"] = "; ".join(reasons)
        cpu_s = progress.cpu_s + time.process_time() - began
        return answer | {
            "relaxed": progress.was_relaxed,
            "cpu_s": cpu_s,
            "facts": progress.facts,
            "derived": progress.derived,
        }

    def _reading(self, progress: _Progress) -> Reading:
        request = self._request
        return Reading(
            runs=progress.done,
            failed={name: failure.undefined() for name, failure in progress.failed.items()},
            node=request["node"],
            settings=request["settings"],
            corner=Corner(**request["corner"]),
            sizes=dict(zip(self._names, progress.sizing, strict=True)),
            area_m2=progress.area_m2,
            metrics=self._testbench.metric_of,
        )

    def _measured(self, progress: _Progress) -> dict[str, Any]:
        reading = self._reading(progress)
        metrics: dict[str, float | None] = {}
        undefined: dict[str, dict[str, str]] = {}
        for name in self._request["metrics"]:
            value = reading.value(name)
            if isinstance(value, Undefined):
                metrics[name] = None
                undefined[name] = {"cause": value.cause, "reason": value.reason}
            else:
                metrics[name] = value
        return {"metrics": metrics, "undefined": undefined}

    def _simulate(self, name: str, deck: str, runs: Sequence[Run], progress: _Progress) -> None:
        """Every run of a setup; those that failed are tried again with relaxed tolerances."""
        if self._simulator.has_exited:
            progress.failed |= {
                run.name: _Failure("simulator_gave_up", "ngspice ended before this run") for run in runs
            }
            return
        derived = self._derived(name, runs, progress)
        if derived is None:
            return
        values = dict(zip(self._names, progress.sizing, strict=True)) | derived
        runs = [replace(run, command=run.command.format(**derived)) for run in runs]
        accepted = self._simulator.hold(deck, values)
        self._run_all(runs, progress, accepted, again=frozenset(run.name for run in runs))
        failed = frozenset(run.name for run in runs if run.name in progress.failed)
        if failed and not self._simulator.has_exited:
            accepted = self._simulator.load(with_relaxed_options(deck_with_parameters(deck, values)))
            self._run_all(runs, progress, accepted, again=failed)
            progress.was_relaxed |= any(name in progress.done for name in failed)

    def _derived(self, name: str, runs: Sequence[Run], progress: _Progress) -> dict[str, float] | None:
        """The setup's derived numbers; None, and a reason for each run, where they cannot be had."""
        derive = self._testbench.derive.get(name)
        if derive is None:
            return {}
        try:
            found = derive(self._reading(progress))
        except RunFailed as failure:
            found = failure.undefined
        if isinstance(found, Undefined):
            status = "ok" if found.cause == "circuit" else "not_converged"
            progress.failed |= {run.name: _Failure(status, found.reason) for run in runs}
            return None
        progress.derived[name] = dict(found)
        return progress.derived[name]

    def _run_all(self, runs: Sequence[Run], progress: _Progress, accepted: bool, *, again: frozenset[str]) -> None:
        for run in runs:
            for command in run.before:
                self._simulator.command(command)
            if run.name not in again or self._simulator.has_exited:
                continue
            outcome = self._run(run, accepted)
            if isinstance(outcome, Waveforms):
                progress.done[run.name] = outcome
                progress.failed.pop(run.name, None)
            else:
                progress.failed[run.name] = outcome
            if run.analysis == "op" and isinstance(outcome, Waveforms):
                progress.facts |= self._facts()

    def _run(self, run: Run, accepted: bool) -> Waveforms | _Failure:
        simulator = self._simulator
        if not accepted:
            return _Failure("not_converged", "ngspice did not accept the deck")
        simulator.lines.clear()
        plots = simulator.new_plots(run.command)
        found = None if simulator.has_exited or simulator.was_aborted() else self._vectors(run, plots)
        if found is not None:
            return found
        said = "; ".join(sentences(list(simulator.lines), ""))
        if run.analysis == "tran":
            return _Failure("simulator_gave_up", f"ngspice gave up on the transient {run.name}" + _colon(said))
        what = "operating point" if run.analysis == "op" else f"result of {run.name}"
        return _Failure("not_converged", f"ngspice found no {what}" + _colon(said))

    def _vectors(self, run: Run, plots: Sequence[str]) -> Waveforms | None:
        """What was asked for, where every vector is there and finite."""
        vectors: dict[str, Wave | ComplexWave] = {}
        for name in run.vectors:
            array = next(
                (found for plot in plots if (found := self._simulator.array(f"{plot}.{_plain(name)}")) is not None),
                None,
            )
            if array is None or not array.size or not np.all(np.isfinite(array)):
                return None
            vectors[name] = array
        scale = self._scale(run, plots)
        return None if scale is None else Waveforms(np.real(scale).astype(np.float64), vectors)

    def _scale(self, run: Run, plots: Sequence[str]) -> Wave | ComplexWave | None:
        if run.analysis == "op":
            return np.zeros(1) if plots else None
        for plot in plots:
            names = self._simulator.vector_names(plot)
            wanted = _SCALES.get(run.analysis)
            for name in names:
                if name == wanted or (run.analysis == "dc" and name.endswith("-sweep")):
                    return self._simulator.array(f"{plot}.{name}")
        return None

    def _facts(self) -> dict[str, Any]:
        return {
            device: {fact: device_parameter(self._simulator, f"@{device}[{fact}]") for fact in DEVICE_FACTS}
            for device in self._request["facts_of"]
        }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(vector: str) -> str:
    """A vector's name inside its plot: ``v(out)`` is ``out``, ``i(v_vdd)`` is ``v_vdd#branch``."""
    if vector.startswith("v(") and vector.endswith(")"):
        return vector[2:-1]
    if vector.startswith("i(") and vector.endswith(")"):
        return f"{vector[2:-1]}#branch"
    return vector


def _colon(said: str) -> str:
    return f": {said}" if said else ""
