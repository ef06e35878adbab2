"""Programs that mean harm, sent to be checked: findings with their place, soon, whatever the door."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.cli.door import Door
from app.errors import SimulatorCrashed, SimulatorTimeout
from app.testing import FakeWorkshop
from app.validators._base import Rung, Subject, ValidationTools, validators
from app.workshop_local import LocalWorkshop
from tests.hostile_programs import HEAD, HEAD_3, HOSTILE
from tests.running_service import RunningService, running_service
from tests.tiny_models import TinySettings

#: Wall clock of one answer on a busy machine; what it takes by itself is a tenth of that.
SOON_S = 15.0


class Checking(FakeWorkshop):
    """A FakeWorkshop that checks texts as the real one does."""

    def __init__(self, workshop: LocalWorkshop) -> None:
        super().__init__()
        self._checker = workshop

    async def validate(
        self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None, **more: Any
    ) -> Mapping[str, Any]:
        """What the real workshop says."""
        return await self._checker.validate(kind, text, checks=checks, function_of=function_of, **more)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkshop]:
    made = LocalWorkshop(TinySettings(tmp_path_factory.mktemp("models")))
    yield made
    made.close()


@pytest.fixture(scope="module")
def service(workshop: LocalWorkshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running_service(tmp_path_factory.mktemp("hostile"), Checking(workshop)) as running:
        yield running


def finding_of(service: RunningService, text: str) -> dict[str, Any]:
    """The first finding over HTTP; the answer came soon."""
    began = time.monotonic()
    answer = service.json("POST", "/v1/quantum/validate", json={"program": text})
    assert time.monotonic() - began < SOON_S
    assert answer["status"] == "invalid"
    first: dict[str, Any] = answer["findings"][0]
    return first


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ("qreg q[2];\nh r[0];", (4, 3), "register 'r' is not declared"),
        ("qreg q[2];\n h q[2];", (4, 4), "q[2] is outside register 'q' of size 2"),
        ("qreg q[2]; cx q[0],q[0];", (3, 12), "'cx' is applied to one qubit twice"),
        ("qreg q[2]; cx q[0];", (3, 12), "'cx' has 1 qubits, needs 2"),
        ("qreg q[2]; rx q[0];", (3, 12), "'rx' has 0 angles, needs 1"),
        ("qreg q[1];\nrx(1e400) q[0];", (4, 3), "an angle is not finite"),
        ("qreg q[0];", (3, 6), "register 'q' has no bits; a register needs at least one"),
        ('include "/etc/passwd";', (3, 9), "included files are not read"),
        ('include "../../secret.inc";', (3, 9), "included files are not read"),
        ("gate g a { g a; }", (3, 12), "no gate named 'g' is defined here"),
        ("gate f a { g a; } gate g a { f a; }", (3, 12), "no gate named 'g' is defined here"),
        ("qreg q[1000000];", (3, 16), "the number of qubits is 1000000, the limit is 1024"),
        ("qreg q[1];\n\x00h q[0];", (4, 1), "the character '\\x00' has no meaning in OpenQASM here"),
        ("qreg q[1];\nrx(" + "(" * 70 + "1" + ")" * 70 + ") q[0];", (4, 68), "the depth of an angle expression is"),
        ("qreg q[1];" + "\nh q[0];" * 20_000, (20_002, 1), "the number of statements is 20001, the limit is 20000"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_program_is_a_finding_at_its_line_and_column(
    service: RunningService, body: str, place: tuple[int, int], message: str
) -> None:
    finding = finding_of(service, HEAD + body)
    assert (finding["line"], finding["column"]) == place
    assert finding["where"] == f"line {place[0]}, column {place[1]}"
    assert finding["message"].startswith(message)
    assert (finding["code"], finding["severity"]) == ("not_readable", "error")


def test_what_qiskit_refuses_has_its_place_too(service: RunningService) -> None:
    finding = finding_of(service, HEAD + "qreg q[2];\nh q[0]; swap q[0],q[1];")
    assert (finding["code"], finding["line"], finding["column"]) == ("not_loadable", 4, 9)
    assert finding["message"] == "Qiskit refuses the text: 'swap' is not defined in this scope"


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "a lone surrogate"])
def test_a_hostile_program_is_answered_soon_and_is_no_failure_of_the_service(
    service: RunningService, name: str
) -> None:
    began = time.monotonic()
    answer = service.http.post("/v1/quantum/validate", json={"program": HOSTILE[name]})
    assert time.monotonic() - began < SOON_S
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json()["findings"]


def test_a_text_beyond_the_body_limit_is_refused_by_its_length(service: RunningService) -> None:
    problem = service.problem(422, "POST", "/v1/quantum/validate", json={"program": "x" * 1_000_001})
    assert problem["errors"][0]["pointer"] == "/program"


_WORDS = """
qreg creg qubit[2] bit q r c [ ] [0] [1] [99999999999] q[0] q[1] c[0] ; , ( ) { } -> = measure reset barrier gate
opaque if (c==1) include "qelib1.inc" "/dev/zero" h cx rx(pi/2) rx(1e400) rx(0/0) swap ccx u(1,2,3) U(0,0,0) g // /* -
^ ** pi ctrl @ é
"""
_PIECES = (*_WORDS.split(), "gate g a { h a; }", ";\n", "\x00", "\ufeff", "\r", "\t", "9" * 400)


@pytest.mark.parametrize("seed", range(4))
def test_a_jumble_sent_for_a_check_is_answered_with_findings(workshop: LocalWorkshop, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        words = draw.choices(_PIECES, k=draw.randrange(1, 30))
        text = draw.choice((HEAD, HEAD_3, "")) + draw.choice(("qreg q[2]; creg c[2]; ", "")) + " ".join(words)
        answer = asyncio.run(workshop.validate("quantum", text))
        assert answer["status"] == "invalid" or answer["facts"], text
        json.dumps(answer)
        for finding in answer["findings"]:
            if finding["code"] == "not_readable":
                assert 1 <= finding["line"] <= text.count("\n") + 1, text


class _Refusing:
    """A pool of Qiskit workers in which every request ends in one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def submit(self, request: Mapping[str, Any]) -> _Refusing:
        return self

    def result(self) -> Any:
        raise self._error


