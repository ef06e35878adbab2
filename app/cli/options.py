"""Options that several commands share, and the requests they make. The schemas in `app.requests` judge the values."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from app.errors import InvalidRequest
from app.quantum.coupling import COUPLING_NAMES

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on standard output.")]
Url = Annotated[str, typer.Option("--url", help="Where the service listens.")]
Output = Annotated[str, typer.Option("--output", "-o", help="A file, one JSON row a line; - is standard output.")]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Accelerator: auto, cpu or cuda; JOSEPHSON_DEVICE when absent."),
]

Count = Annotated[int, typer.Option("--count", "-n", help="How many circuits.")]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same circuits; drawn when absent.")]
Temperature = Annotated[float, typer.Option("--temperature", help="Of sampling, 0.05 to 2.")]
TopP = Annotated[float, typer.Option("--top-p", help="Sample from the smallest set of tokens with this mass.")]
Validate = Annotated[bool, typer.Option("--validate/--no-validate", help="Run the validators on every circuit.")]
Grammar = Annotated[bool, typer.Option("--grammar/--no-grammar", help="Sample under the grammar, or the bare model.")]
Model = Annotated[str | None, typer.Option("--model", help="A trained model's name; the default one when absent.")]

Type = Annotated[str | None, typer.Option("--type", help="Circuit type, e.g. opamp; any when absent.")]
MinDevices = Annotated[int | None, typer.Option("--min-devices", help="Fewest devices a circuit may have.")]
MaxDevices = Annotated[int | None, typer.Option("--max-devices", help="Most devices a circuit may have.")]
Kinds = Annotated[str | None, typer.Option("--kinds", help="Device kinds allowed, comma-separated.")]
Ports = Annotated[str | None, typer.Option("--ports", help="Ports that every circuit has, comma-separated, e.g. VIN1.")]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", metavar="FILE", help="A SPICE file to complete: every circuit begins with its devices."),
]
Checks = Annotated[
    str, typer.Option("--checks", help="How far to check: structure, operating_point, conduction or function.")
]
Deck = Annotated[bool, typer.Option("--deck", help="Add a deck to each row that 'ngspice -b' runs as written.")]

Family = Annotated[str | None, typer.Option("--family", help="Family of programs, e.g. ghz; any when absent.")]
Qubits = Annotated[int | None, typer.Option("--qubits", help="Exact width; drawn by the model when absent.")]
MinGates = Annotated[int | None, typer.Option("--min-gates", help="Fewest statements a program may have.")]
MaxGates = Annotated[int | None, typer.Option("--max-gates", help="Most statements a program may have.")]
MinDepth = Annotated[int | None, typer.Option("--min-depth", help="Least depth wanted; a wish, not a bound.")]
MaxDepth = Annotated[int | None, typer.Option("--max-depth", help="Greatest depth wanted; a wish, not a bound.")]
GateSet = Annotated[str | None, typer.Option("--gate-set", help="Gates allowed, comma-separated, e.g. rz,sx,x,cx.")]
CouplingMap = Annotated[
    str | None,
    typer.Option("--coupling-map", help="line, ring, grid, heavy_hex, full, or pairs of qubits such as 0-1,1-2."),
]
Program = Annotated[
    str | None,
    typer.Option("--prefix", metavar="FILE", help="An OpenQASM file to continue: every program begins with it."),
]
Dynamic = Annotated[bool, typer.Option("--dynamic", help="Gates may depend on measured bits; needs --format qasm3.")]
Format = Annotated[str, typer.Option("--format", help="qasm2 or qasm3.")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Draw each program again until it does what its family is for, by simulation.")
]
Attempts = Annotated[int, typer.Option("--attempts", help="With --verify: most draws for one row, 1 to 64.")]
Transpile = Annotated[
    str | None,
    typer.Option(
        "--transpile",
        help="Add depth and two-qubit gates on a target to each row: line, ring, grid, heavy_hex or full.",
    ),
]
TranspileLevel = Annotated[
    int | None, typer.Option("--transpile-level", help="Qiskit's optimization level for --transpile, 0 to 3.")
]


def names(text: str | None) -> list[str] | None:
    """The comma-separated names, or None where the option was not given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def coupling(text: str | None) -> str | list[list[int]] | None:
    """The value of --coupling-map for a request: a name, or pairs of qubits (``0-1,1-2``, or a JSON list of pairs)."""
    if text is None or text.strip() in COUPLING_NAMES:
        return text and text.strip()
    try:
        if text.lstrip().startswith("["):
            return [[int(a), int(b)] for a, b in json.loads(text)]
        return [[int(a), int(b)] for a, b in (pair.split("-") for pair in text.split(",") if pair.strip())]
    except (ValueError, TypeError) as error:
        raise InvalidRequest(
            f"--coupling-map {text[:80]!r} is neither {', '.join(COUPLING_NAMES)} nor pairs of qubits such as 0-1,1-2"
        ) from error


