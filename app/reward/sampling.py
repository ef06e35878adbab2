"""A round's circuits: the network writes them, the scorer looks at each as soon as it is written.

Sampling runs in the engine's thread and scoring in threads of its own, whose work is done by simulator processes.
"""

from __future__ import annotations

import logging
import queue
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.errors import NotASentence
from app.inference.engine import Completion, Engine, Prompt
from app.inference.engine import Sequence as EngineSequence
from app.inference.randomness import stream_key
from app.nn.decoder import Decoder
from app.reward.judge import CircuitFacts, Sample
from app.reward.recipe import RewardRecipe
from app.tokens._base import Language
from app.tokens.device_lines import TopologyConstraint

log = logging.getLogger(__name__)

_SLOTS = 64

#: Between two looks at whether to stop, where nothing is finished.
_LOOK_EVERY_S = 0.5

#: The golden ratio's fraction: its multiples fill an interval evenly, however many there are.
_GOLDEN = 0.6180339887498949


class Scorer(Protocol):
    """Says what there is to know of a sampled circuit. Called from many threads at once."""

    def facts(self, topology: Netlist, circuit_type: str) -> CircuitFacts:
        """All facts but `type_probability`; blocks. Deterministic, but for trouble of the simulator."""
        ...

    def type_probabilities(self, topologies: Sequence[Netlist], types: Sequence[str]) -> list[float | None]:
        """For each circuit the probability that it is of its type; None where nobody can tell."""
        ...


@dataclass(frozen=True)
class Draw:
    """Who writes a round: `network` in `language`, for round `number` of the recipe."""

    network: Decoder
    language: Language[Any, Any, Any]
    recipe: RewardRecipe
    number: int
    device: torch.device
    threads: int


def types_of_round(recipe: RewardRecipe, training_circuits: Mapping[str, int]) -> list[str]:
    """The type that each item of a round is asked for, the same in every round.

    A type has a share of the items in proportion to its training circuits ** `type_exponent`; any first part of a round
    has nearly these shares too.
    """
    weights = [float(training_circuits.get(name, 0)) ** recipe.type_exponent for name in CIRCUIT_TYPES]
    total = sum(weights)
    found = []
    for index in range(recipe.samples):
        place, at = total * ((0.5 + index * _GOLDEN) % 1.0), 0
        while at < len(weights) - 1 and place >= weights[at]:
            place -= weights[at]
            at += 1
        found.append(CIRCUIT_TYPES[at])
    return found


def sample_and_score(
    draw: Draw,
    wanted: Iterable[tuple[int, str]],
    scorer: Scorer,
    *,
    threads: int,
    keep: Callable[[Sample], None],
    stop: Callable[[], bool],
) -> bool:
    """Every wanted (index, type) was drawn, scored and handed to `keep`; False when `stop` said so before.

    Item `index` of a round is the same circuit whoever is drawn beside it. So many `threads` score at a time.
    """
    waiting = list(wanted)
    if not waiting:
        return True
    grammar = draw.language.grammar(draw.device)
    prompts = {name: _prompt(draw, name) for name in dict.fromkeys(name for _, name in waiting)}
    strip = random.Random(f"{draw.recipe.seed}:bare")
    is_bare = [strip.random() < draw.recipe.bare_share for _ in range(draw.recipe.samples)]
    seed = stream_key(draw.recipe.seed, draw.number) & ((1 << 63) - 1)
    done: queue.SimpleQueue[Sample | BaseException] = queue.SimpleQueue()
    engine = Engine(draw.network, grammar, slots=_SLOTS, device=draw.device, threads=draw.threads)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="score")

    def submit(index: int, circuit_type: str) -> None:
        def on_done(outcome: Completion | BaseException) -> None:
            executor.submit(lambda: done.put(_scored(outcome)))

        def _scored(outcome: Completion | BaseException) -> Sample | BaseException:
            if isinstance(outcome, BaseException):
                return outcome
            try:
                facts = _facts(draw.language, outcome.ids, index, circuit_type, scorer)
                return Sample(index, circuit_type, tuple(outcome.ids), facts, is_bare[index])
            except Exception as error:  # it is raised again in the thread that waits
                return error

        prompt, most = prompts[circuit_type]
        prompt = replace(prompt, is_constrained=not is_bare[index])
        tickets.append(
            engine.submit(EngineSequence(prompt, stream_key(seed, index), draw.recipe.temperature, 1.0, most), on_done)
        )

    tickets: list[Any] = []
    try:
        for index, circuit_type in waiting:
            submit(index, circuit_type)
        left = len(waiting)
        while left:
            if stop():
                return False
            try:
                outcome = done.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                continue
            if isinstance(outcome, BaseException):
                raise outcome
            keep(outcome)
            left -= 1
        return True
    finally:
        for ticket in tickets:
            engine.cancel(ticket)
        engine.close()
        executor.shutdown(cancel_futures=True)
        while not done.empty():
            late = done.get()
            if isinstance(late, Sample):
                keep(late)


def _facts(
    language: Language[Any, Any, Any], ids: Sequence[int], index: int, circuit_type: str, scorer: Scorer
) -> CircuitFacts:
    """The scorer's; a sentence that is no circuit has an identity of its own and nothing else."""
    try:
        topology, _ = language.decode(ids)
    except NotASentence:
        return CircuitFacts(f"no circuit, item {index}", 0, is_circuit=False)
    return scorer.facts(topology, circuit_type)


def _prompt(draw: Draw, circuit_type: str) -> tuple[Prompt, int]:
    """The prompt of a type, and the most tokens a sentence from it may have."""
    constraint = TopologyConstraint(type=circuit_type, max_devices=draw.recipe.max_devices)
    prompt = Prompt(tuple(draw.language.prompt(constraint)), constraint)
    return prompt, draw.language.grammar(draw.device).longest(constraint)
