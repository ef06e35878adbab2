"""What share of the samples passes what check: the interval by known values, the counting on tiny models, the card."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidRequest
from app.evaluation import evaluate, wilson, write_card
from app.inference.checkpoint import load_checkpoint, verify
from app.workshop_local import LocalWorkshop
from tests.test_workshop_local import workshop_of
from tests.tiny_models import TinySettings, save_tiny_model

COUNT = 5
SEEDS = (0, 1)

TRAINING: dict[str, Any] = {
    "training_circuits": 10, "held_out_circuits": 2, "split": "by skeleton", "left_out": {"too long": 3},
    "command": "josephson train quantum", "recipe": {"seed": 1}, "seconds": 60, "held_out_bits_per_unit": 9.0,
    "unit": "statement",
}  # fmt: skip


# Newcombe, Two-sided confidence intervals for the single proportion (1998), Table I, method 3.
@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_is_the_published_one(successes: int, count: int, low: float, high: float):
    assert list(wilson(successes, count)) == pytest.approx([low, high], abs=6e-5)


def test_the_interval_of_failures_mirrors_that_of_successes():
    low, high = wilson(3, 40)
    assert list(wilson(37, 40)) == pytest.approx([1 - high, 1 - low])


def test_nothing_counted_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    for kind in ("analog", "quantum"):
        save_tiny_model(folder, kind, name=f"tiny-{kind}", **TRAINING)
    return folder


@pytest.fixture(scope="module")
def workshop(models: Path) -> Iterator[LocalWorkshop]:
    with workshop_of(TinySettings(models, engine_slots=16)) as made:
        yield made


@pytest.fixture(scope="module")
def reports(workshop: LocalWorkshop) -> dict[str, dict[str, Any]]:
    """The report of each kind, made once."""
    told: list[tuple[int, int]] = []

    async def both() -> dict[str, dict[str, Any]]:
        return {
            kind: await evaluate(workshop, kind, count=COUNT, seeds=SEEDS, report=lambda *now: told.append(now))
            for kind in ("analog", "quantum")
        }

    made = asyncio.run(both())
    total = 2 * COUNT * len(SEEDS)
    assert told == [(done, total) for done in range(1, total + 1)] * 2
    return made


@pytest.mark.parametrize("kind", ["analog", "quantum"])
def test_every_sample_is_in_every_denominator(reports: dict[str, dict[str, Any]], kind: str):
    report = reports[kind]
    rows = COUNT * len(SEEDS)
    assert (report["kind"], report["model"], report["count"]) == (kind, f"tiny-{kind}", COUNT)
    assert report["seeds"] == list(SEEDS)
    for side in ("with_grammar", "without_grammar"):
        shares = [value for value in report[side].values() if isinstance(value, dict) and "share" in value]
        assert len(shares) >= 4
        for share in shares:
            passed = share["share"] * rows
            assert passed == pytest.approx(round(passed), abs=1e-6)
            low, high = wilson(round(passed), rows)
            assert (share["low"], share["high"]) == (round(low, 4), round(high, 4))
    json.dumps(report, allow_nan=False)


def test_with_the_grammar_every_sample_is_a_sentence_and_without_it_none_of_a_random_network(
    reports: dict[str, dict[str, Any]],
):
    for kind, check in (("analog", "is_sentence"), ("quantum", "loads_strict")):
        assert reports[kind]["with_grammar"][check]["share"] == 1.0
        assert reports[kind]["without_grammar"][check]["share"] == 0.0
        assert reports[kind]["with_grammar"]["error_rows"] == 0
        assert reports[kind]["with_grammar"]["distinct_share"] == 1.0
        assert set(reports[kind]["without_grammar"]["findings"]) <= {"not_a_sentence", "unfinished"}


def test_without_a_simulator_nothing_is_claimed_to_converge(reports: dict[str, dict[str, Any]]):
    assert reports["analog"]["with_grammar"]["operating_point_converges"]["share"] == 0.0
    assert reports["analog"]["with_grammar"]["mean_conducting_share"] is None


def test_there_is_no_evaluation_of_another_kind(workshop: LocalWorkshop):
    with pytest.raises(InvalidRequest, match="no evaluation for kind 'optical'; known: analog, quantum"):
        asyncio.run(evaluate(workshop, "optical", count=1, seeds=[0]))


@pytest.mark.parametrize("kind", ["analog", "quantum"])
def test_the_card_says_what_was_measured_and_the_manifest_knows_it(
    reports: dict[str, dict[str, Any]], tmp_path: Path, kind: str
):
    folder = save_tiny_model(tmp_path, kind, name=f"tiny-{kind}", **TRAINING)
    write_card(folder, reports[kind])
    verify(folder)
    assert load_checkpoint(folder).card["evaluation"] == json.loads(json.dumps(reports[kind]))
    text = (folder / "card.md").read_text(encoding="utf-8")
    assert text.startswith(f"# tiny-{kind}\n")
    assert f"{COUNT} samples for each of the seeds 0, 1, temperature 0.9" in text
    assert "| ends by itself and decodes to a circuit | 100.0 % (72.2 to 100.0) | 0.0 % (0.0 to 27.8) |" in text
    assert "Left out: 3 too long." in text
    assert "`josephson train quantum` (seed 1" in text
    assert f"`josephson evaluate {kind} --count {COUNT} --seeds 2 --write-card`" in text
    assert "None" not in text
