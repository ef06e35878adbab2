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
from typing import Any

import torch

from app.errors import NotASentence
from app.inference.engine import Completion, Engine, Prompt
from app.inference.engine import Sequence as EngineSequence
from app.inference.randomness import stream_key
from app.nn.decoder import Decoder
from app.reward._base import Reward, Wish
from app.reward.judge import FactsT, Sample
from app.reward.recipe import RewardRecipe
from app.tokens._base import Language

log = logging.getLogger(__name__)

_SLOTS = 64

#: Between two looks at whether to stop, where nothing is finished.
_LOOK_EVERY_S = 0.5

#: The golden ratio's fraction: its multiples fill an interval evenly, however many there are.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Draw:
    """Who writes a round: `network` in `language`, for round `number` of the recipe."""

    network: Decoder
    language: Language[Any, Any, Any]
    recipe: RewardRecipe
    number: int
    device: torch.device
    threads: int


def evenly(shares: Mapping[str, float], count: int) -> list[str]:
    """So many labels, each in proportion to its share; any first part of them has nearly these shares too."""
    names, weights = list(shares), list(shares.values())
    total = sum(weights)
    found = []
    for index in range(count):
        place, at = total * ((0.5 + index * _GOLDEN) % 1.0), 0
        while at < len(weights) - 1 and place >= weights[at]:
            place -= weights[at]
            at += 1
        found.append(names[at])
    return found


def sample_and_score(
    draw: Draw,
    wanted: Iterable[tuple[int, Wish]],
    reward: Reward[FactsT],
    *,
    threads: int,
    keep: Callable[[Sample[FactsT]], None],
    stop: Callable[[], bool],
) -> bool:
    """Every wanted (index, wish) was drawn, scored and handed to `keep`; False when `stop` said so before.

    Item `index` of a round is the same circuit whoever is drawn beside it. So many `threads` score at a time.
    """
    waiting = list(wanted)
    if not waiting:
        return True
    grammar = draw.language.grammar(draw.device)
    prompts = {wish: _prompt(draw, wish) for wish in dict.fromkeys(wish for _, wish in waiting)}
    strip = random.Random(f"{draw.recipe.seed}:bare")
    is_bare = [strip.random() < draw.recipe.bare_share for _ in range(draw.recipe.samples)]
    seed = stream_key(draw.recipe.seed, draw.number) & ((1 << 63) - 1)
    done: queue.SimpleQueue[Sample[FactsT] | BaseException] = queue.SimpleQueue()
    engine = Engine(draw.network, grammar, slots=_SLOTS, device=draw.device, threads=draw.threads)
    executor = ThreadPoolExecutor(threads, thread_name_prefix="score")

    def submit(index: int, wish: Wish) -> None:
        def on_done(outcome: Completion | BaseException) -> None:
            executor.submit(lambda: done.put(_scored(outcome)))

        def _scored(outcome: Completion | BaseException) -> Sample[FactsT] | BaseException:
            if isinstance(outcome, BaseException):
                return outcome
            try:
                facts = _facts(draw.language, outcome.ids, index, wish, reward)
                return Sample(index, wish.label, tuple(outcome.ids), facts, is_bare[index])
            except Exception as error:  # it is raised again in the thread that waits
                return error

        prompt, most = prompts[wish]
        prompt = replace(prompt, is_constrained=not is_bare[index])
        sequence = EngineSequence(prompt, stream_key(seed, index), draw.recipe.temperature, draw.recipe.top_p, most)
        tickets.append(engine.submit(sequence, on_done))

    tickets: list[Any] = []
    try:
        for index, wish in waiting:
            submit(index, wish)
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
    language: Language[Any, Any, Any], ids: Sequence[int], index: int, wish: Wish, reward: Reward[FactsT]
) -> FactsT:
    """The reward's; a sentence that is no circuit is told apart."""
    try:
        circuit, _ = language.decode(ids)
    except NotASentence:
        return reward.no_circuit(index)
    return reward.facts(circuit, wish)


def _prompt(draw: Draw, wish: Wish) -> tuple[Prompt, int]:
    """The prompt of a wish, and the most tokens a sentence from it may have."""
    prompt = Prompt(tuple(draw.language.prompt(wish.constraint)), wish.constraint)
    return prompt, draw.language.grammar(draw.device).longest(wish.constraint)
