"""Thousands of sizings of one circuit on one testbench: prepared once, simulated in batches by the worker processes.

What comes back is a row a sizing, in any case: what does not converge, hangs or kills its simulator is a row that says
so. Only what no simulation could answer (an unknown metric, a port that is missing) is an exception, before the first.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.analog.netlist import Device, Netlist
from app.errors import InvalidRequest, SimulatorFailure, SimulatorTimeout
from app.simulators.bias import Bias, bias_plan
from app.simulators.dc_paths import floating_nets
from app.simulators.deck import circuit_cards, deck_with_parameters, default_sizes, instance_names, node_names
from app.simulators.processes import PoolShare, WorkerPool
from app.sizes.space import SizeSpace
from app.sizes.starting_point import guided_start
from app.sizes.variables import size_space
from app.technologies._base import DeviceModels, Technology
from app.technologies._gmid import GmIdProvider, GmIdTableSource
from app.testbenches._base import BenchCircuit, Corner, Metric, Run, Setup, Testbench, Wiring
from app.units import format_spice_number

log = logging.getLogger(__name__)

#: Row of one sizing, ready for JSON; see docs/architecture.md.
SimulationRow = dict[str, Any]

#: CPU seconds that a batch is meant to take: long enough that loading a deck is nothing, short enough to be cancelled.
_BATCH_S = 1.0
_LARGEST_BATCH = 128

#: As many sizings at most where device models are binned: every sizing adds bins to the deck that all of them reset.
_LARGEST_BINNED_BATCH = 24

#: Batches in the queue for each worker, so that none waits for the next.
_QUEUED = 2

#: Supply voltages relative to the technology's, and temperatures in degrees Celsius, that a corner may have.
_SUPPLY_RANGE = (0.5, 1.5)
_CELSIUS_RANGE = (-55.0, 200.0)


def make_corner(
    technology: Technology, process: str | None = None, supply_v: float | None = None, celsius: float | None = None
) -> Corner:
    """A corner of the technology; what is None is nominal.

    Raises:
        UnknownName: no process corner of that name.
        InvalidRequest: a supply or temperature that no device model is meant for.
    """
    process = technology.device_models(process).process
    supply = technology.supply_v if supply_v is None else supply_v
    temperature = technology.celsius if celsius is None else celsius
    low, high = (factor * technology.supply_v for factor in _SUPPLY_RANGE)
    if not low <= supply <= high:
        raise InvalidRequest(
            f"the supply is {supply:g} V, corners of {technology.name} take {low:g} to {high:g} V", pointer="/corner"
        )
    if not _CELSIUS_RANGE[0] <= temperature <= _CELSIUS_RANGE[1]:
        raise InvalidRequest(
            f"the temperature is {temperature:g} C, corners take {_CELSIUS_RANGE[0]:g} to {_CELSIUS_RANGE[1]:g} C",
            pointer="/corner",
        )
    return Corner(process, float(supply), float(temperature))


@dataclass(frozen=True)
class Bench:
    """A circuit wired to a testbench in one technology and corner: what is needed to simulate any of its sizings.

    `netlist` has a size everywhere: the one it came with (`topology`), else the technology's default.
    """

    testbench: Testbench
    topology: Netlist
    netlist: Netlist
    wiring: Wiring
    technology: Technology
    corner: Corner
    settings: Mapping[str, float]
    metrics: tuple[Metric, ...]
    space: SizeSpace
    bias: Bias
    with_facts: bool

    @cached_property
    def models(self) -> DeviceModels:
        """The device models of the corner."""
        return self.technology.device_models(self.corner.process)

    @cached_property
    def _names(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        nodes, instances = node_names(self.netlist), instance_names(self.netlist)
        return (
            MappingProxyType({net: name.lower() for net, name in nodes.items()}),
            MappingProxyType({device: name.lower() for device, name in instances.items()}),
        )

    @cached_property
    def circuit(self) -> BenchCircuit:
        """What the testbench writes its setups from."""
        node_of, instance_of = self._names
        return BenchCircuit(
            self.netlist, self.wiring, self.technology, self.corner, self.settings, node_of, instance_of
        )

    @cached_property
    def setups(self) -> tuple[Setup, ...]:
        """The setups with the runs that the metrics need; a run that is left out hands its ``alter`` commands on."""
        needed = {run for metric in self.metrics for run in metric.runs}
        if self.with_facts:
            needed.add("op")
        setups = self.testbench.setups(self.circuit)
        for setup in reversed(setups):
            if any(run.name in needed for run in setup.runs):
                needed |= set(setup.after)
        kept = []
        for setup in setups:
            runs: list[Run] = []
            before: list[str] = []
            for run in setup.runs:
                before += run.before
                if run.name in needed:
                    runs.append(replace(run, before=tuple(before)))
                    before = []
            if runs:
                kept.append(replace(setup, runs=tuple(runs)))
        return tuple(kept)

    def deck_template(self, setup: Setup, vectors: Sequence[Sequence[float]]) -> str:
        """The setup's deck without its ``.param`` cards, with the model bins that these sizings need."""
        node_of, instance_of = self._names
        parameter_of = {place: variable.name for place, variable in self.space.variable_at.items()}
        netlist = _with_moved_pins(self.netlist, setup.moved)
        node_of = {**node_of, **{node: node for node in setup.moved.values()}}
        cards = circuit_cards(netlist, self.technology, self.models, node_of, instance_of, parameter_of)
        kinds = dict.fromkeys(device.kind for device in self.netlist.devices)
        saved = dict.fromkeys(vector for run in setup.runs for vector in run.vectors)
        supply = setup.supply or f"DC {format_spice_number(self.corner.supply_v)}"
        lines = [
            f"* {self.testbench.name} {setup.name}, {self.technology.name} {self.corner}",
            *cards,
            "v_vss vss 0 DC 0",
            f"v_vdd vdd vss {supply}",
            *self._bias_cards(),
            *setup.cards,
            *self.models.text_for(kinds, self._mos_sizes(vectors)).splitlines(),
            f".options temp={format_spice_number(self.corner.celsius)}",
            *(f".options {option}" for option in setup.options),
            f".save {' '.join(saved)}",
            ".end",
        ]
        return "\n".join(lines) + "\n"

    def decks(self, vector: Sequence[float], derived: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
        """A deck for each setup with this sizing, its analyses in a ``.control`` block, as ``ngspice -b`` runs it.

        `derived` are the numbers of the row that is to be reproduced. Setups that were never run are left out.
        """
        texts = {}
        for setup in self.setups:
            if setup.name in self.testbench.derive and setup.name not in derived:
                continue
            extra = derived.get(setup.name, {})
            text = deck_with_parameters(self.deck_template(setup, [vector]), self.space.as_sizing(vector) | dict(extra))
            body, end, _ = text.rpartition(".end")
            lines = [".control", "set numdgt=12"]
            for run in setup.runs:
                lines += [*run.before, run.command.format(**extra)]
                if run.analysis == "op":
                    lines += [f"print {vector_name}" for vector_name in run.vectors]
            texts[setup.name] = body + "\n".join([*lines, "quit", ".endc"]) + f"\n{end}\n"
        return texts

    def request(self, vectors: Sequence[Sequence[float]]) -> dict[str, Any]:
        """What a worker is asked for these sizings; see `_worker.handle`."""
        node_of, instance_of = self._names
        return {
            "testbench": self.testbench.name,
            "setups": [
                {
                    "name": setup.name,
                    "deck": self.deck_template(setup, vectors),
                    "runs": [asdict(r) for r in setup.runs],
                }
                for setup in self.setups
            ],
            "parameters": [variable.name for variable in self.space.variables],
            "sizings": [list(vector) for vector in vectors],
            "metrics": [metric.name for metric in self.metrics],
            "node": {role: node_of[port] for role, port in self.wiring.port_of.items()},
            "settings": dict(self.settings),
            "corner": asdict(self.corner),
            "areas": [self._area_m2(vector) for vector in vectors],
            "facts_of": [instance_of[d.name] for d in self.netlist.devices if d.kind_of.is_mos]
            if self.with_facts
            else [],
        }

    def row(self, index: int, vector: Sequence[float], answer: Mapping[str, Any]) -> SimulationRow:
        """A worker's answer to one sizing in the words of the netlist."""
        row = {
            "index": index,
            "status": answer["status"],
            "sizes": self.space.as_sizing(vector),
            "metrics": answer["metrics"],
            "undefined": answer["undefined"],
            "relaxed": answer["relaxed"],
            "derived": answer["derived"],
            "timings": {"simulate_s": answer["cpu_s"]},
        }
        if answer.get("message"):
            row["message"] = answer["message"]
        if self.with_facts:
            device_of = {instance: device for device, instance in self._names[1].items()}
            row["operating_point"] = {device_of[name]: facts for name, facts in answer["facts"].items()}
        return row

    def failed_row(self, index: int, vector: Sequence[float], status: str, message: str) -> SimulationRow:
        """The row of a sizing that has no answer."""
        undefined = {metric.name: {"cause": "simulator", "reason": message} for metric in self.metrics}
        return self.row(
            index,
            vector,
            {
                "status": status,
                "metrics": dict.fromkeys(undefined),
                "undefined": undefined,
                "relaxed": False,
                "cpu_s": 0.0,
                "message": message,
                "facts": {},
                "derived": {},
            },
        )

    @property
    def largest_batch(self) -> int:
        """Sizings that are best simulated together at most."""
        is_binned = any(len(model.bins) > 1 for model in self.models.mos.values())
        return _LARGEST_BINNED_BATCH if is_binned else _LARGEST_BATCH

    @cached_property
    def floating(self) -> str | None:
        """A sentence where the voltage of some net is undefined, so that no simulation means anything."""
        driven = replace(
            self.bias,
            voltages=(
                *self.bias.voltages,
                *(replace(self.bias.voltages[0], net=net) for net in self.wiring.port_of.values()),
            ),
        )
        nets = floating_nets(self.netlist, driven)
        return f"no direct current can reach net {nets[0]}, so its voltage is undefined" if nets else None

    def _bias_cards(self) -> Iterator[str]:
        """A source or load for every port that plays no role.

        A bias voltage above half the supply is held against VDD: it stands for a generator that refers to VDD, and
        follows it through corners, sweeps and ripple.
        """
        node_of, _ = self._names
        variable_of = {variable.port: variable.name for variable in self.space.variables if variable.port}
        nominal = self.technology.supply_v
        for source in self.bias.voltages:
            if source.net == "VDD":
                continue
            node, value = node_of[source.net], variable_of[source.net]
            follows = source.volts > nominal / 2
            level = f"vdd DC {{{value}-{nominal:.12g}}}" if follows else f"vss DC {{{value}}}"
            if source.series_ohm:
                yield f"v_{node} s_{node} {level}"
                yield f"r_port_{node} s_{node} {node} {format_spice_number(source.series_ohm)}"
            else:
                yield f"v_{node} {node} {level}"
        for current in self.bias.currents:
            node = node_of[current.net]
            ends = f"vdd {node}" if current.flows_in else f"{node} vss"
            yield f"i_{node} {ends} DC {{{variable_of[current.net]}}}"
        for load in self.bias.loads:
            node = node_of[load.net]
            yield f"r_load_{node} {node} vss {format_spice_number(load.ohm)}"
            yield f"c_load_{node} {node} vss {format_spice_number(load.farad)}"

    def _mos_sizes(self, vectors: Sequence[Sequence[float]]) -> dict[str, set[tuple[float, float]]]:
        found: dict[str, set[tuple[float, float]]] = {}
        for kind, width, length, _ in self._mos_places:
            found.setdefault(kind, set()).update((_at(width, vector), _at(length, vector)) for vector in vectors)
        return found

    def _area_m2(self, vector: Sequence[float]) -> float:
        """The sum of W x L x m over the MOS."""
        places = self._mos_places
        return sum((_at(width, vector) * _at(length, vector) * _at(m, vector) for _, width, length, m in places), 0.0)

    @cached_property
    def _mos_places(self) -> tuple[tuple[str, int | float, int | float, int | float], ...]:
        """Kind, width, length and multiplier of every MOS: the index of a variable, or a fixed number."""

        def place(device: Device, size: str) -> int | float:
            variable = self.space.variable_at.get((device.name, size))
            return float(device.sizes.get(size, 1.0)) if variable is None else self.space.index_of[variable.name]

        return tuple(
            (device.kind, place(device, "width_m"), place(device, "length_m"), place(device, "multiplier"))
            for device in self.netlist.devices
            if device.kind_of.is_mos
        )


def _with_moved_pins(netlist: Netlist, moved: Mapping[tuple[str, str], str]) -> Netlist:
    """The netlist with these (device, pin) pairs on other nets."""
    devices = tuple(
        replace(device, nets=tuple(moved.get((device.name, pin), net) for pin, net in device.pins()))
        for device in netlist.devices
    )
    return replace(netlist, devices=devices) if moved else netlist


def _at(size: int | float, vector: Sequence[float]) -> float:
    return vector[size] if isinstance(size, int) else size


def prepare_bench(
    netlist: Netlist,
    testbench: Testbench,
    technology: Technology,
    *,
    corner: Corner | None = None,
    metrics: Sequence[str] | None = None,
    settings: Mapping[str, float] | None = None,
    ports: Mapping[str, str] | None = None,
    with_facts: bool = False,
) -> Bench:
    """The netlist on the testbench; sizes that it carries are where its variables start.

    Raises:
        UnknownName: a metric, setting or role that the testbench does not have.
        InvalidRequest: a port is missing, or a value lies outside its range.
        Unavailable: the technology's cards are not on this machine.
    """
    corner = make_corner(technology) if corner is None else corner
    wanted = testbench.wanted(metrics)
    wiring = testbench.wire(netlist, ports)
    chosen = testbench.settings_for(corner, settings)
    plan = bias_plan(netlist, technology)
    bias = Bias(
        tuple(source for source in plan.voltages if source.net in wiring.biased or source.net == "VDD"),
        tuple(source for source in plan.currents if source.net in wiring.biased),
        tuple(load for load in plan.loads if load.net in wiring.biased),
    )
    space = size_space(netlist, technology, bias)
    sized = default_sizes(netlist, technology)
    return Bench(testbench, netlist, sized, wiring, technology, corner, chosen, wanted, space, bias, with_facts)


def bench_start(bench: Bench, gmid: GmIdProvider) -> tuple[float, ...]:
    """Where a sizing of the bench's circuit starts: its given sizes, the others by gm/Id at the nominal corner."""
    return guided_start(bench.topology, bench.space, bench.technology, gmid.tables(bench.technology))


class BenchSimulator:
    """Sizings of prepared benches through a pool of `simulation_pool`. Thread-safe.

    `tables_folder` caches gm/Id tables; the user's data folder by default.
    """

    def __init__(self, pool: WorkerPool | PoolShare, *, tables_folder: Path | None = None) -> None:
        self.pool = pool
        self.gmid = GmIdTableSource(pool, tables_folder)

    def guided_start(self, bench: Bench) -> tuple[float, ...]:
        """See `bench_start`."""
        return bench_start(bench, self.gmid)

    def run(
        self, bench: Bench, vectors: Sequence[Sequence[float]], indices: Sequence[int] | None = None
    ) -> Generator[SimulationRow, None, None]:
        """A row for every vector of `bench.space`, in order of completion; `indices` are what the rows are called.

        Closing the iterator stops the work. Raises SimulatorFailure only where the pool is closed.
        """
        names = range(len(vectors)) if indices is None else indices
        todo = list(zip(names, (tuple(map(float, vector)) for vector in vectors), strict=True))[::-1]
        if bench.floating is not None:
            for index, vector in reversed(todo):
                yield bench.failed_row(index, vector, "not_converged", bench.floating)
            return
        size = 1
        running: dict[Future[dict[str, Any]], list[tuple[int, tuple[float, ...]]]] = {}
        try:
            while todo or running:
                while todo and len(running) < _QUEUED * self.pool.size:
                    batch = [todo.pop() for _ in range(min(size, len(todo)))]
                    running[self.pool.submit(bench.request([vector for _, vector in batch]))] = batch
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    batch = running.pop(future)
                    rows, again = self._rows(bench, future, batch)
                    for one in again:
                        running[self.pool.submit(bench.request([one[1]]))] = [one]
                    if rows:
                        spent = max(1e-4, sum(row["timings"]["simulate_s"] for row in rows) / len(rows))
                        size = max(1, min(bench.largest_batch, math.floor(_BATCH_S / spent), 2 * size))
                    yield from rows
        finally:
            for future in running:
                self.pool.cancel(future)

    def _rows(
        self, bench: Bench, future: Future[dict[str, Any]], batch: list[tuple[int, tuple[float, ...]]]
    ) -> tuple[list[SimulationRow], list[tuple[int, tuple[float, ...]]]]:
        """The rows of a finished batch, and what has to be tried again alone because its batch was lost."""
        try:
            answer = future.result()
        except CancelledError:
            raise SimulatorFailure("the simulation was stopped before it had a result; ask again") from None
        except SimulatorFailure as error:
            if len(batch) > 1:
                return [], batch
            status = "timeout" if isinstance(error, SimulatorTimeout) else "simulator_gave_up"
            log.warning("a sizing on testbench %s has no result: %s", bench.testbench.name, error)
            index, vector = batch[0]
            return [bench.failed_row(index, vector, status, str(error))], []
        return [bench.row(*one, found) for one, found in zip(batch, answer["rows"], strict=True)], []
