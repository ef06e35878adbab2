"""Fills a store of simulations: makes its plan once, then does what of the plan is not done yet.

Nothing that was simulated is lost: a row is in its part's journal before the next one is looked at, and a part turns
into its Parquet file in one step. So a run that was killed goes on where it ended, and the finished store is the same.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Protocol, get_args

from app import __version__
from app.errors import Conflict, InvalidRequest, SimulatorFailure, Unavailable, UnknownName
from app.simulation_corpus.benches import BenchMaker
from app.simulation_corpus.journal import Journal, read_journal
from app.simulation_corpus.layout import (
    SCHEMA_VERSION,
    Layout,
    plain_reason,
    read_manifest,
    read_spaces,
    read_topologies,
    read_units,
    write_manifest,
    write_part,
    write_spaces,
    write_topologies,
    write_units,
)
from app.simulation_corpus.plan import Combination, Unit, plan_units
from app.simulation_corpus.recipe import SimulationRecipe, recipe_from_table
from app.simulation_corpus.selection import Probe, Selector, probe_from_json
from app.simulation_corpus.topologies import Topology, restored_topology
from app.sizes.draws import DrawMethod, draw
from app.technologies._base import Technology, technologies
from app.testbenches._base import Testbench, testbenches
from app.testbenches._decks import DEVICE_FACTS
from app.testbenches._simulator import BenchSimulator

#: Units that are worked on beyond one a worker, so that no worker waits while the next one is prepared.
_AHEAD = 1


class Watcher(Protocol):
    """Is told how far the work is. Every call comes from the thread that called the factory."""

    def probing(self, done: int, total: int) -> None:
        """So many topologies were tried."""

    def simulating(self, done: int, total: int) -> None:
        """So many rows of the plan are in the store."""


@dataclass
class Outcome:
    """What one call of `fill` came to. `rows` were added by it, `done` of `total` rows are in the store now.

    `failures` counts, by sentence, the units that could not be worked on; they are tried again by the next call.
    """

    rows: int = 0
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    is_stopped: bool = False
    statuses: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


@dataclass
class Limits:
    """Where a call ends early: after so many rows, at a time of `time.monotonic`, or when `stop` is set."""

    rows: int | None = None
    until: float | None = None
    stop: Event = field(default_factory=Event)

    def is_over(self) -> bool:
        """No new work is begun."""
        return self.stop.is_set() or (self.until is not None and time.monotonic() >= self.until)


class Factory:
    """Fills the store at `root` through a simulator. One at a time for each store."""

    def __init__(
        self,
        root: Path,
        simulator: BenchSimulator,
        *,
        watcher: Watcher,
        ngspice_version: str,
    ) -> None:
        self._layout = Layout(root)
        self._simulator = simulator
        self._watcher = watcher
        self._ngspice_version = ngspice_version

    def plan(
        self,
        recipe: SimulationRecipe,
        seed: int,
        topologies: Callable[[], Sequence[Topology]],
        *,
        append: bool,
        limits: Limits,
    ) -> bool:
        """The store has a plan for this recipe and seed; False where `limits` ended the work first.

        `topologies` are asked for only where a plan has to be made.
        A new store gets one, and so does an old one with `append`, of what it does not hold yet. Otherwise the plan
        that is there stays as it was made, whatever testbenches or topologies have come since.

        Raises:
            Conflict: the store was made by another recipe or seed, or another process fills it.
            Unavailable: a technology that is not optional is not on this machine.
            UnknownName: a technology or testbench that is not optional does not exist.
            InvalidRequest: no topology passed.
        """
        with self._locked():
            runs = read_manifest(self._layout)["runs"] if self._layout.manifest.is_file() else []
            if runs and not append:
                made = [run for run in runs if run["recipe"] == recipe.as_json() and run["seed"] == seed]
                if not made:
                    raise Conflict(
                        f"the store at {self._layout.root} was made by recipe {runs[0]['recipe']['name']!r} and seed "
                        f"{runs[0]['seed']}, with other values; give those, add with --append, or name a new store"
                    )
                return True
            return self._add_run(recipe, seed, topologies(), runs, limits)

    def fill(self, limits: Limits) -> Outcome:
        """Units that are not done are, until the plan or a limit ends. What runs when it stops is finished first.

        Raises:
            Conflict: another process fills the store, or its technologies' cards have changed since.
        """
        with self._locked():
            return self._fill(limits)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._layout.root.mkdir(parents=True, exist_ok=True)
        with (self._layout.root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"another process fills the store at {self._layout.root}; wait for it, or name another store"
                ) from None
            yield

    def _add_run(
        self,
        recipe: SimulationRecipe,
        seed: int,
        topologies: Sequence[Topology],
        runs: Sequence[Mapping[str, Any]],
        limits: Limits,
    ) -> bool:
        here, notes = _available(recipe)
        benches_here, more = _registered(recipe)
        by_id = {topology.id: topology for topology in topologies}
        if runs:
            by_id |= {record["id"]: restored_topology(record) for record in read_topologies(self._layout)}
        benches = BenchMaker(recipe, by_id, benches_here, here)
        layout = self._layout
        known = {
            found.combination: found
            for entry in read_journal(layout.probes)
            if (found := probe_from_json(entry["probe"])).combination.testbench in benches_here
            and found.combination.technology in here
            and entry["key"] == benches.probe_key(found.combination, seed)
        }
        layout.root.mkdir(parents=True, exist_ok=True)
        with Journal(layout.probes) as journal:
            selector = Selector(
                recipe, seed, benches, self._simulator,
                known=known, note=lambda found: journal.add(
                    {"key": benches.probe_key(found.combination, seed), "probe": found.as_json()}
                ), is_over=limits.is_over,
            )  # fmt: skip
            selection = selector.select(
                tuple(by_id.values()), tuple(benches_here.values()), tuple(here.values()),
                progress=self._watcher.probing, at_once=self._simulator.pool.size + _AHEAD,
            )  # fmt: skip
        if selection is None:
            return False
        held = _planned(layout, runs)
        already = {(unit.seed, unit.first, unit.corner) for unit in held}
        units = [
            unit
            for unit in plan_units(
                recipe, seed, selection.combinations, here, run=len(runs),
                first_unit=1 + max((unit.number for unit in held), default=-1),
                first_part=1 + max((unit.part for unit in held), default=-1),
            )
            if (unit.seed, unit.first, unit.corner) not in already
        ]  # fmt: skip
        if not units and any(run["recipe"] == recipe.as_json() and run["seed"] == seed for run in runs):
            return True
        if not units:
            raise InvalidRequest(
                f"recipe {recipe.name} plans no row that the store at {layout.root} does not have: "
                f"{_reasons(selection.probes)}"
            )
        chosen = {unit.combination for unit in units}
        spaces = read_spaces(layout) if runs else {}
        spaces |= {c: benches.space(c, selection.probes[c].start) for c in sorted(chosen)}
        write_units(layout, len(runs), units)
        write_spaces(layout, spaces.values())
        ids = {combination.topology_id for combination in spaces}
        write_topologies(layout, [topology for topology in by_id.values() if topology.id in ids])
        write_manifest(
            layout,
            {
                "schema": SCHEMA_VERSION,
                "runs": [
                    *runs,
                    {
                        "recipe": recipe.as_json(),
                        "seed": seed,
                        "josephson": __version__,
                        "ngspice": self._ngspice_version,
                        "technologies": {
                            name: {p: technology.device_models(p).card_hash for p in technology.processes}
                            for name, technology in here.items()
                        },
                        "testbenches": {name: testbench.version for name, testbench in benches_here.items()},
                        "metrics": _metrics_of(benches_here),
                        "facts": list(DEVICE_FACTS) if recipe.device_facts else [],
                        "counts": _counts(units),
                        "notes": [*notes, *more],
                        "dropped": _dropped(selection.probes, chosen, by_id),
                    },
                ],
            },
        )
        return True

    def _fill(self, limits: Limits) -> Outcome:
        layout = self._layout
        runs = read_manifest(layout)["runs"]
        by_id = {record["id"]: restored_topology(record) for record in read_topologies(layout)}
        spaces = read_spaces(layout)
        outcome = Outcome()
        began = time.monotonic()
        todo: list[tuple[Unit, tuple[int, ...]]] = []
        parts: dict[int, _Part] = {}
        for number, run in enumerate(runs):
            for unit in read_units(layout, number):
                outcome.total += unit.count
                if layout.part(unit.part).is_file():
                    outcome.done += unit.count
                    continue
                if unit.part not in parts:
                    metrics = list(dict.fromkeys(name for names in run["metrics"].values() for name in names))
                    parts[unit.part] = _Part(layout, unit.part, metrics, run["facts"])
                part = parts[unit.part]
                part.expected += unit.count
                missing = tuple(index for index in unit.indices if (unit.number, index) not in part.rows)
                outcome.done += unit.count - len(missing)
                if missing:
                    todo.append((unit, missing))
        worlds = [_World(run, by_id) for run in runs] if todo else []
        for part in parts.values():
            part.finish_if_whole()
        try:
            queue: SimpleQueue[tuple[Unit, dict[str, Any]] | str | BaseException | None] = SimpleQueue()
            feed = _Feed(todo, limits)
            threads = [
                Thread(target=self._work, args=(feed, worlds, spaces, queue), name=f"factory-{n}", daemon=True)
                for n in range(self._simulator.pool.size + _AHEAD)
            ]
            for thread in threads:
                thread.start()
            working = len(threads)
            while working:
                try:
                    found = queue.get(timeout=0.5)
                except Empty:
                    continue
                if found is None:
                    working -= 1
                    continue
                if isinstance(found, BaseException):
                    limits.stop.set()
                    raise found
                if isinstance(found, str):
                    outcome.failures[found] = outcome.failures.get(found, 0) + 1
                    continue
                unit, row = found
                parts[unit.part].add(row)
                outcome.rows += 1
                outcome.done += 1
                outcome.statuses[row["status"]] = outcome.statuses.get(row["status"], 0) + 1
                self._watcher.simulating(outcome.done, outcome.total)
        finally:
            for part in parts.values():
                part.close()
        outcome.seconds = time.monotonic() - began
        outcome.is_stopped = outcome.done < outcome.total
        return outcome

    def _work(
        self,
        feed: _Feed,
        worlds: Sequence[_World],
        spaces: Mapping[Combination, Any],
        queue: SimpleQueue[tuple[Unit, dict[str, Any]] | str | BaseException | None],
    ) -> None:
        """One thread's share: unit after unit, row by row into the queue, and None at the end.

        A sentence stands for a unit that could not be worked on; an exception ends all work.
        """
        try:
            while (item := feed.next()) is not None:
                unit, indices = item
                start = tuple(variable["start"] for variable in spaces[unit.combination].variables)
                try:
                    for row in self._rows(unit, worlds[unit.run], start, indices):
                        queue.put((unit, row))
                except SimulatorFailure:
                    raise
                except Exception as error:  # a defect in one testbench must not cost the night of all the others
                    topology = worlds[unit.run].benches.topologies[unit.combination.topology_id].name
                    queue.put(
                        f"{topology} on {unit.combination.testbench} in {unit.combination.technology}: "
                        f"{type(error).__name__}: {error}"
                    )
        except BaseException as error:
            queue.put(error)
        finally:
            queue.put(None)

    def _rows(
        self, unit: Unit, world: _World, start: tuple[float, ...], indices: Sequence[int]
    ) -> Iterator[dict[str, Any]]:
        """The unit's rows as the store keeps them."""
        bench = world.benches.bench(unit.combination, unit.corner, unit.scope)
        about = {
            "run": unit.run, "unit": unit.number, "topology_id": unit.combination.topology_id,
            "testbench": unit.combination.testbench, "testbench_version": bench.testbench.version,
            "technology": unit.combination.technology, "card_hash": bench.models.card_hash, "process": unit.process,
            "supply_v": unit.supply_v, "celsius": unit.celsius, "settings": dict(bench.settings),
            "method": unit.method, "seed": unit.seed, "scope": unit.scope,
        }  # fmt: skip
        method = next(each for each in get_args(DrawMethod) if each == unit.method)
        vectors = [draw(bench.space, start, method, unit.seed, index) for index in indices]
        names = [device.name for device in bench.netlist.devices if device.kind_of.is_mos]
        for row in self._simulator.run(bench, vectors, indices):
            points = row.get("operating_point", {})
            facts = {fact: [points[name][fact] for name in names] if points else None for fact in world.facts}
            yield {
                **about,
                "index": row["index"],
                "sizes": list(row["sizes"].values()),
                "status": row["status"],
                "relaxed": row["relaxed"],
                "message": plain_reason("", row["message"])[2:] if "message" in row else None,
                "simulate_s": row["timings"]["simulate_s"],
                "metrics": row["metrics"],
                "undefined": {
                    name: plain_reason(why["cause"], why["reason"]) for name, why in row["undefined"].items()
                },
                "facts": facts,
            }


