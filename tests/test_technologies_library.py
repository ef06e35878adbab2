"""Model libraries: compiled cards equal the library in ngspice, and nothing outside the whitelist is let in."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray

from app.analog.netlist import Device
from app.errors import InvalidInput, InvalidRequest, SpiceSyntaxError, Unavailable
from app.simulators.processes import WorkerPool
from app.technologies._base import DeviceModels, Technology
from app.technologies._library import MOST_CARD_CHARACTERS, MOST_FILE_BYTES, ModelLibrary, library_text, read_cards
from tests.technology_cards import GOOD_PAIR, available, pair_in

CORNERS = {"sky130": ("tt", "ss", "ff", "sf", "fs"), "gf180mcu": ("typical", "ss", "ff", "sf", "fs")}

#: (width, length) in metres, on bin edges and off them.
SIZES = {
    "sky130": ((0.42e-6, 0.15e-6), (1e-6, 0.18e-6), (3.3e-6, 0.5e-6), (7e-6, 1e-6), (100e-6, 7.3e-6), (1.7e-6, 20e-6)),
    "gf180mcu": ((0.22e-6, 0.28e-6), (0.5e-6, 0.5e-6), (2.2e-6, 0.31e-6), (10e-6, 1.2e-6), (100e-6, 20e-6)),
}

#: A library in the manner of foundries: a sub-circuit whose body holds parameters, one transistor and its bins.
FOUNDRY = """\
.param tox = 4n  shift = {0.01 * 2} + 1*agauss(0, 1, 3)
.param chained='tox*2'
.option scale=1u
.subckt fet d g s b mult=1
.param w = 1 l = 1 nf = 1
* a remark between a card and its continuation
+ sheet = {100*nf/w + 400}
Mfet d g s b core l={l} w={w} nf={nf} ad={0.5*w} pd={2*w} nrd={0.14/w} nrs={0.14/w}
+ delvto={shift*(1 + 0.1/l)}
.model core.1 nmos level=54 lmin=2e-7 lmax=1e-6 wmin=1e-6 wmax=1e-4 toxe={chained/2} vth0='0.5' rsh={sheet}
.model core.2 nmos ( level=54 lmin=1e-6 lmax=1e-5 wmin=1e-6 wmax=1e-4 toxe=4n vth0=0.45 rsh = {sheet} )
.ends fet
"""


def own_library(name: str, process: str, folder: Path) -> str:
    """The cards by which ngspice itself reads the library, statistics off."""
    if name == "sky130":
        return f'.lib "{folder}/sky130/sky130_mos.lib.spice" {process}'
    return (
        f'.include "{folder}/gf180mcu/design.ngspice"\n.param sw_stat_global=0 sw_stat_mismatch=0\n'
        f'.lib "{folder}/gf180mcu/sm141064.ngspice" {process}'
    )


def own_card(name: str, kind: str, index: int, width_m: float, length_m: float) -> str:
    if name == "sky130":
        return f"X{index} d{index} g 0 b sky130_fd_pr__{kind[0]}fet_01v8 w={width_m * 1e6!r} l={length_m * 1e6!r}"
    return f"X{index} d{index} g 0 b {kind}_3p3 w={width_m!r} l={length_m!r}"


def drain_currents(pool: WorkerPool, head: str, cards: list[str], kind: str, supply_v: float) -> NDArray[np.float64]:
    """The drain current of every card over a grid of Vgs and Vds, with the bulk at the source and off it."""
    sign = 1 if kind == "nmos" else -1
    sources = [f"Vd{index} d{index} d 0" for index in range(len(cards))]
    found = []
    for bulk in (0.0, -0.4):
        sweep = f"Vg {sign * 0.3} {sign * supply_v} {sign * 0.5} Vd {sign * 0.1} {sign * supply_v} {sign * 0.8}"
        deck = "\n".join(
            ["equality", head, "Vg g 0 0", "Vd d 0 0", f"Vb b 0 {sign * bulk}", *cards, *sources, f".dc {sweep}",
             ".save " + " ".join(f"i(vd{index})" for index in range(len(cards))), ".end", ""]
        )  # fmt: skip
        answer = pool.submit({"deck": deck, "analysis": "dc", "parameters": []}).result(timeout=60)
        assert answer["status"] == "ok", answer["messages"]
        found.append([answer["vectors"][f"vd{index}#branch"] for index in range(len(cards))])
    return np.array(found)


@pytest.mark.simulator
@pytest.mark.parametrize(("name", "process"), [(name, process) for name in CORNERS for process in CORNERS[name]])
def test_compiled_models_carry_the_currents_of_the_library_itself(
    name: str,
    process: str,
    request: pytest.FixtureRequest,
    shared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    ngspice: WorkerPool,
) -> None:
    technology: Technology = available(name, request, monkeypatch)
    models, sizes = technology.device_models(process), SIZES[name]
    for kind in ("nmos", "pmos"):
        compiled = [
            models.device_card(
                Device(f"M{index}", kind, (f"d{index}", "g", "0", "b")),
                {"width_m": repr(width), "length_m": repr(length)},
            )
            for index, (width, length) in enumerate(sizes)
        ]
        text = models.text_for([kind], {kind: sizes})
        ours = drain_currents(ngspice, text, compiled, kind, technology.supply_v)
        cards = [own_card(name, kind, index, *size) for index, size in enumerate(sizes)]
        head = own_library(name, process, shared_data / "technologies")
        theirs = drain_currents(ngspice, head, cards, kind, technology.supply_v)
        assert np.abs(theirs).max() > 1e-4
        # Where less than a nanoampere flows, the last digits of a volt on an inner node decide.
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-15)


def test_a_sub_circuit_becomes_numbers_and_expressions_in_metres(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path).read(pair_in(tmp_path, FOUNDRY).name)
    model = library.mos_model("nmos", "FET", "mine_nmos")
    assert [bin.name for bin in model.bins] == ["mine_nmos.1", "mine_nmos.2"]
    assert [bin.length_m for bin in model.bins] == [(2e-7, 1e-6), (1e-6, 1e-5)]
    assert model.bins[0].card.split("\n")[0] == (
        ".model mine_nmos.1 nmos level=54 lmin=2e-07 lmax=1e-06 wmin=1e-06 wmax=0.0001 toxe=4e-09 vth0=0.5 rsh=1"
    )
    values = {name: _at(text, width_m=2e-6, length_m=0.5e-6) for name, text in model.instance.items()}
    assert values == pytest.approx(
        {
            "nf": 1.0, "ad": 0.5 * 2 * 1e-12, "pd": 4e-6, "nrd": 450 * 0.07, "nrs": 450 * 0.07,
            "delvto": 0.02 * 1.2,
        }
    )  # fmt: skip


def _at(expression: str, width_m: float, length_m: float) -> float:
    text = expression.replace("{w}", f"({width_m!r})").replace("{l}", f"({length_m!r})")
    return float(eval(text, {"__builtins__": {}}))


def test_the_device_card_fills_sizes_into_the_expressions(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path).read(pair_in(tmp_path, FOUNDRY).name)
    models = DeviceModels(
        "tt", {"nmos": library.mos_model("nmos", "fet", "t_nmos")}, MappingProxyType({}), MappingProxyType({})
    )
    device = Device("M1", "nmos", ("d", "g", "s", "b"))
    card = models.device_card(device, {"width_m": "{w1}", "length_m": "200n", "multiplier": "{m1}"})
    assert card.startswith("M1 d g s b t_nmos W={w1} L=200n M={m1} nf=1 ad={")
    assert "pd={((2*((w1)*1000000))*1e-06)}" in card


def test_bins_at_whose_edge_a_size_lies_are_both_written(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path).read(pair_in(tmp_path, FOUNDRY).name)
    first, second = library.mos_model("nmos", "fet", "t_nmos").bins
    assert first.fits(2e-6, 1e-6)
    assert second.fits(2e-6, 1e-6)
    assert not second.fits(2e-6, 0.99e-6)
    assert not first.fits(0.99e-6, 0.5e-6)


def test_a_compiled_library_written_and_read_again_is_the_same(tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path).read(pair_in(tmp_path, FOUNDRY).name)
    once = library.mos_model("nmos", "fet", "t_nmos")
    again = ModelLibrary().add_text("again", library_text({"nmos": once})).mos_model("nmos", "t_nmos", "t_nmos")
    assert again.bins == once.bins
    assert {name: _at(text, 3e-6, 4e-7) for name, text in again.instance.items()} == pytest.approx(
        {name: _at(text, 3e-6, 4e-7) for name, text in once.instance.items()}
    )
    twice = ModelLibrary().add_text("twice", library_text({"nmos": again})).mos_model("nmos", "t_nmos", "t_nmos")
    assert twice == again


def test_sections_and_includes_stay_in_the_folder(tmp_path: Path) -> None:
    pair_in(
        tmp_path,
        ".param a=9\n.lib one\n.lib 'lib.spice' shared\n.param a=1\n.endl one\n"
        '.LIB two\n.param a=2\n.ENDL\n.lib shared\n.inc "core.spice"\n.endl\n',
        "lib.spice",
    )
    pair_in(tmp_path, ".model core nmos level=54 vto={a}\n", "core.spice")
    model = ModelLibrary(tmp_path).read("lib.spice", "one").mos_model("nmos", "core", "x")
    assert model.bins[0].card == ".model x nmos level=54 vto=1"
    with pytest.raises(InvalidRequest, match=r"lib\.spice has no section 'three'"):
        ModelLibrary(tmp_path).read("lib.spice", "three")
    with pytest.raises(Unavailable, match=r"the model library .*gone.spice cannot be read: No such file"):
        ModelLibrary(tmp_path).read("gone.spice")


def test_a_fixed_parameter_cannot_be_changed_by_a_file(tmp_path: Path) -> None:
    pair_in(tmp_path, ".param switch=1\n.model m nmos level=54 vto={0.5+switch}\n", "m.spice")
    library = ModelLibrary(tmp_path, fixed={"SWITCH": 0.0}).read("m.spice")
    assert library.mos_model("nmos", "m", "x").bins[0].card.endswith("vto=0.5")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (".control\nshell id\n.endc", r"line 1: \.control is not accepted in a model library"),
        ("* fine\n\n.include other.spice", r"line 3: \.include is not accepted here; give every file by itself"),
        (".inc other.spice", r"\.inc is not accepted here"),
        (".lib 'other' tt", r"\.lib is not accepted here"),
        (".lib tt\n.endl", r"\.lib is not accepted here"),
        (".func f(x) {x}", r"\.func is not accepted"),
        (".temp 27", r"\.temp is not accepted"),
        (".options reltol=1", "option 'reltol' is not accepted"),
        ("R1 a b 1k", "line 1: an element card is not accepted"),
        ("shell rm", "line 1: an element card is not accepted"),
        (".model m nmos level=54 vto=`id`", "the character '`' is not accepted"),
        (".model m nmos level=54 vto=1 \\ x", "is not accepted"),
        (".model m nmos level=54 µ=1", "is not accepted"),
        (".model m nmos level=54 vto=1\0", "is not accepted"),
        ("+ vto=1", "line 1: a continuation of no card"),
        (".model", "'' is no name"),
        (".model m", "'.model' needs a name and a type"),
        (".model m-x nmos", "'m-x' is no name of letters"),
        (".subckt a d g s b w=1 l=1\nM1 d g s b m", "the sub-circuit has no '.ends'"),
        (".subckt a d\n.subckt b d\n.ends\n.ends", "line 2: a sub-circuit inside a sub-circuit"),
        (".subckt a d\n.include x\n.ends", r"line 2: \.include is not accepted in a sub-circuit"),
        (".subckt a d\n.control\n.ends", r"line 2: \.control is not accepted in a sub-circuit"),
        (".param a={1", "brackets, braces or quotes that are not closed"),
        (".param a='1", "brackets, braces or quotes that are not closed"),
        (".param a=", "parameter 'a' has no value"),
        (".param 5", "'5' is not of the form name=value"),
        (".options scale=x", "scale = x: no parameter named 'x'"),
    ],
)
def test_a_line_outside_the_whitelist_is_refused_with_its_number(text: str, sentence: str) -> None:
    with pytest.raises(SpiceSyntaxError, match=sentence) as caught:
        ModelLibrary().add_text("cards.inc", text)
    assert str(caught.value).endswith("(in cards.inc)")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('.model m nmos level=54 file="x"', 'file = "x": \'"\' is not expected there'),
        (".model m nmos level=54 vto=word", "no parameter named 'word'"),
        (".model m nmos level=54 vto={a}\n.param a={b}\n.param b={a}", "parameter 'a' is defined by itself"),
        (".model m nmos level=54 vth0=nan", "vth0 = nan: no parameter named 'nan'"),
        (".model m nmos level=54 vth0=-inf", "no parameter named 'inf'"),
        (".model m nmos level=54 vth0=1e999", "not a finite number"),
        (".model m nmos level=54 vth0=1_0", "'_0' is not expected there"),
        (".model m nmos level=54 vth0=" + "9" * 5000, "is longer than"),
        (".model m nmos on level=54", "'on' is not of the form name=value"),
        (".model m nmos level=54 on", "level = 54 on: 'on' is not expected there"),
        (".model m pmos level=54", "a model of type 'pmos' where 'nmos' is needed"),
        (".model m nmos level=72", "model level 72 is not one of 8, 14, 49, 54"),
        (".model other nmos level=54", "no model or sub-circuit named 'm' in the library; it has: other"),
        (".subckt m d g s b w=1 l=1\n.ends", "a sub-circuit without a MOS transistor"),
        (".subckt m d g s b w=1 l=1\nR1 d s 1\n.ends", "a sub-circuit that holds more than one MOS transistor"),
        (".subckt m d g s b w=1 l=1\nM1 d g s b x\nM2 d g s b x\n.ends", "more than one MOS transistor"),
        (".subckt m d g s b w=1\nM1 d g s b x\n.ends", "the sub-circuit has no parameter 'l'"),
        (".subckt m d g s b w=1 l=1\nM1 s g d b x w=w l=l\n.ends", "pins are not those of its sub-circuit"),
        (".subckt m d g s b w=1 l=1\nM1 d g s b x w=w l=l\n.ends", "no model named 'x'"),
        (".subckt m d g s b w=1 l=1\nM1 d g s b x w={2*w} l=l\n.ends\n{x}", "w is not that of its sub-circuit"),
        (".subckt m d g s b w=1 l=1\nM1 d g s b x w=w l=l m=2\n.ends\n{x}", "m = 2 is not accepted"),
        (".subckt m d g s b w=1 l=1\nM1 d g s b x w=w l=l ic=2\n.ends\n{x}", "parameter 'ic' of a transistor"),
        (
            ".subckt m d g s b w=1 l=1\nM1 d g s b x w=w l=l\n.model x nmos level=54 rsh={w}\n.ends",
            "rsh depends on the device's size, and the transistor has no nrd",
        ),
        (
            ".subckt m d g s b w=1 l=1\nM1 d g s b x w=w l=l\n.model x nmos level=54 vth0={w}\n.ends",
            "vth0 depends on the device's size; only rsh of a model may",
        ),
        (
            ".subckt m d g s b w=1 l=1\nM1 d g s b x w=w l=l nrd=1 nrs=1\n.model x.1 nmos level=54 rsh={w}\n"
            ".model x.2 nmos level=54 rsh={l}\n.ends",
            "bins of one model whose rsh depends on the device's size in different ways",
        ),
    ],
)
def test_a_model_that_is_not_understood_is_refused_with_a_reason(text: str, sentence: str) -> None:
    filled = text.replace("{x}", ".model x nmos level=54 vth0=0.5")
    library = ModelLibrary().add_text("cards.inc", filled)
    with pytest.raises(InvalidInput, match=sentence):
        library.mos_model("nmos", "m", "t_nmos")


@pytest.mark.parametrize("name", ["../up.spice", "/etc/passwd", "deep/../../up.spice"])
def test_an_include_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    pair_in(tmp_path, f".include '{name}'\n", "lib.spice")
    with pytest.raises(InvalidRequest, match="a library may include files of its own folder only"):
        ModelLibrary(tmp_path).read("lib.spice")


def test_a_library_that_includes_itself_or_too_much_is_refused(tmp_path: Path) -> None:
    pair_in(tmp_path, ".include self.spice\n", "self.spice")
    with pytest.raises(InvalidRequest, match=r"self\.spice includes itself"):
        ModelLibrary(tmp_path).read("self.spice")
    pair_in(tmp_path, "* nothing\n", "leaf.spice")
    pair_in(tmp_path, ".include leaf.spice\n" * 60, "wide.spice")
    with pytest.raises(InvalidRequest, match="a library of more than 40 files and sections"):
        ModelLibrary(tmp_path).read("wide.spice")


def test_sections_that_do_not_match_are_refused(tmp_path: Path) -> None:
    for text, sentence in (
        (".lib a\n.lib b\n.endl\n", "line 2: section 'b' opens inside section 'a'"),
        (".endl\n", "line 1: '.endl' closes no section"),
        (".lib a b c\n", "'.lib' needs a file and a section here"),
        (".include ''\n", "a file name is missing"),
    ):
        pair_in(tmp_path, text, "lib.spice")
        with pytest.raises(SpiceSyntaxError, match=sentence):
            ModelLibrary(tmp_path).read("lib.spice")


def test_what_is_too_large_is_refused_in_time(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"big.spice is larger than the 8000000 bytes"):
        read_cards(pair_in(tmp_path, "*" * (MOST_FILE_BYTES + 1), "big.spice"))
    with pytest.raises(SpiceSyntaxError, match=f"the limit is {MOST_CARD_CHARACTERS}"):
        ModelLibrary().add_text("x", ".model m nmos level=54\n" + "+ a=1 b=2 c=3\n" * 20_000)
    many = "".join(f".model m.{index} nmos level=54\n" for index in range(500))
    with pytest.raises(SpiceSyntaxError, match="a model of 500 bins; the limit is 400"):
        ModelLibrary().add_text("x", many).mos_model("nmos", "m", "x")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 90_000,
        "a " * 45_000,
        "a" + " " * 90_000 + "b",
        "=" * 90_000,
        "a=" * 45_000,
        "{" * 90_000,
        "1" * 90_000,
        "a=1 " * 22_000,
        "a.1" * 30_000,
    ],
)
def test_no_card_takes_long_to_be_read_or_refused(text: str) -> None:
    started = time.process_time()
    library = ModelLibrary().add_text("x", f".model m nmos level=54 vth0=0.5\n+ {text}\n.param p=1\n+ b={{p}}\n")
    with contextlib.suppress(InvalidInput):
        library.mos_model("nmos", "m", "x")
    with contextlib.suppress(InvalidInput):
        ModelLibrary().add_text("x", f".param b=1\n+ {text}\n")
    assert time.process_time() - started < 1.0


def test_a_chain_of_parameters_may_be_of_any_length() -> None:
    chain = ".param " + " ".join(f"p{index}={{p{index + 1}+1}}" for index in range(5000)) + " p5000=1\n"
    library = ModelLibrary().add_text("x", chain + ".model m nmos level=54 vto={p0}\n")
    assert library.mos_model("nmos", "m", "x").bins[0].card == ".model x nmos level=54 vto=5001"


def test_a_card_of_the_wrong_type_is_not_taken_for_a_junction(tmp_path: Path) -> None:
    library = ModelLibrary().add_text("x", GOOD_PAIR + ".model q npn is=1e-16 bf=100\n")
    assert library.plain_card("q", "t_npn", "npn") == ".model t_npn npn is=1e-16 bf=100"
    with pytest.raises(InvalidRequest, match=r"no \.model 'slim_n' of type 'npn' in the library"):
        library.plain_card("slim_n", "t_npn", "npn")


def test_a_corner_shifts_and_scales_numbers_that_are_there() -> None:
    library = ModelLibrary().add_text("x", ".model m nmos level=54 vth0=0.5 u0=0.03")
    changed = library.mos_model("nmos", "m", "x", {"add": {"vth0": -0.125}, "scale": {"u0": 2.0}})
    assert changed.bins[0].card == ".model x nmos level=54 vth0=0.375 u0=0.06"
    with pytest.raises(SpiceSyntaxError, match="a process corner changes 'toxe', which is no number of the card"):
        library.mos_model("nmos", "m", "x", {"add": {"toxe": 1e-9}})
