"""How ngspice is asked about transistors of many sizes: what it refuses is left out, and a failure is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import SimulatorFailure
from app.table_simulator.noise_tables import noise_tables
from app.table_simulator.table_plans import Place, answers_of_places, over_places
from app.technologies._base import technologies

PLACES: list[Place] = [(width, length) for width in (1e-6, 2e-6, 4e-6) for length in (0.2e-6, 1e-6)]


class Pool:
    """Answers at once; `refuses` says what is not simulated."""

    def __init__(self, refuses: Callable[[Sequence[Place]], bool]) -> None:
        self.refuses = refuses

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        answer: Future[dict[str, Any]] = Future()
        is_refused = self.refuses(request["places"])
        answer.set_result(
            {"status": "not_converged" if is_refused else "ok", "messages": [], "vectors": {}, "parameters": {}}
        )
        return answer


def asked(refuses: Callable[[Sequence[Place]], bool]) -> list[Sequence[Place]]:
    found = answers_of_places(Pool(refuses), lambda places: {"places": places}, PLACES, "a sweep")
    assert all(answer.result()["status"] == "ok" for _, answer in found)
    return [places for places, _ in found]


def test_what_is_accepted_is_asked_once():
    assert asked(lambda places: False) == [PLACES]


def test_a_place_that_is_refused_is_left_out():
    bad = PLACES[3]
    told = [place for places in asked(lambda places: bad in places) for place in places]
    assert sorted(told) == sorted(place for place in PLACES if place != bad)


def test_places_that_are_refused_together_are_asked_apart():
    told = [place for places in asked(lambda places: PLACES[0] in places and PLACES[1] in places) for place in places]
    assert sorted(told) == sorted(PLACES)


def test_where_no_place_is_accepted_the_failure_is_told():
    with pytest.raises(SimulatorFailure, match="ngspice could not do a sweep: not_converged; check the technology's"):
        asked(lambda places: True)


def test_a_width_without_an_answer_has_that_of_the_nearest_one():
    widths, lengths = (1e-6, 2e-6, 4e-6), (0.2e-6, 1e-6)
    found = [place for place in PLACES if place not in ((1e-6, 1e-6), (2e-6, 1e-6), (4e-6, 0.2e-6))]
    values = np.array([[1.0], [2.0], [3.0]])
    whole = over_places(values, found, widths, lengths)
    np.testing.assert_array_equal(whole[..., 0], [[1, 3], [2, 3], [2, 3]])
    assert (over_places(values[:0], [], widths, lengths) == 0).all()


class Mute:
    """Says that all went well, and nothing of any transistor."""

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        answer: Future[dict[str, Any]] = Future()
        answer.set_result({"status": "ok", "messages": [], "vectors": {"frequency": [1.0, 1e6]}, "parameters": {}})
        return answer


def test_noise_that_is_not_told_by_its_kind_is_a_failure(tmp_path: Path):
    with pytest.raises(SimulatorFailure, match="ngspice does not part the noise of nmos into kinds; check the techno"):
        noise_tables(technologies["generic45"], Mute(), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
