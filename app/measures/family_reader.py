"""Tells a program's family from its numbers, as far as they tell it: trained anew on programs of known family.

Likeness, not function: it knows how programs of a family usually look, and nothing of what they compute.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.errors import PackageMissing

_TREES = 200


class FamilyReader:
    """A forest of random trees over rows of numbers.

    Reference:
        [geurts2006extremely] §2.
    """

    def __init__(self, rows: NDArray[np.float64], families: Sequence[str]) -> None:
        """Trained on rows [program, number] of these families, each family weighing the same.

        Raises:
            PackageMissing: scikit-learn is not installed.
        """
        try:
            from sklearn.ensemble import ExtraTreesClassifier
        except ImportError as missing:
            raise PackageMissing("scikit-learn", "telling families of programs", "evaluate") from missing
        forest = ExtraTreesClassifier(_TREES, min_samples_leaf=2, class_weight="balanced", random_state=0)
        self._forest = forest.fit(rows, list(families))

    def families(self, rows: NDArray[np.float64]) -> list[str]:
        """The likeliest family of each row."""
        return [str(name) for name in self._forest.predict(rows)] if len(rows) else []

    def probabilities(self, rows: NDArray[np.float64], families: Sequence[str]) -> NDArray[np.float64]:
        """How likely each row is of the family beside it; 0 for a family that it was not trained on."""
        known = {str(name): column for column, name in enumerate(self._forest.classes_)}
        told = self._forest.predict_proba(rows) if len(rows) else np.zeros((0, 1))
        return np.array([told[n, known[name]] if name in known else 0.0 for n, name in enumerate(families)])
