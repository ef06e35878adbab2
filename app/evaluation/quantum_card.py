"""What the card of a quantum model says of its samples, in Markdown. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.evaluation.quantum_comparisons import FAMILY_MEMBERS
from app.evaluation.quantum_plan import ATTEMPTS, COUPLINGS, GATE_SET, ORACLE_QUBITS
from app.evaluation.tables import INTERVALS, aims_table, cell, counts, sampling, seeds_table, table
from app.measures.quantum_copies import NEAR

#: Side -> its column.
SIDES: Mapping[str, str] = {
    "generated": "with grammar",
    "bare": "without grammar",
    "restricted": "gate set and coupling",
    "deep": "depth asked for",
    "real": "real, unseen",
    "training": "training programs",
    "random": "Qiskit `random_circuit`",
    "line_chain": "chain of lines",
}

#: Measure -> what its line says, in the order of the table.
MEASURES: Mapping[str, str] = {
    "parses": "ends by itself and is a program",
    "v0": "V0: `qiskit.qasm2.loads` accepts it bare",
    "v1": "V1: `qasm2.loads` with Qiskit's legacy instructions",
    "v2": "V2: V1, finite angles, no idle qubit, a gate, runs in Aer (up to 20 qubits)",
    "kept": "qubits, size, gate set and coupling as asked for",
    "depth_kept": "depth in the bucket (factor of the square root of 2) of the real program with its condition",
    "depth_near": "depth within 20 % of that program's",
    "unique": "distinct skeletons in its seed",
    "copy": "copy: the skeleton of a training program",
    "strict_copy": "strict copy: angles as well, to 4 decimals",
    "near_copy": f"near copy: less than {100 * NEAR:g} % from a training program of its family and width",
    "similarity": "similarity to the nearest training program (10 %, median, 90 %)",
    "oracle": f"passes the oracle of its family (up to {ORACLE_QUBITS} qubits)",
    "masked_nats": "nats that the grammar took away, median",
    "qubits": "qubits, median",
    "statements": "statements, median",
    "depth": "depth, median",
    "problems": "could not be made or checked",
    "n": "programs",
}

_METRICS: Mapping[str, str] = {
    "path_length": "average shortest path", "adjacency_std": "deviation of the adjacency matrix",
    "diameter": "diameter", "betweenness": "largest betweenness", "degree": "mean degree",
    "cliques": "maximal cliques", "clustering": "clustering", "critical_path": "critical path",
    "path_mean": "longest paths, mean", "path_std": "longest paths, deviation",
    "critical_share": "gates on a critical path", "density": "density", "idling": "idling",
}  # fmt: skip

_COMPARED = ("generated", "halves", "training", "random", "line_chain")
_JUDGED = ("generated", "verified", "unlabelled", "real")


def quantum_lines(report: Mapping[str, Any]) -> list[str]:
    """The part of the card that says what its samples are worth, from the report of `evaluate_quantum`."""
    sets, seeds = report["sets"], report["seeds"]
    sides = [side for side in SIDES if side in sets]
    rows = [(label, *(cell(sets[side].get(key)) for side in sides)) for key, label in MEASURES.items()]
    return [
        f"{report['count']} samples for each of the seeds {', '.join(map(str, seeds))}, {sampling(report)}, every one "
        "under the condition (family, qubits, bucket of its number of statements) of one real program that the model "
        "has not seen, nothing discarded. "
        f"Of the {report['real']} real programs ({report['corpus']}) no skeleton is in the training set, none is "
        f"random by design and all fit the model's context. {INTERVALS}",
        "",
        f"Command: `{quantum_command(report)}`",
        "",
        *table(("measure", *(SIDES[side] for side in sides)), rows),
        "",
        *_NOTES,
        f"- With a gate set and a coupling map: `{','.join(GATE_SET)}` on {', '.join(COUPLINGS)} in turns.",
        f"- Speed: {_speed(report['speed'])}. This evaluation took {sum(report['cpu_s'].values()) / 60:.0f} minutes of "
        "processor time.",
        "",
        "### Told from real programs",
        "",
        "Area under the curve of a classifier that tells a set from the unseen real programs, five folds; 0.5 is "
        "chance. The line of the training programs is the floor: what real programs score against real ones. By "
        "numbers: histogram gradient boosting on the features of a program (shares of gates, habits of order, "
        "structure), three seeds. By statements: a small transformer that reads the whole program in order, samples "
        "of the first seed.",
        "",
        *_realism(report["realism"]),
        "",
        "### Structure",
        "",
        "Wasserstein-1 distance from the unseen real programs in their standard deviations (interval) [statistic of "
        "Kolmogorov and Smirnov]. Two random halves of the real programs are the floor.",
        "",
        *_structure(report["structure"]),
        "",
        "### Family",
        "",
        f"Share that passes the oracle of its family (n), of programs on at most {ORACLE_QUBITS} qubits: with the "
        f"grammar, the best of {ATTEMPTS} draws by the oracle, without being told the family, and real programs.",
        "",
        *_oracles(report),
        "",
        f"A forest of trees trained on the features of training programs takes for the family asked for: "
        f"{_families(report['families'])}. That is likeness, not function.",
        "",
        *_compilers(report["compilers"]),
        "### Spread over seeds",
        "",
        *seeds_table(MEASURES, sets.get("generated", {}), seeds),
        "",
        "### Aims",
        "",
        *aims_table(report["aims"]),
        "",
        f"Most frequent findings with the grammar: {_findings(sets, 'generated')}; without: {_findings(sets, 'bare')}.",
    ]


def quantum_command(report: Mapping[str, Any]) -> str:
    """The command that makes such a report again; FILE stands for the corpus, where one was read."""
    source = "" if "rebuilt" in report["corpus"] else " --source FILE"
    return (
        f"josephson evaluate quantum --count {report['count']} --seeds {len(report['seeds'])}{source} "
        f"--epochs {report['epochs']} --compiled {report['compiled']} --model {report['model']} --write-card"
    )


def _realism(realism: Mapping[str, Any] | None) -> list[str]:
    told = realism or {}
    rows = [
        (SIDES[side], _area(told[side].get("numbers")), _area(told[side].get("statements")))
        for side in SIDES
        if side in told
    ]
    by_family = told.get("generated", {}).get("families") or {}
    lines = table(("set", "by numbers", "by statements"), rows)
    if by_family:
        words = ", ".join(f"{family} {_area(figure)}" for family, figure in by_family.items())
        lines += ["", f"Families with at least {FAMILY_MEMBERS} real programs, by numbers, first seed: {words}."]
    return lines


def _area(figure: Mapping[str, Any] | None) -> str:
    return "-" if figure is None else f"{figure['auc']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _structure(structure: Mapping[str, Any] | None) -> list[str]:
    head = {"halves": "halves of the real", **SIDES}
    rows = [
        (words, *(_apart((structure or {}).get(metric, {}).get(side)) for side in _COMPARED))
        for metric, words in _METRICS.items()
    ]
    return table(("metric", *(head[side] for side in _COMPARED)), rows)


def _apart(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    ks = f"[{figure['ks']:.2f}]"
    if figure["distance"] is None:
        return f"- {ks}"
    return f"{figure['distance']:.2f} ({figure['low']:.2f} to {figure['high']:.2f}) {ks}"


def _oracles(report: Mapping[str, Any]) -> list[str]:
    rows = [(family, *(_tried(sides.get(side)) for side in _JUDGED)) for family, sides in report["oracles"].items()]
    overall = [_tried(report["sets"].get(side, {}).get("oracle")) for side in _JUDGED]
    return table(("family", "with grammar", f"best of {ATTEMPTS}", "not told the family", "real, unseen"),
                 [*rows, ("all", *overall)])  # fmt: skip


def _tried(figure: Mapping[str, Any] | None) -> str:
    return "-" if figure is None else f"{cell(figure)} n {figure['n']}"


def _families(families: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{SIDES[side]} {cell(figure)}" for side, figure in (families or {}).items()) or "not measured"


def _compilers(compilers: Mapping[str, Any] | None) -> list[str]:
    """The rankings of compilers; nothing where they were left out."""
    if compilers is None:
        return []
    sides = [side for side in SIDES if side in compilers]
    compiled = ", ".join(f"{compilers[side]['compiled']} of {SIDES[side]}" for side in sides)
    rows = []
    for device, overhead in compilers["real"]["overhead"].items():
        for name in overhead:
            means = (compilers[side]["overhead"][device][name] for side in sides)
            rows.append((f"{name} on {device}", *("-" if mean is None else f"{mean:.3f}" for mean in means)))
    halves = {side: compilers[side].get("tau", compilers[side].get("halves")) for side in sides}
    rows.append(("**tau against real** (real: between halves)", *(_tau(halves[side]) for side in sides)))
    return [
        "### Rankings of compilers",
        "",
        "Geometric mean over programs of two-qubit gates after compiling over those before, and Kendall's tau between "
        f"the rankings that follow, the mean over devices. Compiled: {compiled}.",
        "",
        *table(("compiler and device", *(SIDES[side] for side in sides)), rows),
        "",
    ]


def _tau(figure: Mapping[str, Any] | None) -> str:
    return "-" if figure is None else f"{figure['tau']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def _speed(speed: Mapping[str, Any] | None) -> str:
    parts = [
        f"{told['cpu_s'] * 1000:.0f} ms of processor time a program of {told['tokens']} tokens ({words}) in a batch of "
        f"{told['circuits']}, {told['per_s']:g} programs a second"
        for name, words in (("median", "median"), ("p95", "95th percentile"))
        if (told := (speed or {}).get(name))
    ]
    return "; ".join(parts) or "not measured"


def _findings(sets: Mapping[str, Any], side: str) -> str:
    return counts(sets.get(side, {}).get("findings", {}))


_NOTES = (
    "How to read it:",
    "",
    "- With the grammar V0, V1, the qubits and the size are guaranteed by construction and no merit of the network. "
    "Without the grammar they are its own.",
    "- A set that looks real because it was memorised is worth nothing: read the lines of copies together with the "
    "areas below. Real programs are near to training programs, too; the share in their column is what nature has.",
    "- Qiskit's random circuits have the width and about the size of the same conditions. The chain of lines writes "
    "whole lines by which three lines came before, as a proxy of generators whose tokens are lines; it is none of "
    "them. Of either only what loads is compared below.",
)