def machine(target: str | None, level: int | None) -> dict[str, Any] | None:
    """The value of --transpile for a request, None where it was not given; InvalidRequest for a level without it."""
    if target is None and level is not None:
        raise InvalidRequest("--transpile-level is about a target; name one with --transpile, such as line")
    return None if target is None else given(target=target, optimization_level=level)


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were given: all but the None."""
    return {name: value for name, value in fields.items() if value is not None}


def analog_request(
    type_: Type = None,
    count: Count = 1,
    min_devices: MinDevices = None,
    max_devices: MaxDevices = None,
    kinds: Kinds = None,
    ports: Ports = None,
    prefix: Prefix = None,
    seed: Seed = None,
    temperature: Temperature = 0.9,
    top_p: TopP = 1.0,
    model: Model = None,
    validate: Validate = True,
    grammar: Grammar = True,
    checks: Checks = "operating_point",
    deck: Deck = False,
) -> dict[str, Any]:
    """The fields of an analog.generate request."""
    from app.cli.door import read_text
    from app.requests import MAX_TEXT_LENGTH

    return given(
        type=type_, count=count, min_devices=min_devices, max_devices=max_devices, kinds=names(kinds),
        ports=names(ports), prefix=None if prefix is None else read_text(prefix, MAX_TEXT_LENGTH), seed=seed,
        temperature=temperature, top_p=top_p, model=model, validate=validate, grammar=grammar, checks=checks,
        include_deck=deck,
    )  # fmt: skip


def quantum_request(
    family: Family = None,
    qubits: Qubits = None,
    count: Count = 1,
    min_gates: MinGates = None,
    max_gates: MaxGates = None,
    min_depth: MinDepth = None,
    max_depth: MaxDepth = None,
    gate_set: GateSet = None,
    coupling_map: CouplingMap = None,
    prefix: Program = None,
    dynamic: Dynamic = False,
    format_: Format = "qasm2",
    transpile: Transpile = None,
    transpile_level: TranspileLevel = None,
    verify: Verify = False,
    attempts: Attempts = 8,
    seed: Seed = None,
    temperature: Temperature = 0.9,
    top_p: TopP = 0.95,
    model: Model = None,
    validate: Validate = True,
    grammar: Grammar = True,
) -> dict[str, Any]:
    """The fields of a quantum.generate request."""
    from app.cli.door import read_text
    from app.requests import MAX_TEXT_LENGTH

    return given(
        family=family, qubits=qubits, count=count, min_gates=min_gates, max_gates=max_gates,
        min_depth=min_depth, max_depth=max_depth, gate_set=names(gate_set), coupling_map=coupling(coupling_map),
        prefix=None if prefix is None else read_text(prefix, MAX_TEXT_LENGTH), dynamic=dynamic, format=format_,
        transpile=machine(transpile, transpile_level), seed=seed,
        temperature=temperature, top_p=top_p, model=model, validate=validate, grammar=grammar, verify=verify,
        attempts=attempts,
    )  # fmt: skip


def with_request(fields: Callable[..., dict[str, Any]]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorator: the command's options are those of `fields` and its own; it gets the request as ``request``.

    Its first parameter is the context and its second the request; the rest are its own options.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        context, _, *own = inspect.signature(command, eval_str=True).parameters.values()
        asked = tuple(inspect.signature(fields, eval_str=True).parameters.values())

        def run(**values: Any) -> int:
            request = fields(**{parameter.name: values.pop(parameter.name) for parameter in asked})
            return command(request=request, **values)

        shown = (context, *asked, *own)
        keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in shown]
        run.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]  # read by typer
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        run.__doc__ = command.__doc__
        return run

    return decorate
