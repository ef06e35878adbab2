"""The registration check: good cards pass, and each way of being wrong has its sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import InvalidRequest
from app.simulators.processes import WorkerPool
from app.technologies._base import DeviceModels, Technology, technologies
from app.technologies._library import ModelLibrary
from app.technologies._own_cards import complete_models
from app.technologies._registration import check_registration, require_registration

Array = NDArray[np.float64]
Current = Callable[[Array, Array], Array]


def made_of(cards: Mapping[str, str], **changes: Any) -> Technology:
    """A technology like generic180, with the cards of a text for each corner; models m_n and m_p."""

    def load(technology: Technology, process: str) -> DeviceModels:
        library = ModelLibrary().add_text("cards", cards[process])
        mos = {kind: library.mos_model(kind, f"m_{kind[0]}", f"{technology.name}_{kind}") for kind in ("nmos", "pmos")}
        return complete_models(technology, process, mos)

    return replace(technologies["generic180"], name="made", processes=tuple(cards), load=load, **changes)


def pair(vth_v: float = 0.5, more: str = "") -> str:
    card = "level=54 toxe=4e-9 u0=0.03 vsat=1e5"
    return f".model m_n nmos {card} vth0={vth_v} {more}\n.model m_p pmos {card} vth0={-vth_v} {more}\n"


class CurvePool:
    """A stand-in for ngspice whose transistors follow a formula of (Vg, Vd), in amperes for any length."""

    def __init__(self, current: Current, *, drift: float = 0.0) -> None:
        self.current = current
        self.drift = drift

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """The sweep that the check's deck asks for."""
        words = re.findall(r"\.dc Vd 0 (\S+) (\S+)", request["deck"])[0]
        end, step = abs(float(words[0])), abs(float(words[1]))
        volts = np.arange(round(end / step) + 1) * step
        gate, drain = np.meshgrid(volts, volts, indexing="ij")
        sign = 1 if float(words[1]) > 0 else -1
        rows = (sign * self.current(gate, drain)).ravel()
        lengths = len(re.findall(r"^Vi\d+ ", request["deck"], re.MULTILINE))
        answer: Future[dict[str, Any]] = Future()
        answer.set_result(
            {
                "status": "ok",
                "messages": [],
                "vectors": {f"vi{i}#branch": list(rows + self.drift) for i in range(lengths)},
            }
        )
        self.drift *= 2
        return answer


def softplus_law(gate: Array, drain: Array) -> Array:
    """A smooth square law with a subthreshold slope of 28 /V and a little channel-length modulation."""
    overdrive = np.log1p(np.exp((gate - 0.5) * 14)) / 14
    return 2e-3 * overdrive**2 * np.tanh(drain / 0.1) * (1 + 0.1 * drain) + 1e-15


SIMPLE = replace(technologies["generic180"], processes=("tt",))


def test_a_transistor_by_formula_passes() -> None:
    assert check_registration(SIMPLE, CurvePool(softplus_law)) == ()


@pytest.mark.parametrize(
    ("current", "sentence"),
    [
        (
            lambda gate, drain: softplus_law(gate, drain) * np.where(drain > 1.0, 0.9, 1.0),
            r"nmos of 0\.18 um length at corner 'tt': Id falls as Vd rises, at \|Vd\| = 1\.01 V and \|Vg\| = 0",
        ),
        (
            lambda gate, drain: softplus_law(gate, drain) * np.where(gate > 1.5, 0.5, 1.0),
            r"Id falls as Vg rises, at \|Vg\| = 1\.51 V and \|Vd\| = 0",
        ),
        (
            lambda gate, drain: 1e-4 * np.maximum(gate - 0.5, 0.0) ** 2 * np.tanh(drain / 0.1),
            r"gm/Id is 1\d\d /V, outside 1 to 40 /V",
        ),
        (
            lambda gate, drain: 1e-3 * 10 ** ((gate - 1.8) * 25) * np.tanh(drain / 0.1),
            r"gm/Id is 57\.6 /V, outside 1 to 40 /V",
        ),
        (
            lambda gate, drain: (1e-8 + 1e-4 * np.tanh(gate / 0.05) + 2e-6 * gate) * np.tanh(drain / 0.1),
            r"gm/Id is .* /V, outside 1 to 40 /V",
        ),
        (
            lambda gate, drain: (1e-9 + 1e-9 * gate) * np.tanh(drain / 0.1),
            r"it carries 1e-09 A with the gate off and 2\.8e-09 A with it on, which does not cover 2\.5e-08 to 0\.0002",
        ),
    ],
)
def test_a_curve_that_no_transistor_has_is_named_with_its_place(current: Current, sentence: str) -> None:
    problems = check_registration(SIMPLE, CurvePool(current))
    assert any(re.search(sentence, problem) for problem in problems), problems


def test_digits_that_differ_the_second_time_are_noticed() -> None:
    problems = check_registration(SIMPLE, CurvePool(softplus_law, drift=1e-14))
    assert "nmos at corner 'tt': the same deck gave different digits the second time" in problems


@pytest.mark.simulator
def test_cards_of_plain_bsim4_pass_at_every_corner(ngspice: WorkerPool) -> None:
    good = made_of({"nominal": pair(), "ff": pair(0.45), "ss": pair(0.55)})
    assert check_registration(good, ngspice) == ()
    require_registration(good, ngspice)


@pytest.mark.simulator
def test_corners_that_are_mixed_up_are_noticed(ngspice: WorkerPool) -> None:
    problems = check_registration(made_of({"nominal": pair(), "ff": pair(0.55), "ss": pair(0.45)}), ngspice)
    assert len(problems) == 4
    assert problems[0].startswith("nmos: corner 'ff' should drive more than 'nominal', but carries ")
    assert problems[1].startswith("nmos: corner 'ss' should drive less than 'nominal', but carries ")


@pytest.mark.simulator
def test_a_transistor_that_never_turns_on_is_refused(ngspice: WorkerPool) -> None:
    with pytest.raises(InvalidRequest, match=r"technology 'made' fails its registration check: nmos of .* carries"):
        require_registration(made_of({"nominal": pair(vth_v=5.0)}), ngspice)


@pytest.mark.simulator
def test_a_card_that_ngspice_cannot_simulate_is_refused(ngspice: WorkerPool) -> None:
    bins = ".model m_{0}.1 {1} level=54 lmin=1e-5 lmax=2e-5 wmin=1e-6 wmax=1e-4\n" * 2
    text = bins.format("n", "nmos").replace("m_n.1", "m_n.2", 1) + bins.format("p", "pmos").replace("m_p.1", "m_p.2", 1)
    problems = check_registration(made_of({"nominal": text}), ngspice)
    assert problems[0].startswith("nmos at corner 'nominal': ngspice could not simulate it (")
