from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.cli.door import Door
from app.cli.options import analog_request, coupling, quantum_request
from app.cli.progress import ProgressBar
from app.cli.serve import check_host, is_loopback
from app.errors import InvalidRequest, SimulatorCrashed
from app.requests import AnalogGenerateRequest, GenerateRequest, JobRequest, QuantumGenerateRequest
from app.testing import FakeWorkshop
from app.validators._base import Rung
from app.workshop import Row


def run(*words: str, workshop: FakeWorkshop | None = None) -> int:
    return main(words, Door(make_workshop=lambda settings: workshop or FakeWorkshop()))


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_generate_writes_one_row_a_line_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    target = tmp_path / "out.ndjson"
    assert run("generate", "analog", "--count", "20", "--seed", "7", "--output", str(target)) == 0
    assert [row["index"] for row in rows_of(target)] == list(range(20))
    assert {row["seed"] for row in rows_of(target)} == {7}
    said = capsys.readouterr()
    assert said.out == ""
    assert "20 circuits in" in said.err
    assert "seed 7" in said.err


def test_rows_that_come_out_of_order_are_written_in_order(tmp_path: Path):
    class Backwards(FakeWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            async for row in super().produce(kind, request, list(reversed(indices))):
                yield row

    target = tmp_path / "out.ndjson"
    assert run("generate", "quantum", "--count", "9", "--output", str(target), workshop=Backwards()) == 0
    assert [row["index"] for row in rows_of(target)] == list(range(9))


def test_generate_prints_rows_on_standard_output_and_the_summary_apart(capsys: pytest.CaptureFixture[str]):
    assert run("generate", "quantum", "--family", "ghz", "--qubits", "5", "--count", "3") == 0
    said = capsys.readouterr()
    assert [json.loads(line)["index"] for line in said.out.splitlines()] == [0, 1, 2]
    assert "3 circuits" in said.err


def test_json_is_one_document_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("generate", "analog", "--count", "4", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["circuits"]) == 4
    assert document["counts"]["total"] == 4
    target = tmp_path / "out.ndjson"
    assert run("generate", "analog", "--count", "4", "--json", "-o", str(target)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["output"] == str(target)
    assert document["counts"]["done"] == len(rows_of(target)) == 4


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("generate", "analog", "--count", "0"), "--count: Input should be greater than or equal to 1 (got '0')"),
        (("generate", "analog", "--count", "1000000000"), "--count: Input should be less than or equal to 1000000"),
        (("generate", "analog", "--max-devices", "0"), "--max-devices: Input should be greater"),
        (("generate", "quantum", "--qubits", "1000000"), "--qubits: Input should be less than or equal to 128"),
        (("generate", "quantum", "--format", "qasm9"), "--format: Input should be 'qasm2' or 'qasm3'"),
        (("generate", "quantum", "--temperature", "nan"), "--temperature: "),
        (
            ("generate", "quantum", "--coupling-map", "0-1-2,"),
            "--coupling-map '0-1-2,' is neither line, ring, grid, heavy_hex, full nor pairs",
        ),
        (("generate", "analog", "--output", "/nowhere/out"), "--output: /nowhere/out cannot be written: No such file"),
        (("generate", "analog", "--prefix", "/nowhere/b.cir"), "/nowhere/b.cir cannot be read: No such file"),
        (("generate", "analog", "--min-devices", "256"), "--min-devices: Input should be less than or equal to 255"),
        (("validate", "analog", "/nowhere/a.cir"), "/nowhere/a.cir cannot be read: No such file"),
        (("generate", "analog", "--checks", "all"), "--checks: Input should be 'structure', 'operating_point', "),
        (("generate", "analog", "--cuont", "3"), "No such option: --cuont"),
        (("generate", "analog", "--count", "many"), "Invalid value for '--count' / '-n'"),
        (("jobs", "show", "../secrets"), "'../secrets' is not the id of a job"),
        (("doctor", "--only", "ngspce"), "no check named 'ngspce'; did you mean 'ngspice'?"),
        (("serve", "--host", "0.0.0.0"), "--host 0.0.0.0 would open the service"),
        (("frobnicate",), "No such command 'frobnicate'"),
    ],
)
def test_what_was_asked_wrongly_is_status_2_and_names_the_option(
    words: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    assert run(*words, "--json") == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert sentence in json.loads(said.out)["error"]["message"]
    assert "Traceback" not in said.err


def test_a_refused_request_leaves_no_file(tmp_path: Path):
    class Refusing(FakeWorkshop):
        def prepare(self, kind: str, request: JobRequest) -> JobRequest:
            raise InvalidRequest("no model here makes that", pointer="/type")

    target = tmp_path / "out.ndjson"
    assert run("generate", "analog", "--output", str(target), workshop=Refusing()) == 2
    assert not target.exists()


def test_a_failure_of_the_machine_is_status_1_and_keeps_the_rows_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    class Dying(FakeWorkshop):
        async def produce(
            self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
        ) -> AsyncIterator[Row]:
            async for row in super().produce(kind, request, indices[:5]):
                yield row
            raise SimulatorCrashed("every worker died")

    target = tmp_path / "out.ndjson"
    assert run("generate", "analog", "--count", "9", "--output", str(target), workshop=Dying()) == 1
    assert len(rows_of(target)) == 5
    assert "josephson: every worker died" in capsys.readouterr().err


def test_ctrl_c_leaves_a_file_of_whole_rows_and_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    closed: list[bool] = []

    class Slow(FakeWorkshop):
        async def aclose(self) -> None:
            closed.append(True)

    target = tmp_path / "out.ndjson"

    def press_ctrl_c() -> None:
        deadline = time.monotonic() + 20
        while (not target.exists() or target.read_text().count("\n") < 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    try:
        threading.Thread(target=press_ctrl_c).start()
        assert run("generate", "analog", "--count", "100000", "-o", str(target), workshop=Slow(delay_s=0.01)) == 1
    finally:
        signal.signal(signal.SIGINT, inherited)
    made = len(rows_of(target))
    assert 3 <= made < 100_000
    assert f"interrupted: {made} of 100000 circuits are in {target}" in capsys.readouterr().err
    assert closed == [True]


def test_validate_prints_findings_and_an_invalid_circuit_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    class Strict(FakeWorkshop):
        async def validate(
            self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
        ) -> dict[str, Any]:
            await asyncio.sleep(0)
            finding = {
                "code": "floating_gate",
                "severity": "error",
                "message": "the gate floats",
                "where": "M1",
                "hint": "drive it",
            }
            return {"status": "invalid", "findings": [finding], "facts": {"devices": 1}}

    source = tmp_path / "a.cir"
    source.write_text("R1 VIN1 VSS 1k\n")
    assert run("validate", "analog", str(source)) == 0
    assert "status: ok" in capsys.readouterr().out
    assert run("validate", "analog", str(source), workshop=Strict()) == 1
    assert "error: M1: the gate floats (drive it) [floating_gate]" in capsys.readouterr().out
    assert run("validate", "analog", str(source), "--json", workshop=Strict()) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "invalid"


def test_validate_goes_as_far_as_it_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    class Telling(FakeWorkshop):
        async def validate(
            self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
        ) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"status": "ok", "findings": [], "facts": {"asked": [checks, function_of]}}

    source = tmp_path / "a.cir"
    source.write_text("R1 VIN1 VSS 1k\n")
    for words, asked in (
        ((), [None, None]),
        (("--checks", "conduction"), ["conduction", None]),
        (("--type", "opamp"), [None, "opamp"]),
        (("--type", "opamp", "--checks", "function"), ["function", "opamp"]),
    ):
        assert run("validate", "analog", str(source), *words, workshop=Telling()) == 0
        assert f"asked: {asked}" in capsys.readouterr().out
    for words, sentence in (
        (("--checks", "functoin"), "no check named 'functoin'; did you mean 'function'?"),
        (("--checks", "function"), "--checks function needs the circuit's --type"),
        (("--checks", "structure", "--type", "opamp"), "--type asks for more than --checks structure"),
    ):
        assert run("validate", "analog", str(source), *words, workshop=Telling()) == 2
        assert sentence in capsys.readouterr().err


def test_validate_reads_standard_input_and_refuses_what_is_too_long_or_not_text(tmp_path: Path):
    ask = [sys.executable, "-m", "app", "validate", "quantum", "-"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(ask, input="x" * 1_000_001, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    assert "standard input is longer than 1,000,000 characters" in done.stderr
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert run("validate", "quantum", str(binary)) == 2


@pytest.mark.parametrize(
    ("fields", "schema"), [(analog_request, AnalogGenerateRequest), (quantum_request, QuantumGenerateRequest)]
)
def test_every_field_of_a_request_has_an_option_and_every_option_a_field(fields: Any, schema: type[GenerateRequest]):
    aliases = {field.alias or name for name, field in schema.model_fields.items()}
    filled = {"type_": "a", "family": "a", "kinds": "a", "ports": "a", "gate_set": "a", "coupling_map": "line",
              "seed": 1, "min_devices": 1, "max_devices": 1, "prefix": __file__, "model": "a", "qubits": 1,
              "min_gates": 1, "max_gates": 1, "min_depth": 1, "max_depth": 1, "transpile": "line"}  # fmt: skip
    accepted = fields.__code__.co_varnames[: fields.__code__.co_argcount]
    assert fields(**{name: value for name, value in filled.items() if name in accepted}).keys() == aliases
    assert schema.model_validate(fields()) == schema()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("line", "line"),
        (" heavy_hex", "heavy_hex"),
        ("0-1, 1-2", [[0, 1], [1, 2]]),
        ("[[0,1]]", [[0, 1]]),
    ],
)
def test_a_coupling_map_is_a_name_or_pairs(text: str | None, value: object):
    assert coupling(text) == value


@pytest.mark.parametrize("text", ["0-1-2", "0-x", "[[0]]", "[1]", "{", "star"])
def test_a_coupling_map_that_is_neither_is_refused(text: str):
    with pytest.raises(
        InvalidRequest, match=r"--coupling-map .* is neither line, .*, full nor pairs of qubits such as"
    ):
        coupling(text)


def test_a_level_of_transpilation_needs_a_target():
    assert quantum_request(transpile="line", transpile_level=3)["transpile"] == {
        "target": "line", "optimization_level": 3,
    }  # fmt: skip
    with pytest.raises(InvalidRequest, match="--transpile-level is about a target; name one with --transpile"):
        quantum_request(transpile_level=3)


def test_only_loopback_addresses_are_served_without_asking():
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]")] == [True] * 5
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example"))
    check_host("0.0.0.0", True)
    with pytest.raises(InvalidRequest, match="or say --insecure-bind if that is what you want"):
        check_host("0.0.0.0", False)