class _Part:
    """A part that is being filled: its rows in memory and in its journal, its Parquet file once it is whole."""

    def __init__(self, layout: Layout, number: int, metrics: Sequence[str], facts: Sequence[str]) -> None:
        self._layout = layout
        self._number = number
        self._metrics = metrics
        self._facts = facts
        self._journal: Journal | None = None
        self.expected = 0
        self.rows = {(row["unit"], row["index"]): row for row in read_journal(layout.open_part(number))}

    def add(self, row: dict[str, Any]) -> None:
        """The row will not be lost."""
        if self._journal is None:
            self._journal = Journal(self._layout.open_part(self._number))
        self._journal.add(row)
        self.rows[row["unit"], row["index"]] = row
        self.finish_if_whole()

    def finish_if_whole(self) -> None:
        """The Parquet file is there if every row is."""
        if len(self.rows) == self.expected:
            self.close()
            write_part(self._layout, self._number, self.rows.values(), self._metrics, self._facts)
            self.rows = {}
            self.expected = -1

    def close(self) -> None:
        """The journal is not open."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None


class _Feed:
    """Hands out units with the indices that are missing, until they or the limits end. Thread-safe."""

    def __init__(self, todo: Sequence[tuple[Unit, tuple[int, ...]]], limits: Limits) -> None:
        self._todo = iter(todo)
        self._limits = limits
        self._left = limits.rows
        self._lock = Lock()

    def next(self) -> tuple[Unit, tuple[int, ...]] | None:
        """The next unit; the last one before a limit of rows may be a part of one."""
        with self._lock:
            if self._limits.is_over() or self._left == 0:
                return None
            unit, indices = next(self._todo, (None, ()))
            if unit is None:
                return None
            if self._left is not None:
                indices = indices[: self._left]
                self._left -= len(indices)
            return unit, indices


class _World:
    """What a run of the plan was made in: its benches, and the facts that its rows have.

    Raises Conflict where a technology's cards or a testbench are no longer those of the plan.
    """

    def __init__(
        self,
        run: Mapping[str, Any],
        topologies: Mapping[str, Topology],
    ) -> None:
        recipe = recipe_from_table(run["recipe"], "the store's recipe")
        here = {name: technologies[name] for name in run["technologies"]}
        for name, hashes in run["technologies"].items():
            for process, card_hash in hashes.items():
                if here[name].device_models(process).card_hash != card_hash:
                    raise Conflict(
                        f"the cards of {name}, {process}, are no longer those that the store was begun with; "
                        "put them back, or begin a new store"
                    )
        for name, version in run["testbenches"].items():
            if testbenches[name].version != version:
                raise Conflict(
                    f"testbench {name} has version {testbenches[name].version}, the store was begun with {version}; "
                    "use the version of the program that began it, or begin a new store"
                )
        self.facts: Sequence[str] = run["facts"]
        self.benches = BenchMaker(recipe, topologies, {name: testbenches[name] for name in run["testbenches"]}, here)


def _available(recipe: SimulationRecipe) -> tuple[dict[str, Technology], list[str]]:
    """The recipe's technologies that are on this machine, and a sentence for each that was left out."""
    found, notes = {}, []
    for name, choice in recipe.technologies.items():
        try:
            technologies[name].require()
        except (UnknownName, Unavailable) as error:
            if not choice.optional:
                raise
            notes.append(f"technology {name} was left out: {error}")
        else:
            found[name] = technologies[name]
    return found, notes


