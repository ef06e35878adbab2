"""What the card of a neural simulator says, in Markdown. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.evaluation.simulator_report import QUESTIONS
from app.evaluation.simulator_tables import (
    SIMULATOR_INTERVALS,
    known_table,
    metrics_table,
    models_table,
    speed_table,
    summaries_table,
)
from app.evaluation.tables import aims_table
from app.neural_simulator.scales import CLOSE, CLOSE_SHARE

#: Way of a set -> what its line is called.
WAYS: Mapping[str, str] = {
    "estimated": "network with the table simulator's estimates",
    "plain": "network alone",
    "table": "table simulator alone, of what it tells",
    "told": "network with estimates, of the same",
}

#: Baseline, or way of ours -> its column.
MODELS: Mapping[str, str] = {
    "estimated": "ours, with estimates",
    "plain": "ours, network alone",
    "mlp": "perceptron",
    "boosting": "gradient boosting",
    "insight": "INSIGHT's",
    "nearest": "nearest neighbour",
}

#: Table of the baselines -> what it is of.
TABLES: Mapping[str, str] = {
    "all": "all rows of the circuit that our model learnt from",
    "few": "200 of these at most",
    "new": "rows of a circuit that our model has not learnt from, which it was adapted to with the same rows",
}


def simulator_lines(config: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """The whole card, from the model's configuration and the report of `evaluate_simulator`."""
    return [
        *_training(config),
        "## What its predictions are worth",
        "",
        f"Command: `{simulator_command(report)}`. {SIMULATOR_INTERVALS}",
        "",
        _implausible(config, report["simulations"]),
        "",
        "### Aims",
        "",
        *aims_table(report["aims"]),
        "",
        *_NOTES,
        *(line for question in QUESTIONS if question in report["sets"] for line in _set(question, report)),
        *_baselines(report["baselines"]),
        *_speed(report["speed"]),
        f"This evaluation took {sum(report['cpu_s'].values()) / 60:.0f} minutes of processor time.",
        "",
        "## Limits",
        "",
        _LIMITS,
        "",
    ]


def _implausible(config: Mapping[str, Any], simulations: Mapping[str, Any]) -> str:
    """What was dropped, and why."""
    dropped, lost = simulations["implausible"], sum(simulations["implausible"].values())
    where = f" ({', '.join(f'{name} {count:,}' for name, count in dropped.items())})" if dropped else ""
    learnt = "learnt from or " if config["training"].get("implausible") is not None else ""
    also = "" if learnt else ", though this model, which is older than that rule, has learnt from them"
    return (
        f"Dropped: {lost:,} of {simulations['values']:,} values{where} are such as no circuit can have, a ratio beyond "
        "200 dB, a node outside of the rails, noise of less than a resistor of an ohm or of more than a volt in a "
        "hertz, a microfarad at an input, or were read from a run that gave one of these. They are not "
        f"{learnt}judged{also}."
    )


def simulator_command(report: Mapping[str, Any]) -> str:
    """The command that makes such a report again; FILE stands for the prepared simulations."""
    plan, simulations = report["plan"], report["simulations"]
    words = ["josephson evaluate simulator"]
    words += ["--prepared FILE"] if simulations["file"] else []
    words += [f"--technology {name}" for name in simulations["own"]["technologies"]]
    words.append(f"--adapt {','.join(map(str, plan['adapt']))}")
    words += [f"--rows-per-group {plan['rows_per_group']}"] if plan["rows_per_group"] else []
    words.append(f"--baselines {','.join(plan['baselines']) or 'none'}")
    words += [f"--baseline-groups {plan['baseline_groups']} --seed {plan['seed']} --write-card"]
    return " ".join(words)


def _training(config: Mapping[str, Any]) -> list[str]:
    training, network = config["training"], config["network"]
    rows, split = training["rows"], training["split"]
    left_out = f"Technology left out: {split['left_out']}. " if split["left_out"] else ""
    return [
        f"# {config['name']}",
        "",
        "A network that tells the metrics of a sized analog circuit on a testbench without simulating it: "
        f"{config['parameters']:,} parameters ({network['element_layers']} layers over elements, "
        f"{network['metric_layers']} over metrics, width {network['width']}), stored in bfloat16. It is shown the "
        "circuit, its sizes, what its transistors do by the technology's own look-up tables, the conditions and, "
        "unless it is to do without, what the table simulator estimates.",
        "",
        "## Training",
        "",
        f"- Data: {rows['all']:,} simulated rows, {rows['with_estimates']:,} of them with estimates; "
        f"{rows['training']:,} learnt from, {rows['calibration']:,} of the same circuits and "
        f"{rows['calibration_of_new_circuits']:,} of other circuits set the intervals. {left_out}Test: "
        f"{100 * split['sizings']['test']:g} % of the sizings of every circuit learnt from, and all rows of "
        f"{len(split['topologies']['test'])} topologies.",
        f"- Command: `{training['command']}` (seed {training['recipe']['seed']}; the whole recipe is in config.json).",
        f"- Cost: {training['rows_seen']:,} rows seen, {training['seconds'] / 60:.0f} minutes of wall time.",
        "",
    ]


