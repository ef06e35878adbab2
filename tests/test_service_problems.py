"""Errors on their way to a caller: the table, the pointers, and the strict reading of JSON."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app import errors
from app.errors import (
    CircuitSyntaxError,
    InvalidInput,
    InvalidRequest,
    JosephsonError,
    NotFound,
    QasmSyntaxError,
    SimulatorCrashed,
    SimulatorTimeout,
    SpiceSyntaxError,
)
from app.service.bodies import parse_json
from app.service.problems import (
    PROBLEM_TYPES,
    TABLE,
    HttpProblem,
    at_pointer,
    error_response,
    json_pointer,
    problem_type_of,
)


def every_error_class(root: type[JosephsonError] = JosephsonError) -> Iterator[type[JosephsonError]]:
    """The classes of errors.py."""
    if root.__module__ == errors.__name__:
        yield root
    for child in root.__subclasses__():
        yield from every_error_class(child)


def test_every_expected_error_has_a_status_of_its_own_kind() -> None:
    unexpected = {JosephsonError}
    for error_class in every_error_class():
        problem = problem_type_of(error_class.__new__(error_class))
        assert (problem.slug == "internal") == (error_class in unexpected), error_class


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpiceSyntaxError("a name is missing", line=2), 422),
        (QasmSyntaxError("a name is missing", line=2), 422),
        (errors.UnknownName("family", "ghx", ["ghz"]), 422),
        (errors.NotLearnt("testbench", "mixer", ["opamp"]), 404),
        (errors.NotExpressible("a memristor"), 422),
        (errors.LimitExceeded("netlist", 3, 2), 422),
        (NotFound("job", "x"), 404),
        (errors.Conflict("it runs"), 409),
        (errors.NgspiceMissing(["/usr/lib"]), 503),
        (errors.ModelDamaged("x"), 503),
        (SimulatorCrashed("x"), 502),
        (SimulatorTimeout("x"), 503),
    ],
)
def test_the_table_gives_an_error_its_status(error: JosephsonError, status: int) -> None:
    answer = error_response(error, "urn:uuid:1")
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (status == 503)


def test_every_type_of_problem_is_described_once_and_used_by_the_table_or_by_name() -> None:
    assert all(problem.slug == slug and problem.meaning for slug, problem in PROBLEM_TYPES.items())
    assert set(TABLE.values()) <= set(PROBLEM_TYPES.values())


def test_a_defect_tells_the_caller_its_id_and_nothing_else() -> None:
    answer = error_response(JosephsonError("secret cause"), "urn:uuid:1")
    assert b"secret" not in bytes(answer.body)
    assert b"urn:uuid:1" in bytes(answer.body)


def test_a_syntax_error_carries_its_line_and_column_beside_the_pointer() -> None:
    answer = error_response(CircuitSyntaxError("no", line=7, column=4, pointer="/netlist"), "urn:uuid:1")
    assert b'"pointer": "/netlist", "line": 7, "column": 4' in bytes(answer.body)


def test_a_pointer_is_put_in_front_of_the_one_an_error_has() -> None:
    for own, whole in ((None, "/request"), ("/type", "/request/type")):
        with pytest.raises(InvalidInput) as caught, at_pointer("/request"):
            raise InvalidRequest("no", pointer=own)
        assert caught.value.pointer == whole


def test_json_pointers_escape_what_rfc_6901_escapes_and_stay_short() -> None:
    assert json_pointer(["a/b", "c~d", 3]) == "/a~1b/c~0d/3"
    assert len(json_pointer(["x" * 10_000])) < 100


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "the body is empty"),
        (b"  \n", "the body is empty"),
        (b'{"a": 1,}', "line 1, column 9"),
        (b'{"a": 1} x', "Extra data"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        (b"1" * 5000, "a number has 5000 digits, the limit is 400"),
        (b"1." + b"1" * 5000, "a number has 5002 digits"),
        (b"[" * 200_000, "the document is nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "the document is nested too deeply"),
        (b'"\\ud800"', "a lone surrogate"),
        (b'{"\\ud800": 1}', "a lone surrogate"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b"'a'", "Expecting value"),
    ],
)
def test_what_is_not_json_is_refused_in_a_sentence_that_says_why(raw: bytes, words: str) -> None:
    with pytest.raises(HttpProblem) as caught:
        parse_json(raw)
    assert words in str(caught.value)
    assert caught.value.problem_type.status == 400


def test_what_is_json_is_read_as_it_is() -> None:
    assert parse_json('{"a": [1, -2.5e3, true, null, "\\ud83d\\ude00\u00e9"]}'.encode()) == {
        "a": [1, -2500.0, True, None, "\U0001f600\u00e9"]
    }
