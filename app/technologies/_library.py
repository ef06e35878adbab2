"""SPICE model libraries, read by a whitelist in linear time and compiled into numeric cards.

What is understood: ``.param``, ``.model``, ``.subckt`` around one MOS, sections (``.lib``) and includes inside the
library's own folder, and ``.option scale``. Everything else is refused with its file and line. No text of a library
reaches a deck: models come out as numbers under our own names, a device's parameters as expressions written afresh
(`_expressions.py`), so a stranger's cards can be compiled as well. Statistics are off.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from app.errors import InvalidRequest, SpiceSyntaxError, Unavailable
from app.technologies._base import ModelBin, MosModel
from app.technologies._expressions import ExpressionError, Sized, Value, evaluate, number_text

#: Bounds on a library: of one file, of one card with its continuation lines, of what stands in it.
MOST_FILE_BYTES = 8_000_000
MOST_CARD_CHARACTERS = 100_000
MOST_FILES = 40
MOST_BINS = 400

#: Model levels of ngspice that a MOS may have here: BSIM3 and BSIM4. Older ones bend at the threshold.
LEVELS = frozenset({8, 14, 49, 54})

_LINE_WIDTH = 118
_NAME = re.compile(r"[a-z_][a-z0-9_.]{0,119}", re.ASCII)
_ODD_CHARACTER = re.compile(r"[^A-Za-z0-9_.+\-*/^(){}'=,<>!&|?:%#\"\[\]\s]", re.ASCII)
_COMMENT = re.compile(r";.*|(?:^|(?<=\s))(?:\$|//).*", re.DOTALL)
_ASSIGNMENT = re.compile(r"[({]|[)}]|'|(?<![\w.])([A-Za-z_][\w.]*+)\s*+=(?!=)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_USED_NAME = re.compile(r"(?<![\w.])[a-z_][a-z0-9_.]*", re.ASCII)
_BIN = re.compile(r"(.+)\.(\d+)")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,2}")

#: Instance parameters that are taken over, and the power of the library's unit of length that each is in.
_INSTANCE = MappingProxyType(
    {
        "ad": 2, "as": 2, "pd": 1, "ps": 1, "sa": 1, "sb": 1, "sd": 1, "nrd": 0, "nrs": 0, "nf": 0, "delvto": 0,
        "mulu0": 0,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Line:
    """A logical line: the text with its continuations, and where it starts."""

    file: str
    number: int
    text: str

    def refused(self, reason: str) -> SpiceSyntaxError:
        """The error that says where, and why."""
        return SpiceSyntaxError(f"{reason} (in {self.file})", line=self.number)


@dataclass(frozen=True, slots=True)
class _Model:
    """A ``.model`` card, its parameters not read yet."""

    line: _Line
    type: str
    rest: str


@dataclass
class _Scope:
    """Parameters by name, evaluated when they are asked for; `outer` is where others are looked for."""

    texts: dict[str, tuple[_Line, str]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    outer: _Scope | None = None

    def define(self, line: _Line, assignments: Iterable[tuple[str, str]]) -> None:
        """The parameters are known; a later definition replaces an earlier one."""
        for name, text in assignments:
            self.texts[name] = (line, text)

    def lookup(self, name: str) -> Value:
        """The value of a parameter; raises ExpressionError where there is none, or where it needs itself.

        What it needs in turn is evaluated first, without recursion, so that a chain may be of any length.
        """
        waiting = [name]
        opened: set[str] = set()
        while waiting and name not in self.values:
            current = waiting[-1]
            if current in self.values or current not in self.texts:
                waiting.pop()
                continue
            line, text = self.texts[current]
            needed = [other for other in _USED_NAME.findall(text.lower()) if self._is_open(other)]
            if needed and current not in opened:
                opened.add(current)
                waiting += needed
                continue
            if needed:
                raise ExpressionError(f"parameter {current!r} is defined by itself ({line.file}, line {line.number})")
            try:
                self.values[current] = evaluate(text, self._known)
            except ExpressionError as error:
                raise ExpressionError(f"{error} (in {current!r}, {line.file}, line {line.number})") from None
            waiting.pop()
        return self._known(name)

    def _is_open(self, name: str) -> bool:
        return name in self.texts and name not in self.values

    def _known(self, name: str) -> Value:
        if name in self.values:
            return self.values[name]
        if self.outer is None:
            raise ExpressionError(f"no parameter named {name!r}")
        return self.outer.lookup(name)


@dataclass(frozen=True, slots=True)
class _Subcircuit:
    """A ``.subckt`` with the lines of its body, not read yet."""

    header: _Line
    body: tuple[_Line, ...]


class ModelLibrary:
    """What some files define: global parameters, models and sub-circuits. Names are in lower case.

    Args:
        folder: Every file that is read, included ones too, lies directly in it or below; None where texts are given,
            and no file may name another.
        fixed: Parameters with a value that no file can change (switches of statistics).
    """

    def __init__(self, folder: Path | None = None, fixed: Mapping[str, float] = MappingProxyType({})) -> None:
        self.folder = folder
        self.scale_m = 1.0
        self._globals = _Scope()
        self._globals.values.update({name.lower(): value for name, value in fixed.items()})
        self._models: dict[str, _Model] = {}
        self._subcircuits: dict[str, _Subcircuit] = {}
        self._lines: dict[str, tuple[_Line, ...]] = {}
        self._files = 0
        self._open: list[tuple[str, str | None]] = []

    def read(self, name: str, section: str | None = None) -> ModelLibrary:
        """The file's definitions, of one of its sections where one is named, are added; returns the library.

        Raises:
            SpiceSyntaxError: a line is not understood.
            InvalidRequest: it is larger than this reader accepts, or names what it may not.
            Unavailable: there is no such file.
        """
        if (name, section) in self._open:
            raise InvalidRequest(f"{name} includes itself")
        self._files += 1
        if self._files > MOST_FILES:
            raise InvalidRequest(f"{name}: a library of more than {MOST_FILES} files and sections")
        self._open.append((name, section))
        try:
            if name not in self._lines:
                self._lines[name] = tuple(_logical_lines(name, self._text_of(name)))
            self._define(_in_section(self._lines[name], name, section))
        finally:
            self._open.pop()
        return self

    def add_text(self, name: str, text: str) -> ModelLibrary:
        """The definitions of a text, which is called `name` in messages, are added; returns the library.

        Raises SpiceSyntaxError and InvalidRequest as `read` does.
        """
        self._define(_logical_lines(name, text))
        return self

    def _text_of(self, name: str) -> str:
        assert self.folder is not None
        path = self.folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InvalidRequest(f"a library may include files of its own folder only, not {name[:80]!r}")
        return read_cards(path)

    def _define(self, lines: Iterator[_Line]) -> None:
        for line in lines:
            keyword, _, rest = line.text.partition(" ")
            keyword = keyword.lower()
            if keyword in (".include", ".inc", ".lib") and self.folder is None:
                raise line.refused(f"{keyword} is not accepted here; give every file by itself")
            if keyword == ".param":
                self._globals.define(line, _assignments(line, rest))
            elif keyword == ".model":
                name, model = _model(line, rest)
                self._models[name] = model
            elif keyword == ".subckt":
                self._subcircuits[_definition_name(line, rest)] = _Subcircuit(line, tuple(_body(line, lines)))
            elif keyword in (".option", ".options"):
                self._set_scale(line, rest)
            elif keyword in (".include", ".inc"):
                self.read(_file_name(line, rest))
            elif keyword == ".lib":
                words = rest.split()
                if len(words) != 2:
                    raise line.refused("'.lib' needs a file and a section here")
                self.read(_file_name(line, words[0]), words[1].lower())
            elif keyword == ".end":
                return
            else:
                shown = keyword if keyword.startswith(".") else "an element card"
                raise line.refused(
                    f"{shown[:40]} is not accepted in a model library (accepted: .param, .model, .subckt, .lib, "
                    ".include, .option scale)"
                )

    def _set_scale(self, line: _Line, rest: str) -> None:
        words = rest.replace("parser ", "")
        for name, text in _assignments(line, words):
            if name != "scale":
                raise line.refused(f"option {name!r} is not accepted in a model library; only 'scale' is")
            self.scale_m = _number(line, "scale", text, self._globals)

    def plain_card(self, name: str, new_name: str, type_: str) -> str:
        """The ``.model`` card of a device that is no MOS, numeric and under its new name."""
        model = self._models.get(name)
        if model is None or model.type != type_:
            raise InvalidRequest(f"no .model {name!r} of type {type_!r} in the library")
        return _card(new_name, model.type, _numeric(model, _parameters(model), self._globals))

    def mos_model(
        self,
        kind: str,
        name: str,
        new_name: str,
        changes: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
    ) -> MosModel:
        """The compiled model of a MOS: a ``.model``, its bins (``name.1``, ...), or a sub-circuit around one of these.

        Args:
            kind: ``nmos`` or ``pmos``; the cards have to be of that type.
            name: What the library calls it, in any case.
            new_name: What decks will call it.
            changes: ``{"add": {parameter: shift}, "scale": {parameter: factor}}`` on the numbers of every card.

        Raises:
            InvalidRequest: it is not there.
            SpiceSyntaxError: something about it is not understood.
        """
        wanted = name.lower()
        subcircuit = self._subcircuits.get(wanted)
        if subcircuit is not None:
            return _from_subcircuit(self, subcircuit, kind, new_name, changes)
        models = _bins_of(self._models, wanted)
        if not models:
            known = sorted({*(_base_of(other) for other in self._models), *self._subcircuits})
            raise InvalidRequest(
                f"no model or sub-circuit named {name!r} in the library; it has: {', '.join(known[:12]) or 'none'}"
            )
        return _compiled(models, kind, new_name, self._globals, changes)[0]


def read_cards(path: Path) -> str:
    """The text of a file of cards.

    Raises:
        InvalidRequest: it is larger than a library may be.
        Unavailable: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise Unavailable(f"the model library {path} cannot be read: {error.strerror}") from None
    if len(content) > MOST_FILE_BYTES:
        raise InvalidRequest(f"{path.name} is larger than the {MOST_FILE_BYTES} bytes that a model library may have")
    return content.decode("latin-1")


