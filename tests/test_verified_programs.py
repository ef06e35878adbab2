"""Verified requests: each row is the first of a few draws that its family's oracle accepts, or says that none is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app import workshop_local
from app.errors import EngineClosed, InvalidRequest, LimitExceeded
from app.inference.engine import Prompt
from app.inference.engine import Sequence as EngineSequence
from app.inference.randomness import stream_key
from app.quantum.oracles import Oracle, OracleVerdict, oracles
from app.quantum.program import QuantumProgram
from app.requests import QuantumGenerateRequest
from app.testing import FakeWorkshop
from app.validators._base import Rung
from app.workshop import OUTCOME_OF, Row
from app.workshop_local import LocalWorkshop
from tests.running_service import running_service
from tests.test_workshop_local import produce, run, timeless, workshop_of
from tests.tiny_models import TinySettings, save_tiny_model

GHZ = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[3];\nh q[0];\ncx q[0],q[1];\ncx q[1],q[2];\n'
PLUS = GHZ.replace("cx q[1],q[2];", "h q[2];")


def judge(program: QuantumProgram) -> OracleVerdict:
    if program.gate_count % 5 == 4:
        raise LimitExceeded("the number of gates", program.gate_count, 3)
    return OracleVerdict(program.gate_count % 2 == 0, f"it has {program.gate_count} gates", "statevector")


@pytest.fixture
def even_family() -> Iterator[str]:
    """A family whose programs have an even number of gates; those of 4, 9, 14 cannot be judged."""
    oracles.add("vqe_uccsd", Oracle("has an even number of gates", judge))
    yield "vqe_uccsd"
    oracles.remove("vqe_uccsd")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalWorkshop]:
    folder = tmp_path_factory.mktemp("models")
    save_tiny_model(folder, "quantum", name="tiny-quantum")
    with workshop_of(TinySettings(folder)) as made:
        yield made


def asked(family: str | None, **fields: Any) -> QuantumGenerateRequest:
    return QuantumGenerateRequest(seed=5, qubits=3, max_gates=5, family=family, verify=True, **fields)


def codes(row: Row) -> list[str]:
    return [finding["code"] for finding in row["findings"]]


def test_a_verified_row_is_the_first_draw_that_passes(workshop: LocalWorkshop, even_family: str):
    rows = produce(workshop, "quantum.generate", asked(even_family, attempts=64), range(24))
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["gate_count"] % 2 for row in rows} == {0}
    assert max(row["draws"] for row in rows) > 1 == min(row["draws"] for row in rows)
    for row in rows:
        assert row["verification"] == {
            "family": even_family,
            "passes": True,
            "reason": f"it has {row['gate_count']} gates",
            "method": "statevector",
        }
        assert row["findings"] == []
    json.dumps(rows, allow_nan=False)


def test_a_row_that_passes_at_once_is_the_row_of_the_same_request_without_verify(
    workshop: LocalWorkshop, even_family: str
):
    verified = produce(workshop, "quantum.generate", asked(even_family), range(24))
    plain = produce(workshop, "quantum.generate", asked(even_family).model_copy(update={"verify": False}), range(24))
    same = [(a["program"], b["program"]) for a, b in zip(verified, plain, strict=True) if a["draws"] == 1]
    assert same
    assert all(a == b for a, b in same)
    assert not any("draws" in row or "verification" in row for row in plain)


def test_each_further_draw_of_a_row_is_cooler_down_to_a_share_of_what_was_asked_for(
    workshop: LocalWorkshop, even_family: str, monkeypatch: pytest.MonkeyPatch
):
    temperatures: list[float] = []

    def noted(prompt: Prompt, key: int, temperature: float, *rest: Any, **named: Any) -> EngineSequence:
        temperatures.append(temperature)
        return EngineSequence(prompt, key, temperature, *rest, **named)

    monkeypatch.setattr(workshop_local, "EngineSequence", noted)
    produce(workshop, "quantum.generate", asked(even_family, attempts=9, grammar=False, temperature=2.0), [0])
    assert temperatures == pytest.approx([2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.8, 0.8])


def test_a_verified_row_does_not_depend_on_who_shares_its_batch(workshop: LocalWorkshop, even_family: str):
    crowd = produce(workshop, "quantum.generate", asked(even_family), range(6))
    alone = produce(workshop, "quantum.generate", asked(even_family), [5])
    assert timeless(alone) == timeless([crowd[5]])


def test_a_row_that_no_draw_of_passes_is_rejected_and_says_why(workshop: LocalWorkshop, even_family: str):
    rows = produce(workshop, "quantum.generate", asked(even_family, attempts=1), range(8))
    rejected = [row for row in rows if row["status"] == "rejected"]
    assert rejected
    assert OUTCOME_OF["rejected"] == "invalid"
    wrong = next(row for row in rejected if "not_its_family" in codes(row))
    assert codes(wrong) == ["not_its_family", "no_draw_verified"]
    assert wrong["findings"][0]["message"] == (
        f"it is no program of the family vqe_uccsd: it has {wrong['gate_count']} gates"
    )
    assert wrong["findings"][1]["message"] == (
        "not the one draw is verified as a program of the family vqe_uccsd; this is the last one"
    )
    assert wrong["verification"]["passes"] is False
    unjudged = [row for row in rejected if "not_verified" in codes(row)]
    for row in unjudged:
        assert row["verification"]["method"] == "none"
    twice = produce(workshop, "quantum.generate", asked(even_family, attempts=2), [wrong["index"]])
    assert twice[0]["draws"] == 2


def test_sentences_without_the_grammar_that_are_none_are_drawn_again(workshop: LocalWorkshop, even_family: str):
    rows = produce(workshop, "quantum.generate", asked(even_family, attempts=3, grammar=False), range(2))
    for row in rows:
        assert (row["status"], row["draws"]) == ("rejected", 3)
        assert codes(row)[-1] == "no_draw_verified"
        assert row["findings"][-1]["message"].startswith("none of 3 draws is verified as a program of the family ")


def test_closing_the_workshop_ends_verified_rows_too(tmp_path: Path, even_family: str):
    save_tiny_model(tmp_path, "quantum", name="tiny-quantum")
    with workshop_of(TinySettings(tmp_path)) as made:

        async def first_then_close() -> None:
            prepared = made.prepare("quantum.generate", asked(even_family, attempts=64))
            produced = made.produce("quantum.generate", prepared, range(16))
            await anext(produced)
            await made.aclose()
            async for _ in produced:
                pass

        with pytest.raises(EngineClosed):
            run(first_then_close())


def test_draws_of_a_row_have_streams_of_their_own():
    keys = {stream_key(3, index, draw) for index in range(20) for draw in range(20)}
    assert len(keys) == 400
    assert stream_key(3, 7) == stream_key(3, 7, 0)


@pytest.mark.parametrize(
    ("fields", "words", "pointer"),
    [
        ({"family": "qaoa"}, "no oracle for the family 'qaoa'; families with an oracle: a", "/family"),
        ({"family": None}, "a family is needed to verify programs; families with an oracle: a", "/family"),
        ({"family": "qft", "qubits": 20}, "family 'qft' can be verified up to 12 qubits, not on 20", "/qubits"),
    ],
)
def test_what_cannot_be_verified_is_refused_before_anything_is_drawn(
    workshop: LocalWorkshop, fields: dict[str, Any], words: str, pointer: str
):
    with pytest.raises(InvalidRequest, match=words) as caught:
        workshop.prepare("quantum.generate", QuantumGenerateRequest(verify=True, **fields))
    assert caught.value.pointer == pointer


def test_programs_that_are_not_validated_cannot_be_verified():
    with pytest.raises(ValidationError, match="verified programs are validated; leave validate out"):
        QuantumGenerateRequest(family="ghz", verify=True, validate_=False)
    for attempts in (0, 65):
        with pytest.raises(ValidationError, match="attempts"):
            QuantumGenerateRequest(family="ghz", verify=True, attempts=attempts)


def test_a_program_is_checked_for_what_its_family_is_for(workshop: LocalWorkshop):
    def checked(text: str, family: str | None) -> Mapping[str, Any]:
        return run(workshop.validate("quantum", text, function_of=family))

    assert "oracle" not in checked(PLUS, None)["facts"]
    right, wrong = checked(GHZ, "ghz"), checked(PLUS, "ghz")
    assert (right["status"], right["facts"]["oracle"]["passes"]) == ("ok", True)
    assert (wrong["status"], codes(dict(wrong))) == ("invalid", ["not_its_family"])
    assert wrong["facts"]["oracle"]["method"] == "statevector"
    wide = GHZ.replace("q[3]", "q[20]") + "".join(f"t q[{qubit}];\nh q[{qubit}];\n" for qubit in range(20))
    unjudged = checked(wide, "mirror")
    assert (unjudged["status"], codes(dict(unjudged))) == ("ok", ["not_verified"])
    with pytest.raises(InvalidRequest, match="no oracle for the family 'qaoa'"):
        checked(GHZ, "qaoa")


def test_the_service_hands_on_the_family_and_names_the_families_that_can_be_verified(tmp_path: Path):
    class Telling(FakeWorkshop):
        async def validate(
            self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
        ) -> dict[str, Any]:
            await asyncio.sleep(0)
            if function_of == "qaoa":
                raise InvalidRequest("no oracle for the family 'qaoa'", pointer="/family")
            return {"status": "ok", "findings": [], "facts": {"family": function_of}}

    with running_service(tmp_path, Telling()) as service:
        for family in (None, "ghz"):
            body = {"program": GHZ, "family": family}
            assert service.json("POST", "/v1/quantum/validate", json=body)["facts"] == {"family": family}
        problem = service.problem(422, "POST", "/v1/quantum/validate", json={"program": GHZ, "family": "qaoa"})
        assert problem["errors"] == [{"detail": "no oracle for the family 'qaoa'", "pointer": "/family"}]
        refused = {"family": "ghz", "verify": True, "validate": False}
        problem = service.problem(422, "POST", "/v1/quantum/generate", json=refused)
        assert problem["errors"][0]["pointer"] == "/verify"


def test_the_command_line_asks_for_verified_programs_and_for_a_familys_check():
    from app.cli import options
    from app.cli.rows import read_request

    request = read_request("quantum.generate", options.quantum_request(family="ghz", verify=True, attempts=3))
    assert isinstance(request, QuantumGenerateRequest)
    assert (request.verify, request.attempts, request.rung) == (True, 3, "function")
    plain = read_request("quantum.generate", options.quantum_request())
    assert isinstance(plain, QuantumGenerateRequest)
    assert (plain.verify, plain.attempts, plain.rung) == (False, 8, "structure")
