"""Every technology: cards that load, transistors that behave like transistors, blocks that compute, limits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from app.analog.kinds import KINDS
from app.analog.netlist import Device, Netlist
from app.errors import PackageMissing, Unavailable, UnknownName
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.technologies._base import DEFAULT_TECHNOLOGY, PASSIVE_RANGES, DeviceModels, Technology, technologies
from app.technologies._installed import CARDS_VARIABLE, InstalledCards
from app.technologies._own_cards import own_models
from app.technologies._registration import check_registration
from tests.technology_cards import available

BUILT_IN = ("generic180", "generic45", "gf180mcu", "sky130")
OWN = ("generic180", "generic45")


@pytest.fixture(params=BUILT_IN)
def technology(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Technology:
    return available(request.param, request, monkeypatch)


def run(pool: WorkerPool, deck: str, analysis: str) -> dict[str, Any]:
    answer = pool.submit({"deck": deck, "analysis": analysis, "parameters": []}).result(timeout=60)
    assert answer["status"] == "ok", answer["messages"]
    vectors: dict[str, Any] = answer["vectors"]
    return vectors


def transistor(models: DeviceModels, kind: str, nets: str, width_m: float, length_m: float) -> str:
    """A transistor's element card, and its model cards."""
    sizes = {"width_m": repr(width_m), "length_m": repr(length_m)}
    drain, gate, source, bulk = nets.split()
    card = models.device_card(Device("M1", kind, (drain, gate, source, bulk)), sizes)
    return f"{card}\n{models.text_for([kind], {kind: [(width_m, length_m)]})}"


def test_the_registry_holds_these_and_the_default_one() -> None:
    assert set(BUILT_IN) <= set(technologies)
    assert DEFAULT_TECHNOLOGY in technologies


def test_a_name_that_is_nearly_right_gets_a_proposal() -> None:
    with pytest.raises(UnknownName, match="no technology named 'sky103'; did you mean 'sky130'"):
        technologies["sky103"]


def test_a_corner_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownName, match="no process corner of generic45 named 'typical'; known: ff, fs, sf, ss, tt"):
        technologies["generic45"].device_models("typical")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_entry_says_what_it_is_and_whose(name: str) -> None:
    technology = technologies[name]
    assert technology.name == name
    assert technology.summary
    assert technology.licence
    assert technology.source
    assert len(technology.processes) == 5
    for kind in ("nmos", "pmos", "npn", "pnp"):
        assert 0 < technology.turn_on_v(kind) < technology.supply_v


@pytest.mark.parametrize("name", BUILT_IN)
def test_default_sizes_lie_within_the_limits_of_their_kind(name: str) -> None:
    technology = technologies[name]
    assert set(technology.sizes) == set(technology.ranges)
    for kind, sizes in technology.sizes.items():
        for size, value in sizes.items():
            low, high = technology.ranges[kind][size]
            assert low <= value <= high
    assert {kind: technology.ranges[kind] for kind in PASSIVE_RANGES} == PASSIVE_RANGES


def test_every_kind_has_a_model_or_is_a_plain_element_with_a_size(technology: Technology) -> None:
    models = technology.device_models()
    for kind in KINDS.values():
        is_modelled = kind.name in models.mos or kind.name in models.names
        assert is_modelled != (kind.letter in "RCL")
    assert set(models.names.values()) <= set(models.cards)
    assert set(technology.borrowed) <= set(models.names)


def test_every_name_of_a_card_starts_with_the_technologys(technology: Technology) -> None:
    models = technology.device_models()
    text = models.text_for(KINDS)
    for line in text.splitlines():
        if line.startswith((".model", ".subckt")):
            assert line.split()[1].startswith(f"{technology.name}_")


def test_every_corner_has_cards_of_its_own_and_is_loaded_once(technology: Technology) -> None:
    corners = [technology.device_models(process) for process in technology.processes]
    assert len({models.card_hash for models in corners}) == 5
    assert technology.device_models() is corners[0]
    assert [models.process for models in corners] == list(technology.processes)


def test_only_the_bins_that_the_sizes_need_are_written() -> None:
    text = technologies["generic180"].device_models().text_for(["nmos"])
    assert text.count(".model") == 1
    models = technologies["generic180"].device_models()
    assert models.text_for(["nmos"], {"pmos": [(1e-6, 1e-6)]}) == ""