@pytest.mark.parametrize("error", [SimulatorTimeout("it did not answer"), SimulatorCrashed("it died")])
def test_a_text_that_qiskit_does_not_get_through_is_a_finding(error: Exception) -> None:
    tools = ValidationTools(qiskit=_Refusing(error))  # type: ignore[arg-type]  # the two calls that are made
    verdict = validators["openqasm2"].check(Subject(HEAD + "qreg q[1]; h q[0];"), tools)
    (finding,) = verdict.findings
    assert (finding.code, finding.severity) == ("not_loaded", "error")
    assert finding.message == f"our own reader takes the text, Qiskit did not get through it: {error}"
    assert verdict.facts["gate_count"] == 1


class _Answering:
    """A pool of Qiskit workers that refuse every text with these words."""

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal

    def submit(self, request: Mapping[str, Any]) -> _Answering:
        return self

    def result(self) -> dict[str, Any]:
        return {"loads": False, "refusal": self._refusal, "strict_refusal": None}


@pytest.mark.parametrize(
    ("refusal", "where", "reason"),
    [
        ("<input>:3,11: 'swap' is not defined", "line 3, column 12", "'swap' is not defined"),
        ("QASM3ImporterError: \"4,0: gate 'rxx' is not defined.\"", "line 4, column 1", "gate 'rxx' is not defined."),
        ("RecursionError: maximum recursion depth exceeded", None, "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_a_refusal_of_qiskit_keeps_its_words_and_gets_our_way_of_counting(
    refusal: str, where: str | None, reason: str
) -> None:
    tools = ValidationTools(qiskit=_Answering(refusal))  # type: ignore[arg-type]  # the two calls that are made
    (finding,) = validators["openqasm2"].check(Subject(HEAD + "qreg q[1]; h q[0];"), tools).findings
    assert (finding.where, finding.message) == (where, f"Qiskit refuses the text: {reason}")


def test_the_command_line_says_the_place_and_ends_with_status_1(
    workshop: LocalWorkshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "bad.qasm"
    source.write_text(HEAD + "qreg q[2];\ncx q[0],q[0];\n")
    door = Door(make_workshop=lambda settings: Checking(workshop))
    assert main(("validate", "quantum", str(source)), door) == 1
    assert "error: line 4, column 1: 'cx' is applied to one qubit twice [not_readable]" in capsys.readouterr().out
