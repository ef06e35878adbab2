"""Which topologies are worth rows: each is tried on its testbenches, first in one technology, then in the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from app.errors import JosephsonError
from app.simulation_corpus.benches import BenchMaker
from app.simulation_corpus.plan import Combination, nominal_corner, seed_of
from app.simulation_corpus.recipe import SimulationRecipe
from app.simulation_corpus.topologies import Origin, Topology
from app.sizes.draws import draw
from app.technologies._base import Technology
from app.testbenches._base import Testbench
from app.testbenches._simulator import BenchSimulator, SimulationRow


@dataclass(frozen=True)
class Probe:
    """What became of a topology on a testbench in a technology at its start and some drawn sizings.

    `works` of the `tried` sizings had every metric that the testbench asks of a working circuit; `defined` counts by
    metric. `milliseconds` of processor time is what one sizing took. `reason` says why it gets no rows, None where it
    does. `start` is the starting point that its guided draws are made around.
    """

    combination: Combination
    tried: int = 0
    works: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    defined: Mapping[str, int] = field(default_factory=dict)
    milliseconds: float = 0.0
    start: tuple[float, ...] = ()
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values; `probe_from_json` reads them."""
        return asdict(self)

    @property
    def quality(self) -> tuple[float, float]:
        """Higher is better: the share of sizings that work, then the mean share of metrics defined."""
        share = sum(self.defined.values()) / max(1, len(self.defined) * self.tried)
        return self.works / max(1, self.tried), share


def probe_from_json(entry: Mapping[str, Any]) -> Probe:
    """The probe that `as_json` wrote."""
    values = dict(entry)
    return Probe(**{**values, "combination": Combination(**values["combination"]), "start": tuple(values["start"])})


def probe(
    recipe: SimulationRecipe, seed: int, combination: Combination, benches: BenchMaker, simulator: BenchSimulator
) -> Probe:
    """Try the start and `recipe.probe.draws` sizings, half of them guided, at the nominal corner with every metric."""
    technology = benches.technologies[combination.technology]
    try:
        bench = benches.bench(combination, nominal_corner(technology), "all")
        start = simulator.guided_start(bench)
    except JosephsonError as error:
        return Probe(combination, reason=str(error))
    if bench.floating is not None:
        return Probe(combination, reason=bench.floating)
    stream = seed_of("probe", seed, combination.topology_id, combination.testbench, combination.technology)
    vectors = [tuple(start)]
    for index in range(recipe.probe.draws):
        vectors.append(draw(bench.space, start, "log_uniform" if index % 2 else "guided", stream, index))
    rows = list(simulator.run(bench, vectors[:1]))
    slow = _too_slow(recipe, rows)
    if slow is not None:
        return Probe(combination, tried=1, statuses={rows[0]["status"]: 1}, start=tuple(start), reason=slow)
    rows += simulator.run(bench, vectors[1:], range(1, len(vectors)))
    names = [metric.name for metric in bench.metrics]
    core = [bound.metric for bound in bench.testbench.works]
    statuses: dict[str, int] = {}
    for row in rows:
        statuses[row["status"]] = statuses.get(row["status"], 0) + 1
    found = Probe(
        combination,
        tried=len(rows),
        works=sum(all(row["metrics"].get(name) is not None for name in core) for row in rows),
        statuses=statuses,
        defined={name: sum(row["metrics"].get(name) is not None for row in rows) for name in names},
        milliseconds=round(1e3 * sum(row["timings"]["simulate_s"] for row in rows) / len(rows), 3),
        start=tuple(start),
    )
    reason = _why_not(recipe, found, core) or _too_slow(recipe, rows)
    return replace(found, reason=reason)


def _why_not(recipe: SimulationRecipe, found: Probe, core: Sequence[str]) -> str | None:
    if found.works < max(1, recipe.probe.least_defined * found.tried):
        never = [name for name in core if not found.defined[name]]
        missing = f"never has {', '.join(never)}" if never else f"seldom has {', '.join(core)} together"
        return f"{missing} ({found.works} of {found.tried} tried sizings)"
    return None


def _too_slow(recipe: SimulationRecipe, rows: Sequence[SimulationRow]) -> str | None:
    if any(row["status"] == "timeout" for row in rows):
        return "a sizing ran into the time limit of a simulation"
    milliseconds = 1e3 * sum(row["timings"]["simulate_s"] for row in rows) / len(rows)
    if milliseconds > recipe.probe.most_ms:
        return f"a sizing takes {milliseconds:.0f} ms, the recipe allows {recipe.probe.most_ms:g} ms"
    return None


@dataclass(frozen=True)
class Selection:
    """The combinations that get rows, in order, and every probe that led to them."""

    combinations: tuple[Combination, ...]
    probes: Mapping[Combination, Probe]


