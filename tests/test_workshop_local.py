"""The workshop of this machine, with models of random weights: rows, errors, health."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from app.analog.rules import electrical_findings
from app.analog.spice import parse_spice
from app.errors import (
    CorpusMissing,
    EngineClosed,
    InvalidRequest,
    ModelDamaged,
    NgspiceMissing,
    SpiceSyntaxError,
    UnknownName,
)
from app.findings import has_errors
from app.inference.checkpoint import INDEX_NAME
from app.quantum.qasm import parse_qasm2
from app.requests import (
    AnalogDesignRequest,
    AnalogGenerateRequest,
    AnalogPredictRequest,
    AnalogSimulateRequest,
    AnalogSizeRequest,
    GenerateRequest,
    JobRequest,
    QuantumGenerateRequest,
)
from app.simulators.library import LIBRARY_VARIABLE
from app.validators._base import RUNGS
from app.workshop import Row
from app.workshop_local import LocalWorkshop, build_workshop, choose_accelerator
from tests.bench_workshop import PAIR
from tests.tiny_models import TinySettings, save_tiny_model

ANALOG_KEYS = {"type", "netlist", "device_count", "net_count", "ports"}
QUANTUM_KEYS = {"family", "program", "format", "qubits", "gate_count", "depth"}
COMMON_KEYS = {"index", "status", "seed", "model", "findings", "novelty", "masked_nats", "timings"}

ANALOG = AnalogGenerateRequest(seed=3, max_devices=5)
QUANTUM = QuantumGenerateRequest(seed=3, qubits=3, max_gates=6)
REQUESTS: list[tuple[str, GenerateRequest]] = [("analog.generate", ANALOG), ("quantum.generate", QUANTUM)]

Result = TypeVar("Result")

WAIT_S = 60.0

NOWHERE = "/nowhere/libngspice.so.0"


@contextmanager
def workshop_of(settings: TinySettings, library: str | None = NOWHERE) -> Iterator[LocalWorkshop]:
    """A workshop; without ngspice unless `library` is None (then: wherever it is found) or names another one."""
    with pytest.MonkeyPatch.context() as environment:
        if library is not None:
            environment.setenv(LIBRARY_VARIABLE, library)
        workshop = build_workshop(settings)
    try:
        yield workshop
    finally:
        workshop.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    for kind in ("analog", "quantum"):
        save_tiny_model(folder, kind, name=f"tiny-{kind}")
    return folder


@pytest.fixture(scope="module")
def workshop(models: Path) -> Iterator[LocalWorkshop]:
    """A workshop with a model of each kind and without ngspice."""
    with workshop_of(TinySettings(models)) as made:
        yield made


def produce(
    workshop: LocalWorkshop, kind: str, request: GenerateRequest, indices: Sequence[int], **options: bool
) -> list[Row]:
    """The rows of the prepared request in order of their index."""

    async def collect() -> list[Row]:
        prepared = workshop.prepare(kind, request)
        return [row async for row in workshop.produce(kind, prepared, indices, **options)]

    return sorted(run(collect()), key=lambda row: int(row["index"]))


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work returns; a workshop that leaves a caller waiting fails the test."""

    async def bounded() -> Result:
        return await asyncio.wait_for(work, WAIT_S)

    return asyncio.run(bounded())


def timeless(rows: Sequence[Row]) -> list[Row]:
    return [{key: value for key, value in row.items() if key != "timings"} for row in rows]


def codes(row: Row) -> set[str]:
    return {finding["code"] for finding in row["findings"]}