def library_text(mos: Mapping[str, MosModel]) -> str:
    """Compiled models as a library that `ModelLibrary` reads back as the same models, under the same names."""
    lines = []
    for model in mos.values():
        lines += [bin.card for bin in model.bins]
        if model.instance:
            parameters = " ".join(f"{name}={{{text}}}" for name, text in model.instance.items())
            lines += [
                f".subckt {model.name} d g s b w=1 l=1",
                f"m1 d g s b {model.name} w={{w}} l={{l}} {parameters}",
                ".ends",
            ]
    return "\n".join(lines) + "\n"


def _logical_lines(file: str, text: str) -> Iterator[_Line]:
    """Lines with their continuations, comments gone. Characters no card needs are refused."""
    parts: list[str] = []
    start = 0
    for number, raw in enumerate(text.splitlines(), 1):
        stripped = raw.strip()
        if not stripped or stripped.startswith("*"):
            continue
        content = _COMMENT.sub("", stripped).strip() if ";" in raw or "$" in raw or "//" in raw else stripped
        if not content:
            continue
        odd = _ODD_CHARACTER.search(content)
        if odd:
            raise _Line(file, number, content).refused(f"the character {odd[0]!r} is not accepted in a model library")
        if content.startswith("+"):
            if not parts:
                raise _Line(file, number, content).refused("a continuation of no card")
            parts.append(content[1:].strip())
            continue
        if parts:
            yield _joined(file, start, parts)
        parts, start = [content], number
    if parts:
        yield _joined(file, start, parts)


