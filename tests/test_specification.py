"""What a circuit is asked for: texts into bounds, and what is refused before any simulation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput, InvalidRequest, UnknownName
from app.specification import (
    Objective,
    Specification,
    check_specification,
    corners_of,
    merged,
    parse_bound,
    specification_of,
)
from app.technologies._base import technologies
from app.testbenches._base import Bound, Corner, testbenches
from app.testbenches._simulator import make_corner


def checked(*bounds: str, **others: object) -> Specification:
    specification = specification_of(bounds, **others)  # type: ignore[arg-type]  # each test says what it gives
    check_specification(specification, testbenches["opamp"], technologies["generic180"])
    return specification


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("gain_db>60", Bound("gain_db", low=60.0)),
        ("gain_db >= 60", Bound("gain_db", low=60.0)),
        (" power_w<1m ", Bound("power_w", high=1e-3)),
        ("ugf_hz>10meg", Bound("ugf_hz", low=10e6)),
        ("ugf_hz>10e6", Bound("ugf_hz", low=10e6)),
        ("offset_v<=-2m", Bound("offset_v", high=-2e-3)),
    ],
)
def test_a_bound_is_written_as_designers_write_it(text: str, bound: Bound):
    assert parse_bound(text) == bound


@given(st.floats(1e-15, 1e15), st.sampled_from("<>"))
def test_any_positive_number_can_be_a_bound(value: float, side: str):
    bound = parse_bound(f"gain_db{side}{value!r}")
    assert (bound.low if side == ">" else bound.high) == value


@pytest.mark.parametrize("text", ["", "gain_db", "gain_db>", ">60", "gain_db=60", "gain_db>sixty", "a b>1", "x" * 500])
def test_what_is_no_bound_is_refused_with_an_example(text: str):
    with pytest.raises(InvalidRequest, match=r"such as"):
        parse_bound(text)


def test_bounds_of_one_metric_are_one_bound_the_tightest():
    found = merged([parse_bound(text) for text in ("gain_db>60", "power_w<1m", "gain_db>70", "gain_db<90")])
    assert found == (Bound("gain_db", 70.0, 90.0), Bound("power_w", high=1e-3))


def test_bounds_that_contradict_each_other_are_named():
    with pytest.raises(InvalidRequest, match="gain_db is asked to be at least 70 and at most 50") as caught:
        specification_of(["gain_db>70", "gain_db<50"])
    assert caught.value.pointer == "/specification/bounds"


@pytest.mark.parametrize("bound", [Bound("gain_db"), Bound("gain_db", low=math.nan), Bound("gain_db", high=math.inf)])
def test_a_bound_without_a_number_is_refused(bound: Bound):
    with pytest.raises(InvalidRequest):
        merged([bound])


def test_a_specification_asks_for_something():
    with pytest.raises(InvalidRequest, match="at least one bound"):
        specification_of([])


@pytest.mark.parametrize(
    ("bound", "sentence"),
    [
        ("gain_db>1e9", "no circuit has more than 160 dB"),
        ("phase_margin_deg>400", "no circuit has more than 360 deg"),
        ("ugf_hz>1e15", "no circuit has more than 1e[+]13 Hz"),
        ("power_w<-1", "no circuit has less than 1e-12 W"),
        ("offset_v<-1e9", "no circuit has less than -1000 V"),
    ],
)
def test_an_impossible_bound_is_refused(bound: str, sentence: str):
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        checked(bound)
    assert caught.value.pointer == "/specification/bounds"


@pytest.mark.parametrize(
    ("others", "pointer"),
    [
        ({"settings": {"loads": 1.0}}, "/specification/settings"),
        ({"settings": {"load_f": 1.0}}, "/specification/settings/load_f"),
        ({"objective": Objective("gain", "maximize")}, "/specification/objective"),
        ({"supply_v": 3.3}, "/specification/supply_v"),
        ({"supply_v": -1.0}, "/specification/supply_v"),
        ({"corners": (Corner("tt", 9.0, 27.0),)}, "/specification/corners"),
        ({"corners": (Corner("typ", 1.8, 27.0),)}, "/specification/corners"),
    ],
)
def test_what_testbench_and_technology_cannot_do_is_pointed_at(others: dict[str, object], pointer: str):
    with pytest.raises(InvalidInput) as caught:
        checked("gain_db>60", **others)
    assert caught.value.pointer == pointer


def test_an_unknown_metric_is_told_the_nearest_one():
    with pytest.raises(UnknownName, match="did you mean 'gain_db'"):
        checked("gain>60")


def test_the_corner_set_pvt_has_slow_and_fast_processes_at_both_temperatures():
    technology = technologies["generic180"]
    corners = corners_of(specification_of(["gain_db>60"]), technology)
    assert corners[0] == make_corner(technology)
    ends = {(corner.process, round(corner.supply_v, 3), corner.celsius) for corner in corners[1:]}
    assert ends == {("ss", 1.62, 125.0), ("ss", 1.62, -40.0), ("ff", 1.98, 125.0), ("ff", 1.98, -40.0)}


def test_a_supply_of_ones_own_moves_every_corner():
    corners = corners_of(specification_of(["gain_db>60"], supply_v=1.5), technologies["generic180"])
    assert [round(corner.supply_v, 3) for corner in corners] == [1.5, 1.35, 1.35, 1.65, 1.65]


def test_a_specification_says_what_it_is():
    specification = checked("gain_db>60", objective=Objective("power_w", "minimize"), settings={"load_f": 2e-12})
    assert specification.metrics == ("gain_db", "power_w")
    assert specification.as_json() == {
        "bounds": [{"metric": "gain_db", "low": 60.0}],
        "objective": {"minimize": "power_w"},
        "settings": {"load_f": 2e-12},
        "supply_v": None,
        "corners": "pvt",
    }
