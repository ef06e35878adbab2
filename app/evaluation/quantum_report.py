"""Records and comparisons into shares with intervals, and which aims are met. Makes none.

Nothing is discarded: a sample that is no program is in every denominator of its set, but for what does not apply to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from app.evaluation.notes import Key
from app.evaluation.quantum_harness import ProgramRecord
from app.evaluation.quantum_plan import GIVEN, SAMPLED, QuantumPlan
from app.measures.quantum_copies import NEAR
from app.statistics import deciles, median, share

Value = Callable[[ProgramRecord], float | None]

#: A depth this far from that of the real program with the same condition, as a share of it, is near.
NEAR_DEPTH = 0.2

#: Measure -> what it is of one program; None where it does not apply to it. Each is reported as a share.
SHARES: Mapping[str, Value] = {
    "parses": lambda record: record.parses,
    "v0": lambda record: record.loads_bare,
    "v1": lambda record: record.loads,
    "v2": lambda record: record.is_sound,
    "kept": lambda record: record.is_kept,
    "depth_kept": lambda record: record.is_depth_kept,
    "depth_near": lambda record: None if record.depth_ratio is None else abs(record.depth_ratio - 1) <= NEAR_DEPTH,
    "copy": lambda record: record.is_copy,
    "strict_copy": lambda record: record.is_strict_copy,
    "near_copy": lambda record: None if record.distance is None else record.distance < NEAR,
    "oracle": lambda record: record.passes,
}

_NUMBERS: Mapping[str, Value] = {
    "masked_nats": lambda record: record.masked_nats,
    "draws": lambda record: record.draws,
    "qubits": lambda record: record.qubits if record.parses else None,
    "statements": lambda record: record.statements,
    "depth": lambda record: record.depth,
}


def quantum_report(plan: QuantumPlan, records: Mapping[Key, ProgramRecord], facts: Mapping[str, Any]) -> dict[str, Any]:
    """``{real, known, left_out, sets, oracles, realism, structure, families, compilers, speed, aims}``.

    `sets` maps each side to its measures: what `statistics.share`, `median` or `deciles` gives, or counts. `oracles`
    maps a family to its share by side. The others are what `facts` has under their names, None where it has nothing.
    """
    sides = members_of(plan, records)
    sets = {side: _measures(members) for side, members in sides.items() if members}
    report: dict[str, Any] = {
        "real": len(plan.real),
        "known": len(plan.programs.known),
        "left_out": dict(plan.programs.left_out),
        "sets": sets,
        "oracles": _by_family(sides),
        **{name: facts.get(name) for name in ("realism", "structure", "families", "compilers", "speed")},
    }
    return report | {"aims": _aims(report)}


def members_of(plan: QuantumPlan, records: Mapping[Key, ProgramRecord]) -> dict[str, list[ProgramRecord]]:
    """Side -> the records of the plan's items, by seed and place. Records of larger plans do not count."""
    sides: dict[str, list[ProgramRecord]] = {side: [] for side in (*SAMPLED, *GIVEN)}
    for (side, seed, index), record in sorted(records.items()):
        if index < plan.count and (seed in plan.seeds or side in GIVEN):
            sides[side].append(record)
    return sides


def _measures(records: Sequence[ProgramRecord]) -> dict[str, Any]:
    measures: dict[str, Any] = {"n": len(records)}
    for name, value in SHARES.items():
        pairs = [(record, found) for record in records if (found := value(record)) is not None]
        measures[name] = share([float(found) for _, found in pairs], [record.seed for record, _ in pairs])
    measures["unique"] = share(list(_firsts(records)), [record.seed for record in records])
    measures["similarity"] = deciles([r.similarity for r in records if r.similarity is not None])
    for name, number in _NUMBERS.items():
        measures[name] = median([told for record in records if (told := number(record)) is not None])
    measures["problems"] = sum(record.problem is not None for record in records)
    measures["findings"] = dict(Counter(code for record in records for code in record.codes).most_common(12))
    return measures


def _firsts(records: Iterable[ProgramRecord]) -> Iterable[float]:
    """For each program whether it is the first with its skeleton among those of its seed."""
    seen: set[tuple[int, str | None]] = set()
    for record in records:
        mark = (record.seed, record.identity)
        yield float(record.identity is not None and mark not in seen)
        seen.add(mark)


