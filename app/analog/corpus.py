"""Reads corpora of analog circuits: the AnalogGenie data set in either layout, and the archetypes that ship here."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.analog.kinds import CIRCUIT_TYPES, KINDS, SUPPLY_NETS
from app.analog.netlist import Netlist
from app.analog.repair import DraftDevice, Repaired, RepairReport, repair
from app.analog.spice import parse_spice
from app.errors import CorpusMissing, InvalidInput, UnknownName
from app.resources import data_path

#: Kind names of the AnalogGenie netlists -> ours.
_KIND_NAMES = {
    "nmos4": "nmos", "pmos4": "pmos", "npn": "npn", "pnp": "pnp", "resistor": "resistor", "capacitor": "capacitor",
    "inductor": "inductor", "diode": "diode", "INVERTER": "inverter", "TRANSMISSION_GATE": "transmission_gate",
    "XOR": "xor", "PFD": "pfd",
}  # fmt: skip

#: Sections of `data_categorization.md` -> circuit type, first match wins. A section that matches none is `other`.
_SECTION_TYPES = (
    (r"single-stage amplifier|differential amplifier|royal differential pair|frequency response|^noise$", "amplifier"),
    (r"^feedback( amplifiers)?$|single-stage amplifiers|transistor amplifiers", "amplifier"),
    (r"output stages|cmos amplifiers", "amplifier"),
    (r"current mirror|current sources", "current_mirror"),
    (r"op-?amp|operational amplifiers|op amps|transconductance amplifiers|nanometer|stability", "opamp"),
    (r"bandgap", "bandgap"),
    (r"sample-and-hold|switched[- ]capacitor", "switched_cap"),
    (r"oscillator|vco", "oscillator"),
    (r"phase-? ?locked|synthesizer", "pll"),
    (r"low noise|lna", "lna"),
    (r"mixer", "mixer"),
    (r"power amplifiers|pa papers", "power_amp"),
    (r"power converter", "power_converter"),
    (r"voltage regulation|ldo", "ldo"),
    (r"comparator", "comparator"),
    (r"filter", "filter"),
    (r"converters$", "adc_dac"),
)

#: `source` of a circuit that ships with the project.
ARCHETYPES = "archetypes"

_DEVICE_LINE = re.compile(r"\s*(\S+)\s*\(([^()]*)\)\s*(\S+)\s*")


@dataclass(frozen=True)
class CorpusCircuit:
    """One circuit of a corpus. `id` is the corpus's own; `source` is the book or collection it was drawn from."""

    id: str
    type: str
    netlist: Netlist
    source: str


@dataclass(frozen=True)
class AnalogCorpus:
    """The circuits that survived repair, in the corpus's order, and what was done to get there.

    `cells` are the op-amps that are known to be part of a circuit, by the circuit's id, repaired alike; in them the
    wires to the rest of the circuit have lost their far ends.
    """

    circuits: tuple[CorpusCircuit, ...]
    report: RepairReport
    cells: Mapping[str, Netlist]


@dataclass(frozen=True, slots=True)
class _Drawing:
    """One circuit as the data set holds it."""

    id: str
    type: str | None
    source: str
    ports: tuple[str, ...]
    text: str
    cell: str | None


def read_analoggenie(path: Path) -> AnalogCorpus:
    """Read and repair the AnalogGenie data set.

    Args:
        path: A clone of the original repository or its `Dataset` folder, or the JSON Lines form (`circuits.jsonl` or
            the folder that holds it).

    Raises:
        CorpusMissing: Neither layout is there.
        InvalidInput: A line of the JSON Lines form is not one of its objects.
    """
    report = RepairReport()
    circuits = []
    cells = {}
    for drawing in _drawings(path):
        outcome = _repaired(drawing.text, drawing.ports)
        report.note(drawing.id, outcome)
        if outcome.netlist is not None:
            circuit_type = drawing.type if drawing.type in CIRCUIT_TYPES else "other"
            circuits.append(CorpusCircuit(drawing.id, circuit_type, outcome.netlist, drawing.source))
            cell = _repaired(drawing.cell, SUPPLY_NETS).netlist if drawing.cell else None
            if cell is not None:
                cells[drawing.id] = cell
    return AnalogCorpus(tuple(circuits), report, cells)