def test_a_bar_is_shown_only_after_its_patience_and_only_to_someone(capsys: pytest.CaptureFixture[str]):
    with ProgressBar("circuits", 3, is_shown=True, patience_s=60) as bar:
        bar.advance()
    assert capsys.readouterr().err == ""
    with ProgressBar("circuits", 3, patience_s=0) as bar:  # standard error is no terminal here
        bar.advance()
    assert capsys.readouterr().err == ""
    with ProgressBar("circuits", 3, is_shown=True, patience_s=0) as bar:
        bar.advance("two to go")
    assert "circuits" in capsys.readouterr().err


def test_the_command_line_loads_no_heavy_library():
    code = (
        "import sys, app.cli\n"
        "from app.cli.main import build_app\n"
        "import typer\n"
        "typer.main.get_command(build_app())\n"
        "heavy = ('torch', 'qiskit', 'fastapi', 'networkx', 'numpy', 'pydantic', 'httpx')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_help_takes_a_few_times_the_work_of_loading_the_library_that_writes_it():
    def work_s(*words: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, timeout=60, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(work_s("-m", "app", "--help") for _ in range(3)) < 10 * min(
        work_s("-c", "import typer") for _ in range(3)
    )


def test_the_version_and_bare_groups(capsys: pytest.CaptureFixture[str]):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("josephson ")
    assert run() == 2
    assert "Usage: josephson" in capsys.readouterr().out
    assert run("jobs") == 2
    assert "submit" in capsys.readouterr().out


def test_a_closed_pipe_ends_quietly():
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    code = (
        "import sys; from app.cli import main; from app.cli.door import Door; from app.testing import FakeWorkshop\n"
        "door = Door(make_workshop=lambda settings: FakeWorkshop())\n"
        "sys.exit(main(['generate', 'analog', '--count', '20000'], door))\n"
    )
    done = subprocess.run(
        f"{sys.executable} -c \"$CODE\" | head -n 1", shell=True, env={**environment, "CODE": code},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["index"] == 0
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
