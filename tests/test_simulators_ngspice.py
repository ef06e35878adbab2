"""The ten traps of ngspice and PySpice, each with the test that it does not catch us."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.analog.kinds import KINDS
from app.analog.netlist import Device, Netlist
from app.errors import SimulatorCrashed, SimulatorFailure, SimulatorTimeout
from app.simulators.deck import operating_point_deck
from app.simulators.ngspice import ngspice_pool
from app.simulators.ngspice_worker import RELAXED_OPTIONS
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import WorkerPool
from app.technologies._base import technologies

pytestmark = pytest.mark.simulator

DIVIDER = "divider\nV1 a 0 5\nR1 a b 1k\nR2 b 0 1k\n.op\n.end\n"

UNKNOWN_MODEL = "unknown\nV1 a 0 5\nM1 b a 0 0 nonesuch W=1u L=1u\nR1 b 0 1k\n.op\n.end\n"


def run(pool: WorkerPool, deck: str, analysis: str = "op", parameters: tuple[str, ...] = ()) -> dict[str, Any]:
    request = {"deck": deck, "analysis": analysis, "parameters": list(parameters)}
    return pool.submit(request).result(timeout=60)


def assert_divider_is_right(pool: WorkerPool) -> None:
    answer = run(pool, DIVIDER)
    assert answer["status"] == "ok"
    assert answer["vectors"]["b"] == [pytest.approx(2.5, rel=1e-9)]


def generic_cards(*kinds: str) -> str:
    return technologies["generic180"].device_models().text_for(kinds)


def rectifier(options: str) -> str:
    """A diode, a coil and a smoothing capacitor."""
    return (
        "rectifier\n.model diode d is=1e-14 rs=1 cjo=1p tt=5n\nV1 a 0 SIN(0 5 1meg)\nD1 a b diode\nC1 b 0 1n\n"
        f"R1 b 0 1k\nL1 b c 1u\nR2 c 0 1k\n.options {options}\n.tran 1n 2u\n.end\n"
    )


def test_1_a_worker_computes_with_one_thread_whatever_ngspice_would_choose() -> None:
    with ngspice_pool(size=1) as pool:
        deck = f"mos\n{generic_cards('nmos')}\nV1 a 0 1\nM1 a a 0 0 generic180_nmos W=5u L=1u\n.op\n.end\n"
        assert run(pool, deck)["status"] == "ok"
        worker = pool._lanes[0].worker
        assert worker is not None
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
        assert re.search(r"Threads:\s*1\n", status)


def test_2_notes_on_stderr_are_not_errors(ngspice: WorkerPool) -> None:
    deck = (
        f"pair\n{generic_cards('nmos')}\nV1 VDD 0 1.8\nV2 in 0 0.8\nI1 tail 0 10u\nR1 VDD left 10k\nR2 VDD right 10k\n"
        "M1 left in tail 0 generic180_nmos W=5u L=500n\nM2 right in tail 0 generic180_nmos W=5u L=500n\n.op\n.end\n"
    )
    answer = run(ngspice, deck)
    assert answer["messages"] == ["the operating point needed gmin stepping"]
    assert (answer["status"], answer["relaxed"]) == ("ok", False)
    assert answer["vectors"]["left"] == [pytest.approx(1.8 - 5e-6 * 10e3, rel=1e-5)]


def test_3_a_deck_that_does_not_load_never_returns_the_result_of_the_deck_before() -> None:
    with ngspice_pool(size=1) as pool:
        assert_divider_is_right(pool)
        answer = run(pool, UNKNOWN_MODEL, parameters=("@r1[i]",))
        assert (answer["status"], answer["vectors"], answer["parameters"]) == ("bad_deck", {}, {})
        assert "unknown device model nonesuch" in answer["messages"]


@pytest.mark.parametrize(
    "line",
    ["V1 a 0 {nothing}", "V1 a 0 {1+", "V1 a 0 1\n.subckt open a b"],
    ids=["undefined parameter", "unbalanced braces", "unbalanced sub-circuit"],
)
def test_4_a_controlled_exit_ends_its_worker_and_the_next_deck_is_right(line: str) -> None:
    with ngspice_pool(size=1) as pool:
        assert_divider_is_right(pool)
        answer = run(pool, f"exit\n{line}\nR1 a 0 1k\n.op\n.end\n")
        assert (answer["status"], answer["vectors"]) == ("bad_deck", {})
        assert pool.statistics()["restarted"] == 1
        assert_divider_is_right(pool)


def test_5_the_death_of_the_process_costs_one_future() -> None:
    with ngspice_pool(size=1) as pool:
        deadly = "recursion\n.func f(x) {f(x+1)}\nV1 a 0 {f(1)}\nR1 a 0 1k\n.op\n.end\n"
        futures = [pool.submit({"deck": deck, "analysis": "op"}) for deck in (DIVIDER, deadly, DIVIDER)]
        assert futures[0].result(timeout=60)["status"] == "ok"
        with pytest.raises(SimulatorCrashed):
            futures[1].result(timeout=60)
        assert futures[2].result(timeout=60)["vectors"]["b"] == [pytest.approx(2.5)]


def test_6_a_run_without_end_is_killed() -> None:
    with ngspice_pool(size=1, timeout_s=1.0) as pool:
        with pytest.raises(SimulatorTimeout):
            run(pool, "endless\nV1 a 0 SIN(0 1 1G)\nR1 a b 1k\nC1 b 0 1p\n.tran 1p 1000\n.end\n", "tran")
        assert_divider_is_right(pool)


@pytest.mark.parametrize(
    "deck",
    [
        UNKNOWN_MODEL,
        "unknown sub-circuit\nV1 a 0 1\nX1 a 0 nothing\n.op\n.end\n",
        "recursive sub-circuit\nV1 a 0 1\n.subckt s a b\nX1 a b s\n.ends\nX1 a 0 s\n.op\n.end\n",
        "no end\nV1 a 0 1\nR1 a 0 1k\n.op\n",
        "missing include\nV1 a 0 1\n.include /nonexistent/file\n.op\n.end\n",
        "nothing in it\n.op\n.end\n",
        "",
        "garbage\n%%% ???\nfoo bar\n.op\n.end\n",
    ],
    ids=lambda deck: deck.partition("\n")[0] or "empty text",
)
def test_7_what_ngspice_survives_with_an_error_gives_no_numbers(ngspice: WorkerPool, deck: str) -> None:
    answer = run(ngspice, deck)
    assert answer["status"] in ("bad_deck", "not_converged")
    assert answer["vectors"] == {}
    assert_divider_is_right(ngspice)


def test_8_nets_named_like_device_models_do_not_rewire_the_circuit(ngspice: WorkerPool) -> None:
    def chain(first: str, second: str) -> Netlist:
        return Netlist(
            devices=(
                Device("X1", "inverter", ("VIN1", first, "VDD", "VSS")),
                Device("X2", "inverter", (first, second, "VDD", "VSS")),
                Device("M1", "nmos", ("VOUT1", second, "VSS", "VSS")),
                Device("R1", "resistor", ("VDD", "VOUT1")),
            ),
            ports=("VDD", "VSS", "VIN1", "VOUT1"),
        )

    simulator = OperatingPointSimulator(ngspice, technologies["generic180"])
    plain = simulator.run(chain("N1", "N2"))
    named = simulator.run(chain("generic180_nmos", "GENERIC180_INVERTER"))
    assert plain.converged
    assert named.node_voltages_v["VOUT1"] == plain.node_voltages_v["VOUT1"]
    assert named.supply_current_a == plain.supply_current_a


def test_8_every_name_of_a_deck_is_a_port_or_prefixed() -> None:
    netlist = Netlist(
        devices=(
            Device("R_load_VOUT1", "resistor", ("VDD", "n1")),
            Device("weird;name", "resistor", ("N1", "out+")),
            Device("m1", "nmos", ("out-", "VIN1", "0", "gnd")),
            Device("M1", "nmos", ("VOUT1", "vout1", "VSS", "VSS")),
        ),
        ports=("VDD", "VSS", "VIN1", "VOUT1"),
    )
    deck = operating_point_deck(netlist, technologies["generic180"])
    assert deck.node_of == {
        "VDD": "vdd", "VSS": "vss", "VIN1": "vin1", "VOUT1": "vout1",
        "n1": "n_n1", "N1": "n_n1_2", "out+": "n_out_", "out-": "n_out__2", "0": "n_0", "gnd": "n_gnd",
        "vout1": "n_vout1",
    }  # fmt: skip
    assert deck.instance_of == {
        "R_load_VOUT1": "rxr_load_vout1", "weird;name": "rxweird_name", "m1": "m1", "M1": "m1_2",
    }  # fmt: skip


def test_9_our_cards_switch_no_statistics_on_and_give_the_same_digits_three_times(ngspice: WorkerPool) -> None:
    for technology in filter(lambda each: each.is_available, technologies.values()):
        text = "\n".join(technology.device_models(process).text_for(KINDS) for process in technology.processes).lower()
        assert not re.search(r"gauss|unif\(|limit\(|sw_stat|random|rnd", text)
    deck = f"mos\n{generic_cards('nmos')}\nV1 a 0 1\nR1 a b 1k\nM1 b b 0 0 generic180_nmos W=5u L=1u\n.op\n.end\n"
    first, second, third = (run(ngspice, deck)["vectors"] for _ in range(3))
    assert first == second == third


def test_10_a_timestep_too_small_is_tried_again_with_relaxed_tolerances_and_says_so(ngspice: WorkerPool) -> None:
    assert "abstol=1e-10 vntol=1e-5" in RELAXED_OPTIONS
    plain = run(ngspice, rectifier("reltol=1e-3"), "tran")
    assert (plain["status"], plain["relaxed"]) == ("ok", False)
    strict = run(ngspice, rectifier("abstol=1e-22 vntol=1e-18 reltol=1e-12"), "tran")
    assert (strict["status"], strict["relaxed"]) == ("ok", True)
    assert len(strict["vectors"]["time"]) > 100


def test_10_a_transient_that_gives_up_is_not_a_circuit_without_an_operating_point(ngspice: WorkerPool) -> None:
    loop = "loop\nV1 a 0 5\nV2 a 0 3\nC1 a 0 1p\n{}\n.end\n"
    assert run(ngspice, loop.format(".op"))["status"] == "not_converged"
    assert run(ngspice, loop.format(".tran 1n 10n"), "tran")["status"] == "simulator_gave_up"


def test_11_m_is_milli_in_what_we_write(ngspice: WorkerPool) -> None:
    netlist = Netlist(
        devices=(
            Device("R1", "resistor", ("VDD", "VOUT1"), {"resistance_ohm": 30e6}),
            Device("R2", "resistor", ("VDD", "N1"), {"resistance_ohm": 2e-3}),
            Device("R3", "resistor", ("N1", "VSS"), {"resistance_ohm": 1e3}),
        ),
        ports=("VDD", "VSS", "VOUT1"),
    )
    point = OperatingPointSimulator(ngspice, technologies["generic180"]).run(netlist)
    assert point.node_voltages_v["VOUT1"] == pytest.approx(1.8 / 4, rel=1e-6)
    assert point.node_voltages_v["N1"] == pytest.approx(1.8, rel=1e-5)


def test_no_line_of_an_included_file_comes_back(ngspice: WorkerPool, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("marker:x:0:0:marker text:/root:/bin/sh\nsingular matrix: check node marker\n")
    answer = run(ngspice, f"include\nV1 a 0 1\nR1 a 0 1k\n.include {secret}\n.op\n.end\n")
    assert answer["status"] == "bad_deck"
    assert "marker" not in str(answer)


def test_a_missing_library_is_a_sentence_that_says_what_to_do() -> None:
    with ngspice_pool(size=1) as found:
        pool = WorkerPool(
            "app.simulators.ngspice_worker",
            size=1,
            timeout_s=5,
            recycle_after=1,
            limits=found.limits,
            options={"library": "/nonexistent/libngspice.so"},
        )
    with pool, pytest.raises(SimulatorFailure, match="josephson doctor --fetch-ngspice"):
        run(pool, DIVIDER)


def test_two_thousand_runs_stay_below_a_hundred_megabytes() -> None:
    cards = generic_cards("nmos", "pmos")
    deck = (
        f"inverter\n{cards}\nV1 VDD 0 1.8\nV2 in 0 0.8\nM1 out in 0 0 generic180_nmos W=5u L=1u\n"
        "M2 out in VDD VDD generic180_pmos W=15u L=1u\n.op\n.end\n"
    )
    parameters = [f"@m{n}[{name}]" for n in (1, 2) for name in ("id", "vgs", "vds", "vth", "vdsat", "gm", "gds")]
    with ngspice_pool(size=1) as pool:
        request = {"deck": deck, "analysis": "op", "parameters": parameters}
        futures = [pool.submit(request) for _ in range(1999)]
        assert all(future.result(timeout=120)["status"] == "ok" for future in futures)
        worker = pool._lanes[0].worker
        assert worker is not None
        status = Path(f"/proc/{worker._process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s*(\d+) kB", status)
        assert peak is not None
        assert int(peak[1]) < 100_000