def _joined(file: str, number: int, parts: list[str]) -> _Line:
    text = " ".join(parts).replace("\t", " ")
    line = _Line(file, number, text)
    if len(text) > MOST_CARD_CHARACTERS:
        raise line.refused(f"a card of {len(text)} characters; the limit is {MOST_CARD_CHARACTERS}")
    return line


def _in_section(lines: Iterable[_Line], file: str, section: str | None) -> Iterator[_Line]:
    """The lines of one section, or those outside every section."""
    current: str | None = None
    has_section = section is None
    for line in lines:
        words = line.text[:200].split(None, 3)
        keyword = words[0].lower()
        if keyword == ".lib" and len(words) == 2:
            if current is not None:
                raise line.refused(f"section {words[1][:40]!r} opens inside section {current!r}")
            current = words[1].lower()
            has_section = has_section or current == section
        elif keyword == ".endl":
            if current is None:
                raise line.refused("'.endl' closes no section")
            current = None
        elif current == section:
            yield line
    if not has_section:
        raise InvalidRequest(f"{file} has no section {section!r}")


def _body(header: _Line, lines: Iterator[_Line]) -> Iterator[_Line]:
    """The lines of a sub-circuit up to its ``.ends``."""
    for line in lines:
        keyword = line.text[:8].split(None, 1)[0].lower()
        if keyword == ".ends":
            return
        if keyword == ".subckt":
            raise line.refused("a sub-circuit inside a sub-circuit")
        if keyword.startswith(".") and keyword not in (".param", ".model"):
            raise line.refused(f"{keyword} is not accepted in a sub-circuit (accepted: .param, .model)")
        yield line
    raise header.refused("the sub-circuit has no '.ends'")


