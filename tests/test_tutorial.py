"""The tutorial is what its command makes of its template, and the command does what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from string import Template

import numpy as np
import pytest

from docs.examples.circuit_plots import corners, shortfall
from docs.examples.from_specification_to_circuit import (
    NAME,
    TUTORIALS,
    WALKS,
    Answer,
    main,
    remembering,
    run_command,
)

TEMPLATE, PAGE = TUTORIALS / f"{NAME}.template", TUTORIALS / f"{NAME}.md"
PLOTS = sorted((TUTORIALS / "plots").glob("*.svg"))


class FrugalAsk:
    """Answers the page's commands with ten random simulations of each circuit, whatever they ask for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, Answer] = {}

    def __call__(self, words: Sequence[str]) -> Answer:
        self.asked.append(" ".join(words))
        if words[1] not in self._answers:
            fewer = [*words]
            for option, value in (("--simulations", "10"), ("--method", "random")):
                fewer[fewer.index(option) + 1] = value
            self._answers[words[1]] = run_command(fewer)
        found = self._answers[words[1]]
        errors = {"gain_db": {"first": 0.5, "last": 0.1, "last_unadapted": 0.5}}
        rows = tuple(row | {"model": {"rows": 8, "errors": errors}} for row in found.rows)
        return replace(found, words=tuple(words), rows=rows)


def test_the_page_is_what_its_command_makes_of_its_template():
    fixed = re.split(r"\$[a-z_]+", TEMPLATE.read_text(encoding="utf-8"))
    assert re.fullmatch(".*?".join(map(re.escape, fixed)), PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_shows_the_commands_that_make_it():
    for walk in WALKS:
        objective = [] if walk.objective is None else ["--objective", walk.objective]
        command = Answer(tuple(walk.words(*objective, "--method", "insight-m")), "", ()).command
        assert f"    {command}\n" in PAGE.read_text(encoding="utf-8")


def test_every_plot_is_shown_small_and_without_a_date():
    shown = re.findall(r"\(plots/([a-z-]+\.svg)\)", PAGE.read_text(encoding="utf-8"))
    assert [path.name for path in PLOTS] == sorted(shown)
    for path in PLOTS:
        text = path.read_text(encoding="utf-8")
        assert len(text) < 60_000, path.name
        assert "dc:date" not in text
        assert "prefers-color-scheme: dark" in text


def test_what_is_missed_is_not_known_before_the_first_point_and_nothing_once_the_objective_counts():
    trace = [{"simulations": 4, "best": -0.5}, {"simulations": 9, "best": -0.1}, {"simulations": 12, "best": 107.0}]
    found = shortfall({"trace": trace}, np.array([0, 4, 8, 9, 12, 20]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0.5, 0.5, 0.1, 0.0, 0.0]


def test_equal_rows_make_equal_plots_and_a_metric_without_a_value_leaves_its_line_empty():
    row = {
        "metrics": {"tt,1.8V,27C": {"gain_db": 61.0}, "ss,1.62V,125C": {"gain_db": None}},
        "margins": [{"bound": "gain_db>60", "metric": "gain_db"}],
    }
    both = row | {"metrics": {"tt,1.8V,27C": {"gain_db": 61.0}, "ss,1.62V,125C": {"gain_db": 62.0}}}
    assert corners(row, "opamp") == corners(row, "opamp")
    assert corners(both, "opamp").count("<use ") == corners(row, "opamp").count("<use ") + 1


@pytest.mark.simulator
def test_the_tutorial_is_made_again_from_what_its_commands_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    ask = FrugalAsk()
    folder, work = tmp_path / "made", tmp_path / "work"
    assert main(["--folder", str(folder), "--work", str(work)], ask) == 0
    assert len(ask.asked) == len(set(ask.asked)) == len(list(work.iterdir())) == 3 * len(WALKS) + 1
    page = (folder / f"{NAME}.md").read_text(encoding="utf-8")
    assert Template(page).get_identifiers() == []
    assert "(10 simulations and 0 offline" in page
    assert re.search(r"^    gain_db +=|the program ngspice is not on", page, re.MULTILINE)
    assert sorted(path.name for path in (folder / "plots").iterdir()) == [path.name for path in PLOTS]


def test_an_answer_that_is_kept_is_not_asked_for_again(tmp_path: Path):
    asked: list[Sequence[str]] = []

    def ask(words: Sequence[str]) -> Answer:
        asked.append(words)
        return Answer(tuple(words), "met", ({"index": 0},))

    answers = [remembering(tmp_path, ask)(["size", name]) for name in ("a.cir", "a.cir", "b.cir")]
    assert asked == [["size", "a.cir"], ["size", "b.cir"]]
    assert answers[0] == answers[1] == Answer(("size", "a.cir"), "met", ({"index": 0},))