def test_a_text_of_models_holds_what_is_asked_for_and_what_that_needs() -> None:
    models = technologies["generic180"].device_models()
    text = models.text_for(["diode"])
    assert text.startswith(".model generic180_diode")
    assert text.count(".model") == 1
    assert models.text_for(["resistor"]) == ""
    gate = models.text_for(["transmission_gate"], {})
    assert [line.split()[1] for line in gate.splitlines() if line.startswith((".model", ".subckt"))] == [
        "generic180_nmos", "generic180_pmos", "generic180_inverter", "generic180_transmission_gate",
    ]  # fmt: skip


def test_blocks_are_as_wide_as_the_shortest_channel_says() -> None:
    for name, width in (("generic180", "4u"), ("generic45", "1u")):
        card = technologies[name].device_models().cards[f"{name}_inverter"]
        assert f"{name}_pmos W={width} L=" in card


def test_a_binned_process_writes_one_bin_for_one_size_and_those_of_its_blocks(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = available("sky130", request, monkeypatch).device_models()
    assert len(models.mos["nmos"].bins) == 48
    assert models.text_for(["nmos"], {"nmos": [(5.1e-6, 0.61e-6)]}).count(".model") == 1
    assert models.text_for(["inverter"], {}).count(".model") < 6
    assert models.text_for(["inverter"]).count(".model") == 96


def test_cards_that_are_gone_say_so() -> None:
    lost = Technology(
        name="lost", summary="", licence="", source="", processes=("tt",), load=own_models, supply_v=1.0, celsius=27.0,
        length_min_m=1e-7, length_max_m=1e-6, width_min_m=1e-7, width_max_m=1e-6, sizes={}, gate_bias_v=0.5,
        base_bias_v=0.5, bias_a=1e-5, inductor_ohm=0.5,
    )  # fmt: skip
    with pytest.raises(Unavailable, match="the device models of technology 'lost' cannot be read"):
        lost.device_models()


def test_a_card_of_ours_that_is_no_card_makes_the_technology_unavailable() -> None:
    def load(technology: Technology, process: str) -> DeviceModels:
        raise UnknownName("thing", process, ())

    entry = technologies["generic45"]
    broken = Technology(**{**{f: getattr(entry, f) for f in _fields(entry)}, "load": load})
    with pytest.raises(Unavailable, match="the cards of technology 'generic45' cannot be used: no thing named 'tt'"):
        broken.device_models()


def _fields(entry: Technology) -> list[str]:
    return [name for name, field in entry.__dataclass_fields__.items() if field.init]


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv(CARDS_VARIABLE, str(tmp_path))
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path))
    cards = InstalledCards("moon130", "moon130_package", "moon", "inside", ("models.spice",))
    with pytest.raises(
        PackageMissing, match=r"technology 'moon130' needs the package 'moon130_package'.*'josephson\[moon\]'"
    ):
        cards.folder()


def test_cards_are_looked_for_in_the_named_folder_then_the_data_folder_then_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    places = (tmp_path / "named/moon130", tmp_path / "data/cards/moon130", tmp_path / "site/moon130_package/inside")
    for place in places:
        place.mkdir(parents=True)
    (tmp_path / "site/moon130_package/__init__.py").write_text("raise SystemExit('a package of cards was imported')")
    monkeypatch.setenv(CARDS_VARIABLE, str(tmp_path / "named"))
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    cards = InstalledCards("moon130", "moon130_package", "moon", "inside", ("models.spice",))
    for place in reversed(places):
        (place / "models.spice").touch()
        assert cards.folder() == place


@pytest.mark.simulator
def test_every_built_in_technology_passes_its_registration_check(technology: Technology, ngspice: WorkerPool) -> None:
    assert check_registration(technology, ngspice) == ()


@pytest.mark.simulator
def test_a_default_transistor_carries_about_the_bias_current_at_its_bias(
    technology: Technology, ngspice: WorkerPool
) -> None:
    for kind, sign in (("nmos", 1), ("pmos", -1)):
        size = technology.sizes[kind]
        deck = (
            f"bias\nVg g 0 {sign * technology.turn_on_v(kind)}\nVd d 0 {sign * technology.supply_v / 2}\n"
            f"{transistor(technology.device_models(), kind, 'd g 0 0', size['width_m'], size['length_m'])}\n.op\n.end\n"
        )
        current = -sign * run(ngspice, deck, "op")["vd#branch"][0]
        assert technology.bias_a / 2 < current < technology.bias_a * 2


