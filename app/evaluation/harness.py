"""One circuit through every check, whoever made it: samples, real circuits and random wiring go the same way."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.netlist import Netlist
from app.analog.spice import write_spice
from app.errors import SimulatorFailure
from app.evaluation.plan import Item, Side
from app.findings import Finding
from app.measures.novelty import TrainingIndex
from app.simulators.deck import default_sizes
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.validators._base import Subject, Verdict
from app.validators._tools import analog_tools
from app.validators.ladder import Ladder, Rung

log = logging.getLogger(__name__)

#: Wall clock of one batch of simulations. What is reported has to be the same on a busy machine.
_SIMULATION_WALL_S = 200.0

_MOS = frozenset({"nmos", "pmos"})
_TRANSISTORS = _MOS | {"npn", "pnp"}


class TypeReader(Protocol):
    """Tells types from netlists; `measures.type_classifier.TypeClassifier` does."""

    def types(self, netlists: Sequence[Netlist], *, with_port_roles: bool = True) -> Sequence[str]:
        """One of CIRCUIT_TYPES for each netlist; without port roles, by wiring alone."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """What one circuit came to; a line of the journal. `type` is what was asked for, or what a given circuit is.

    What does not apply is None: all but `parses` where the text is no circuit, `converges` and what follows where that
    was not to be checked, the shares where there is no transistor (`saturated`: no MOS). A circuit that failed an
    earlier check does not converge, its transistors do not conduct, and it does not work.

    `has_point` tells that `conducting` and `saturated` were found by the bias search and are not the zeros of a failed
    circuit. `problem` says why a check could not be done; the circuit then counts as not passing it.
    """

    side: Side
    seed: int
    index: int
    type: str
    rung: Rung
    parses: bool
    is_legal: bool = False
    codes: tuple[str, ...] = ()
    identity: str | None = None
    is_novel: bool | None = None
    similarity: float | None = None
    devices: int | None = None
    masked_nats: float | None = None
    converges: bool | None = None
    has_point: bool = False
    conducting: float | None = None
    saturated: float | None = None
    works: bool | None = None
    classified: str | None = None
    classified_by_wiring: str | None = None
    problem: str | None = None

    @property
    def key(self) -> tuple[Side, int, int]:
        """As of its item."""
        return self.side, self.seed, self.index

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Record:
        """What `as_json` wrote."""
        return cls(**{**entry, "codes": tuple(entry["codes"])})


@contextmanager
def open_ladder(workers: int, data_dir: Path) -> Iterator[Ladder]:
    """The ladder of checks over up to `workers` ngspice processes of its own. Raises NgspiceMissing."""
    with analog_tools(workers, data_dir, wall_s=_SIMULATION_WALL_S) as tools:
        yield Ladder(tools)


class Harness:
    """Checks, novelty and type of circuits.

    Args:
        ladder: The checks.
        seen: What the model was trained on; without it nothing is said of novelty.
        types: Who tells types; without it nothing is said of them.
        threads: Circuits that are checked side by side.
    """

    def __init__(
        self, ladder: Ladder, *, seen: TrainingIndex | None = None, types: TypeReader | None = None, threads: int = 4
    ) -> None:
        self._ladder = ladder
        self._seen = seen
        self._types = types
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="evaluate")

    def close(self) -> None:
        """No thread is left; circuits that wait for one are not looked at any more."""
        self._threads.shutdown(cancel_futures=True)

    def records(self, cases: Sequence[tuple[Item, Netlist | None, float | None]]) -> list[Record]:
        """One record for each (item, netlist, masked nats); a netlist is None where the sample is no circuit."""
        records = list(self._threads.map(lambda case: self._record(*case), cases))
        if self._types is None:
            return records
        netlists = {place: netlist for place, (_, netlist, _) in enumerate(cases) if netlist is not None}
        circuits = list(netlists.values())
        told = self._types.types(circuits), self._types.types(circuits, with_port_roles=False)
        for place, word, bare in zip(netlists, *told, strict=True):
            records[place] = replace(records[place], classified=word, classified_by_wiring=bare)
        return records

    def _record(self, item: Item, netlist: Netlist | None, masked_nats: float | None) -> Record:
        record = Record(
            item.side, item.seed, item.index, item.type, item.rung, netlist is not None, masked_nats=masked_nats,
            **_failed(item, netlist),
        )  # fmt: skip
        if netlist is None:
            return replace(record, codes=("not_a_sentence",))
        identity = canonical_hash(netlist)
        record = replace(record, identity=identity, devices=len(netlist.devices))
        if self._seen is not None:
            novelty = self._seen.novelty(identity, wl_labels(netlist))
            record = replace(record, is_novel=novelty.is_novel, similarity=novelty.nearest_similarity)
        try:
            return self._checked(record, item, netlist)
        except SimulatorFailure as error:
            log.warning("%s, seed %d, item %d: %s", item.side, item.seed, item.index, error)
            return replace(record, is_legal=True, problem=str(error))

    def _checked(self, record: Record, item: Item, topology: Netlist) -> Record:
        netlist = default_sizes(topology, technologies[DEFAULT_TECHNOLOGY])
        function_of = item.type if item.rung == "function" else None
        subject = Subject(write_spice(netlist), netlist=netlist, function_of=function_of)
        verdict = self._ladder.climb(subject, "structure")
        if not verdict.is_valid or item.rung == "structure":
            return replace(record, is_legal=verdict.is_valid, codes=_codes(verdict.findings))
        verdict = self._ladder.climb(subject, item.rung)
        return replace(record, is_legal=True, codes=_codes(verdict.findings), **_facts(verdict, item, netlist))


def _failed(item: Item, netlist: Netlist | None) -> dict[str, Any]:
    """What a circuit has that fails before the simulator; a text that is no circuit has transistors that do nothing."""
    if item.rung == "structure":
        return {}
    kinds = _TRANSISTORS if netlist is None else _TRANSISTORS & {device.kind for device in netlist.devices}
    return {
        "converges": False, "conducting": 0.0 if kinds else None, "saturated": 0.0 if kinds & _MOS else None,
        "works": False if item.rung == "function" else None,
    }  # fmt: skip


def _facts(verdict: Verdict, item: Item, netlist: Netlist) -> dict[str, Any]:
    """What the ladder found, on top of what a circuit has that got nowhere."""
    point: Any = verdict.facts.get("operating_point") or {}
    conduction: Any = verdict.facts.get("conduction") or {}
    function: Any = verdict.facts.get("function") or {}
    found = _failed(item, netlist)
    found["converges"] = bool(point.get("converged"))
    found["has_point"] = bool(conduction.get("converged"))
    for share in ("conducting", "saturated"):
        found[share] = conduction.get(f"{share}_share", found[share])
    if item.rung == "function":
        found["works"] = bool(function.get("works"))
    return found


def _codes(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(finding.code for finding in findings))