def test_an_analog_row_is_that_of_the_contract(workshop: LocalWorkshop):
    rows = produce(workshop, "analog.generate", ANALOG, range(6))
    assert [row["index"] for row in rows] == list(range(6))
    for row in rows:
        assert set(row) == COMMON_KEYS | ANALOG_KEYS
        assert (row["seed"], row["model"]) == (3, "tiny-analog")
        netlist = parse_spice(row["netlist"]).netlist
        assert row["device_count"] == len(netlist.devices) <= 5
        assert row["net_count"] == len(netlist.nets)
        assert row["ports"] == list(netlist.ports)
        assert row["status"] == ("invalid" if has_errors(electrical_findings(netlist)) else "ok")
        assert row["novelty"]["is_novel"]
        assert set(row["timings"]) == {"queued_s", "generate_s", "check_s"}
        assert all(value >= 0 for value in row["timings"].values())
    json.dumps(rows, allow_nan=False)


def test_a_quantum_row_is_that_of_the_contract(workshop: LocalWorkshop):
    rows = produce(workshop, "quantum.generate", QUANTUM, range(6))
    for row in rows:
        assert set(row) == COMMON_KEYS | QUANTUM_KEYS
        program = parse_qasm2(row["program"])
        # random weights may measure and do nothing else, which the check finds
        assert row["status"] == ("ok" if program.gates_used else "invalid")
        assert (row["format"], row["model"]) == ("qasm2", "tiny-quantum")
        assert row["qubits"] == program.qubit_count == 3
        assert (row["gate_count"], row["depth"]) == (program.gate_count, program.depth)
        assert not program.idle_qubits
    json.dumps(rows, allow_nan=False)


def test_without_ngspice_an_analog_row_says_that_nothing_was_simulated(workshop: LocalWorkshop):
    for row in produce(workshop, "analog.generate", ANALOG, range(4)):
        if row["status"] == "ok":
            assert "op_not_run" in codes(row)
            assert "operating_point" not in row


@pytest.mark.parametrize(("kind", "request_"), REQUESTS)
def test_a_row_does_not_depend_on_the_chunk_it_is_made_in(
    workshop: LocalWorkshop, kind: str, request_: GenerateRequest
):
    whole = timeless(produce(workshop, kind, request_, range(8)))
    pieces = [
        row
        for indices in ([5, 0], [7], [6, 4, 1, 2], [3])
        for row in timeless(produce(workshop, kind, request_, indices, in_background=True))
    ]
    assert sorted(pieces, key=lambda row: int(row["index"])) == whole


@pytest.mark.parametrize(("kind", "request_"), REQUESTS)
def test_another_seed_gives_other_circuits(workshop: LocalWorkshop, kind: str, request_: GenerateRequest):
    text = "netlist" if kind == "analog.generate" else "program"
    first, second = (produce(workshop, kind, request_.model_copy(update={"seed": seed}), range(4)) for seed in (3, 4))
    assert not {row[text] for row in first} & {row[text] for row in second}


def test_callers_who_ask_at_once_get_what_they_would_get_alone(workshop: LocalWorkshop):
    alone = [timeless(produce(workshop, kind, request, range(4))) for kind, request in REQUESTS]

    async def rows(kind: str, request: GenerateRequest) -> list[Row]:
        prepared = workshop.prepare(kind, request)
        return [row async for row in workshop.produce(kind, prepared, range(4))]

    async def together() -> list[list[Row]]:
        return await asyncio.gather(*(rows(kind, request) for kind, request in REQUESTS * 3))

    for found, expected in zip(run(together()), alone * 3, strict=True):
        assert timeless(sorted(found, key=lambda row: int(row["index"]))) == expected


@pytest.mark.parametrize(("kind", "request_"), REQUESTS)
def test_the_bare_network_gives_invalid_rows_and_never_raises(
    workshop: LocalWorkshop, kind: str, request_: GenerateRequest
):
    rows = produce(workshop, kind, request_.model_copy(update={"grammar": False}), range(12))
    assert len(rows) == 12
    assert {row["status"] for row in rows} == {"invalid"}
    for row in rows:
        assert codes(row) <= {"not_a_sentence", "unfinished"}
        assert row["findings"][0]["message"].startswith("token ")
        assert row["findings"][0]["hint"] == 'sample with the grammar: "grammar": true'
    assert any("unfinished" in codes(row) for row in rows)


