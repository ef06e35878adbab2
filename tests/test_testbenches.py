"""Laws of every testbench: what it says of itself, how it recognises ports, and that its decks hold what it reads."""

from __future__ import annotations

import re

import pytest

from app.analog.corpus import read_archetypes
from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Device, Netlist
from app.errors import InvalidRequest, UnknownName
from app.technologies._base import technologies
from app.testbenches._base import ANALYSES, Analysis, Bound, Corner, Reading, Testbench, Undefined, testbenches
from app.testbenches._simulator import make_corner, prepare_bench

#: A unit as it may stand at the end of a metric's name.
UNITS = {
    "A": "_a", "V": "_v", "W": "_w", "Hz": "_hz", "s": "_s", "dB": "_db", "deg": "_deg", "m^2": "_m2", "ohm": "_ohm",
    "J": "_j", "F": "_f",
    "V/s": "_v_per_s", "V/sqrt(Hz)": "_v_per_rthz", "A/sqrt(Hz)": "_a_per_rthz", "Hz/V": "_hz_per_v",
}  # fmt: skip


@pytest.fixture(params=sorted(testbenches))
def bench(request: pytest.FixtureRequest) -> Testbench:
    return testbenches[request.param]


def netlist_for(bench: Testbench) -> Netlist:
    """A resistor from every port that the testbench asks for to each supply, so that it can be wired."""
    ports = [role.ports[0] for role in bench.roles]
    devices = [
        Device(f"R{number}{supply}", "resistor", (port, supply), {"resistance_ohm": 1e4})
        for number, port in enumerate(dict.fromkeys(ports))
        for supply in ("VDD", "VSS")
    ]
    if bench.name == "lc_oscillator":
        devices.append(Device("L1", "inductor", (ports[0], "VDD"), {"inductance_h": 1e-9}))
    return Netlist(tuple(devices), ("VDD", "VSS", *dict.fromkeys(ports)))


def analyses_of(bench: Testbench) -> dict[str, Analysis]:
    """Every run by name: a circuit without some port or feedback may need fewer of them than its fellows."""
    found: dict[str, Analysis] = {}
    shipped = (circuit.netlist for circuit in read_archetypes() if circuit.type in bench.types)
    for netlist in (netlist_for(bench), *shipped):
        try:
            prepared = prepare_bench(netlist, bench, technologies["generic180"])
        except InvalidRequest:
            continue
        found |= {run.name: run.analysis for setup in bench.setups(prepared.circuit) for run in setup.runs}
    return found


def test_it_says_what_it_is_and_for_which_types(bench: Testbench) -> None:
    assert testbenches[bench.name] is bench
    assert bench.summary
    assert bench.version >= 1
    assert set(bench.types) <= set(CIRCUIT_TYPES)


def test_every_metric_has_a_unit_a_definition_and_says_when_it_has_no_value(bench: Testbench) -> None:
    names = [metric.name for metric in bench.metrics]
    assert len(set(names)) == len(names)
    for metric in bench.metrics:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
        assert metric.unit
        assert len(metric.definition) > 15
        assert metric.undefined
        if metric.unit in UNITS:
            assert metric.name.endswith(UNITS[metric.unit]), f"{metric.name} is in {metric.unit}"


def test_metrics_stand_from_cheap_to_costly_and_read_runs_that_there_are(bench: Testbench) -> None:
    analysis_of = analyses_of(bench)
    costs = []
    for metric in bench.metrics:
        assert set(metric.runs) <= set(analysis_of), f"{metric.name} reads a run that is in no setup"
        costs.append(max((ANALYSES.index(analysis_of[run]) for run in metric.runs), default=0))
    assert costs == sorted(costs)


