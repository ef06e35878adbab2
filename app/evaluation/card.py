"""The model card: what a model was trained on, what was measured, what that means and what it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.evaluation.quantum_card import quantum_lines
from app.evaluation.report import types_without_testbench
from app.evaluation.simulator_card import simulator_lines
from app.evaluation.simulator_report import in_short
from app.evaluation.tables import INTERVALS, aims_table, cell, counts, percent, sampling, seeds_table, table
from app.inference.checkpoint import seal
from app.validators._tools import SIMULATION_CPU_S

#: Set -> its column in tables of analog models.
SETS: Mapping[str, str] = {
    "data": "types as in the data",
    "uniform": "types uniformly",
    "unconstrained": "without grammar",
    "real": "real, held out",
    "real_uniform": "real, types alike",
    "wired_5": "5 % of pins rewired",
    "wired_20": "20 %",
    "wired_100": "random wiring",
}

#: Measure -> what its line says, in the order of the table.
MEASURES: Mapping[str, str] = {
    "parses": "ends by itself and is a circuit",
    "legal": "no electrical rule broken",
    "distinct": "distinct among the samples of its seed",
    "not_in_training": "not isomorphic to a training circuit",
    "similarity": "similarity to the nearest training circuit (10 %, median, 90 %)",
    "similarity_below_0_95": "that similarity below 0.95",
    "novel": "novel: not isomorphic and below 0.95",
    "converges": "ngspice finds an operating point",
    "conducting": "share of transistors that conduct, after the bias search",
    "saturated": "share of MOS that are saturated, after the bias search",
    "conducting_where_solved": "conducting, of circuits that got so far",
    "saturated_where_solved": "saturated, of circuits that got so far",
    "functional": "works on a testbench of its type",
    "type_accuracy": "classified as the type asked for",
    "type_accuracy_by_wiring": "the same, not told what ports are called",
    "masked_nats": "nats that the grammar took away, median",
    "mask_below_1_nat": "less than 1 nat taken away",
    "devices": "devices, median",
}


def write_card(folder: Path, report: Mapping[str, Any]) -> None:
    """The model folder says what was measured: card.json for programs, card.md for people; the manifest is renewed."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    told = in_short(report) if config["kind"] == "simulator" else report
    (folder / "card.json").write_text(json.dumps({"evaluation": told}, indent=1) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(card_text(config, report), encoding="utf-8")
    seal(folder)


def card_text(config: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """The card in Markdown, from the model's configuration and the report of its evaluation."""
    if config["kind"] == "simulator":
        return "\n".join(simulator_lines(config, report))
    measured = {"analog": _analog, "quantum": quantum_lines}[config["kind"]](report)
    return "\n".join([*_training(config), *measured, "", "## Limits", "", _LIMITS[config["kind"]], ""])


def _training(config: Mapping[str, Any]) -> list[str]:
    training, decoder = config["training"], config["decoder"]
    return [
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
        f"- Command: `{training['command']}` (seed {training['recipe']['seed']}; the whole recipe is in config.json).",
        *beginning_lines(training.get("from")),
        f"- Cost: {training['tokens_seen']:,} tokens, {training['seconds'] / 60:.0f} minutes of wall time.",
        f"- Held-out loss: {training['held_out_nats_per_token']} nats a token, "
        f"{training['held_out_bits_per_unit']} bits a {training['unit']}.",
        "",
        *reward_lines(training.get("reward")),
        "## What its samples are worth",
        "",
    ]


def beginning_lines(begun: Mapping[str, Any] | None) -> list[str]:
    """What the model goes on from, and what that went on from."""
    if begun is None:
        return []
    told = (
        f"- Goes on from the model `{begun['model']}` with the weights {begun['weights'][:12]} (`{begun['command']}`, "
        f"{begun['tokens_seen']:,} tokens), for which {begun['new_tokens']} tokens of the vocabulary were new."
    )
    return [told, *beginning_lines(begun["from"])]


#: By kind of recipe: label of the card's table -> figure of a round, of what was learnt by reward.
_ROUND_FIGURES = {
    "analog-reward": {
        "reward": "reward", "conducting": "conducting_share", "saturated": "saturated_share", "works": "works",
        "type as asked for": "right_type", "legal without the grammar": "legal_bare", "copies": "copies",
        "duplicates": "duplicates",
    },
    "quantum-reward": {
        "reward": "reward", "passes the oracle": "passes", "family as asked for": "right_family",
        "likeness": "likeness", "a program without the grammar": "legal_bare", "copies": "copies",
        "duplicates": "duplicates",
    },
}  # fmt: skip


def reward_lines(learnt: Mapping[str, Any] | None) -> list[str]:
    """What expert iteration changed, round by round, the earlier runs of it first; nothing where there was none."""
    if learnt is None:
        return []
    recipe, rounds = learnt["recipe"], learnt["rounds"]
    is_ladder = recipe["kind"] == "analog-reward"
    columns = _ROUND_FIGURES[recipe["kind"]]
    rows = [
        (
            "before" if outcome["number"] == 0 else f"after round {outcome['number']}",
            *(_share_in_percent(outcome["figures"][key]) for key in columns.values()),
            *([_held_out_works(outcome["figures"])] if is_ladder else []),
        )
        for outcome in rounds
    ]
    apart = [f"works, {recipe['hold_out']} (not rewarded)"] if is_ladder else []
    return [
        *reward_lines(learnt.get("earlier")),
        "## What it learnt from the simulator" if is_ladder else "## What it learnt from oracles",
        "",
        f"Expert iteration with {_REWARDED_BY[recipe['kind']]} as reward: `{learnt['command']}`, "
        f"{learnt['samples']:,} circuits "
        f"sampled at temperature {recipe['temperature']:g}, {learnt['winners']:,} of them winners. Held-out loss "
        f"{learnt['held_out_nats_before']:.3f} nats a token before, {learnt['held_out_nats_after']:.3f} after. Every "
        f"line is {recipe['samples']:,} fresh samples, in percent, nothing discarded: {_how_sampled(recipe)}",
        "",
        *table(("samples", *columns, *apart), rows),
        "",
    ]


_REWARDED_BY = {
    "analog-reward": "the ladder of checks",
    "quantum-reward": "the oracles of the families, the families' looks and the likeness to training programs",
}


def _held_out_works(figures: Mapping[str, Any]) -> str:
    return f"{figures['held_out_works']} of {figures['held_out_tried']}"


def _how_sampled(recipe: Mapping[str, Any]) -> str:
    if recipe["kind"] == "analog-reward":
        return (
            f"a type as often as its number of training circuits to the power of {recipe['type_exponent']:g}, a "
            "smaller bias search and sizing budget than below, the function tried only of circuits that conduct. The "
            f"testbench `{recipe['hold_out']}` was measured and not rewarded."
        )
    return (
        f"a family as often as its number of training programs to the power of {recipe['family_exponent']:g}, every "
        f"sample under the condition of a training program, oracles asked up to {recipe['oracle_qubits']} qubits. "
        "Likeness is one minus the probability, out of fold, that boosting on the round and on those training programs "
        "gives to its being a sample."
    )


def _analog(report: Mapping[str, Any]) -> list[str]:
    sets, seeds = report["sets"], report["seeds"]
    overall = {name: sets[name]["overall"] for name in SETS}
    rows = [(label, *(cell(part.get(key)) for part in overall.values())) for key, label in MEASURES.items()]
    rows.append(("circuits (function tried on)", *(_sizes(part) for part in overall.values())))
    return [
        f"{report['count']} samples for each of the seeds {', '.join(map(str, seeds))} and each set, "
        f"{sampling(report)}, every sample asked for by type, nothing discarded: a circuit that fails a check "
        f"counts as failing every later one, and transistors of a circuit without an operating point do not conduct. "
        f"{INTERVALS}",
        "",
        f"Command: `{analog_command(report)}`",
        "",
        "Beside the samples stand the **ceiling**, real circuits held out from training "
        f"({report['held_out']} from {report['corpus']}), and the **floor**, the same real circuits with all pins "
        "trading nets at random: as many devices, as many pins on every net, no design. Both went through the same "
        f"checks. Of the real circuits {percent(overall['real'].get('not_in_training'))} % are not isomorphic to any "
        "that this model was trained on.",
        "",
        *table(("measure", *SETS.values()), rows),
        "",
        *_NOTES,
        f"- Function was tried on a random subset, {report['function_count']} samples a seed and set: the default "
        "sizing budget on the testbenches of the type. A circuit that no testbench of its type can drive does not "
        f"work, nor does a sizing that takes over {SIMULATION_CPU_S:g} s of processor time. Types without a testbench "
        f"are left out: {', '.join(types_without_testbench())}.",
        f"- Speed: {_speed(report['speed'])}. This evaluation took {sum(report['cpu_s'].values()) / 60:.0f} minutes "
        "of processor time.",
        "",
        "### By type",
        "",
        "Types uniformly with the grammar: measured (interval) [real circuits of the type, random wiring of them]; `n` "
        "as samples / real circuits, for function those that were tried.",
        "",
        *_by_type(sets, ("legal", "distinct", "novel", "type_accuracy")),
        "",
        *_by_type(sets, ("converges", "conducting", "saturated", "functional")),
        "",
        "### Spread over seeds",
        "",
        "Types as in the data: mean of each seed, and the standard deviation over seeds.",
        "",
        *seeds_table(MEASURES, sets["data"]["overall"], seeds),
        "",
        "### Aims",
        "",
        *aims_table(report["aims"]),
        "",
        f"Most frequent findings with the grammar: {counts(overall['data']['findings'])}; "
        f"without: {counts(overall['unconstrained']['findings'])}; "
        f"of real circuits: {counts(overall['real']['findings'])}.",
    ]


def analog_command(report: Mapping[str, Any]) -> str:
    """The command that makes such a report again; DIR stands for the folder of the data."""
    source = "" if report["corpus"].endswith("data/archetypes") else " --source DIR"
    return (
        f"josephson evaluate analog --count {report['count']} --seeds {len(report['seeds'])}{source} "
        f"--function-count {report['function_count']} --model {report['model']} --write-card"
    )


def _by_type(sets: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    rows = []
    for kind, part in sets["uniform"]["types"].items():
        ceiling = sets["real"]["types"].get(kind, {})
        floor = sets["wired_100"]["types"].get(kind, {})
        row = [kind, f"{part['n']} / {ceiling.get('n', 0)}"]
        for key in measures:
            beside = f"[{percent(ceiling.get(key))}, {percent(floor.get(key))}]"
            tried = f" n {_n(part.get(key))} / {_n(ceiling.get(key))}" if key == "functional" else ""
            row.append(f"{cell(part.get(key))} {beside}{tried}")
        rows.append(row)
    return table(["type", "n", *(key.replace("_", " ") for key in measures)], rows)


def _speed(speed: Mapping[str, Any]) -> str:
    words = {"structure": "generated and checked structurally", "operating_point": "with the operating point as well"}
    parts = [
        f"{speed[rung]['per_cpu_s']:g} circuits a CPU second {word}" for rung, word in words.items() if rung in speed
    ]
    return ", ".join(parts) + " (this process and its workers, starting up left out)" if parts else "not measured"


def _sizes(part: Mapping[str, Any]) -> str:
    return f"{part['n']} ({_n(part.get('functional'))})"


def _n(value: Mapping[str, Any] | None) -> int:
    return 0 if value is None else int(value["n"])


def _share_in_percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


_NOTES = (
    "How to read it:",
    "",
    "- With the grammar a sample parses, ends, closes and drives every net: a property of the program, guaranteed by "
    "construction and no merit of the network. Of the electrical rules the grammar leaves some to be measured (pieces "
    "wired to no port, a coil across the supply). Without the grammar both lines are the network's own.",
    "- Distinct and novel say that circuits differ, not that they are any good: random wiring is novel too. Read them "
    "together with the lines below. The similarity of held-out real circuits to the training circuits shows how near "
    "real circuits are to each other.",
    "- That ngspice finds an operating point says next to nothing: it finds one for most random wiring that is legal. "
    "Conduction (of all transistors) and saturation (of the MOS) are shares after a bounded bias search, at default "
    "sizes; read them between floor and ceiling and not as absolutes.",
    "- The type is told by a classifier trained apart from the generator. What it gets right on real held-out circuits "
    "is the most that this line can show; it is likeness, not function.",
    "- Nats taken away are the log-mass of all that the grammar forbade on the way, a circuit: near 0 the network "
    "writes legal circuits by itself, a large number means that it was led by the hand.",
)

_LIMITS = {
    "analog": "A topology, not a design: sizes are the technology's defaults, or what a small budget of sizings found. "
    "The requested type is a condition the model was trained on. Function is the least that a testbench of the type "
    "asks for, in one technology at its nominal corner; not meeting it proves nothing about the topology. Circuits "
    "beyond 72 devices were not in the training data.",
    "quantum": "The family is a condition the model was trained on. Whether a program computes what its family name "
    "says is told for families with an oracle and for at most 10 qubits; ask for verified programs where it matters. "
    "Programs beyond the context were not in the training data. Angles off the common grid of pi carry an error of up "
    "to 1e-4 rad.",
}
