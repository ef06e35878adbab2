"""Analog topologies from a type, a number of devices, kinds and ports. Validity is the validators' matter."""

from __future__ import annotations

from app.analog.canonical import canonical_hash, wl_labels
from app.analog.spice import write_spice
from app.generators._base import AnyLanguage, Candidate, Plan, generators, satisfiable
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
        """The prompt; under a grammar every constraint is exact, without one only the type is asked for."""
        request.check_names()
        constraint = TopologyConstraint(
            type=request.type,
            max_devices=min(request.max_devices or DEFAULT_MAX_DEVICES, MAX_DEVICES),
            kinds=request.kinds,
            ports=request.ports or (),
        )
        prompt = Prompt(tuple(language.prompt(constraint)), constraint, request.grammar)
        return Plan(prompt, satisfiable(language, constraint).longest(constraint))

    def candidate(
        self, ids: list[int], request: AnalogGenerateRequest, language: AnyLanguage, seen: TrainingIndex | None
    ) -> Candidate:
        """The netlist at the default technology's sizes, and how near it is to the training circuits.

        What the bare network wrote (without the grammar) is taken at whatever size it ended.
        """
        topology, label = language.decode(ids, checks_size=request.grammar)
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


generators.add("analog_topology", AnalogTopologyGenerator())