def read_archetypes(path: Path | None = None) -> tuple[CorpusCircuit, ...]:
    """The textbook circuits that ship with the project, one of every circuit type at least, as unsized topologies.

    Args:
        path: A folder of `<type>/<name>.cir`; the shipped one when absent.

    Raises:
        CorpusMissing: The folder holds no circuit.
        InvalidInput: A file is no circuit of a known type that is fit for a corpus.
    """
    folder = data_path("archetypes") if path is None else path
    circuits = []
    for file in sorted(folder.glob("*/*.cir")):
        circuit_type = file.parent.name
        name = f"{circuit_type}/{file.stem}"
        if circuit_type not in CIRCUIT_TYPES:
            raise UnknownName("circuit type", circuit_type, CIRCUIT_TYPES)
        drawn = parse_spice(file.read_text(encoding="utf-8")).netlist
        outcome = repair([(device.kind, device.nets) for device in drawn.devices], drawn.ports)
        if outcome.netlist is None or outcome.mends:
            what = outcome.dropped or ", ".join(outcome.mends)
            raise InvalidInput(f"archetype {name} is not fit for a corpus: {what}")
        circuits.append(CorpusCircuit(name, circuit_type, outcome.netlist, ARCHETYPES))
    if not circuits:
        raise CorpusMissing(f"no archetypes in {folder}; install the project again, its data folder is incomplete")
    return tuple(circuits)


def _drawings(path: Path) -> Iterator[_Drawing]:
    lines = path / "circuits.jsonl" if path.is_dir() else path
    if lines.is_file():
        return _from_json_lines(lines)
    for folder in (path / "Dataset", path):
        if folder.is_dir() and any(folder.glob("[0-9]*/[0-9]*.cir")):
            return _from_folders(folder)
    raise CorpusMissing(
        f"no AnalogGenie data at {path}; give a clone of the repository xz-group/AnalogGenie, or its circuits.jsonl"
    )


def _from_json_lines(path: Path) -> Iterator[_Drawing]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not (isinstance(row["netlist"], str) and isinstance(row["ports"], list)):
                    raise TypeError("netlist has to be text and ports a list")
                cell = row.get("opamp_netlist")
                if not isinstance(cell, str | None):
                    raise TypeError("opamp_netlist has to be text")
                source = row["source"] or "AnalogGenie"
                yield _Drawing(str(row["id"]), row["type"], source, tuple(row["ports"]), row["netlist"], cell)
            except (ValueError, KeyError, TypeError) as error:
                what = f"{type(error).__name__}: {error}"
                raise InvalidInput(
                    f"{path.name} line {number} is not a circuit of the JSON Lines form ({what})"
                ) from error


def _from_folders(folder: Path) -> Iterator[_Drawing]:
    sections = _read_sections(folder / "data_categorization.md")
    for entry in sorted((e for e in folder.iterdir() if e.name.isdecimal()), key=lambda e: int(e.name)):
        text = _text_of(entry / f"{entry.name}.cir")
        if text is None:
            continue
        ports = _text_of(entry / f"Port{entry.name}.txt") or ""
        circuit_type, source = sections.get(int(entry.name), (None, "AnalogGenie"))
        yield _Drawing(
            entry.name,
            circuit_type,
            source,
            tuple(ports.replace(",", " ").split()),
            text,
            _text_of(entry / f"Opamp{entry.name}.cir"),
        )


def _text_of(path: Path) -> str | None:
    """What the file says, or None where there is none."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _read_sections(path: Path) -> dict[int, tuple[str | None, str]]:
    """Circuit id -> (type, book) from the data set's own table of id ranges; empty where the table is absent."""
    if not path.is_file():
        return {}
    table: dict[int, tuple[str | None, str]] = {}
    book = "AnalogGenie"
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"\s*##\s*\d+\.\s*(.+)", line):
            book = heading[1].replace("**", "").strip()
        elif ranges := re.match(r"\s*-\s*([0-9][0-9\s,–-]*):\s*(.+)", line):
            circuit_type = _section_type(ranges[2].strip())
            for part in ranges[1].split(","):
                ends = [int(end) for end in re.findall(r"[0-9]+", part)]
                for number in range(ends[0], ends[-1] + 1):
                    table[number] = (circuit_type, book)
    return table


def _section_type(section: str) -> str:
    for pattern, circuit_type in _SECTION_TYPES:
        if re.search(pattern, section.lower()):
            return circuit_type
    return "other"


def _repaired(text: str, ports: Iterable[str]) -> Repaired:
    devices: list[DraftDevice] = []
    names: Counter[str] = Counter()
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(("//", "*")):
            continue
        match = _DEVICE_LINE.fullmatch(line)
        kind = _KIND_NAMES.get(match[3]) if match else None
        if match is None or kind is None:
            return Repaired(None, Counter(), "line is not a device")
        nets = match[2].split()
        pins = KINDS[kind].pins
        if KINDS[kind].letter == "Q" and len(nets) == len(pins) + 1:
            nets = nets[:-1]  # the substrate, which no Q kind of ours has
        if len(nets) != len(pins):
            return Repaired(None, Counter(), "wrong number of pins")
        names[match[1]] += 1
        devices.append((kind, tuple(nets)))
    outcome = repair(devices, ports)
    duplicates = sum(count - 1 for count in names.values())
    if duplicates:
        outcome.mends["duplicate_name_renamed"] += duplicates
    return outcome