def _by_family(sides: Mapping[str, Sequence[ProgramRecord]]) -> dict[str, Any]:
    """Family -> side -> the share that passes its oracle, of programs that one was asked about."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for side, records in sides.items():
        for family in sorted({record.family for record in records if record.passes is not None}):
            own = [record for record in records if record.family == family and record.passes is not None]
            found[family][side] = share([float(bool(record.passes)) for record in own])
    return dict(sorted(found.items()))


def _aims(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each aim with what was measured: ``{aim, measured, low, high, target, is_reached}``.

    An aim is reached when the figure itself reaches the target, whatever its interval.
    """
    sets = report["sets"]
    realism = report["realism"] or {}
    compilers = report["compilers"] or {}
    speed = report["speed"] or {}
    real = _figure(sets, "real", "oracle")
    of_real = None if real is None else round(0.9 * real["share"], 4)
    tau, floor = (compilers.get(side, {}).get("tau") for side in ("generated", "random"))
    return [
        _at_least("V0: `qasm2.loads` bare, every sample with the grammar", _figure(sets, "generated", "v0"), 1.0),
        _at_least("V1 without the grammar", _figure(sets, "bare", "v1"), 0.95),
        _at_least("qubits and size as asked for", _figure(sets, "generated", "kept"), 1.0),
        _at_least("gate set and coupling map as asked for", _figure(sets, "restricted", "kept"), 1.0),
        _at_most("copies of training programs", _figure(sets, "generated", "copy"), 0.01),
        _at_most("near copies of training programs", _figure(sets, "generated", "near_copy"), 0.05),
        _at_most("distance of the C2ST AUC from 0.5, by numbers", _told(realism, "numbers"), 0.15, "distance"),
        _at_most("distance of the C2ST AUC from 0.5, by statements", _told(realism, "statements"), 0.15, "distance"),
        _at_least("passes its oracle, against 0.9 of the real share", _figure(sets, "generated", "oracle"), of_real),
        _at_least("passes its oracle, best of 8 (verify)", _figure(sets, "verified", "oracle"), 0.95),
        _at_least("Kendall tau of compiler rankings", tau, 0.9, "tau"),
        _at_least("that tau, against Qiskit's random circuits", tau, None if floor is None else floor["tau"], "tau"),
        _at_most("CPU seconds of a median circuit in a batch of 64", speed.get("median"), 0.1, "cpu_s"),
    ]


def _figure(sets: Mapping[str, Any], side: str, measure: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = sets.get(side, {}).get(measure)
    return found


def _told(realism: Mapping[str, Any], reader: str) -> dict[str, Any] | None:
    """How far the samples' area is from that of chance, on either side of it."""
    found: dict[str, Any] | None = realism.get("generated", {}).get(reader)
    if found is None:
        return None
    low, high = sorted(abs(found[end] - 0.5) for end in ("low", "high"))
    is_around = found["low"] <= 0.5 <= found["high"]
    told = {"distance": abs(found["auc"] - 0.5), "low": 0.0 if is_around else low, "high": high}
    return {name: round(value, 4) for name, value in told.items()}


def _at_least(words: str, figure: Mapping[str, Any] | None, target: float | None, key: str = "share") -> dict[str, Any]:
    aim = _aim(words, "at least", figure, target, key)
    if aim["measured"] is not None and target is not None:
        aim["is_reached"] = bool(aim["measured"] >= target)
    return aim


def _at_most(words: str, figure: Mapping[str, Any] | None, target: float, key: str = "share") -> dict[str, Any]:
    aim = _aim(words, "at most", figure, target, key)
    if aim["measured"] is not None:
        aim["is_reached"] = bool(aim["measured"] <= target)
    return aim


def _aim(words: str, relation: str, figure: Mapping[str, Any] | None, target: float | None, key: str) -> dict[str, Any]:
    told = figure or {}
    return {
        "aim": f"{words} ({relation})", "measured": told.get(key), "low": told.get("low"), "high": told.get("high"),
        "target": target, "is_reached": None,
    }  # fmt: skip
