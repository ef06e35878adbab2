"""What share of a model's circuits passes what check, with and without the grammar; and the model card that says so.

Nothing is discarded: every sample is in every denominator. Shares come with 95 % Wilson intervals.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.analog.canonical import canonical_hash
from app.analog.spice import parse_spice
from app.errors import InvalidRequest
from app.inference.checkpoint import seal
from app.quantum.qasm import parse_qasm2
from app.quantum.skeleton import skeleton_hash
from app.requests import JOB_REQUESTS
from app.workshop import Row, Workshop

#: Rows made so far, rows to make.
Report = Callable[[int, int], None]

_CHUNK = 256


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share.

    Reference:
        [wilson1927probable] Eq. (9).
    """
    if count == 0:
        return 0.0, 1.0
    z = 1.959964
    share = successes / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


async def evaluate(
    workshop: Workshop, kind: str, *, count: int, seeds: Sequence[int], model: str | None = None,
    temperature: float = 0.9, report: Report | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The evaluation of a model of `kind` ("analog", "quantum"): for each seed `count` circuits with and `count`
    without the grammar, nothing asked for but the kind.

    ``{kind, model, count, seeds, temperature, seconds, with_grammar: {...}, without_grammar: {...}}``; each side maps a
    measure to ``{share, low, high}`` or to a number.
    """
    if kind not in _MEASURES:
        raise InvalidRequest(f"no evaluation for kind {kind!r}; known: {', '.join(_MEASURES)}")
    began = time.monotonic()
    job_kind = f"{kind}.generate"
    sides: dict[str, list[Row]] = {"with_grammar": [], "without_grammar": []}
    total, name = 2 * count * len(seeds), model
    for side, rows in sides.items():
        for seed in seeds:
            fields = {"count": count, "seed": seed, "model": model, "temperature": temperature}
            request = JOB_REQUESTS[job_kind].model_validate({**fields, "grammar": side == "with_grammar"})
            prepared = workshop.prepare(job_kind, request)
            name = prepared.made_by
            for first in range(0, count, _CHUNK):
                indices = range(first, min(first + _CHUNK, count))
                async for row in workshop.produce(job_kind, prepared, indices, in_background=True):
                    rows.append(row)
                    if report:
                        report(sum(map(len, sides.values())), total)
    return {
        "kind": kind, "model": name, "count": count, "seeds": list(seeds), "temperature": temperature,
        "seconds": round(time.monotonic() - began, 1),
        **{side: _MEASURES[kind](rows) for side, rows in sides.items()},
    }  # fmt: skip


def _share(rows: Sequence[Row], holds: Callable[[Row], bool]) -> dict[str, float]:
    successes = sum(holds(row) for row in rows)
    low, high = wilson(successes, len(rows))
    return {"share": round(successes / max(1, len(rows)), 4), "low": round(low, 4), "high": round(high, 4)}


def _codes(row: Row) -> set[str]:
    return {finding["code"] for finding in row["findings"]}


def _common(rows: Sequence[Row], identities: Sequence[str]) -> dict[str, Any]:
    similarities = [row["novelty"]["nearest_similarity"] for row in rows if "novelty" in row]
    is_novel = [row for row in rows if "novelty" in row and row["novelty"]["is_novel"]]
    count = max(1, len(rows))
    return {
        "error_rows": sum(row["status"] == "error" for row in rows),
        "is_sentence": _share(
            rows, lambda row: not {"not_a_sentence", "unfinished"} & _codes(row) and row["status"] != "error"
        ),
        "all_checks": _share(rows, lambda row: row["status"] == "ok"),
        "distinct_share": round(len(set(identities)) / count, 4),
        "not_in_training_share": round(len(is_novel) / count, 4),
        "similarity_below_0_95_share": round(sum(s < 0.95 for s in similarities) / count, 4),
        "median_nearest_similarity": round(statistics.median(similarities), 4) if similarities else None,
        "findings": dict(Counter(code for row in rows for code in _codes(row)).most_common(12)),
    }


def _converges(row: Row) -> bool:
    return bool(row.get("operating_point", {}).get("converged"))


def _mean_at_operating_point(converged: Sequence[Row], key: str) -> float | None:
    """Over the circuits that have the figure; None where none has."""
    values = [row["operating_point"][key] for row in converged if row["operating_point"][key] is not None]
    return round(statistics.fmean(values), 4) if values else None


def _analog(rows: Sequence[Row]) -> dict[str, Any]:
    circuits = [row for row in rows if "netlist" in row]
    converged = [row for row in circuits if _converges(row)]
    identities = [canonical_hash(parse_spice(row["netlist"]).netlist) for row in circuits]
    return _common(rows, identities) | {
        "electrically_legal": _share(rows, lambda row: "operating_point" in row),
        "operating_point_converges": _share(rows, _converges),
        "mean_conducting_share": _mean_at_operating_point(converged, "conducting_share"),
        "mean_saturated_share": _mean_at_operating_point(converged, "saturated_share"),
        "median_devices": statistics.median(row["device_count"] for row in circuits) if circuits else None,
        "types": dict(Counter(row["type"] for row in circuits).most_common()),
        "types_converged": dict(Counter(row["type"] for row in converged).most_common()),
    }


def _quantum(rows: Sequence[Row]) -> dict[str, Any]:
    circuits = [row for row in rows if "program" in row]
    refused = {"not_loadable", "not_readable"}
    identities = [skeleton_hash(parse_qasm2(row["program"])) for row in circuits]
    return _common(rows, identities) | {
        "loads_bare": _share(
            rows, lambda row: "program" in row and not refused & _codes(row) and row["status"] != "error"
        ),
        "loads_strict": _share(
            rows,
            lambda row: "program" in row and not (refused | {"not_strict"}) & _codes(row) and row["status"] != "error",
        ),
        "median_qubits": statistics.median(row["qubits"] for row in circuits) if circuits else None,
        "median_gates": statistics.median(row["gate_count"] for row in circuits) if circuits else None,
        "families": dict(Counter(row["family"] for row in circuits).most_common(12)),
    }


_MEASURES: Mapping[str, Callable[[Sequence[Row]], dict[str, Any]]] = {"analog": _analog, "quantum": _quantum}

_LABELS = {
    "is_sentence": "ends by itself and decodes to a circuit",
    "electrically_legal": "no electrical rule broken",
    "operating_point_converges": "ngspice finds an operating point (which is not a claim of function)",
    "loads_bare": "`qiskit.qasm2.loads` accepts it bare",
    "loads_strict": "`qiskit.qasm2.loads(strict=True)` accepts it",
    "all_checks": "passes every check of this service",
    "distinct_share": "distinct among the samples",
    "not_in_training_share": "not identical to a training circuit",
    "similarity_below_0_95_share": "nearest-training similarity below 0.95",
    "median_nearest_similarity": "median similarity to the nearest training circuit",
    "mean_conducting_share": "mean share of transistors that conduct, where it converged",
    "mean_saturated_share": "mean share of MOS that are saturated, where it converged",
    "median_devices": "median devices",
    "median_qubits": "median qubits",
    "median_gates": "median gates",
    "error_rows": "rows that could not be checked",
}


def write_card(folder: Path, report: Mapping[str, Any]) -> None:
    """The model folder says what was measured: card.json for programs, card.md for people; the manifest is renewed."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "card.json").write_text(json.dumps({"evaluation": report}, indent=1) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(_card_text(config, report), encoding="utf-8")
    seal(folder)


def _card_text(config: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    training, decoder = config["training"], config["decoder"]
    lines = [
        f"# {config['name']}",
        "",
        f"A decoder-only transformer that writes {config['kind']} circuits in the language `{config['language']}`: "
        f"{config['parameters']:,} parameters ({decoder['layers']} layers, width {decoder['width']}), "
        "stored in bfloat16.",
        "",
        "## Training",
        "",
        f"- Data: {training['corpus']}; {training['training_circuits']:,} circuits trained on, "
        f"{training['held_out_circuits']:,} held out, split {training['split']}. Left out: "
        f"{', '.join(f'{count} {reason}' for reason, count in training['left_out'].items()) or 'none'}.",
        f"- Command: `{training['command']}` (seed {training['recipe']['seed']}, "
        f"recipe `data/recipes/{config['kind']}.toml`).",
        f"- Cost: {training['tokens_seen']:,} tokens, {training['seconds'] / 60:.0f} minutes of wall time "
        "on shared CPU cores.",
        f"- Held-out loss: {training['held_out_nats_per_token']} nats a token, "
        f"{training['held_out_bits_per_unit']} bits a {training['unit']}.",
        "",
        "## What its samples are worth",
        "",
        f"{report['count']} samples for each of the seeds {', '.join(map(str, report['seeds']))}, temperature "
        f"{report['temperature']}, nothing asked for, nothing discarded. With the grammar the structural lines are "
        "guarantees and not scores; the right column shows what the network alone has learnt, taken "
        "at whatever size it ended. Intervals are 95 % (Wilson).",
        "",
        f"Command: `josephson evaluate {config['kind']} --count {report['count']} "
        f"--seeds {len(report['seeds'])} --write-card`",
        "",
        "| measure | with grammar | without grammar |",
        "|---|---|---|",
    ]
    for key, label in _LABELS.items():
        if key in report["with_grammar"]:
            lines.append(
                f"| {label} | {_cell(report['with_grammar'][key])} | {_cell(report['without_grammar'][key])} |"
            )
    lines += [
        "",
        f"Most frequent findings with the grammar: {_counts(report['with_grammar']['findings'])}; "
        f"without: {_counts(report['without_grammar']['findings'])}.",
        "",
        "## Limits",
        "",
        _LIMITS[config["kind"]],
        "",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{100 * value['share']:.1f} % ({100 * value['low']:.1f} to {100 * value['high']:.1f})"
    return "-" if value is None else str(value)


def _counts(findings: Mapping[str, int]) -> str:
    return ", ".join(f"`{code}` {count}" for code, count in findings.items()) or "none"


_LIMITS = {
    "analog": "A topology, not a design: sizes are the technology's defaults and biases are guesses, so a converged "
    "operating point says little (randomly wired circuits converge as well) and the share of conducting transistors "
    "is a lower bound. The requested type is a condition the model was trained on, not a verified function. Circuits "
    "beyond 72 devices were not in the training data.",
    "quantum": "The family is a condition the model was trained on; that a program computes what its family name says "
    "is not checked here. Programs beyond 1,024 tokens were not in the training data. Angles off the common grid of pi "
    "carry an error of up to 1e-4 rad.",
}
