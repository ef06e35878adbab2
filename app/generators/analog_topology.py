"""Analog topologies from a type, a number of devices, kinds, ports and a netlist to complete. Validators judge them."""

from __future__ import annotations

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.spice import write_spice
from app.analog.types import contradictions
from app.errors import InvalidRequest
from app.generators._base import AnyLanguage, Candidate, Plan, generators, satisfiable
from app.generators._wishes import Wishes, read_wishes
from app.inference.engine import Prompt
from app.measures.novelty import TrainingIndex
from app.requests import AnalogGenerateRequest
from app.simulators.deck import complete_deck, default_sizes
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.tokens.device_lines import MAX_DEVICES, TopologyConstraint
from app.validators._base import Subject

#: Most devices where a request does not say: what the training corpus holds, rounded up.
DEFAULT_MAX_DEVICES = 80


class AnalogTopologyGenerator:
    """See the module."""

    kind = "analog.generate"

    def plan(self, request: AnalogGenerateRequest, language: AnyLanguage) -> Plan:
        """The prompt; under a grammar every constraint is exact, without one the type and an exact size are asked for.

        Raises:
            UnknownName: There is no such type.
            InvalidInput: No circuit is what the request asks for; the pointer tells the field.
        """
        request.check_names()
        wishes = _wishes_of(request)
        fewest = request.min_devices or 1
        constraint = TopologyConstraint(
            type=request.type,
            min_devices=fewest,
            max_devices=request.max_devices or _usual_ceiling(max(fewest, len(wishes.devices))),
            kinds=request.kinds,
            ports=wishes.ports,
            prefix=wishes.lines,
        )
        _check_type(request, wishes)
        prompt = Prompt(tuple(language.prompt(constraint)), constraint, request.grammar)
        return Plan(prompt, satisfiable(language, constraint).longest(constraint))

    def candidate(
        self, ids: list[int], request: AnalogGenerateRequest, language: AnyLanguage, seen: TrainingIndex | None
    ) -> Candidate:
        """The netlist at the default technology's sizes, and how near it is to the training circuits.

        What the request names, devices of its prefix included, is called and sized there as the request has it.
        What the bare network wrote (without the grammar) is taken at whatever size it ended.
        """
        drawn, label = language.decode(ids, checks_size=request.grammar)
        topology = _wishes_of(request).named(drawn)
        technology = technologies[DEFAULT_TECHNOLOGY]
        netlist = default_sizes(topology, technology)
        text = write_spice(netlist, title=f"{label}, {len(netlist.devices)} devices")
        fields = {
            "type": label,
            "netlist": text,
            "device_count": len(netlist.devices),
            "net_count": len(netlist.nets),
            "ports": list(netlist.ports),
        }
        if request.include_deck:
            fields["deck"] = complete_deck(netlist, technology)
        if seen is not None:
            fields["novelty"] = seen.novelty(canonical_hash(topology), wl_labels(topology)).as_json()
        return Candidate(Subject(text, netlist=netlist), fields)


def _wishes_of(request: AnalogGenerateRequest) -> Wishes:
    if request.prefix is not None and not request.grammar:
        raise InvalidRequest(
            "the grammar alone keeps a prefix; leave one of the two out, or set grammar to true", pointer="/grammar"
        )
    return read_wishes(request.prefix, request.ports or ())


def _usual_ceiling(least: int) -> int:
    """Most devices where a request that takes at least so many does not say."""
    return min(MAX_DEVICES, max(DEFAULT_MAX_DEVICES, 3 * least))


def _check_type(request: AnalogGenerateRequest, wishes: Wishes) -> None:
    """The type asked for can have what is asked for, else InvalidRequest."""
    if request.type is None:
        return
    for wish in contradictions(
        request.type, ports=request.ports or (), kinds=request.kinds, max_devices=request.max_devices
    ):
        raise InvalidRequest(wish.sentence, pointer=wish.pointer)
    for wish in contradictions(request.type, ports=wishes.all_ports):
        raise InvalidRequest(f"the prefix contradicts the type: {wish.sentence}", pointer="/prefix")


generators.add("analog_topology", AnalogTopologyGenerator())
