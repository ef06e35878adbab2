"""The card of an analog model: what was measured, in tables for people."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from app.evaluation.analog import evaluate_analog
from app.evaluation.card import write_card
from app.inference.checkpoint import load_checkpoint, verify
from app.testing import FakeWorkshop
from tests.test_evaluation_analog import harness_of, plan_of
from tests.tiny_models import save_tiny_model

COUNT = 5

TRAINING: dict[str, Any] = {
    "training_circuits": 10, "held_out_circuits": 2, "split": "by skeleton", "left_out": {"too long": 3},
    "command": "josephson train", "recipe": {"seed": 1}, "seconds": 60, "held_out_bits_per_unit": 9.0,
    "unit": "statement",
}  # fmt: skip


@pytest.fixture(scope="module")
def analog() -> dict[str, Any]:
    """The report on a stand-in, made once."""
    harness = harness_of()
    report = asyncio.run(evaluate_analog(FakeWorkshop(), harness, plan_of(COUNT), corpus="data/archetypes"))
    harness.close()
    return report


def card_of(folder: Path, kind: str, report: dict[str, Any]) -> str:
    """The card that is written into the folder of a tiny model of the kind."""
    written = save_tiny_model(folder, kind, name=f"tiny-{kind}", **TRAINING)
    write_card(written, report)
    verify(written)
    assert load_checkpoint(written).card["evaluation"] == json.loads(json.dumps(report))
    text = (written / "card.md").read_text(encoding="utf-8")
    assert text.startswith(f"# tiny-{kind}\n")
    assert "Left out: 3 too long." in text
    assert "`josephson train` (seed 1" in text
    assert "None" not in text
    assert "nan" not in text
    return text


def test_the_card_of_an_analog_model_has_samples_ceiling_and_floor_in_one_table(analog: dict[str, Any], tmp_path: Path):
    text = card_of(tmp_path, "analog", analog)
    tables = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    head = next(line for line in tables if line[0] == "| measure")
    assert {"types as in the data", "without grammar", "real, held out"} <= set(head)
    assert len(next(line for line in tables if line[0].startswith("| no electrical"))) == len(head) == 9
    assert "| ends by itself and is a circuit | 100.0 % (72.2 to 100.0) |" in text
    assert (
        f"`josephson evaluate analog --count {COUNT} --seeds 2 --function-count 15 --model fake --write-card`" in text
    )
    assert "| **missed** |" in text
    assert "guaranteed by construction" in text
    assert "### Spread over seeds" in text


def test_the_card_of_an_analog_model_has_a_line_for_every_type_that_was_sampled(analog: dict[str, Any], tmp_path: Path):
    text = card_of(tmp_path, "analog", analog)
    for kind, part in analog["sets"]["uniform"]["types"].items():
        assert text.count(f"\n| {kind} | {part['n']} / 1 |") == 2


def test_the_command_in_the_card_names_the_data(analog: dict[str, Any], tmp_path: Path):
    text = card_of(tmp_path, "analog", {**analog, "corpus": "the AnalogGenie data"})
    assert " --seeds 2 --source DIR --function-count " in text
