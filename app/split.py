"""Which circuits of a corpus a model must not see: whole classes of circuits, a share of every label.

Knows classes and labels by name alone, so that every kind of circuit is split by the same rule.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable

#: The share of a corpus that is held out where nobody asks for another.
HELD_OUT_SHARE = 0.08

#: A label of fewer classes than this gives none away; a label of `_MANY_CLASSES` gives `_LEAST_OF_MANY` or more.
_FEW_CLASSES = 4
_MANY_CLASSES = 12
_LEAST_OF_MANY = 2


def held_out_classes(members: Iterable[tuple[str, str]], share: float) -> frozenset[str]:
    """The classes that are held out, the same whatever the order of the members.

    Labels are served rarest first. A label takes its classes in the order of a hash of their names, each that exceeds
    the share of none of the labels in it; so what a class of several labels gives counts for all of them, and a class
    too large for the share is passed over. A label that gets fewer classes than it has to takes its smallest ones.

    Args:
        members: Split class and label of every circuit.
        share: Of the circuits of each label, 0 to 1.
    """
    sizes: dict[str, Counter[str]] = defaultdict(Counter)
    for split_class, label in members:
        sizes[split_class][label] += 1
    classes_of: dict[str, list[str]] = defaultdict(list)
    circuits: Counter[str] = Counter()
    for split_class, labels in sizes.items():
        circuits.update(labels)
        for label in labels:
            classes_of[label].append(split_class)
    most = {
        label: 0 if len(classes_of[label]) < _FEW_CLASSES else int(share * count + 0.5)
        for label, count in circuits.items()
    }
    held: set[str] = set()
    taken: Counter[str] = Counter()
    for _, classes in sorted(classes_of.items(), key=lambda item: (len(item[1]), item[0])):
        classes.sort(key=_rank)
        for split_class in classes:
            fits = all(taken[each] + count <= most[each] for each, count in sizes[split_class].items())
            if fits and split_class not in held:
                held.add(split_class)
                taken.update(sizes[split_class])
        least = _LEAST_OF_MANY if share > 0 and len(classes) >= _MANY_CLASSES else 0
        missing = max(0, least - len(held.intersection(classes)))
        left = sorted((each for each in classes if each not in held), key=lambda each: sizes[each].total())
        for split_class in left[:missing]:
            held.add(split_class)
            taken.update(sizes[split_class])
    return frozenset(held)


def split_counts(members: Iterable[tuple[str, str]], held_out: frozenset[str]) -> dict[str, tuple[int, int, int, int]]:
    """Label -> its members, how many of them are held out, its split classes, and how many of these are.

    `members` are as of `held_out_classes`; labels come in the order of their first members.
    """
    by_label: dict[str, list[str]] = defaultdict(list)
    for split_class, label in members:
        by_label[label].append(split_class)
    return {
        label: (
            len(classes),
            sum(each in held_out for each in classes),
            len(set(classes)),
            len(held_out.intersection(classes)),
        )
        for label, classes in by_label.items()
    }


def _rank(split_class: str) -> bytes:
    """Where a class stands in the queue; names that look alike are far apart."""
    return hashlib.blake2b(split_class.encode(), digest_size=8).digest()
