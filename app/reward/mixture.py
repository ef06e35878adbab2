"""Winners and corpus circuits as one stream of sentences, in which no type or family gains on the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from app.reward.judge import JudgedSample
from app.tokens._base import Language
from app.training.sentences import Example, SentenceStream


def draw_weights(
    corpus: Sequence[str], winners: Sequence[tuple[str, float]], *, label_exponent: float, winner_mix: float,
    most_repeats: float,
) -> tuple[list[float], list[float]]:  # fmt: skip
    """How often each corpus circuit and each winner is drawn, up to a common factor.

    A label's share of the draws is in proportion to (its corpus circuits) ** `label_exponent`, as in training. Within a
    label, winners have `winner_mix` of it, by their weights, but no more than makes them come `most_repeats` times as
    often as its corpus circuits: few winners are not to be learnt by heart. What the network learns from the reward is
    then how circuits of a label are made, and not which labels there are.

    Args:
        corpus: The label of every corpus circuit.
        winners: Label and weight of every winner; of a label that the corpus lacks none is drawn.
    """
    sizes, winning = Counter(corpus), Counter(label for label, _ in winners)
    won: dict[str, float] = defaultdict(float)
    for label, weight in winners:
        won[label] += weight
    repeated = {label: most_repeats * count for label, count in winning.items()}
    mix = {label: min(winner_mix, most / (sizes[label] + most)) for label, most in repeated.items()}
    of_corpus = [sizes[label] ** (label_exponent - 1) * (1 - mix.get(label, 0.0)) for label in corpus]
    of_winners = [
        sizes[label] ** label_exponent * mix[label] * weight / won[label] if sizes[label] else 0.0
        for label, weight in winners
    ]
    return of_corpus, of_winners


def mixed_stream(
    corpus: Sequence[Example[Any]],
    winners: Sequence[JudgedSample[Any]],
    language: Language[Any, Any, Any],
    *,
    context: int,
    label_exponent: float,
    length_exponent: float,
    winner_mix: float,
    most_repeats: float,
) -> SentenceStream[Any]:
    """The stream of both; see `draw_weights`, and `SentenceStream` of what `length_exponent` does to these weights."""
    of_corpus, of_winners = draw_weights(
        [example.label for example in corpus], [(entry.sample.label, entry.weight) for entry in winners],
        label_exponent=label_exponent, winner_mix=winner_mix, most_repeats=most_repeats,
    )  # fmt: skip
    examples = [*corpus, *(Example(*language.decode(list(entry.sample.tokens))) for entry in winners)]
    return SentenceStream(
        examples, language.encode, context=context, label_exponent=label_exponent, weights=of_corpus + of_winners,
        length_exponent=length_exponent,
    )  # fmt: skip
