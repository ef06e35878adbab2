"""Where the candidates of a design come from: archetypes of the type, then what the generator draws. Checks nothing.

Candidate ``i`` depends on the request and its seed alone: the first ones are archetypes in the order of their names,
and each of the others is what the generator draws under its own number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from app.analog.canonical import are_isomorphic, canonical_hash, wl_labels
from app.analog.corpus import CorpusCircuit
from app.analog.netlist import Netlist
from app.analog.spice import parse_spice
from app.analog.spice_writer import write_spice
from app.requests import AnalogDesignRequest, AnalogGenerateRequest
from app.workshop import Row

Origin = Literal["archetype", "generated"]


@dataclass(frozen=True)
class Candidate:
    """A topology without sizes, named as its SPICE text names it.

    `name` is the archetype's. `novelty` is what the generator says of its training circuits. `nearest` is the
    archetype, of any type, that is most like it, and how much (0 to 1).
    """

    index: int
    origin: Origin
    netlist: Netlist
    nearest: tuple[str, float]
    name: str | None = None
    novelty: Mapping[str, Any] | None = None

    @cached_property
    def text(self) -> str:
        """The topology as SPICE element cards."""
        return write_spice(self.netlist, title=self.called)

    @property
    def called(self) -> str:
        """What people are told: the archetype's name, or the candidate's number."""
        return self.name or f"generated circuit {self.index}"

    @property
    def facts(self) -> dict[str, Any]:
        """What its row says in any case."""
        return {
            "origin": self.origin,
            "name": self.name,
            "netlist": self.text,
            "device_count": len(self.netlist.devices),
            "ports": list(self.netlist.ports),
            "nearest": {"name": self.nearest[0], "similarity": round(self.nearest[1], 4)},
            "novelty": None if self.novelty is None else dict(self.novelty),
        }


class Archetypes:
    """Hand-written circuits: candidates themselves, and landmarks for others."""

    def __init__(self, circuits: Sequence[CorpusCircuit]) -> None:
        self._circuits = tuple(circuits)

    @cached_property
    def _landmarks(self) -> tuple[tuple[str, Counter[int]], ...]:
        return tuple((circuit.id, wl_labels(circuit.netlist)) for circuit in self._circuits)

    def of_type(self, circuit_type: str, max_devices: int | None = None) -> tuple[CorpusCircuit, ...]:
        """Those of a type with so many devices at most."""
        return tuple(
            circuit
            for circuit in self._circuits
            if circuit.type == circuit_type and (max_devices is None or len(circuit.netlist.devices) <= max_devices)
        )

    def nearest(self, netlist: Netlist) -> tuple[str, float]:
        """The archetype whose Weisfeiler-Leman labels are most like the netlist's, and their multiset Jaccard
        similarity.
        """  # fmt: skip
        labels = wl_labels(netlist)
        found = ((name, (labels & known).total() / (labels | known).total()) for name, known in self._landmarks)
        return max(found, key=lambda each: each[1])

    def proposed(self, request: AnalogDesignRequest) -> tuple[Candidate, ...]:
        """The request's first candidates."""
        if request.sources == "generated":
            return ()
        most = request.candidates if request.sources == "archetypes" else (request.candidates + 1) // 2
        chosen = self.of_type(request.type, request.max_devices)[:most]
        return tuple(
            Candidate(
                index,
                "archetype",
                parse_spice(write_spice(circuit.netlist, title=circuit.id)).netlist,
                (circuit.id, 1.0),
                circuit.id,
            )
            for index, circuit in enumerate(chosen)
        )

    def generated(self, index: int, row: Row) -> Candidate:
        """The candidate that a finished row of the generator holds."""
        drawn = parse_spice(row["netlist"]).netlist
        bare = tuple(replace(device, sizes=MappingProxyType({})) for device in drawn.devices)
        netlist = Netlist(bare, drawn.ports)
        return Candidate(index, "generated", netlist, self.nearest(netlist), novelty=row.get("novelty"))


def generation_of(request: AnalogDesignRequest) -> AnalogGenerateRequest:
    """What the generator is asked for; its row ``i`` is candidate ``i``."""
    return AnalogGenerateRequest(
        type=request.type,
        count=request.candidates,
        max_devices=request.max_devices,
        seed=request.seed,
        temperature=request.temperature,
        model=request.model,
        validate_=False,
    )


def twins(candidates: Iterable[Candidate]) -> dict[int, Candidate]:
    """For the index of every candidate that is the same circuit as one before it, the first such one."""
    firsts: dict[str, list[Candidate]] = {}
    found = {}
    for candidate in candidates:
        alike = firsts.setdefault(canonical_hash(candidate.netlist), [])
        twin = next((each for each in alike if are_isomorphic(each.netlist, candidate.netlist)), None)
        if twin is None:
            alike.append(candidate)
        else:
            found[candidate.index] = twin
    return found