def test_rows_of_the_bare_network_leave_their_neighbours_alone(workshop: LocalWorkshop):
    expected = timeless(produce(workshop, "analog.generate", ANALOG, range(6)))

    async def rows(grammar: bool) -> list[Row]:
        prepared = workshop.prepare("analog.generate", ANALOG.model_copy(update={"grammar": grammar}))
        return [row async for row in workshop.produce("analog.generate", prepared, range(6))]

    async def together() -> tuple[list[Row], list[Row]]:
        return await asyncio.gather(rows(True), rows(False))

    ruled, _ = run(together())
    assert timeless(sorted(ruled, key=lambda row: int(row["index"]))) == expected


def test_a_row_that_is_not_to_be_validated_has_no_findings(workshop: LocalWorkshop):
    for kind, request in REQUESTS:
        for row in produce(workshop, kind, request.model_copy(update={"validate_": False}), range(3)):
            assert (row["status"], row["findings"]) == ("ok", [])


def test_a_deck_is_part_of_a_row_where_it_is_asked_for(workshop: LocalWorkshop):
    for row in produce(workshop, "analog.generate", ANALOG.model_copy(update={"include_deck": True}), range(2)):
        assert ".op" in row["deck"]


def test_what_is_asked_for_is_what_comes(workshop: LocalWorkshop):
    request = AnalogGenerateRequest(
        seed=1, type="filter", max_devices=6, kinds=("resistor", "capacitor"), ports=("VIN1", "VOUT1")
    )
    for row in produce(workshop, "analog.generate", request, range(5)):
        netlist = parse_spice(row["netlist"]).netlist
        assert row["type"] == "filter"
        assert {device.kind for device in netlist.devices} <= {"resistor", "capacitor"}
        assert {"VIN1", "VOUT1", "VSS"} <= set(row["ports"])


def test_closing_the_iterator_stops_the_work(workshop: LocalWorkshop):
    request = workshop.prepare("analog.generate", AnalogGenerateRequest(seed=1, max_devices=255))

    async def first_row() -> Row:
        rows = workshop.produce("analog.generate", request, range(200))
        async for row in rows:
            await rows.aclose()  # type: ignore[attr-defined]  # it is an asynchronous generator
            return row
        raise AssertionError("no row came")

    assert run(first_row())["status"] in ("ok", "invalid")
    facts = workshop.health()["engine"]["tiny-analog"]
    made = facts["sequences"]
    assert produce(workshop, "analog.generate", ANALOG, range(2))
    facts = workshop.health()["engine"]["tiny-analog"]
    assert (facts["active"], facts["waiting"]) == (0, 0)
    assert facts["sequences"] < made + 2 + workshop.health()["engine"]["tiny-analog"]["slots"]


def test_prepare_draws_a_seed_and_names_the_model(workshop: LocalWorkshop):
    drawn = {workshop.prepare("analog.generate", AnalogGenerateRequest()).seed for _ in range(4)}
    assert len(drawn) == 4
    assert all(seed is not None and 0 <= seed < 2**53 for seed in drawn)
    prepared = workshop.prepare("quantum.generate", QUANTUM)
    assert (prepared.seed, prepared.made_by) == (3, "tiny-quantum")


@pytest.mark.parametrize(
    ("kind", "request_", "error", "sentence", "pointer"),
    [
        ("optical.generate", ANALOG, UnknownName, "no job kind named 'optical.generate'", "/kind"),
        ("analog.generate", AnalogGenerateRequest(model="tinny-analog"), UnknownName, "no model named", "/model"),
        (
            "analog.generate",
            AnalogGenerateRequest(model="tiny-quantum"),
            InvalidRequest,
            "tiny-quantum is a model for quantum circuits",
            "/model",
        ),
        (
            "analog.generate",
            AnalogGenerateRequest(max_devices=1, kinds=("resistor",), ports=("VIN1", "VOUT1")),
            InvalidRequest,
            "3 nets must be used, which takes at least 2 devices",
            "/ports",
        ),
        ("quantum.generate", QuantumGenerateRequest(family="nothing"), UnknownName, "no family named", "/family"),
    ],
)
def test_a_request_that_no_model_here_can_satisfy_is_refused_before_anything_runs(
    workshop: LocalWorkshop,
    kind: str,
    request_: GenerateRequest,
    error: type[InvalidRequest | UnknownName],
    sentence: str,
    pointer: str,
):
    with pytest.raises(error) as caught:
        workshop.prepare(kind, request_)
    assert str(caught.value).startswith(sentence)
    assert caught.value.pointer == pointer


