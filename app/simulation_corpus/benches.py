"""Prepared benches of the combinations of a run, each made once and kept while it is in use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict

from app.simulation_corpus.layout import Space
from app.simulation_corpus.plan import Combination, Scope, nominal_corner, seed_of
from app.simulation_corpus.recipe import SimulationRecipe
from app.simulation_corpus.topologies import Topology
from app.technologies._base import Technology
from app.testbenches._base import ANALYSES, Corner, Testbench
from app.testbenches._simulator import Bench, prepare_bench

#: Benches that are kept; one holds its decks, some tens of kilobytes.
_KEPT = 256


class BenchMaker:
    """Benches by combination, corner and scope. Thread-safe."""

    def __init__(
        self,
        recipe: SimulationRecipe,
        topologies: Mapping[str, Topology],
        testbenches: Mapping[str, Testbench],
        technologies: Mapping[str, Technology],
    ) -> None:
        self.technologies = technologies
        self.testbenches = testbenches
        self._recipe = recipe
        self.topologies = topologies
        self._lock = threading.Lock()
        self._benches: OrderedDict[tuple[Combination, Corner, Scope], Bench] = OrderedDict()

    def bench(self, combination: Combination, corner: Corner, scope: Scope) -> Bench:
        """The bench; raises as `prepare_bench` does."""
        key = (combination, corner, scope)
        with self._lock:
            if key in self._benches:
                self._benches.move_to_end(key)
                return self._benches[key]
        made = self._made(combination, corner, scope)
        with self._lock:
            self._benches[key] = made
            while len(self._benches) > _KEPT:
                self._benches.popitem(last=False)
        return made

    def probe_key(self, combination: Combination, seed: int) -> int:
        """A number that changes with whatever could change a probe's outcome."""
        return seed_of(
            seed,
            sorted(asdict(self._recipe.probe).items()),
            sorted(self._recipe.testbenches[combination.testbench].settings.items()),
            self.testbenches[combination.testbench].version,
            self.technologies[combination.technology].device_models().card_hash,
        )

    def space(self, combination: Combination, start: tuple[float, ...]) -> Space:
        """What the store says of the combination's variables; `start` is the guided one."""
        technology = self.technologies[combination.technology]
        bench = self.bench(combination, nominal_corner(technology), "all")
        variables = tuple(
            {**asdict(variable), "start": value} for variable, value in zip(bench.space.variables, start, strict=True)
        )
        devices = tuple(device.name for device in bench.netlist.devices if device.kind_of.is_mos)
        return Space(combination, variables, dict(bench.wiring.port_of), devices)

    def _made(self, combination: Combination, corner: Corner, scope: Scope) -> Bench:
        choice = self._recipe.testbenches[combination.testbench]
        testbench = self.testbenches[combination.testbench]

        def prepared(metrics: list[str] | None) -> Bench:
            return prepare_bench(
                self.topologies[combination.topology_id].netlist,
                testbench,
                self.technologies[combination.technology],
                corner=corner,
                metrics=metrics,
                settings=choice.settings,
                with_facts=self._recipe.device_facts,
            )

        whole = prepared(None)
        return whole if scope == "all" else prepared(cheap_metrics(whole, choice.cheap))


def cheap_metrics(bench: Bench, analysis: str) -> list[str]:
    """The metrics of a bench with every metric whose runs are all of this analysis or a cheaper one.

    A run that the testbench leaves out for this circuit costs nothing: its metric has no value, and says why.
    """
    cost = {run.name: ANALYSES.index(run.analysis) for setup in bench.setups for run in setup.runs}
    most = ANALYSES.index(analysis)
    return [metric.name for metric in bench.metrics if all(cost.get(run, 0) <= most for run in metric.runs)]
