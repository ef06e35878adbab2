"""Technologies of one's own: added from cards, kept as our own copy, loaded, shown and removed; bad ones refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.analog.spice import parse_spice
from app.cli.main import main
from app.errors import Conflict, InvalidInput, InvalidRequest, NotFound, SpiceSyntaxError, Unavailable, UnknownName
from app.registry import Registry
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.technologies._added import NewTechnology, add_technology, load_added, remove_technology
from app.technologies._base import Technology, technologies
from tests.technology_cards import GOOD_PAIR, pair_in


class NoPool:
    """A pool that must not be asked: what is wrong has to be seen before."""

    def submit(self, request: Mapping[str, Any]) -> Future[dict[str, Any]]:
        """Fails the test."""
        raise AssertionError("nothing should have been simulated")


@pytest.fixture
def registry() -> Registry[Technology]:
    """A registry of its own, with one built-in entry."""
    own: Registry[Technology] = Registry("technology", "app.tokens")
    own._is_filled = True
    own.add("generic180", technologies["generic180"])
    return own


@pytest.fixture
def new(tmp_path: Path) -> NewTechnology:
    return NewTechnology(
        name="slim", cards=(pair_in(tmp_path),), nmos="SLIM_N", pmos="slim_p", supply_v=1.8, length_min_m=180e-9
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "technologies"


@pytest.mark.simulator
def test_an_added_technology_is_checked_kept_and_loaded_again(
    new: NewTechnology, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    slim = add_technology(new, ngspice, folder, registry)
    assert registry["slim"] is slim
    assert slim.is_added
    assert slim.processes == ("nominal",)
    assert slim.borrowed == ("npn", "pnp", "diode")
    assert slim.length_min_m == 180e-9 < slim.length_max_m
    for kind in ("nmos", "pmos"):
        assert 0.4 < slim.turn_on_v(kind) < 0.8
        assert slim.width_min_m < slim.sizes[kind]["width_m"] < slim.width_max_m
    again: Registry[Technology] = Registry("technology", "app.tokens")
    again._is_filled = True
    assert load_added(folder, again) == ()
    assert load_added(folder, again) == ()
    assert again["slim"].device_models().card_hash == slim.device_models().card_hash
    assert again["slim"].sizes == slim.sizes
    assert again["slim"].pmos_gate_bias_v == slim.pmos_gate_bias_v


@pytest.mark.simulator
def test_what_is_kept_is_our_own_text_and_survives_the_files_it_came_from(
    new: NewTechnology, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    slim = add_technology(new, ngspice, folder, registry)
    new.cards[0].unlink()
    kept = (folder / "slim" / "nominal.spice").read_text()
    assert "remark" not in kept
    assert kept.startswith(".model slim_nmos nmos level=54 version=4.8.2 toxe=4e-09")
    assert sorted(path.name for path in (folder / "slim").iterdir()) == ["nominal.spice", "technology.json"]
    assert sorted(path.name for path in folder.iterdir()) == ["slim"]
    assert "slim_n " not in slim.device_models().text_for(["nmos", "pmos", "inverter"])


@pytest.mark.simulator
def test_circuits_work_in_an_added_technology(
    new: NewTechnology, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    slim = add_technology(new, ngspice, folder, registry)
    netlist = parse_spice("* ports: VDD VSS IB1 VOUT1\nM1 IB1 IB1 VSS VSS nmos\nM2 VOUT1 IB1 VSS VSS nmos\n"
                          "M3 VOUT1 VOUT1 VDD VDD pmos\nX1 IB1 q VDD VSS inverter\n.end\n").netlist  # fmt: skip
    point = OperatingPointSimulator(ngspice, slim).run(netlist)
    assert point.converged, point.message
    assert point.devices["M2"].current_a == pytest.approx(slim.bias_a, rel=0.2)


@pytest.mark.simulator
def test_freepdk45_is_added_with_its_corners(
    shared_data: Path, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    cards = {
        name: tuple(shared_data / f"technologies/freepdk45/models_{name}/{kind}MOS_VTG.inc" for kind in "NP")
        for name in ("nom", "ss", "ff")
    }
    entry = add_technology(
        NewTechnology(
            name="freepdk45", cards=cards["nom"], nmos="NMOS_VTG", pmos="PMOS_VTG", supply_v=1.0, length_min_m=50e-9,
            corners={"ss": cards["ss"], "ff": cards["ff"]}, licence="Apache-2.0",
        ),
        ngspice, folder, registry,
    )  # fmt: skip
    assert entry.processes == ("nominal", "ss", "ff")
    assert len({entry.device_models(process).card_hash for process in entry.processes}) == 3
    # 1 um wide and 50 nm long, all of the supply on gate and drain: 979.2 uA in the table beside the cards.
    deck = (
        f"t\n{entry.device_models().text_for(['nmos'])}\nVd d 0 1\nM1 d d 0 0 freepdk45_nmos W=1u L=0.05u\n.op\n.end\n"
    )
    answer = ngspice.submit({"deck": deck, "analysis": "op", "parameters": []}).result(60)
    assert -answer["vectors"]["vd#branch"][0] == pytest.approx(979.2e-6, rel=1e-3)


@pytest.mark.simulator
def test_a_binned_sub_circuit_can_be_added(tmp_path: Path, registry: Registry[Technology], ngspice: WorkerPool) -> None:
    card = "level=54 toxe=4e-9 u0=0.03 vsat=1e5 rsh={rs}"
    text = "".join(
        f".subckt {kind[0]}fet d g s b\n.param w=1 l=1 rs={{1e-4/w+400}}\n"
        f"M1 d g s b core w={{w}} l={{l}} nrd={{1e-7/w}} nrs={{1e-7/w}} delvto={{{sign}0.01*(1+1e-8/l)}}\n"
        f".model core.1 {kind} {card} vth0={sign}0.5 lmin=1e-7 lmax=1e-6 wmin=1e-7 wmax=1e-4\n"
        f".model core.2 {kind} {card} vth0={sign}0.48 lmin=1e-6 lmax=1e-5 wmin=1e-7 wmax=1e-4\n.ends\n"
        for kind, sign in (("nmos", ""), ("pmos", "-"))
    )
    new = NewTechnology(
        name="binned", cards=(pair_in(tmp_path, text),), nmos="nfet", pmos="pfet", supply_v=1.8, length_min_m=180e-9
    )
    entry = add_technology(new, ngspice, tmp_path / "kept", registry)
    assert entry.length_max_m == 1e-5
    model = entry.device_models().mos["pmos"]
    assert [bin.name for bin in model.bins] == ["binned_pmos.1", "binned_pmos.2"]
    assert set(model.instance) == {"nrd", "nrs", "delvto"}


@pytest.mark.simulator
def test_a_name_that_is_taken_is_refused_and_a_removed_one_is_free_again(
    new: NewTechnology, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    add_technology(new, ngspice, folder, registry)
    with pytest.raises(Conflict, match="a technology named 'slim' is already there"):
        add_technology(new, NoPool(), folder, registry)
    remove_technology("slim", folder, registry)
    assert "slim" not in registry
    assert list(folder.iterdir()) == []
    with pytest.raises(NotFound, match="no added technology 'slim'"):
        remove_technology("slim", folder, registry)
    add_technology(new, ngspice, folder, registry)


@pytest.mark.simulator
def test_a_folder_that_is_damaged_is_left_out_with_a_sentence(
    new: NewTechnology, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    add_technology(new, ngspice, folder, registry)
    document = folder / "slim" / "technology.json"
    whole = json.loads(document.read_text())
    for damage, reason in (
        ("{", "Expecting property name"),
        (json.dumps(whole | {"format": 2}), "it is of another format or name"),
        (json.dumps(whole | {"supply_v": "much"}), "could not convert string to float: 'much'"),
        (json.dumps(whole | {"supply_v": float("nan")}), "a number is not finite"),
        (json.dumps(whole | {"processes": ["../up"]}), "its process corners have no proper names"),
        (json.dumps([1]), "list indices"),
    ):
        registry.remove("slim")
        document.write_text(damage)
        (problem,) = load_added(folder, registry)
        assert problem.startswith("the added technology 'slim' is left out: ")
        assert reason in problem
        assert "remove the technology and add it again" in problem
        document.write_text(json.dumps(whole))
        assert load_added(folder, registry) == ()


@pytest.mark.simulator
def test_cards_that_were_changed_on_disk_are_read_by_the_whitelist_again(
    new: NewTechnology, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    add_technology(new, ngspice, folder, registry)
    registry.remove("slim")
    (folder / "slim" / "nominal.spice").write_text(".control\nshell id\n.endc\n")
    assert load_added(folder, registry) == ()
    with pytest.raises(Unavailable, match=r"the cards of technology 'slim' cannot be used: line 1: \.control is not"):
        registry["slim"].device_models()


def test_a_kept_technology_with_the_name_of_a_built_in_one_is_left_out(
    folder: Path, registry: Registry[Technology]
) -> None:
    (folder / "generic180").mkdir(parents=True)
    (folder / "generic180" / "technology.json").write_text("{}")
    assert load_added(folder, registry) == (
        "the added technology 'generic180' has the name of a built-in one and is left out",
    )
    assert load_added(folder / "nowhere", registry) == ()


def test_a_built_in_technology_stays(folder: Path, registry: Registry[Technology]) -> None:
    with pytest.raises(Conflict, match="technology 'generic180' is a built-in one and stays"):
        remove_technology("generic180", folder, registry)
    with pytest.raises(NotFound, match=r"no added technology '\.\./up'"):
        remove_technology("../up", folder, registry)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "../up"}, r"'\.\./up' cannot be a name here: lower-case letters, digits and underscores"),
        ({"name": "Slim"}, "cannot be a name here"),
        ({"name": "x"}, "cannot be a name here"),
        ({"name": "a" * 40}, "cannot be a name here"),
        ({"corners": {"f/f": ()}}, "'f/f' cannot be a name here"),
        ({"corners": {"nominal": ()}}, "corner 'nominal' is that of the cards given without a corner"),
        ({"cards": ()}, "a technology needs at least one file of cards"),
        ({"supply_v": 0.0}, "the supply in volts is 0; it has to lie between 0.2 and 50"),
        ({"supply_v": float("nan")}, "the supply in volts is nan"),
        ({"celsius": 1e6}, "the temperature in degrees Celsius"),
        ({"length_min_m": 45.0}, "the shortest length in metres is 45"),
        ({"length_max_m": 1e-9}, "the longest length in metres"),
        ({"width_min_m": -1.0}, "the smallest width in metres"),
        (
            {"width_min_m": 1e-6, "width_max_m": 1e-7},
            "the largest width in metres is 1e-07; it has to lie between 1e-06",
        ),
        ({"nmos": "other"}, "no model or sub-circuit named 'other' in the library; it has: slim_n, slim_p"),
        ({"nmos": "slim_p"}, "a model of type 'pmos' where 'nmos' is needed"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_simulated(
    changes: dict[str, Any], sentence: str, new: NewTechnology, folder: Path, registry: Registry[Technology]
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        add_technology(replace(new, **changes), NoPool(), folder, registry)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (".control\nshell touch gotcha\n.endc", r"line 6: \.control is not accepted in a model library"),
        (".include /etc/passwd", r"line 6: \.include is not accepted here"),
        (".lib 'other' tt", r"\.lib is not accepted here"),
        ('.model z nmos level=54 file="x" \\', "the character"),
        (".param x=`id`", "the character '`' is not accepted"),
        ("alter m1 = 2", "an element card is not accepted"),
    ],
)
def test_cards_with_commands_in_them_are_refused_with_the_line(
    line: str, sentence: str, new: NewTechnology, tmp_path: Path, folder: Path, registry: Registry[Technology]
) -> None:
    path = pair_in(tmp_path, GOOD_PAIR + line + "\n")
    lines = GOOD_PAIR.count("\n")
    assert lines + 1 == 5
    with pytest.raises(SpiceSyntaxError, match=sentence.replace("line 6", "line 5")):
        add_technology(replace(new, cards=(path,)), NoPool(), folder, registry)
    assert not folder.exists()


def test_a_file_that_is_not_there_is_named(
    new: NewTechnology, tmp_path: Path, folder: Path, registry: Registry[Technology]
) -> None:
    with pytest.raises(Unavailable, match=r"the model library .*gone\.inc cannot be read: No such file"):
        add_technology(replace(new, cards=(tmp_path / "gone.inc",)), NoPool(), folder, registry)


@pytest.mark.simulator
def test_transistors_that_fail_the_check_leave_nothing_behind(
    new: NewTechnology, tmp_path: Path, folder: Path, registry: Registry[Technology], ngspice: WorkerPool
) -> None:
    path = pair_in(tmp_path, GOOD_PAIR.replace("0.5 ", "5 "))
    with pytest.raises(InvalidRequest, match="technology 'slim' fails its registration check: nmos of"):
        add_technology(replace(new, cards=(path,)), ngspice, folder, registry)
    assert not folder.exists()
    assert "slim" not in registry


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's data folder; what commands add to the registry of this process is gone afterwards."""
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    yield tmp_path / "data"
    for name in [name for name, entry in technologies.items() if entry.is_added]:
        technologies.remove(name)


