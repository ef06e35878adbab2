"""Everything Josephson raises.

    JosephsonError
    ├── InvalidInput                what a caller sent cannot be used
    │   ├── CircuitSyntaxError      a text is not a circuit: line, column
    │   │   ├── SpiceSyntaxError
    │   │   └── QasmSyntaxError
    │   ├── UnknownName             a name that no registry holds
    │   ├── LimitExceeded           larger than the service accepts
    │   ├── InvalidRequest          a field of a request that contradicts itself or the model
    │   ├── NotExpressible          a circuit outside a language's vocabulary
    │   └── NotASentence            tokens that are no circuit of their language: position
    ├── NotFound                    a job (or other resource) that is not there
    ├── Conflict                    the resource is in a state that forbids the call
    ├── Unavailable                 the machine lacks something; the message says how to get it
    │   ├── NgspiceMissing
    │   ├── PackageMissing
    │   ├── CorpusMissing
    │   ├── ModelDamaged
    │   └── EngineClosed            the batched engine has ended
    └── SimulatorFailure            one simulation could not be done; never the circuit's fault alone
        ├── SimulatorCrashed
        └── SimulatorTimeout

Each error keeps its facts as attributes. None knows HTTP; `service/problems.py` holds the table from error to status.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class JosephsonError(Exception):
    """The root: everything a caller may want to catch from this project."""


class InvalidInput(JosephsonError):
    """What a caller sent cannot be used. `pointer` is a JSON pointer into the request where one applies."""

    def __init__(self, message: str, *, pointer: str | None = None) -> None:
        super().__init__(message)
        self.pointer = pointer


@contextmanager
def pointing_at(pointer: str) -> Iterator[None]:
    """InvalidInput raised inside points there, unless it points somewhere itself."""
    try:
        yield
    except InvalidInput as error:
        error.pointer = error.pointer or pointer
        raise


class CircuitSyntaxError(InvalidInput):
    """A text is not a circuit of its format. Lines and columns count from 1; `reason` is the message without them."""

    def __init__(self, message: str, *, line: int, column: int | None = None, pointer: str | None = None) -> None:
        place = f"line {line}" if column is None else f"line {line}, column {column}"
        super().__init__(f"{place}: {message}", pointer=pointer)
        self.reason = message
        self.line = line
        self.column = column


class SpiceSyntaxError(CircuitSyntaxError):
    """A SPICE text outside the accepted grammar."""


class QasmSyntaxError(CircuitSyntaxError):
    """An OpenQASM text outside the accepted grammar."""


class UnknownName(InvalidInput):
    """A name that no registry holds; the message proposes the nearest known one."""

    def __init__(self, what: str, name: str, known: Iterable[str], *, pointer: str | None = None) -> None:
        self.what = what
        self.name = name
        self.known = tuple(known)
        near = difflib.get_close_matches(name, self.known, n=1)
        shown = name if len(name) <= 80 else name[:77] + "..."
        message = f"no {what} named {shown!r}"
        if near:
            message += f"; did you mean {near[0]!r}?"
        elif self.known:
            message += f"; known: {', '.join(sorted(self.known)[:24])}" + (", ..." if len(self.known) > 24 else "")
        super().__init__(message, pointer=pointer)


class LimitExceeded(InvalidInput):
    """Larger than the service accepts. Of a text, `line` and `column` (from 1) are where it became too large."""

    def __init__(self, what: str, value: int, limit: int, *, pointer: str | None = None, hint: str = "") -> None:
        message = f"{what} is {value}, the limit is {limit}"
        super().__init__(f"{message}; {hint}" if hint else message, pointer=pointer)
        self.what = what
        self.value = value
        self.limit = limit
        self.line: int | None = None
        self.column: int | None = None


class InvalidRequest(InvalidInput):
    """A field of a request that contradicts another one or what the model can do."""


class NotExpressible(InvalidInput):
    """A circuit that is outside a language's vocabulary; the message says which part."""


class NotASentence(InvalidInput):
    """A token sequence that is not a circuit of its language; says at which position it stops being one."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"token {position}: {reason}")
        self.position = position
        self.reason = reason


class NotFound(JosephsonError):
    """A resource that is not there."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"no {what} {name!r}")
        self.what = what
        self.name = name


class Conflict(JosephsonError):
    """The resource is in a state that forbids the call."""


class Unavailable(JosephsonError):
    """The machine lacks something; the message says how to get it."""


class NgspiceMissing(Unavailable):
    """libngspice was not found."""

    def __init__(self, looked_at: Iterable[str]) -> None:
        self.looked_at = tuple(looked_at)
        places = ", ".join(self.looked_at) or "nowhere"
        super().__init__(
            f"libngspice was not found (looked at {places}); run 'josephson doctor --fetch-ngspice', "
            "or install the Debian package libngspice0, or set JOSEPHSON_NGSPICE_LIBRARY to the shared library"
        )


class PackageMissing(Unavailable):
    """An optional Python package is not installed."""

    def __init__(self, package: str, purpose: str, extra: str | None = None) -> None:
        self.package = package
        install = f"pip install 'josephson[{extra}]'" if extra else f"pip install {package}"
        super().__init__(f"{purpose} needs the package {package!r}; install it with: {install}")


class CorpusMissing(Unavailable):
    """Training or evaluation data is not where it was looked for."""


class ModelDamaged(Unavailable):
    """A trained model's files are missing, changed or do not belong together."""


class EngineClosed(Unavailable):
    """The engine was closed, or its thread died, before a sequence was done."""


class SimulatorFailure(JosephsonError):
    """One simulation could not be done."""


class SimulatorCrashed(SimulatorFailure):
    """The simulator process died or had to be given up during a simulation."""


class SimulatorTimeout(SimulatorFailure):
    """The simulator process did not answer within its time and was killed."""
