"""Facts of sampled circuits from the ladder of checks, with ngspice behind it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.analog.spice import write_spice
from app.errors import ModelDamaged, SimulatorFailure, UnknownName
from app.measures.novelty import TrainingIndex
from app.measures.type_classifier import NAME as CLASSIFIER
from app.measures.type_classifier import TypeClassifier
from app.resources import models_path
from app.reward.ladder import CircuitFacts, conduction_credit, is_copy
from app.reward.recipe import LadderRecipe
from app.simulators.deck import default_sizes
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.testbenches._base import testbenches
from app.testbenches._function import FunctionVerdict, check_function, testbenches_for
from app.validators._base import Subject, ValidationTools
from app.validators._tools import analog_tools
from app.validators.ladder import Ladder

log = logging.getLogger(__name__)

#: Wall clock of one batch of simulations. A circuit that takes longer earns nothing: where the simulator struggles, it
#: has no answer worth waiting for.
_SIMULATION_WALL_S = 50.0

#: Findings of the ladder that tell of a current which no designer would allow.
_OVERDRIVEN = frozenset({"overdriven", "supply_overcurrent"})


@contextmanager
def ladder_scorer(recipe: LadderRecipe, seen: TrainingIndex, data_dir: Path, *, workers: int) -> Iterator[LadderScorer]:
    """A scorer for samples of a model that has `seen` these circuits, with so many simulator processes while it lasts.

    `data_dir` holds the cache of gm/Id tables. A simulation is stopped by the processor time it takes and not by the
    clock, so that a busy machine does not change who wins.

    Raises:
        NgspiceMissing: there is no simulator.
        UnknownName: the recipe holds out a testbench that there is not.
    """
    with analog_tools(workers, data_dir, wall_s=_SIMULATION_WALL_S) as tools:
        yield LadderScorer(recipe, tools, seen, _classifier())


def _classifier() -> TypeClassifier | None:
    """The shipped classifier of types; None, which the log tells, where it is not here."""
    try:
        return TypeClassifier.load(models_path(CLASSIFIER))
    except ModelDamaged as error:
        log.warning("types are not judged: %s", error)
        return None


class LadderScorer:
    """Climbs the ladder with every circuit; implements `ladder.Scorer`.

    The function is tried only of circuits that conduct well and are no copies, since a circuit that does not work
    costs every sizing of the budget.
    """

    def __init__(
        self,
        recipe: LadderRecipe,
        tools: ValidationTools,
        seen: TrainingIndex,
        classifier: TypeClassifier | None,
    ) -> None:
        if recipe.hold_out not in testbenches:
            raise UnknownName("testbench", recipe.hold_out, testbenches)
        self._recipe = recipe
        self._tools = tools
        self._ladder = Ladder(tools, bias_points=recipe.bias_points)
        self._seen = seen
        self._classifier = classifier
        self._technology = technologies[DEFAULT_TECHNOLOGY]

    def facts(self, topology: Netlist, circuit_type: str) -> CircuitFacts:
        """What the ladder finds; trouble of the simulator is a fact too, and no reward."""
        identity = canonical_hash(topology)
        novelty = self._seen.novelty(identity, wl_labels(topology))
        facts = CircuitFacts(identity, len(topology.devices), novelty.is_novel, round(novelty.nearest_similarity, 4))
        netlist = default_sizes(topology, self._technology)
        try:
            return self._climbed(facts, netlist, circuit_type)
        except SimulatorFailure as error:
            return replace(facts, trouble=str(error))

    def _climbed(self, facts: CircuitFacts, netlist: Netlist, circuit_type: str) -> CircuitFacts:
        subject = Subject(write_spice(netlist), netlist=netlist)
        if not self._ladder.climb(subject, "structure").is_valid:
            return facts
        verdict = self._ladder.climb(subject, "conduction")
        point: Any = verdict.facts.get("operating_point") or {}
        conduction: Any = verdict.facts.get("conduction") or {}
        facts = replace(
            facts,
            is_legal=True,
            converges=bool(point.get("converged")),
            conducting_share=conduction.get("conducting_share"),
            saturated_share=conduction.get("saturated_share"),
            is_overdriven=any(finding.code in _OVERDRIVEN for finding in verdict.findings),
        )
        if not facts.converges or is_copy(facts, self._recipe.copy_similarity):
            return facts
        if conduction_credit(facts) < self._recipe.function_from:
            return facts
        return self._tried(facts, netlist, circuit_type)

    def _tried(self, facts: CircuitFacts, netlist: Netlist, circuit_type: str) -> CircuitFacts:
        """The facts with what the testbenches of the type find."""
        if self._recipe.function_types and circuit_type not in self._recipe.function_types:
            return facts
        names = {bench.name for bench in testbenches_for(circuit_type)}
        held_out = names & {self._recipe.hold_out}
        rewarded = self._function(netlist, circuit_type, without=held_out) if names - held_out else None
        apart = self._function(netlist, circuit_type, without=names - held_out) if held_out else None
        if rewarded is not None:
            facts = replace(facts, works=rewarded.works, met_share=_met_share(rewarded))
        return replace(facts, held_out_works=None if apart is None else apart.works)

    def _function(self, netlist: Netlist, circuit_type: str, *, without: set[str]) -> FunctionVerdict | None:
        if self._tools.benches is None:
            return None
        return check_function(
            netlist, circuit_type, self._technology, self._tools.benches,
            budget=self._recipe.function_budget, without=without,
        )  # fmt: skip

    def type_probabilities(self, topologies: Sequence[Netlist], types: Sequence[str]) -> list[float | None]:
        """The classifier's probability of each circuit's type; None for all where there is no classifier."""
        if self._classifier is None or not topologies:
            return [None] * len(topologies)
        table = self._classifier.probabilities(topologies)
        return [round(float(row[CIRCUIT_TYPES.index(name)]), 4) for row, name in zip(table, types, strict=True)]


def _met_share(found: FunctionVerdict) -> float:
    """The share of the testbench's bounds that the best sizing meets; 0 where no testbench could drive the circuit."""
    if found.testbench is None:
        return 0.0
    return round(1 - len(found.unmet) / len(testbenches[found.testbench].works), 4)