def test_runs_and_setups_have_names_of_their_own(bench: Testbench) -> None:
    prepared = prepare_bench(netlist_for(bench), bench, technologies["generic180"])
    setups = bench.setups(prepared.circuit)
    assert len({setup.name for setup in setups}) == len(setups)
    runs = [run.name for setup in setups for run in setup.runs]
    assert len(set(runs)) == len(runs)
    assert set(bench.derive) <= {setup.name for setup in setups}


def test_no_metric_has_a_value_where_nothing_was_run(bench: Testbench) -> None:
    corner = Corner("tt", 1.8, 27.0)
    nodes = {role.name: role.ports[0].lower() for role in bench.roles}
    reading = Reading({}, {}, nodes, bench.settings_for(corner), corner, {}, 0.0, bench.metric_of)
    for metric in bench.metrics:
        found = reading.value(metric.name)
        assert isinstance(found, Undefined), metric.name
        assert found.reason


def test_the_function_that_is_asked_for_names_metrics(bench: Testbench) -> None:
    assert bench.works
    for bound in bench.works:
        assert bound.metric in bench.metric_of
        assert bound != Bound(bound.metric)


def test_a_missing_port_is_named_with_what_it_is_for(bench: Testbench) -> None:
    whole = netlist_for(bench)
    for role in bench.roles:
        if not role.is_required:
            continue
        without = {net: f"X{number}" for number, net in enumerate(role.ports)}
        devices = tuple(
            Device(device.name, device.kind, tuple(without.get(net, net) for net in device.nets), device.sizes)
            for device in whole.devices
        )
        with pytest.raises(InvalidRequest, match="cannot drive this circuit") as caught:
            bench.wire(Netlist(devices, tuple(without.get(port, port) for port in whole.ports)))
        assert caught.value.pointer == "/netlist"
        assert "name the port" in str(caught.value)


def test_every_setting_has_a_default_within_its_range(bench: Testbench) -> None:
    for technology in ("generic180", "generic45"):
        corner = make_corner(technologies[technology])
        for setting in bench.settings:
            scale = corner.supply_v if setting.of_supply else 1.0
            assert setting.low * scale <= bench.settings_for(corner)[setting.name] <= setting.high * scale
            with pytest.raises(InvalidRequest, match=rf"setting {setting.name} is .* takes"):
                bench.settings_for(corner, {setting.name: 1e30})


def test_names_that_a_testbench_does_not_have_are_refused_with_a_proposal(bench: Testbench) -> None:
    corner = make_corner(technologies["generic180"])
    metric = bench.metrics[0].name
    with pytest.raises(UnknownName, match=f"no metric of testbench {bench.name} named '{metric}x'; did you mean"):
        bench.wanted([f"{metric}x"])
    with pytest.raises(UnknownName, match="no setting of testbench"):
        bench.settings_for(corner, {"no_such": 1.0})
    with pytest.raises(UnknownName, match="no role of testbench"):
        bench.wire(netlist_for(bench), {"no_such": "VIN1"})


def test_a_role_given_to_a_net_that_is_not_there_is_refused(bench: Testbench) -> None:
    role = bench.roles[0].name
    with pytest.raises(InvalidRequest, match=f"the netlist has no net 'NOWHERE' to be the {role}"):
        bench.wire(netlist_for(bench), {role: "NOWHERE"})


@pytest.mark.parametrize(
    ("process", "supply_v", "celsius", "sentence"),
    [
        ("xx", None, None, "no process corner of generic180 named 'xx'"),
        (None, 18.0, None, "the supply is 18 V, corners of generic180 take 0.9 to 2.7 V"),
        (None, None, 1e4, "the temperature is 10000 C, corners take -55 to 200 C"),
        (None, float("nan"), None, "the supply is nan V"),
    ],
)
def test_corners_outside_of_what_models_are_for_are_refused(
    process: str | None, supply_v: float | None, celsius: float | None, sentence: str
) -> None:
    with pytest.raises((UnknownName, InvalidRequest), match=sentence):
        make_corner(technologies["generic180"], process, supply_v, celsius)
