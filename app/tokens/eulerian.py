"""The Eulerian language: `TYPE walk`, where the walk is AnalogGenie's, token for token.

It stands beside the device lines to be compared with them: four times as long at the median, with a name for every
instance and so a ceiling for each kind. The type in front is ours, so that a sentence tells it in every language.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from app.analog.kinds import CIRCUIT_TYPES
from app.analog.netlist import Netlist
from app.errors import NotASentence
from app.tokens._base import BEGIN, END, Vocabulary, languages
from app.tokens._eulerian_walk import INSTANCE_OF_PIN, INSTANCES, PORTS, circuit_of_walk, walk_tokens
from app.tokens.device_lines import TopologyConstraint

if TYPE_CHECKING:
    import torch

    from app.tokens._eulerian_grammar import EulerianGrammar

VOCABULARY = Vocabulary(
    (
        "<pad>", "<begin>", "<end>",
        *(f"type:{name}" for name in CIRCUIT_TYPES),
        *INSTANCES, *INSTANCE_OF_PIN, *PORTS,
    )
)  # fmt: skip

TYPE_START = VOCABULARY.index[f"type:{CIRCUIT_TYPES[0]}"]
NODE_START = TYPE_START + len(CIRCUIT_TYPES)


class Eulerian:
    """The language; see the module."""

    name = "eulerian"
    vocabulary = VOCABULARY

    def encode(self, circuit: Netlist, label: str, rng: random.Random) -> list[int]:
        """A sentence for `circuit` of type `label`; `rng` draws the order of the search at every node.

        Raises:
            NotExpressible: the type, an instance or a port has no token, or the walk is too long or not in one piece.
        """
        return VOCABULARY.ids(["<begin>", f"type:{label}", *walk_tokens(circuit, rng), "<end>"])

    def decode(self, ids: Sequence[int], *, checks_size: bool = True) -> tuple[Netlist, str]:
        """The circuit and its type. A sentence declares no size, so there is none to hold it to.

        Raises:
            NotASentence: the tokens do not follow the language.
        """
        names = [VOCABULARY.tokens[number] for number in ids]
        if names[:1] != ["<begin>"]:
            raise NotASentence(0, "a sentence begins with <begin>")
        if len(names) < 2 or not names[1].startswith("type:"):
            raise NotASentence(1, "a circuit type is due")
        if ids[-1] != END:
            raise NotASentence(len(names), "the sequence stops where <end> is due")
        return circuit_of_walk(names[2:-1], offset=2), names[1].removeprefix("type:")

    def prompt(self, constraint: TopologyConstraint) -> list[int]:
        """``<begin>``, and where a type is asked for, the type and the VSS where every walk begins."""
        if constraint.type is None:
            return [BEGIN]
        return [BEGIN, *VOCABULARY.ids([f"type:{constraint.type}", "VSS"])]

    def grammar(self, device: torch.device) -> EulerianGrammar:
        """The grammar with its tables on `device`; made once for each."""
        return _grammar(device)


@cache
def _grammar(device: torch.device) -> EulerianGrammar:
    from app.tokens._eulerian_grammar import EulerianGrammar

    return EulerianGrammar(device)


languages.add(Eulerian.name, Eulerian())
