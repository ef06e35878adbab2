"""Records into shares with intervals: every set of circuits overall and by type, and which aims are met. Makes none.

Nothing is discarded: a circuit that got nowhere is in every denominator of its set, but for what does not apply to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.analog.kinds import CIRCUIT_TYPES
from app.evaluation.harness import Record
from app.evaluation.notes import Key
from app.evaluation.plan import GIVEN, AnalogPlan, sample_number
from app.statistics import deciles, median, share
from app.testbenches._function import testbenches_for

#: A circuit this similar to a training circuit, or more, does not count as novel.
COPY_SIMILARITY = 0.95

Value = Callable[[Record], float | None]

#: Measure -> what it is of one circuit; None where it does not apply to the circuit. Each is reported as a share.
SHARES: Mapping[str, Value] = {
    "parses": lambda record: record.parses,
    "legal": lambda record: record.is_legal,
    "not_in_training": lambda record: bool(record.is_novel),
    "similarity_below_0_95": lambda record: _is_unlike(record),
    "novel": lambda record: bool(record.is_novel) and _is_unlike(record),
    "converges": lambda record: record.converges,
    "conducting": lambda record: record.conducting,
    "saturated": lambda record: record.saturated,
    "conducting_where_solved": lambda record: record.conducting if record.has_point else None,
    "saturated_where_solved": lambda record: record.saturated if record.has_point else None,
    "functional": lambda record: record.works,
    "type_accuracy": lambda record: record.classified == record.type,
    "type_accuracy_by_wiring": lambda record: record.classified_by_wiring == record.type,
    "mask_below_1_nat": lambda record: None if record.masked_nats is None else record.masked_nats < 1.0,
}

#: Measure -> the number of which the median is told.
_NUMBERS: Mapping[str, Value] = {
    "masked_nats": lambda record: record.masked_nats,
    "devices": lambda record: record.devices,
}

#: Measures that need an index of the training circuits, and a reader of types.
_OF_NOVELTY = ("not_in_training", "similarity_below_0_95", "novel")
_OF_TYPES = ("type_accuracy", "type_accuracy_by_wiring")


def _is_unlike(record: Record) -> bool:
    return record.similarity is not None and record.similarity < COPY_SIMILARITY


def analog_report(plan: AnalogPlan, records: Mapping[Key, Record], speed: Mapping[str, Any]) -> dict[str, Any]:
    """``{proportions, held_out, sets, speed, aims}`` of the plan's records; the records of other plans do not count.

    `sets` maps ``data``, ``uniform``, ``unconstrained``, ``real``, ``real_uniform`` (the same circuits, all types
    weighing the same) and the rewired ones to ``{overall, types: {type: ...}}``; each part maps a measure to what
    `statistics.share`, `median` or `deciles` gives, or to counts.
    """
    known = [record for record in records.values() if record.seed in plan.seeds or record.side in GIVEN]
    has = {
        "novelty": any(record.similarity is not None for record in known),
        "types": any(record.classified is not None for record in known),
    }
    left_out = {*(() if has["novelty"] else _OF_NOVELTY), *(() if has["types"] else _OF_TYPES)}
    sets: dict[str, Any] = {}
    for name, members in _sets(plan, known).items():
        own = {kind: [record for record in members if record.type == kind] for kind in CIRCUIT_TYPES}
        sets[name] = {
            "overall": _measures(members, left_out),
            "types": {kind: _measures(some, left_out) for kind, some in own.items() if some},
        }
        if name == "real":
            sets["real_uniform"] = {"overall": _measures(members, left_out, weighs_types=True)}
    return {
        "proportions": dict(plan.proportions),
        "held_out": len(plan.held_out),
        "sets": sets,
        "speed": dict(speed),
        "aims": _aims(sets, speed),
    }


def _sets(plan: AnalogPlan, records: Sequence[Record]) -> dict[str, list[Record]]:
    """The circuits of each set. A function that was tried for another set's sake is not of this one."""
    sets: dict[str, list[Record]] = {}
    for name in ("data", "uniform"):
        wanted, tried = plan.samples[name], plan.tried[name]
        sets[name] = [
            _without_function(record) if sample_number(record.index) >= tried[record.type] else record
            for record in records
            if record.side == "constrained" and sample_number(record.index) < wanted[record.type]
        ]
    data = plan.samples["data"]
    sets["unconstrained"] = [
        record
        for record in records
        if record.side == "unconstrained" and sample_number(record.index) < data[record.type]
    ]
    for side in GIVEN:
        sets[side] = [record for record in records if record.side == side]
    return sets


def _without_function(record: Record) -> Record:
    return record if record.works is None else replace(record, works=None)