def _file_name(line: _Line, text: str) -> str:
    name = text.strip().strip("'\"")
    if not name:
        raise line.refused("a file name is missing")
    return name


def _definition_name(line: _Line, rest: str) -> str:
    name = rest.split(None, 1)[0].lower() if rest.strip() else ""
    if not _NAME.fullmatch(name):
        raise line.refused(f"{name[:40]!r} is no name of letters, digits and underscores")
    return name


def _model(line: _Line, rest: str) -> tuple[str, _Model]:
    name = _definition_name(line, rest)
    words = rest.replace("(", " ( ", 1).split(None, 2)
    if len(words) < 2 or not _NAME.fullmatch(words[1].lower()):
        raise line.refused("'.model' needs a name and a type")
    text = words[2].strip() if len(words) > 2 else ""
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    return name, _Model(line, words[1].lower(), text)


def _assignments(line: _Line, text: str) -> Iterator[tuple[str, str]]:
    """``name = value`` pairs; braces and quotes around (parts of) a value become brackets."""
    depth, is_quoted = 0, False
    name, start = "", 0
    for match in _ASSIGNMENT.finditer(text):
        symbol = match[0]
        if symbol == "'":
            is_quoted = not is_quoted
        elif symbol in "({":
            depth += 1
        elif symbol in ")}":
            depth -= 1
        elif depth == 0 and not is_quoted:
            yield from _pair(line, name, text[start : match.start()])
            name, start = match[1].lower(), match.end()
    if depth or is_quoted:
        raise line.refused("brackets, braces or quotes that are not closed")
    yield from _pair(line, name, text[start:])


def _pair(line: _Line, name: str, text: str) -> Iterator[tuple[str, str]]:
    value = text.strip().strip(",").strip()
    if not name:
        if value:
            raise line.refused(f"{value[:40]!r} is not of the form name=value")
        return
    if not value:
        raise line.refused(f"parameter {name[:40]!r} has no value")
    if "'" in value:
        pieces = value.split("'")
        value = "".join(piece + "()"[index % 2] for index, piece in enumerate(pieces[:-1])) + pieces[-1]
    yield name, value.replace("{", "(").replace("}", ")")


def _number(line: _Line, name: str, text: str, scope: _Scope) -> float:
    value = _value(line, name, text, scope)
    if isinstance(value, Sized):
        raise line.refused(f"{name} depends on the device's size; only rsh of a model may")
    return value


def _value(line: _Line, name: str, text: str, scope: _Scope) -> Value:
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    try:
        return evaluate(text, scope.lookup)
    except ExpressionError as error:
        raise line.refused(f"{name} = {text[:60]}: {error}") from None