@pytest.mark.simulator
def test_the_command_line_adds_lists_shows_and_removes(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = pair_in(tmp_path, GOOD_PAIR.replace("0.5 ", "0.56 "), "slow.spice")
    words = ["technology", "add", "slim", "--card", str(pair_in(tmp_path)), "--nmos", "slim_n", "--pmos", "slim_p"]
    words += ["--supply", "1.8", "--length-min", "180e-9", "--corner", f"ss={slow}", "--celsius", "30"]
    assert main(words) == 0
    assert capsys.readouterr().out == "slim is added; corners: nominal, ss\n"
    assert main(words) == 1
    assert "a technology named 'slim' is already there" in capsys.readouterr().err
    assert main(["technology", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["technologies"]}
    assert rows["slim"]["is_added"]
    assert rows["slim"]["is_available"]
    assert not rows["generic180"]["is_added"]
    assert main(["technology", "show", "slim", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["processes"] == ["nominal", "ss"]
    assert shown["celsius"] == 30
    assert shown["turn_on_v"]["npn"] == 0.75
    assert len(shown["card_hash"]) == 16
    assert main(["technology", "show", "slim"]) == 0
    assert "licence        not stated" in capsys.readouterr().out
    assert main(["technology", "remove", "slim"]) == 0
    assert capsys.readouterr().out == "slim is removed\n"
    assert main(["technology", "remove", "slim", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "NotFound"
    assert os.listdir(data_dir / "technologies") == []


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["technology", "add", "slim", "--card", str(pair_in(tmp_path)), "--nmos", "slim_n", "--pmos", "slim_p"]
    words += ["--supply", "1.8", "--length-min", "180e-9"]
    assert main([*words, "--corner", "ff"]) == 2
    assert "--corner 'ff' is not of the form NAME=FILE" in capsys.readouterr().err
    assert main(["technology", "show", "nowhere"]) == 2
    assert "no technology named 'nowhere'" in capsys.readouterr().err
    (data_dir / "technologies" / "broken").mkdir(parents=True)
    (data_dir / "technologies" / "broken" / "technology.json").write_text("{")
    assert main(["technology", "list"]) == 0
    printed = capsys.readouterr()
    assert "the added technology 'broken' is left out" in printed.err
    assert "generic180" in printed.out


def test_what_is_not_registered_cannot_be_unregistered(registry: Registry[Technology]) -> None:
    with pytest.raises(UnknownName, match="no technology named 'slim'; known: generic180"):
        registry.remove("slim")
    registry.remove("generic180")
    assert len(registry) == 0
