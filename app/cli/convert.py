"""`josephson convert analog`: circuits from one form into another, a JSON line at a time.

The forms are SPICE text and the token names of the analog languages. Nothing is kept from one line to the next, so a
file may have any length. A line that cannot be converted becomes a row that says why, and the others go on.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from os.path import samefile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeAlias

import typer

from app.cli import options as o
from app.cli.door import DONE, FAILED, say, write_document
from app.errors import InvalidInput, InvalidRequest, UnknownName

if TYPE_CHECKING:
    from app.analog.netlist import Netlist

#: Most bytes of one line.
MAX_LINE = 4_000_000

_READ_AT_ONCE = 1 << 16

_Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Form:
    """How circuits are told: the field that holds one, and its value into a circuit and its type and back.

    A form that tells no type gives None. Without `rng` a circuit is written in one fixed order.
    """

    field: str
    read: Callable[[Any], tuple[Netlist, str | None]]
    write: Callable[[Netlist, str, random.Random | None], str | list[str]]


def add_to(app: typer.Typer) -> None:
    """The command is on the command line."""
    group = typer.Typer(help="Convert circuits between SPICE and token sequences.", no_args_is_help=True)
    group.command("analog")(analog)
    app.add_typer(group, name="convert")


def analog(
    source: Annotated[str, typer.Option("--from", help="spice, eulerian or device_lines.")],
    target: Annotated[str, typer.Option("--to", help="spice, eulerian or device_lines.")],
    input_: Annotated[str, typer.Option("--input", "-i", help="A file, one JSON row a line; - is standard input.")],
    output: o.Output = "-",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Draw the order of tokens; one fixed order when absent.")
    ] = None,
    as_json: o.AsJson = False,
) -> int:
    """Rows {id, tokens} or {id, netlist} into the other. A row may name its circuit's type; sizes are not tokens.

    A line that cannot be converted becomes {id, line, problem}, and the exit status is 1 at the end.
    """
    from app.cli.rows import opened_for_text

    reader, writer = _form(source, "--from"), _form(target, "--to")
    if as_json and output == "-":
        raise InvalidRequest("--json prints one document on standard output; give --output a file for the rows")
    if "-" not in (input_, output) and Path(input_).exists() and Path(output).exists() and samefile(input_, output):
        raise InvalidRequest(f"--output: {output} is the input too, and would be overwritten before it is read")
    lines = converted = 0
    started = time.monotonic()
    with _opened_for_bytes(input_) as stream, opened_for_text(output) as out:
        for number, line in _lines(stream):
            rng = None if seed is None else random.Random(f"{seed} {number}")
            row = _converted(number, line, reader, writer, rng)
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
            if output == "-":
                out.flush()
            lines += 1
            converted += "problem" not in row
    problems = lines - converted
    seconds = round(time.monotonic() - started, 3)
    if as_json:
        write_document(
            {
                "from": source, "to": target, "lines": lines, "converted": converted, "problems": problems,
                "seconds": seconds, "output": output,
            }
        )  # fmt: skip
    else:
        say(f"{converted} of {lines} circuits converted in {seconds:.1f} s, {problems} with a problem")
    return FAILED if problems else DONE


def _form(name: str, option: str) -> _Form:
    if name not in _FORMS:
        raise UnknownName(f"form of circuits (option {option})", name, _FORMS)
    return _FORMS[name]


@contextlib.contextmanager
def _opened_for_bytes(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 - opened apart from `with` to name its errors
    except OSError as error:
        raise InvalidRequest(f"--input: {source} cannot be read: {error.strerror or error}") from error
    with stream:
        yield stream


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines that are not blank with their numbers from 1; None for one that is too long to be held."""
    number = 0
    while line := stream.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            if line.strip():
                yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(_READ_AT_ONCE)
        yield number, None


def _converted(number: int, line: bytes | None, source: _Form, target: _Form, rng: random.Random | None) -> _Row:
    """The row in the other form, or what is wrong with it."""
    name: str | int | None = None
    try:
        row = _row(line)
        name = row.get("id")
        if isinstance(name, bool) or not isinstance(name, str | int):
            name = None
            raise InvalidRequest("a row needs an id, text or a whole number")
        if source.field not in row:
            raise InvalidRequest(f"a row needs {source.field!r} beside its id")
        circuit, told = source.read(row[source.field])
        label = told or row.get("type")
        if not isinstance(label, str | None):
            raise InvalidRequest("the type of a circuit is text")
        value = target.write(circuit, label or "other", rng)
    except InvalidInput as error:
        return {"id": name, "line": number, "problem": f"line {number}: {error}"}
    return {"id": name, **({"type": label} if label else {}), target.field: value}


def _row(line: bytes | None) -> _Row:
    if line is None:
        raise InvalidRequest(f"the line is longer than {MAX_LINE:,} bytes")
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the line is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"the line is not JSON (column {error.colno}: {error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the line is JSON with a number too long or lists too deep to be read") from error
    if not isinstance(row, dict):
        raise InvalidRequest("the line is JSON, and not an object with an id")
    return row


def _tokens(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise InvalidRequest("the tokens of a row are a list of token names")
    return value


def _read_spice(value: Any) -> tuple[Netlist, None]:
    from app.analog.spice import parse_spice

    if not isinstance(value, str):
        raise InvalidRequest("the netlist of a row is SPICE text")
    return parse_spice(value).netlist, None


def _write_spice(circuit: Netlist, label: str, rng: random.Random | None) -> str:
    from app.analog.spice import write_spice

    return write_spice(circuit)


def _read_walk(value: Any) -> tuple[Netlist, None]:
    from app.tokens._eulerian_walk import circuit_of_walk

    return circuit_of_walk(_tokens(value)), None


def _write_walk(circuit: Netlist, label: str, rng: random.Random | None) -> list[str]:
    from app.tokens._eulerian_walk import walk_tokens

    return walk_tokens(circuit, rng)


def _read_device_lines(value: Any) -> tuple[Netlist, str]:
    from app.tokens.device_lines import VOCABULARY, DeviceLines

    return DeviceLines().decode(VOCABULARY.ids(_tokens(value)))


def _write_device_lines(circuit: Netlist, label: str, rng: random.Random | None) -> list[str]:
    from app.tokens.device_lines import VOCABULARY, DeviceLines

    ids = DeviceLines().encode(circuit, label, rng or random.Random(0))
    return [VOCABULARY.tokens[number] for number in ids]


_FORMS: Mapping[str, _Form] = MappingProxyType(
    {
        "spice": _Form("netlist", _read_spice, _write_spice),
        "eulerian": _Form("tokens", _read_walk, _write_walk),
        "device_lines": _Form("tokens", _read_device_lines, _write_device_lines),
    }
)