def _base_of(name: str) -> str:
    match = _BIN.fullmatch(name)
    return match[1] if match else name


def _bins_of(models: Mapping[str, _Model], name: str) -> list[_Model]:
    """The model of that name alone, or its bins in the order of the file, which is the order ngspice looks in."""
    if name in models:
        return [models[name]]
    return [model for other, model in models.items() if (match := _BIN.fullmatch(other)) and match[1] == name]


def _parameters(model: _Model) -> dict[str, str]:
    return dict(_assignments(model.line, model.rest))


def _numeric(
    model: _Model, parameters: Mapping[str, str], scope: _Scope, sized: frozenset[str] = frozenset()
) -> dict[str, Value | str]:
    """Every parameter's number; one of `sized` may depend on the device's size. A version stays as it is written."""
    found: dict[str, Value | str] = {}
    for name, text in parameters.items():
        if name == "version" and _VERSION.fullmatch(text):
            found[name] = text
        elif name in sized:
            found[name] = _value(model.line, name, text, scope)
        else:
            found[name] = _number(model.line, name, text, scope)
    return found


def _compiled(
    models: list[_Model],
    kind: str,
    new_name: str,
    scope: _Scope,
    changes: Mapping[str, Mapping[str, float]],
    *,
    may_fold: bool = False,
) -> tuple[MosModel, Value]:
    """The bins as numeric cards, and the sheet resistance ``rsh`` where the device's size decides it, else 0."""
    if len(models) > MOST_BINS:
        raise models[0].line.refused(f"a model of {len(models)} bins; the limit is {MOST_BINS}")
    bins = []
    folded: set[Value] = set()
    for index, model in enumerate(models, 1):
        if model.type != kind:
            raise model.line.refused(f"a model of type {model.type!r} where {kind!r} is needed")
        values = _numeric(model, _parameters(model), scope, frozenset({"rsh"} if may_fold else ()))
        level = values.get("level", 1.0)
        if level not in LEVELS:
            raise model.line.refused(f"model level {level:g} is not one of {', '.join(map(str, sorted(LEVELS)))}")
        if isinstance(rsh := values.get("rsh"), Sized):
            folded.add(rsh)
            values["rsh"] = 1.0
        else:
            folded.add(0.0)
        _change(model, values, changes)
        is_bin = len(models) > 1
        length, width = _range(values, "l") if is_bin else _ANY, _range(values, "w") if is_bin else _ANY
        name = f"{new_name}.{index}" if is_bin else new_name
        bins.append(ModelBin(name, _card(name, kind, values), length, width))
    if len(folded) > 1:
        raise models[0].line.refused("bins of one model whose rsh depends on the device's size in different ways")
    return MosModel(new_name, tuple(bins)), folded.pop()


_ANY = (0.0, float("inf"))


def _range(values: Mapping[str, Value | str], letter: str) -> tuple[float, float]:
    low, high = values.get(f"{letter}min", 0.0), values.get(f"{letter}max", float("inf"))
    assert isinstance(low, float)
    assert isinstance(high, float)
    return low, high


def _change(model: _Model, values: dict[str, Value | str], changes: Mapping[str, Mapping[str, float]]) -> None:
    for how, amounts in changes.items():
        for name, amount in amounts.items():
            old = values.get(name)
            if not isinstance(old, float):
                raise model.line.refused(f"a process corner changes {name!r}, which is no number of the card")
            values[name] = old + amount if how == "add" else old * amount


def _card(name: str, kind: str, values: Mapping[str, Value | str]) -> str:
    lines = [f".model {name} {kind}"]
    for parameter, value in values.items():
        assert not isinstance(value, Sized)
        word = f" {parameter}={value if isinstance(value, str) else number_text(value)}"
        if len(lines[-1]) + len(word) > _LINE_WIDTH:
            lines.append("+")
        lines[-1] += word
    return "\n".join(lines)