def _measures(records: Sequence[Record], left_out: set[str], *, weighs_types: bool = False) -> dict[str, Any]:
    """Every measure of these circuits; None where it applies to none of them."""
    measures: dict[str, Any] = {"n": len(records)}
    for name, value in SHARES.items():
        if name not in left_out:
            pairs = [(record, value(record)) for record in records]
            measures[name] = _share([(record, found) for record, found in pairs if found is not None], weighs_types)
    measures["distinct"] = _share(list(_firsts(records)), weighs_types)
    likest = [record for record in records if record.similarity is not None]
    measures["similarity"] = deciles([record.similarity or 0.0 for record in likest], _weights(likest, weighs_types))
    for name, number in _NUMBERS.items():
        found = [(record, told) for record in records if (told := number(record)) is not None]
        weights = _weights([record for record, _ in found], weighs_types)
        measures[name] = median([told for _, told in found], weights)
    if not weighs_types:
        measures["problems"] = sum(record.problem is not None for record in records)
        measures["findings"] = dict(Counter(code for record in records for code in record.codes).most_common(12))
        if "type_accuracy" not in left_out:
            read = Counter(record.classified or "no circuit" for record in records)
            measures["classified"] = dict(read.most_common())
    return measures


def _share(pairs: Sequence[tuple[Record, float]], weighs_types: bool) -> dict[str, Any] | None:
    records = [record for record, _ in pairs]
    return share([value for _, value in pairs], [record.seed for record in records], _weights(records, weighs_types))


def _weights(records: Sequence[Record], weighs_types: bool) -> list[float] | None:
    """What makes all types of these circuits weigh the same."""
    if not weighs_types:
        return None
    number = Counter(record.type for record in records)
    return [len(records) / len(number) / number[record.type] for record in records]


def _firsts(records: Sequence[Record]) -> list[tuple[Record, float]]:
    """For each circuit whether it is the first of its kind (up to isomorphism) among those of its seed."""
    seen: set[tuple[int, str]] = set()
    pairs = []
    for record in sorted(records, key=lambda record: (record.seed, record.index)):
        mark = (record.seed, record.identity or "")
        pairs.append((record, float(record.identity is not None and mark not in seen)))
        seen.add(mark)
    return pairs


def _aims(sets: Mapping[str, Any], speed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each aim with what was measured: ``{aim, measured, low, high, target, is_reached}``.

    An aim is reached when the figure itself is at least (of `masked_nats`: below) the target, whatever its interval.
    """
    aims = [
        _aim("legal with the grammar, types as in the data", _figure(sets, "data", "legal"), 1.0),
        _aim("legal with the grammar, types uniformly", _figure(sets, "uniform", "legal"), 1.0),
        _aim("legal without the grammar", _figure(sets, "unconstrained", "legal"), 0.95),
    ]
    for name, words in (("data", "types as in the data"), ("uniform", "types uniformly")):
        real = _figure(sets, "real" if name == "data" else "real_uniform", "conducting")
        aims += [
            _aim(f"distinct, {words}", _figure(sets, name, "distinct"), 0.98),
            _aim(f"novel, {words}", _figure(sets, name, "novel"), 0.95),
            _aim(
                f"conducting share within 10 % of the real circuits', {words}",
                _figure(sets, name, "conducting"),
                None if real is None else round(0.9 * real["share"], 4),
            ),
            _aim(f"type as asked for, {words}", _figure(sets, name, "type_accuracy"), 0.9),
        ]
    real = _figure(sets, "real", "functional", "opamp")
    target = None if real is None else real["share"]
    aims.append(_aim("op-amps that work, against real ones", _figure(sets, "data", "functional", "opamp"), target))
    nats = _figure(sets, "data", "masked_nats")
    aims.append(
        {"aim": "nats a circuit that the grammar takes away, median"}
        | {
            "measured": nats and nats["median"],
            "low": nats and nats["low"],
            "high": nats and nats["high"],
            "target": 1.0,
        }
        | {"is_reached": None if nats is None else nats["median"] < 1.0}
    )
    for rung, target in (("structure", 20.0), ("operating_point", 4.0)):
        rate = speed.get(rung, {}).get("per_cpu_s")
        aims.append(
            {"aim": f"circuits a CPU second, checked up to {rung}", "measured": rate, "low": None, "high": None}
            | {"target": target, "is_reached": None if rate is None else rate >= target}
        )
    return aims


def _figure(sets: Mapping[str, Any], name: str, measure: str, kind: str | None = None) -> dict[str, Any] | None:
    part = sets[name]["overall"] if kind is None else sets[name]["types"].get(kind, {})
    found: dict[str, Any] | None = part.get(measure)
    return found


def _aim(words: str, figure: Mapping[str, Any] | None, target: float | None) -> dict[str, Any]:
    measured = None if figure is None else figure["share"]
    is_reached = None if measured is None or target is None else bool(measured >= target)
    return {
        "aim": words, "measured": measured, "low": figure and figure["low"], "high": figure and figure["high"],
        "target": target, "is_reached": is_reached,
    }  # fmt: skip


def types_without_testbench() -> tuple[str, ...]:
    """The circuit types whose function nothing can try."""
    return tuple(name for name in CIRCUIT_TYPES if not testbenches_for(name))
