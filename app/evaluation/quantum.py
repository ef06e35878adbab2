"""What share of a model's OpenQASM programs passes what check, with and without the grammar.

Nothing is discarded: every sample is in every denominator.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from app.evaluation.statistics import share
from app.quantum.qasm import parse_qasm2
from app.quantum.skeleton import skeleton_hash
from app.requests import QuantumGenerateRequest
from app.workshop import Row, Workshop

#: Rows made so far, rows to make.
Report = Callable[[int, int], None]

_KIND = "quantum.generate"
_CHUNK = 256
_REFUSED = frozenset({"not_loadable", "not_readable"})


async def evaluate_quantum(
    workshop: Workshop, *, count: int, seeds: Sequence[int], model: str | None = None, temperature: float = 0.9,
    report: Report | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The evaluation of a quantum model: for each seed `count` programs with and `count` without the grammar, of any
    family.

    ``{kind, model, count, seeds, temperature, seconds, with_grammar: {...}, without_grammar: {...}}``; each side maps a
    measure to what `statistics.share` gives or to a number.
    """
    began = time.monotonic()
    sides: dict[str, list[Row]] = {"with_grammar": [], "without_grammar": []}
    total, name = 2 * count * len(seeds), model
    for side, rows in sides.items():
        for seed in seeds:
            request = QuantumGenerateRequest(
                count=count, seed=seed, model=model, temperature=temperature, grammar=side == "with_grammar"
            )
            prepared = workshop.prepare(_KIND, request)
            name = prepared.made_by
            for first in range(0, count, _CHUNK):
                indices = range(first, min(first + _CHUNK, count))
                async for row in workshop.produce(_KIND, prepared, indices, in_background=True):
                    rows.append(row)
                    if report:
                        report(sum(map(len, sides.values())), total)
    return {
        "kind": "quantum", "model": name, "count": count, "seeds": list(seeds), "temperature": temperature,
        "seconds": round(time.monotonic() - began, 1), **{side: _measures(rows) for side, rows in sides.items()},
    }  # fmt: skip


def _measures(rows: Sequence[Row]) -> dict[str, Any]:
    programs = [row for row in rows if "program" in row]
    identities = [skeleton_hash(parse_qasm2(row["program"])) for row in programs]
    similarities = [row["novelty"]["nearest_similarity"] for row in rows if "novelty" in row]
    count = max(1, len(rows))
    return {
        "error_rows": sum(row["status"] == "error" for row in rows),
        "is_sentence": _share(rows, lambda row: "program" in row),
        "all_checks": _share(rows, lambda row: row["status"] == "ok"),
        "loads_bare": _share(rows, lambda row: _is_loaded(row) and not _REFUSED & _codes(row)),
        "loads_strict": _share(rows, lambda row: _is_loaded(row) and not (_REFUSED | {"not_strict"}) & _codes(row)),
        "distinct_share": round(len(set(identities)) / count, 4),
        "not_in_training_share": _share(rows, lambda row: row.get("novelty", {}).get("is_novel", False)),
        "similarity_below_0_95_share": round(sum(value < 0.95 for value in similarities) / count, 4),
        "median_nearest_similarity": round(statistics.median(similarities), 4) if similarities else None,
        "median_qubits": statistics.median(row["qubits"] for row in programs) if programs else None,
        "median_gates": statistics.median(row["gate_count"] for row in programs) if programs else None,
        "families": dict(Counter(row["family"] for row in programs).most_common(12)),
        "findings": dict(Counter(code for row in rows for code in _codes(row)).most_common(12)),
    }


def _share(rows: Sequence[Row], holds: Callable[[Row], bool]) -> dict[str, Any] | None:
    return share([holds(row) for row in rows], [row["seed"] for row in rows])


def _is_loaded(row: Row) -> bool:
    return "program" in row and row["status"] != "error"


def _codes(row: Row) -> set[str]:
    return {finding["code"] for finding in row["findings"]}