@pytest.mark.simulator
@pytest.mark.parametrize("name", OWN)
def test_the_corners_of_our_own_cards_order_the_currents_by_their_letters(name: str, ngspice: WorkerPool) -> None:
    technology = technologies[name]
    current = {}
    for process, (kind, sign) in itertools.product(technology.processes, (("nmos", 1), ("pmos", -1))):
        models = technology.device_models(process)
        card = transistor(models, kind, "d d 0 0", 5e-6, technology.length_min_m)
        deck = f"drive\nVd d 0 {sign * technology.supply_v}\n{card}\n.op\n.end\n"
        current[kind, process] = abs(run(ngspice, deck, "op")["vd#branch"][0])
    n = {process: current["nmos", process] / current["nmos", "tt"] for process in technology.processes}
    p = {process: current["pmos", process] / current["pmos", "tt"] for process in technology.processes}
    assert n["ss"] == n["sf"] < 0.95 < 1.05 < n["ff"] == n["fs"]
    assert p["ss"] == p["fs"] < 0.95 < 1.05 < p["ff"] == p["sf"]
    assert max(*n.values(), *p.values()) < 1.4


@pytest.mark.simulator
def test_junctions_conduct_forwards_and_block_backwards(technology: Technology, ngspice: WorkerPool) -> None:
    models = technology.device_models()
    for volts, conducts in ((technology.base_bias_v, True), (-technology.supply_v, False)):
        deck = (
            f"junctions\n{models.text_for(['npn', 'pnp', 'diode'])}\nV1 a 0 {volts}\nV2 b 0 {-volts}\nV3 c 0 1\n"
            f"V4 d 0 -1\nV5 e 0 {volts}\nQ1 c a 0 {models.names['npn']}\n"
            f"Q2 d b 0 {models.names['pnp']}\nD1 e 0 {models.names['diode']}\n.op\n.end\n"
        )
        vectors = run(ngspice, deck, "op")
        currents = [-vectors["v3#branch"][0], vectors["v4#branch"][0], -vectors["v5#branch"][0]]
        assert [current > 1e-7 for current in currents] == [conducts] * 3


@pytest.mark.simulator
def test_heat_lowers_the_threshold_and_the_mobility(technology: Technology, ngspice: WorkerPool) -> None:
    def current(gate_v: float, celsius: float) -> float:
        card = transistor(technology.device_models(), "nmos", "d g 0 0", 5e-6, 1e-6)
        deck = f"heat\n{card}\nVg g 0 {gate_v}\nVd d 0 {technology.supply_v}\n.options temp={celsius}\n.op\n.end\n"
        return -float(run(ngspice, deck, "op")["vd#branch"][0])

    weak = technology.turn_on_v("nmos") - 0.3
    assert current(weak, 125) > current(weak, 27) > current(weak, -40)
    assert current(technology.supply_v, 125) < current(technology.supply_v, 27) < current(technology.supply_v, -40)


@pytest.mark.simulator
def test_the_blocks_compute(technology: Technology, ngspice: WorkerPool) -> None:
    models, high = technology.device_models(), technology.supply_v
    text = models.text_for(["inverter", "xor", "transmission_gate"], {})
    for a, b in itertools.product((0, 1), repeat=2):
        deck = (
            f"blocks\n{text}\nVdd vdd 0 {high}\nVa a 0 {a * high}\nVb b 0 {b * high}\n"
            f"X1 a na vdd 0 {models.names['inverter']}\nX2 a b vdd 0 x {models.names['xor']}\n"
            f"X3 a t b vdd 0 {models.names['transmission_gate']}\nRt t half 1e7\nVh half 0 {high / 2}\n.op\n.end\n"
        )
        vectors = run(ngspice, deck, "op")
        assert vectors["na"][0] == pytest.approx((1 - a) * high, abs=0.02 * high)
        assert vectors["x"][0] == pytest.approx((a ^ b) * high, abs=0.02 * high)
        assert vectors["t"][0] == pytest.approx(a * high if b else high / 2, abs=0.1 * high)


@pytest.mark.simulator
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_small_circuit_of_every_kind_has_an_operating_point(
    technology: Technology, kind: str, ngspice: WorkerPool
) -> None:
    nets = {"vdd": "VDD", "vss": "VSS", "bulk": "VDD" if kind == "pmos" else "VSS", "gate": "VIN1", "base": "VIN1"}
    inputs = iter(("VIN2", "VIN3", "VOUT1", "VOUT2"))
    device = Device("D1", kind, tuple(nets.get(pin) or next(inputs) for pin in KINDS[kind].pins))
    ports = tuple(dict.fromkeys(("VDD", "VSS", *device.nets)))
    point = OperatingPointSimulator(ngspice, technology).run(Netlist((device,), ports))
    assert point.converged, point.message
