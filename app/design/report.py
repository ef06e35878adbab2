"""What the rows of a design come to: the funnel, the circuits that pass in order of merit, and what all of it cost.

Aggregates of rows alone, so that a running job, a resumed one and a file of rows are told about alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.design.stages import REACHED, Reached
from app.specification_words import Objective
from app.workshop import Row

#: What circuits are compared by where there is no objective.
_COSTS = ("power_w", "area_m2")

#: Fields of a row that are left out where the candidate fell out: they are for who wants to run it again.
_OF_WINNERS = frozenset({"decks", "trace"})


def reached_by(row: Row) -> Reached:
    """What the candidate of a row, finished or not, has reached."""
    found: Reached = row.get("reached") or row.get("progress", {}).get("reached") or REACHED[0]
    return found


def funnel_of(rows: Iterable[Row]) -> dict[str, int]:
    """How many candidates have reached each stage; rows may be unfinished ones (`workshop.unfinished_row`).

    A candidate of which there are two rows, its unfinished one and its own, has come as far as the farther one says.
    """
    farthest: dict[int, int] = {}
    for row in rows:
        place = REACHED.index(reached_by(row))
        farthest[row["index"]] = max(place, farthest.get(row["index"], 0))
    counts = Counter(farthest.values())
    return {name: sum(counts[later] for later in range(place, len(REACHED))) for place, name in enumerate(REACHED)}


def ranked(rows: Iterable[Row], objective: Objective | None = None) -> list[Row]:
    """The rows that are ok, the best first, each with its `pareto_rank`, from 1.

    A circuit of rank 1 is not dominated: no other is at least as good in all of the objective (without one: power and
    area) and the least margin, and better in one. Metrics count at their worst corner.
    """
    passing = [row for row in rows if row["status"] == "ok"]
    points = [_merits(row, objective) for row in passing]
    ranks = _pareto_ranks(points)
    order = sorted(range(len(passing)), key=lambda place: (ranks[place], [-merit for merit in points[place]]))
    return [passing[place] | {"pareto_rank": ranks[place]} for place in order]


def design_document(rows: Iterable[Row], objective: Objective | None = None) -> dict[str, Any]:
    """``{funnel, results, fell_out, cost}`` of the finished rows of a design."""
    known = sorted(rows, key=lambda row: int(row["index"]))
    fallen = (row for row in known if row["status"] != "ok")
    return {
        "funnel": funnel_of(known),
        "results": ranked(known, objective),
        "fell_out": [{name: value for name, value in row.items() if name not in _OF_WINNERS} for row in fallen],
        "cost": cost_of(known),
    }


def cost_of(rows: Sequence[Row]) -> dict[str, float]:
    """Simulations, real and offline, operating points of the checks, processor and wall seconds."""
    return {
        "simulations": sum(row.get("simulations", 0) for row in rows),
        "offline_simulations": sum(row.get("offline_simulations", 0) for row in rows),
        "operating_points": sum(row.get("operating_points", 0) for row in rows),
        "simulator_cpu_s": round(sum(row.get("cpu_s", {}).get("simulator", 0.0) for row in rows), 3),
        "wall_s": max((row.get("elapsed_s", 0.0) for row in rows), default=0.0),
    }


def _merits(row: Row, objective: Objective | None) -> tuple[float, ...]:
    """What the row's circuit is compared by, each the greater the better; a metric without a value is the worst."""
    wanted = [(name, "minimize") for name in _COSTS] if objective is None else [(objective.metric, objective.goal)]
    merits = []
    for name, goal in wanted:
        values = [metrics.get(name) for metrics in row["metrics"].values()]
        is_known = bool(values) and all(value is not None for value in values)
        best = (min(values) if goal == "maximize" else -max(values)) if is_known else float("-inf")
        merits.append(best)
    return (*merits, row["least_margin"])


def _pareto_ranks(points: Sequence[tuple[float, ...]]) -> list[int]:
    """1 for points that no other dominates, 2 for those that only such dominate, and so on."""
    ranks = [0] * len(points)
    rank, left = 0, set(range(len(points)))
    while left:
        rank += 1
        front = {place for place in left if not any(_dominates(points[other], points[place]) for other in left)}
        for place in front:
            ranks[place] = rank
        left -= front
    return ranks


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def why_candidates_fell_out(rows: Iterable[Row]) -> Mapping[str, int]:
    """How many candidates fell out at each stage, the most frequent first; ``error`` for those that could not be
    dealt with.
    """  # fmt: skip
    stages = Counter(str(row.get("stage") or row["status"]) for row in rows if row["status"] != "ok")
    return dict(stages.most_common())