class Selector:
    """Probes topologies side by side; what a store already knows is not tried again.

    `known` are earlier probes. `note` gets each new one. Nothing is begun once `is_over` says so.
    """

    def __init__(
        self,
        recipe: SimulationRecipe,
        seed: int,
        benches: BenchMaker,
        simulator: BenchSimulator,
        *,
        known: Mapping[Combination, Probe],
        note: Callable[[Probe], None],
        is_over: Callable[[], bool],
    ) -> None:
        self._recipe = recipe
        self._seed = seed
        self._benches = benches
        self._simulator = simulator
        self._probes = dict(known)
        self._note = note
        self._is_over = is_over

    def select(
        self,
        topologies: Sequence[Topology],
        testbenches: Sequence[Testbench],
        technologies: Sequence[Technology],
        *,
        progress: Callable[[int, int], None],
        at_once: int,
    ) -> Selection | None:
        """Every archetype that passes, and of each other origin the best for each testbench; None where it was over."""
        first = self._recipe.probe.technology
        tried = self._candidates(topologies, testbenches)
        kept = self._best(tried, self._passed(tried, progress, at_once))
        others = [
            Combination(c.topology_id, c.testbench, technology.name)
            for c in kept
            for technology in technologies
            if technology.name != first
        ]
        chosen = {*kept, *self._passed(others, progress, at_once)}
        if self._is_over():
            return None
        return Selection(tuple(sorted(chosen)), self._probes)

    def _candidates(
        self, topologies: Sequence[Topology], testbenches: Sequence[Testbench]
    ) -> dict[Combination, Topology]:
        """What is tried first. An archetype that no testbench of its type can drive has a probe that says why."""
        choice = self._recipe.topologies
        wanted = [topology for topology in topologies if not choice.names or topology.name in choice.names]
        tried: dict[Combination, Topology] = {}
        refused: dict[Combination, str] = {}
        for testbench in testbenches:
            for origin, most in self._most().items():
                fitting = []
                for topology in wanted:
                    if most and topology.origin == origin and topology.type in testbench.types:
                        reason = self._why_not_driven(topology, testbench)
                        if reason is None:
                            fitting.append(topology)
                        elif origin == "archetype":
                            refused[self._first(topology, testbench)] = reason
                if origin != "archetype":
                    fitting.sort(key=lambda topology: seed_of("candidate", self._seed, topology.id))
                    fitting = fitting[: choice.candidates]
                tried |= {self._first(topology, testbench): topology for topology in fitting}
        driven = {combination.topology_id for combination in tried}
        for combination, reason in refused.items():
            if combination.topology_id not in driven:
                self._probes[combination] = Probe(combination, reason=reason)
        return tried

    def _best(self, tried: Mapping[Combination, Topology], passed: Sequence[Combination]) -> list[Combination]:
        """As many of each origin on each testbench as the recipe takes, those that work more often first."""
        kept: list[Combination] = []
        for testbench in dict.fromkeys(combination.testbench for combination in tried):
            for origin, most in self._most().items():
                found = [c for c in passed if c.testbench == testbench and tried[c].origin == origin]
                found.sort(key=lambda c: tuple(-part for part in self._probes[c].quality))
                kept += found if origin == "archetype" else found[:most]
        return kept

    def _most(self) -> dict[Origin, int]:
        """How many topologies of an origin a testbench gets; every archetype that is fit, where there are any."""
        choice = self._recipe.topologies
        return {"archetype": int(choice.archetypes), "corpus": choice.corpus, "generated": choice.generated}

    def _first(self, topology: Topology, testbench: Testbench) -> Combination:
        return Combination(topology.id, testbench.name, self._recipe.probe.technology)

    def _why_not_driven(self, topology: Topology, testbench: Testbench) -> str | None:
        """Why the topology is not worth a trial: the testbench does not find its ports, or it is too large."""
        most = self._recipe.topologies.max_devices
        if topology.origin != "archetype" and len(topology.netlist.devices) > most:
            return f"it has more than {most} devices"
        try:
            testbench.wire(topology.netlist)
        except JosephsonError as error:
            return str(error)
        return None

    def _passed(
        self, wanted: Iterable[Combination], progress: Callable[[int, int], None], at_once: int
    ) -> list[Combination]:
        """Those that were found fit, in the order asked."""
        order = list(wanted)
        todo = [combination for combination in order if combination not in self._probes]
        for done, found in enumerate(self._probed(todo, at_once), start=1):
            self._probes[found.combination] = found
            self._note(found)
            progress(done, len(todo))
        return [c for c in order if c in self._probes and self._probes[c].reason is None]

    def _probed(self, todo: Sequence[Combination], at_once: int) -> Iterator[Probe]:
        waiting = list(todo)[::-1]
        running: set[Future[Probe]] = set()
        with ThreadPoolExecutor(at_once, thread_name_prefix="probe") as threads:
            while (waiting and not self._is_over()) or running:
                while waiting and len(running) < at_once and not self._is_over():
                    combination = waiting.pop()
                    running.add(
                        threads.submit(probe, self._recipe, self._seed, combination, self._benches, self._simulator)
                    )
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
