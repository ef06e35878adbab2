"""What a neural simulator says of itself without being loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import ModelDamaged
from app.neural_simulator.description import describe_simulator

CONFIG = {"name": "simulator", "kind": "simulator", "parameters": 7, "training": {"rows": {"training": 90, "all": 100}}}
SUMMARY = {"metrics": 3, "mean_r2": 0.9}


def write(folder: Path, **files: Any) -> None:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def test_a_model_without_a_card_is_described_by_its_configuration(tmp_path: Path):
    write(tmp_path, config=CONFIG, manifest={"weights.safetensors": "ab"})
    assert describe_simulator(tmp_path) == {
        "name": "simulator", "kind": "simulator", "parameters": 7, "sha256": "ab", "training_rows": 90,
        "evaluation": None,
    }  # fmt: skip


def test_of_a_card_there_are_the_summaries_and_the_speed(tmp_path: Path):
    found = {"rows": 5, "estimated": {"summary": SUMMARY, "metrics": [{"r2": 1}]}, "plain": {}}
    card = {"evaluation": {"level": 0.9, "sets": {"sizings": found}, "speed": {"mean": {"network_us": 1}}}}
    write(tmp_path, config=CONFIG, manifest={"weights.safetensors": "ab", "card.json": "cd"}, card=card)
    told = describe_simulator(tmp_path)
    assert told is not None
    assert told["evaluation"] == {
        "level": 0.9, "sets": {"sizings": {"rows": 5, **SUMMARY}}, "speed": {"network_us": 1},
    }  # fmt: skip


def test_where_there_is_no_model_there_is_no_description(tmp_path: Path):
    assert describe_simulator(tmp_path) is None


@pytest.mark.parametrize("manifest", ["[]", "{}", "not JSON"])
def test_a_damaged_model_is_named_with_what_to_do(tmp_path: Path, manifest: str):
    write(tmp_path, config=CONFIG)
    (tmp_path / "manifest.json").write_text(manifest, encoding="utf-8")
    with pytest.raises(ModelDamaged, match=r"cannot be described .* train it anew with 'josephson train simulator'"):
        describe_simulator(tmp_path)