def _from_subcircuit(
    library: ModelLibrary,
    subcircuit: _Subcircuit,
    kind: str,
    new_name: str,
    changes: Mapping[str, Mapping[str, float]],
) -> MosModel:
    """The model of a sub-circuit that holds one MOS, with the parameters that it gives its device."""
    scope, pins = _subcircuit_scope(library, subcircuit)
    models = {}
    device: _Line | None = None
    for line in subcircuit.body:
        keyword, _, rest = line.text.partition(" ")
        if keyword.lower() == ".model":
            name, model = _model(line, rest)
            models[name] = model
        elif keyword.lower() != ".param":
            if device is not None or line.text[0].lower() != "m":
                raise line.refused("a sub-circuit that holds more than one MOS transistor")
            device = line
    if device is None:
        raise subcircuit.header.refused("a sub-circuit without a MOS transistor")
    words = device.text.split(None, 6)
    if len(words) < 6 or tuple(word.lower() for word in words[1:5]) != pins:
        raise device.refused("the transistor's pins are not those of its sub-circuit in the same order")
    wanted = words[5].lower()
    bins = _bins_of(models, wanted) or _bins_of(library._models, wanted)
    if not bins:
        raise device.refused(f"no model named {wanted!r}")
    mos, rsh = _compiled(bins, kind, new_name, scope, changes, may_fold=True)
    instance = _instance(device, words[6] if len(words) > 6 else "", scope, library.scale_m, rsh)
    return MosModel(mos.name, mos.bins, MappingProxyType(instance))


def _subcircuit_scope(library: ModelLibrary, subcircuit: _Subcircuit) -> tuple[_Scope, tuple[str, ...]]:
    """The scope inside a sub-circuit whose device has some width and length, and its pins."""
    scope = _Scope(outer=library._globals)
    header = subcircuit.header
    text = header.text.partition(" ")[2]
    first = _ASSIGNMENT.search(text)
    before = text if first is None else text[: first.start()]
    words = [word.lower() for word in before.split() if word.lower() != "params:"]
    scope.define(header, _assignments(header, text[len(before) :]))
    for line in subcircuit.body:
        keyword, _, rest = line.text.partition(" ")
        if keyword.lower() == ".param":
            scope.define(line, _assignments(line, rest))
    for name in ("w", "l"):
        if name not in scope.texts:
            raise header.refused(f"the sub-circuit has no parameter {name!r}")
        factor = 1.0 / library.scale_m
        scope.values[name] = Sized(f"{{{name}}}" if factor == 1.0 else f"({{{name}}}*{number_text(factor)})")
    return scope, tuple(words[1:])


def _instance(device: _Line, text: str, scope: _Scope, scale_m: float, rsh: Value) -> dict[str, str]:
    """The device's parameters as expressions in metres; a sheet resistance that depends on the size goes into them."""
    found: dict[str, Value] = {}
    for name, written in _assignments(device, text):
        value = _value(device, name, written, scope)
        if name in ("w", "l"):
            if value != scope.values[name]:
                raise device.refused(f"the transistor's {name} is not that of its sub-circuit")
        elif name in ("m", "dtemp"):
            if value != (1.0 if name == "m" else 0.0):
                raise device.refused(f"{name} = {written[:40]} is not accepted; leave it to the device's card")
        elif name not in _INSTANCE:
            raise device.refused(f"parameter {name!r} of a transistor is not accepted")
        else:
            found[name] = value
    if isinstance(rsh, Sized):
        for name in ("nrd", "nrs"):
            if name not in found:
                raise device.refused(f"rsh depends on the device's size, and the transistor has no {name}")
            found[name] = evaluate(f"rsh*({name})", {"rsh": rsh, name: found[name]}.__getitem__)
    units = {name: scale_m ** _INSTANCE[name] for name in found}
    for name, unit in units.items():
        if unit != 1.0:
            found[name] = evaluate(f"value*{unit!r}", {"value": found[name]}.__getitem__)
    return {
        name: value.text if isinstance(value, Sized) else number_text(value)
        for name, value in found.items()
        if not (name == "delvto" and value == 0.0)
    }