def test_a_request_that_was_not_prepared_is_a_defect(workshop: LocalWorkshop):
    async def first() -> None:
        await anext(aiter(workshop.produce("analog.generate", AnalogGenerateRequest(), [0])))

    with pytest.raises(ValueError, match="the request is not prepared: it has no seed"):
        run(first())


def validated(workshop: LocalWorkshop, kind: str, text: str) -> Mapping[str, Any]:
    return run(workshop.validate(kind, text))


def test_texts_are_validated_by_every_validator_of_their_kind(workshop: LocalWorkshop):
    good = validated(workshop, "analog", "* divider\n* ports: VIN1 VOUT1\nR1 VIN1 VOUT1 1k\nR2 VOUT1 0 1k\n.end\n")
    assert good["status"] == "ok"
    assert set(good["facts"]) == {"electrical_rules"}, "without ngspice there is no operating point to tell of"
    bad = validated(workshop, "analog", "* open\nR1 VDD a 1k\nR2 VDD 0 1k\n.end\n")
    assert bad["status"] == "invalid"
    assert "floating_net" in {finding["code"] for finding in bad["findings"]}
    assert "operating_point" not in bad["facts"], "nothing is simulated after an error"
    program = validated(workshop, "quantum", 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\nh q[0];\n')
    assert program["status"] == "ok"
    assert "openqasm2" in program["facts"]


def test_a_text_that_is_no_netlist_is_refused_and_one_that_is_no_program_has_a_finding(workshop: LocalWorkshop):
    with pytest.raises(SpiceSyntaxError, match=r"line [12]"):
        validated(workshop, "analog", "M1 a b\n.control\n")
    answer = validated(workshop, "quantum", "OPENQASM 2.0;\nqreg q[")
    (finding,) = answer["findings"]
    assert (answer["status"], finding["code"], finding["line"], finding["column"]) == ("invalid", "not_readable", 2, 6)


def test_without_ngspice_nothing_can_be_simulated_and_the_sentence_says_what_to_do(workshop: LocalWorkshop):
    asked = {"specification": {"bounds": ["gain_db>30"]}, "seed": 1}
    requests: dict[str, JobRequest] = {
        "analog.simulate": AnalogSimulateRequest(netlist=PAIR, testbench="opamp", seed=1),
        "analog.size": AnalogSizeRequest.model_validate({"netlist": PAIR, "testbench": "opamp", **asked}),
        "analog.design": AnalogDesignRequest.model_validate({"type": "opamp", **asked}),
    }
    for kind, request in requests.items():
        for call in (workshop.prepare, workshop.heading):
            with pytest.raises(NgspiceMissing, match="run 'josephson doctor --fetch-ngspice'"):
                call(kind, request)


@pytest.mark.simulator
def test_a_circuit_is_sized_and_its_simulations_are_kept(models: Path, tmp_path: Path):
    asked = {"bounds": ["gain_db>20", "supply_current_a<1m"], "corners": "nominal"}
    request = AnalogSizeRequest.model_validate(
        {"netlist": PAIR, "testbench": "opamp", "specification": asked, "method": "random", "seed": 1}
    )

    async def rows(workshop: LocalWorkshop) -> list[Row]:
        prepared = workshop.prepare("analog.size", request)
        return [row async for row in workshop.produce("analog.size", prepared, [0])]

    with workshop_of(TinySettings(models, data_dir=tmp_path), library=None) as workshop:
        *_, row = run(rows(workshop))
        assert (row["index"], row["status"]) == (0, "ok")
        assert row["stored_rows"] == row["simulations"] - 1
        assert "insight-m" in {each["name"] for each in workshop.describe()["sizing_methods"]}


def test_without_a_neural_simulator_nothing_can_be_predicted_and_the_sentence_says_what_to_do(workshop: LocalWorkshop):
    request = AnalogPredictRequest(netlist=PAIR, testbench="opamp", seed=1)
    for call in (workshop.prepare, workshop.heading):
        with pytest.raises(CorpusMissing, match="train one with 'josephson train simulator'"):
            call("analog.predict", request)


@pytest.mark.simulator
def test_circuits_and_simulations_come_out_of_one_workshop_and_one_pool(models: Path, tmp_path: Path):
    request = AnalogSimulateRequest.model_validate({"netlist": PAIR, "testbench": "opamp", "draw": {"count": 6}})

    async def together(workshop: LocalWorkshop) -> tuple[list[Row], list[Row]]:
        async def rows(kind: str, asked: JobRequest) -> list[Row]:
            prepared = workshop.prepare(kind, asked)
            return [row async for row in workshop.produce(kind, prepared, range(6))]

        return await asyncio.gather(rows("analog.simulate", request), rows("analog.generate", ANALOG))

    with workshop_of(TinySettings(models, data_dir=tmp_path), library=None) as workshop:
        simulated, made = run(together(workshop))
        assert [row["status"] for row in simulated] == ["ok"] * 6
        assert len(made) == 6
        assert workshop.health()["workers"].keys() == {"ngspice", "qiskit"}
        prepared = workshop.prepare("analog.simulate", request)
        assert workshop.heading("analog.simulate", prepared)["testbench"] == "opamp"
        verdict = run(workshop.validate("analog", PAIR, function_of="opamp"))
        assert verdict["facts"]["function"]["works"]
        assert list(verdict["facts"]) == ["electrical_rules", "operating_point", "conduction", "function"]
        verdict = run(workshop.validate("analog", PAIR, checks="conduction"))
        assert list(verdict["facts"]) == ["electrical_rules", "operating_point", "conduction"]
        verdict = run(workshop.validate("analog", PAIR, checks="structure"))
        assert list(verdict["facts"]) == ["electrical_rules"]
        assert workshop.heading("analog.generate", ANALOG) == {"seed": 3, "model": None}


def test_a_technology_that_was_added_and_is_damaged_is_named_in_the_log(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = tmp_path / "technologies" / "mine"
    folder.mkdir(parents=True)
    (folder / "technology.json").write_text("{}")
    with workshop_of(TinySettings(models, data_dir=tmp_path)):
        assert "the added technology 'mine' is left out" in caplog.text


def test_the_workshop_describes_what_it_has(workshop: LocalWorkshop):
    told = workshop.describe()
    assert [(model["name"], model["kind"], model["is_default"]) for model in told["models"]] == [
        ("tiny-analog", "analog", True),
        ("tiny-quantum", "quantum", True),
    ]
    assert all(model["parameters"] > 0 and len(model["sha256"]) == 64 for model in told["models"])
    assert {entry["name"] for entry in told["validators"]} == {
        "conduction",
        "electrical_rules",
        "function",
        "operating_point",
        "oracle",
        "openqasm2",
    }
    assert {entry["rung"] for entry in told["validators"]} == set(RUNGS)
    assert [entry["name"] for entry in told["technologies"] if entry["is_default"]] == ["generic180"]
    assert "opamp" in told["families"]["analog"]
    assert "ghz" in told["families"]["quantum"]
    json.dumps(told, allow_nan=False)


def test_without_ngspice_the_workshop_is_not_ready_and_says_what_to_do(workshop: LocalWorkshop):
    health = workshop.health()
    assert not health["ready"]
    assert health["reasons"] == [
        f"libngspice was not found (looked at {NOWHERE}, which {LIBRARY_VARIABLE} names and which is not a file); "
        "run 'josephson doctor --fetch-ngspice', or install the Debian package libngspice0, or set "
        f"{LIBRARY_VARIABLE} to the shared library"
    ]
    assert set(health["workers"]) == {"qiskit"}
    assert health["device"] == "cpu"
    json.dumps(health, allow_nan=False)


def test_health_counts_what_the_engines_did(workshop: LocalWorkshop):
    before = workshop.health()["engine"]["tiny-analog"]
    produce(workshop, "analog.generate", ANALOG, range(3))
    after = workshop.health()["engine"]["tiny-analog"]
    assert after["sequences"] == before["sequences"] + 3
    assert after["tokens"] > before["tokens"]
    assert after["slots"] == 8
    assert after["tokens_per_busy_s"] > 0


def test_the_neural_simulator_is_described_and_not_loaded(tmp_path: Path):
    folder = tmp_path / "simulator"
    folder.mkdir()
    about = {"name": "simulator", "kind": "simulator", "parameters": 7, "training": {"rows": {"training": 90}}}
    (folder / "config.json").write_text(json.dumps(about))
    (folder / "manifest.json").write_text(json.dumps({"weights.safetensors": "ab"}))
    with workshop_of(TinySettings(tmp_path)) as workshop:
        (model,) = workshop.describe()["models"]
    assert (model["name"], model["kind"], model["is_default"]) == ("simulator", "simulator", True)
    assert (model["training_rows"], model["sha256"], model["is_loaded"]) == (90, "ab", False)


def test_a_damaged_model_is_told_and_the_others_work(models: Path, tmp_path: Path):
    save_tiny_model(tmp_path, "quantum", name="sound")
    folder = save_tiny_model(tmp_path, "analog", name="broken")
    (folder / "weights.safetensors").write_bytes(b"")
    sentence = "model broken: weights.safetensors does not match its checksum; restore models/broken"
    with workshop_of(TinySettings(tmp_path)) as workshop:
        health = workshop.health()
        assert not health["ready"]
        assert health["reasons"][0].startswith(sentence)
        for request in (ANALOG, AnalogGenerateRequest(model="broken")):
            with pytest.raises(ModelDamaged, match=r"weights\.safetensors does not match its checksum"):
                workshop.prepare("analog.generate", request)
        assert workshop.prepare("quantum.generate", QUANTUM).made_by == "sound"
        assert [model["name"] for model in workshop.describe()["models"]] == ["sound"]


def test_a_damaged_index_is_a_damaged_model(tmp_path: Path):
    folder = save_tiny_model(tmp_path, "analog", name="broken")
    (folder / INDEX_NAME).write_bytes(b"PK")
    with workshop_of(TinySettings(tmp_path)) as workshop:
        assert "model broken: training_index.npz" in workshop.health()["reasons"][0]


def test_a_workshop_without_models_says_where_it_looked(tmp_path: Path):
    with workshop_of(TinySettings(tmp_path)) as workshop:
        assert "no trained model is loaded" in workshop.health()["reasons"]
        with pytest.raises(ModelDamaged) as caught:
            workshop.prepare("analog.generate", ANALOG)
    assert str(caught.value) == f"no analog model can be used: there is none in {tmp_path}"


def test_a_simulator_that_cannot_be_loaded_costs_error_rows_and_nothing_else(models: Path, tmp_path: Path):
    library = tmp_path / "libngspice.so.0"
    library.write_text("this is no shared library")
    request = ANALOG.model_copy(update={"kinds": ("resistor",)})
    with workshop_of(TinySettings(models), str(library)) as workshop:
        rows = produce(workshop, "analog.generate", request, range(3))
    assert len(rows) == 3
    assert any(row["status"] == "error" for row in rows)
    for row in rows:
        if row["status"] == "error":
            assert row["findings"] == []
            assert set(row["problem"]) == {"type", "detail"}
            assert row["problem"]["type"] != "InternalError"


def test_a_closed_workshop_is_not_ready_and_raises(models: Path):
    with workshop_of(TinySettings(models)) as workshop:
        prepared = workshop.prepare("analog.generate", ANALOG)
        assert produce(workshop, "analog.generate", ANALOG, [0])
        run(workshop.aclose())
        assert not workshop.health()["ready"]

        async def one() -> None:
            await anext(aiter(workshop.produce("analog.generate", prepared, [0])))

        with pytest.raises(EngineClosed, match="the workshop is closed"):
            run(one())


@pytest.mark.parametrize("after", [0, 1, 40])
def test_closing_a_busy_workshop_leaves_no_caller_waiting(models: Path, after: int):
    with workshop_of(TinySettings(models)) as workshop:
        prepared = workshop.prepare("analog.generate", ANALOG)

        async def until_it_ends() -> int:
            count = 0
            async for _ in workshop.produce("analog.generate", prepared, range(400)):
                count += 1
                if count == after:
                    await workshop.aclose()
            return count

        async def both() -> None:
            if after == 0:
                await asyncio.gather(until_it_ends(), workshop.aclose())
            await until_it_ends()

        with pytest.raises(EngineClosed, match="closed"):
            run(both())


def test_the_accelerator_is_chosen_by_name():
    assert choose_accelerator("cpu").type == "cpu"
    assert choose_accelerator("auto").type in ("cpu", "cuda")


def test_a_workshop_in_bfloat16_makes_rows_too(models: Path):
    with workshop_of(replace(TinySettings(models), precision="bfloat16")) as workshop:
        assert {row["index"] for row in produce(workshop, "analog.generate", ANALOG, range(3))} == {0, 1, 2}


@pytest.mark.simulator
def test_with_ngspice_a_legal_circuit_has_an_operating_point(models: Path):
    with workshop_of(TinySettings(models), None) as workshop:
        assert workshop.health()["ready"]
        assert workshop.health()["reasons"] == []
        request = AnalogGenerateRequest(seed=2, max_devices=4, kinds=("resistor", "nmos"), ports=("VDD",))
        rows = produce(workshop, "analog.generate", request, range(8))
        points = [row["operating_point"] for row in rows if "operating_point" in row]
        assert points
        for point in points:
            if point["converged"]:
                assert all(math.isfinite(voltage) for voltage in point["node_voltages_v"].values())
        again = produce(workshop, "analog.generate", request, [6, 1])
        assert timeless(again) == [timeless(rows)[1], timeless(rows)[6]]
        assert workshop.health()["workers"]["ngspice"]
    json.dumps(rows, allow_nan=False)


@pytest.mark.simulator
def test_a_row_carries_the_facts_of_every_rung_that_was_asked_for(models: Path, tmp_path: Path):
    fields = {"seed": 2, "type": "current_mirror", "max_devices": 4, "kinds": ("resistor", "nmos"), "ports": ("VDD",)}
    with workshop_of(TinySettings(models, data_dir=tmp_path), None) as workshop:
        rows_of = {}
        for checks in RUNGS:
            request = AnalogGenerateRequest.model_validate({**fields, "checks": checks})
            rows_of[checks] = produce(workshop, "analog.generate", request, range(8))
    for number, checks in enumerate(RUNGS):
        shown = set().union(*(row.keys() & set(RUNGS) for row in rows_of[checks]))
        assert shown == set(RUNGS[1 : number + 1])
    json.dumps(rows_of, allow_nan=False)
    conducting = [row["conduction"]["conducting_share"] for row in rows_of["conduction"] if "conduction" in row]
    assert any(share is not None and share > 0 for share in conducting)
    tried = [row["function"] for row in rows_of["function"] if "function" in row]
    assert {facts["type"] for facts in tried} == {"current_mirror"}