def _set(question: str, report: Mapping[str, Any]) -> Iterator[str]:
    """The section of one question."""
    found = report["sets"][question]
    yield from (f"### {QUESTIONS[question].capitalize()}", "", _words(question, found, report), "")
    yield from summaries_table({words: found[way]["summary"] for way, words in WAYS.items()})
    if "adapted" in found:
        kept = found["kept_for_adaptation"]
        yield ""
        yield (
            "Adapted to each circuit with so many of its rows, with estimates, and judged by others "
            f"({kept['least']} to {kept['most']} were kept of a circuit, half of its rows at most):"
        )
        yield ""
        yield from summaries_table({count: each["summary"] for count, each in found["adapted"].items()}, "rows")
    yield ""
    yield "The costlier half of each testbench's metrics, with the true values of the cheaper half or without:"
    yield ""
    yield from known_table(found["known"])
    ways = {words: found[way]["metrics"] for way, words in WAYS.items()}
    adapted = {count: each["metrics"] for count, each in found.get("adapted", {}).items() if count != "0"}
    ways |= {f"adapted, {count} rows": metrics for count, metrics in adapted.items()}
    yield from ("", "R2 of every metric:", "", *models_table(ways), "")
    yield from ("Everything else, with estimates:", "", *metrics_table(found["estimated"]["metrics"]), "")
    yield from ("And by the network alone:", "", *metrics_table(found["plain"]["metrics"]), "")


def _words(question: str, found: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """What the rows of a question are."""
    counts = (
        f"{found['rows']:,} rows, {found['with_estimates']:,} of them with estimates, in {found['groups']} groups: "
        f"{found['topologies']} topologies on {len(found['testbenches'])} testbenches in "
        f"{', '.join(found['technologies'])}."
    )
    own = report["simulations"]["own"]
    learnt = "which the model has learnt from" if own["learnt_from"] else "which the model has not learnt from"
    return {
        "sizings": f"Sizings of circuits that the model has learnt from, which it has not: {counts}",
        "topologies": f"Circuits of which it has learnt from no row, in technologies that it knows: {counts}",
        "technology": f"A technology that was left out of training, circuits that it knows: {counts}",
        "simulated": f"Simulated for this evaluation in a technology {learnt}, circuits that it knows: {counts}",
    }[question]


def _baselines(baselines: Mapping[str, Any] | None) -> Iterator[str]:
    if baselines is None:
        return
    yield from ("### Beside models of one circuit each", "")
    yield (
        "Trained on the rows of one circuit on one testbench in one technology and judged by other rows of it, the "
        "same for all; circuits are a fixed choice spread over testbenches and technologies."
    )
    for name, reason in baselines["left_out"].items():
        yield from ("", f"Without {MODELS[name]}: {reason}")
    for table, found in baselines["tables"].items():
        learnt = found["learnt_rows"]
        named = {MODELS.get(name, "ours, adapted"): each for name, each in found["models"].items()}
        yield from ("", f"#### Learnt from {TABLES[table]}", "")
        yield (
            f"{found['groups']} circuits, {found['rows']:,} rows judged; learnt from {learnt['least']} to "
            f"{learnt['most']} rows each, median {learnt['median']:g}."
        )
        yield from ("", *summaries_table({name: each["summary"] for name, each in named.items()}), "")
        spent = (
            f"{MODELS[name]} {each['train_s']:g} s and {each['predict_us']:g} us"
            for name, each in found["seconds"].items()
        )
        yield f"Processor time to train on one circuit and to predict one design: {', '.join(spent)}."
        yield from ("", *models_table({name: each["metrics"] for name, each in named.items()}))
    yield ""


def _speed(speed: Mapping[str, Any]) -> Iterator[str]:
    mean = speed["mean"]
    beside = "ngspice in the same run" if mean["beside"] == "ngspice_us" else "ngspice as it was timed for the rows"
    yield from ("### Time", "")
    yield (
        "Microseconds of processor time a design, from sizes to values with intervals, on one thread: a circuit of "
        f"every testbench. The table simulator was timed on batches of {speed['table_batch']} at most."
    )
    yield from ("", *speed_table(speed), "")
    ratios = mean["ratios"]
    for name, words in (("network", "The network alone"), ("with_table", "With the table simulator it")):
        if ratios[name] is not None:
            yield f"{words} is {ratios[name]:g} times as fast as {beside} (batch of 4096, all circuits together)."
    yield ""


_NOTES = (
    "How to read it:",
    "",
    "- R2 is in the units in which a metric is learnt (logarithms of what runs over decades), around the mean of each "
    "circuit: 0 is a model that knows every circuit's mean and nothing of its sizes.",
    "- Estimates come from a simulator of our own that solves the circuit with tables of the technology's transistors. "
    "It costs time, can do linear analyses only, and is told here by itself as well: what the network adds is the "
    "difference to it.",
    "- R2 is far below 0 for a metric that sizing hardly moves, however near it is told (the offset of a comparator, "
    "the time that a mirror takes to start), and the mean over metrics with it. Read the median beside it, the pooled "
    "R2, which is around one mean of all circuits (where there are several), and `close`, the share of rows that are "
    f"told well enough: levels within {', '.join(f'{most:g} {unit}' for unit, most in CLOSE.items() if unit != '1')} "
    f"or 0.01, what runs over decades within {100 * CLOSE_SHARE:g} % of the value, or the smallest difference that "
    "matters where that is more.",
    "- The relative error is over the value, or the smallest difference that matters where the value is smaller.",
    "- Coverage is the share of true values in intervals of 90 %. For a new circuit or technology intervals are wider, "
    "by what circuits needed that were kept from training to tell; that is no promise, there are few of them.",
    "",
)

_LIMITS = (
    "A prediction, not a simulation: simulate what you decide on. Circuits and technologies unlike those learnt from "
    "are answered with the flag `out_of_distribution`, and may be far off, as the tables on unseen topologies and "
    "technologies say. Metrics of a testbench that the model has not learnt are not told at all."
)