def _registered(recipe: SimulationRecipe) -> tuple[dict[str, Testbench], list[str]]:
    """The recipe's testbenches, and a sentence for each that was left out."""
    found, notes = {}, []
    for name, choice in recipe.testbenches.items():
        if name in testbenches or not choice.optional:
            found[name] = testbenches[name]
        else:
            notes.append(f"testbench {name} was left out: there is none of that name")
    return found, notes


def _planned(layout: Layout, runs: Sequence[object]) -> list[Unit]:
    return [unit for number in range(len(runs)) for unit in read_units(layout, number)]


def _metrics_of(benches: Mapping[str, Testbench]) -> dict[str, list[str]]:
    return {name: [metric.name for metric in testbench.metrics] for name, testbench in benches.items()}


def _counts(units: Sequence[Unit]) -> dict[str, Any]:
    """How much is planned, by testbench and technology."""
    by: dict[str, dict[str, int]] = {"testbenches": {}, "technologies": {}}
    for unit in units:
        for table, name in (("testbenches", unit.combination.testbench), ("technologies", unit.combination.technology)):
            by[table][name] = by[table].get(name, 0) + unit.count
    return {
        "rows": sum(unit.count for unit in units),
        "units": len(units),
        "topologies": len({unit.combination.topology_id for unit in units}),
        **{table: dict(sorted(names.items())) for table, names in by.items()},
    }


def _dropped(
    probes: Mapping[Combination, Probe], chosen: Collection[Combination], topologies: Mapping[str, Topology]
) -> list[dict[str, str]]:
    """The combinations that were tried and found unfit, each with its reason."""
    return [
        {
            "topology": topologies[combination.topology_id].name,
            "origin": topologies[combination.topology_id].origin,
            "testbench": combination.testbench,
            "technology": combination.technology,
            "reason": found.reason,
        }
        for combination, found in sorted(probes.items())
        if found.reason is not None and combination not in chosen and combination.topology_id in topologies
    ]


def _reasons(probes: Mapping[Combination, Probe]) -> str:
    reasons = dict.fromkeys(found.reason for found in probes.values() if found.reason)
    return "; ".join(list(reasons)[:3]) or "no topology fits its testbenches"
