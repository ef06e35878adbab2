"""The grammar of Eulerian sentences as tensors: every legal walk is the depth-first walk of some circuit's pin graph.

The graph grows under the walk. A step along a known edge changes nothing; a step back is due when the known edges here
are walked, and closes the net here; any other step makes the edges that it implies: those of a new device, and those
between all pins of the two nets that it joins.

What a completed sentence guarantees: it decodes; its devices, their kinds and its type are those the constraint allows;
VSS and every required port are used; every internal net has two pins. It knows no electrical rules: which pins drive,
and what shorts what, it leaves to the validators.

Look-ahead. A pin of a known device without a net is *loose*. With U loose pins, M required ports without a pin, and L
devices that still have to come for the ports (M - U <= the pins they bring) or for the size asked for, a step is legal
only if afterwards

    known edges + edges to close <= MAX_EDGES       devices + L <= the most allowed
    L = 0 or there is a net to go on from           U = L = 0 or a port is left that nobody uses or requires

where M of the loose pins take an edge to their port, two of the rest an edge with each other, and a new device of k
pins takes 2 k: its own, one to what is there and one for each pin that is loose then. What is needed can therefore be
done from where the walk is, and walking back needs no edge that is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import InvalidRequest
from app.tokens._base import END, PAD, TensorState
from app.tokens._eulerian_walk import INSTANCE_OF_PIN, INSTANCES, MAX_WALK, PORTS, ROOT
from app.tokens.device_lines import TopologyConstraint
from app.tokens.eulerian import NODE_START, TYPE_START, VOCABULARY

#: Most edges of a graph: its walk has two tokens for each, and the first one.
MAX_EDGES = (MAX_WALK - 1) // 2

_VOCAB = len(VOCABULARY)
_DEVICES, _PINS, _PORTS = len(INSTANCES), len(INSTANCE_OF_PIN), len(PORTS)
_PIN_START, _PORT_START = _DEVICES, _DEVICES + _PINS
_NODES = _PORT_START + _PORTS
_NETS = _PINS + _PORTS
_ROOT = _PORT_START + PORTS.index(ROOT)

#: In the history, where nothing was walked yet: one place more than there are nodes.
_NOWHERE = _NODES

#: Numbers of pins that a device can have, most first.
_WIDTHS = tuple(sorted({len(instance.pins) for instance in INSTANCES.values()}, reverse=True))


class _Phase(IntEnum):
    """What is due next."""

    TYPE = 0
    ROOT = 1
    WALK = 2
    DONE = 3


class EulerianState(TensorState):
    """Row tensors of the walk.

    `path` are the nodes from VSS to `here`, `depth` how many steps that is. A pin's `net` is a port (`_PINS` and more),
    or else a pin's number that all pins of an internal net share. A net that is `closed` takes no more pins.
    """

    FIELDS = (
        "phase", "here", "depth", "path", "length", "history", "net", "closed", "known", "required", "edges",
        "types", "kinds", "fewest", "most",
    )  # fmt: skip

    def __init__(self, rows: int, device: torch.device) -> None:
        def ints(*shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=torch.int64, device=device)

        def flags(width: int) -> Tensor:
            return torch.zeros(rows, width, dtype=torch.bool, device=device)

        self.phase = ints() + int(_Phase.DONE)
        self.here = ints() + _ROOT
        self.depth, self.path = ints(), ints(MAX_EDGES + 2) + _ROOT
        self.length, self.history = ints(), ints(MAX_WALK + 1) + _NOWHERE
        self.net = ints(_PINS) + torch.arange(_PINS, device=device)
        self.closed, self.known, self.required = flags(_NETS), flags(_DEVICES), flags(_PORTS)
        self.edges = ints()
        self.types, self.kinds = flags(len(CIRCUIT_TYPES)), flags(_DEVICES)
        self.fewest, self.most = ints(), ints()


@dataclass(frozen=True, slots=True)
class _Step:
    """What steps would change: each a tensor [rows, steps], or one that broadcasts to it."""

    #: Edges that they make, and by how much they change the loose pins and the required ports.
    edges: Tensor
    loose: Tensor
    ports: Tensor
    #: Pins of the device that comes in, or 0.
    width: Tensor
    #: Whether a net, and a port, will be there to go on from; the pins that the largest net will have at most.
    has_net: Tensor
    has_port: Tensor
    largest: Tensor
    #: Ports that nobody will use or require.
    spare: Tensor


class _Sight:
    """What a mask is made from: the rows, and what follows from them alone."""

    def __init__(self, state: EulerianState, grammar: EulerianGrammar) -> None:
        self.state = state
        rows = len(state.here)
        one = torch.ones_like(state.net)
        self.size = torch.zeros_like(state.closed, dtype=torch.int64).scatter_add_(1, state.net, one)
        self.is_on_port = state.net >= _PINS
        self.is_known = state.known[:, grammar.owner]
        self.pins_on_net = self.size.gather(1, state.net)
        self.is_single = ~self.is_on_port & (self.pins_on_net == 1)
        self.loose = (self.is_single & self.is_known).sum(-1, keepdim=True)
        self.missing = state.required.sum(-1, keepdim=True)
        self.devices = state.known.sum(-1, keepdim=True)
        is_used = self.size[:, _PINS:] > 0
        is_used = is_used | (torch.arange(_PORTS, device=state.here.device) == _ROOT - _PORT_START)
        self.spare = (~is_used & ~state.required).sum(-1, keepdim=True)
        self.is_open_port = is_used & ~state.closed[:, _PINS:]
        self.is_open_clique = (self.size[:, :_PINS] > 1) & ~state.closed[:, :_PINS]
        self.largest = self.size[:, :_PINS].amax(-1, keepdim=True)

        # the edges from here that were walked, in either direction
        history = state.history
        is_here = history == state.here[:, None]
        after = torch.where(is_here[:, :-1], history[:, 1:], _NOWHERE)
        before = torch.where(is_here[:, 1:], history[:, :-1], _NOWHERE)
        walked = torch.zeros(rows, _NODES + 1, dtype=torch.bool, device=history.device)
        self.walked = walked.scatter_(1, after, True).scatter_(1, before, True)[:, :_NODES]

        # where the walk is: one of the three, with its net unless it is a device
        here = state.here
        self.at_port = here >= _PORT_START
        self.at_pin = (here >= _PIN_START) & ~self.at_port
        pin = (here - _PIN_START).clamp(0, _PINS - 1)
        own_net = state.net.gather(1, pin[:, None])[:, 0]
        self.net = torch.where(self.at_port, here - _PORT_START + _PINS, own_net)[:, None]
        self.owner = torch.where(self.at_pin, grammar.owner[pin], here.clamp(0, _DEVICES - 1))[:, None]
        self.pins_here = torch.where(self.at_port[:, None], 1, self.size.gather(1, self.net))
        self.is_closed = state.closed.gather(1, self.net)
        self.on_port = self.net >= _PINS
        self.is_loose = self.at_pin[:, None] & ~self.on_port & (self.pins_here == 1)


class EulerianGrammar:
    """The grammar; tables live on one accelerator."""

    vocabulary_size = _VOCAB

    def __init__(self, device: torch.device) -> None:
        self.device = device
        names = list(INSTANCES)
        self.owner = torch.tensor([names.index(i.name) for i in INSTANCE_OF_PIN.values()], device=device)
        self._width = torch.tensor([len(instance.pins) for instance in INSTANCES.values()], device=device)
        self._widths = torch.tensor(_WIDTHS, device=device)
        self._numbers = torch.arange(_PINS, device=device)

    def allocate(self, rows: int) -> EulerianState:
        """Rows that are finished."""
        return EulerianState(rows, self.device)

    def start(self, constraint: TopologyConstraint) -> EulerianState:
        """One row before its type token.

        Raises:
            InvalidRequest: a prefix, for walks do not follow device lines; a port has no token, or no walk has so many
                devices and so many ports.
        """
        if constraint.prefix:
            raise InvalidRequest("prefix needs a device_lines model; this one writes Eulerian walks", pointer="/prefix")
        state = EulerianState(1, self.device)
        state.phase[0] = int(_Phase.TYPE)
        for number, name in enumerate(CIRCUIT_TYPES):
            state.types[0, number] = name in constraint.types
        for number, instance in enumerate(INSTANCES.values()):
            state.kinds[0, number] = constraint.kinds is None or instance.kind in constraint.kinds
        for position, port in enumerate(constraint.ports):
            if port not in PORTS:
                raise InvalidRequest(f"no token for port {port!r} in this language", pointer=f"/ports/{position}")
            state.required[0, PORTS.index(port)] = port != ROOT
        named = int(state.kinds.sum())
        if constraint.min_devices > named:
            raise InvalidRequest(
                f"this language has names for {named} devices of the kinds allowed, {constraint.min_devices} are asked "
                "for",
                pointer="/min_devices",
            )
        state.fewest[0] = constraint.min_devices
        state.most[0] = min(constraint.max_devices, named)
        zero = torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        yes = torch.ones(1, 1, dtype=torch.bool, device=self.device)
        sight = _Sight(state, self)
        if not bool(self._fits(sight, _Step(zero, zero, zero, zero, yes, yes, zero, sight.spare))):
            raise InvalidRequest(
                f"{constraint.min_devices} to {int(state.most)} devices of the kinds allowed cannot be counted on to "
                f"hold {int(sight.missing)} ports besides VSS in a walk of at most {MAX_WALK} tokens",
                pointer="/ports" if int(sight.missing) else "/min_devices",
            )
        return state

    def longest(self, constraint: TopologyConstraint) -> int:
        """Begin, type, the walk of a graph where all pins of all devices are on one net, end."""
        widths = [len(i.pins) for i in INSTANCES.values() if constraint.kinds is None or i.kind in constraint.kinds]
        pins = constraint.max_devices * max(widths)
        return 4 + 2 * min(MAX_EDGES, pins + max(pins, pins * (pins - 1) // 2))

    def given(self, state: EulerianState, rows: int) -> Tensor:
        """Bool [rows]: no token is spelt out by a constraint of this language."""
        return torch.zeros(rows, dtype=torch.bool, device=self.device)

    def mask(self, state: EulerianState, rows: int) -> Tensor:
        """Bool [rows, vocabulary]: the tokens that may follow."""
        here = state.first(rows)
        phase = here.phase[:, None]
        sight = _Sight(here, self)
        is_walking = phase == _Phase.WALK
        mask = torch.zeros(rows, _VOCAB, dtype=torch.bool, device=self.device)
        mask[:, PAD : PAD + 1] = phase == _Phase.DONE
        mask[:, TYPE_START:NODE_START] = here.types & (phase == _Phase.TYPE)
        mask[:, NODE_START + _ROOT : NODE_START + _ROOT + 1] = phase == _Phase.ROOT
        steps = torch.cat((self._to_devices(sight), self._to_pins(sight), self._to_ports(sight)), dim=1)
        goes_back = self._goes_back(sight)
        mask[:, END : END + 1] = is_walking & goes_back & (here.depth == 0)[:, None]
        before = here.path.gather(1, (here.depth - 1).clamp(0)[:, None])
        back = steps.gather(1, before) | (goes_back & (here.depth > 0)[:, None])
        mask[:, NODE_START:] |= steps.scatter(1, before, back) & is_walking
        return mask

    def _to_devices(self, sight: _Sight) -> Tensor:
        """From a pin to its device."""
        own = torch.arange(_DEVICES, device=self.device) == sight.owner
        return own & sight.at_pin[:, None] & ~sight.walked[:, :_DEVICES]

    def _to_pins(self, sight: _Sight) -> Tensor:
        """From a device to its pins, along a net, or to another net that this one becomes one with."""
        state = sight.state
        at_device = ~(sight.at_pin | sight.at_port)[:, None]
        own = self.owner == sight.owner
        shares_net = (state.net == sight.net) & ~(sight.at_pin[:, None] & sight.on_port)
        is_known_edge = torch.where(at_device, own, shares_net)
        goes_along = is_known_edge & ~sight.walked[:, _PIN_START:_PORT_START]
        goes_along &= self._numbers != (state.here - _PIN_START)[:, None]

        can_join = torch.where(sight.on_port, sight.at_port[:, None] & sight.is_single, ~sight.is_on_port)
        can_join = can_join & ~at_device & (state.net != sight.net) & ~sight.is_closed
        can_join &= ~state.closed.gather(1, state.net) & (sight.is_known | state.kinds[:, self.owner])
        width = torch.where(sight.is_known, 0, self._width[self.owner])
        step = _Step(
            edges=width + sight.pins_here * sight.pins_on_net,
            loose=torch.where(sight.is_known, -sight.is_single.long(), width - 1) - sight.is_loose.long(),
            ports=torch.zeros_like(sight.missing),
            width=width,
            has_net=torch.ones_like(sight.is_closed),
            has_port=sight.is_open_port.any(-1, keepdim=True),
            largest=sight.largest + sight.pins_on_net,
            spare=sight.spare,
        )
        return goes_along | (can_join & self._fits(sight, step))

    def _to_ports(self, sight: _Sight) -> Tensor:
        """From a pin to its port, or from a loose pin to any port that is not closed."""
        state = sight.state
        own = torch.arange(_PINS, _NETS, device=self.device) == sight.net
        goes_along = own & sight.at_pin[:, None] & ~sight.walked[:, _PORT_START:]
        can_join = sight.is_loose & ~state.closed[:, _PINS:]
        is_unused = ~sight.is_open_port
        step = _Step(
            edges=torch.ones_like(sight.missing),
            loose=-torch.ones_like(sight.missing),
            ports=-state.required.long(),
            width=torch.zeros_like(sight.missing),
            has_net=torch.ones_like(sight.is_closed),
            has_port=torch.ones_like(sight.is_closed),
            largest=sight.largest,
            spare=sight.spare - (is_unused & ~state.required).long(),
        )
        return goes_along | (can_join & self._fits(sight, step))

    def _goes_back(self, sight: _Sight) -> Tensor:
        """Whether the walk may leave this node for good, [rows, 1]."""
        state = sight.state
        pins = torch.where(sight.on_port, 1, sight.pins_here - 1) + 1
        width = self._width[sight.owner]
        on_port = sight.size.gather(1, sight.net)
        at_port, at_pin = sight.at_port[:, None], sight.at_pin[:, None]
        degree = torch.where(at_port, on_port, torch.where(at_pin, pins, width))
        is_walked = sight.walked.sum(-1, keepdim=True) == degree
        closes_port = at_port & ~sight.is_closed
        closes_clique = at_pin & ~sight.on_port & ~sight.is_closed
        open_ports = sight.is_open_port.sum(-1, keepdim=True) - closes_port.long()
        open_cliques = sight.is_open_clique.sum(-1, keepdim=True) - closes_clique.long()
        zero = torch.zeros_like(sight.missing)
        has_port = open_ports > 0
        step = _Step(
            zero, zero, zero, zero, (open_cliques > 0) | has_port, has_port, sight.largest, sight.spare
        )  # fmt: skip
        is_last = state.depth[:, None] == 0
        can_end = (sight.devices >= state.fewest[:, None]) & (sight.missing == 0)
        changes_nothing = ~closes_port & ~closes_clique
        fits = torch.where(is_last, can_end, changes_nothing | self._fits(sight, step))
        return is_walked & ~sight.is_loose & fits

    def _fits(self, sight: _Sight, step: _Step) -> Tensor:
        """Whether everything that will be due after a step can still be done: the look-ahead of the module."""
        state = sight.state
        devices = sight.devices + (step.width > 0).long()
        loose, missing = sight.loose + step.loose, sight.missing + step.ports
        need = (missing - loose).clamp(min=0)
        unnamed = (state.kinds & ~state.known)[:, :, None] & (self._width[:, None] == self._widths)
        left = unnamed.sum(1)
        later, edges = torch.zeros_like(need), sight.state.edges[:, None] + step.edges
        remaining = []
        for position, width in enumerate(_WIDTHS):
            here = left[:, position : position + 1] - (step.width == width).long()
            taken = torch.minimum(here, (need + width - 2) // (width - 1))
            need = (need - taken * (width - 1)).clamp(min=0)
            later, edges = later + taken, edges + 2 * width * taken
            remaining.append(here - taken)
        more = (state.fewest[:, None] - devices - later).clamp(min=0)
        for width, here in zip(reversed(_WIDTHS), reversed(remaining), strict=True):
            taken = torch.minimum(here, more)
            more = more - taken
            later, edges = later + taken, edges + 2 * width * taken
        to_ports = torch.minimum(missing, loose)
        edges = edges + to_ports + (loose - to_ports + 1) // 2
        edges = edges + torch.where((later > 0) & (loose == 0) & ~step.has_port, step.largest, 0)
        has_way = (later == 0) | (loose > 0) | step.has_net
        has_spare = ((later == 0) & (loose == 0)) | (step.spare > 0)
        is_enough = (need == 0) & (more == 0) & (devices + later <= state.most[:, None])
        return is_enough & has_way & has_spare & (edges <= MAX_EDGES)

    def advance(self, state: EulerianState, tokens: Tensor) -> None:
        """Each of the first len(tokens) rows has taken its token."""
        rows = len(tokens)
        here = state.first(rows)
        is_node = (tokens >= NODE_START)[:, None]
        there = (tokens - NODE_START).clamp(0)[:, None]
        at = here.here[:, None]
        is_step = is_node & (here.phase == _Phase.WALK)[:, None]
        goes_back = (
            is_step & (here.depth > 0)[:, None] & (here.path.gather(1, (here.depth - 1).clamp(0)[:, None]) == there)
        )
        net_here, is_wire_here = self._net_of(here, at)
        net_there, is_wire_there = self._net_of(here, there)
        closes = goes_back & is_wire_here & ((at >= _PORT_START) | (net_here < _PINS))
        here.closed.scatter_(1, net_here, here.closed.gather(1, net_here) | closes)

        # a device that comes in, and the nets that become one
        is_pin = (there >= _PIN_START) & (there < _PORT_START)
        device = torch.where(is_pin, self.owner[(there - _PIN_START).clamp(0, _PINS - 1)], 0)
        joins = is_step & ~goes_back & is_wire_here & is_wire_there & (net_here != net_there)
        is_new = joins & is_pin & ~here.known.gather(1, device)
        here.known.scatter_(1, device, here.known.gather(1, device) | is_new)
        sizes = [self._pins_on(here, net) for net in (net_here, net_there)]
        made = torch.where(is_new, self._width[device], 0) + torch.where(joins, sizes[0] * sizes[1], 0)
        here.edges += made[:, 0]
        kept, gone = torch.maximum(net_here, net_there), torch.minimum(net_here, net_there)
        here.net.copy_(torch.where(joins & (here.net == gone), kept, here.net))
        port = (there - _PORT_START).clamp(0)
        here.required.scatter_(1, port, here.required.gather(1, port) & ~(joins & (there >= _PORT_START)))

        # where the walk is now
        depth = here.depth[:, None] + torch.where(goes_back, -1, is_step.long())
        here.path.scatter_(1, depth, torch.where(is_step, there, here.path.gather(1, depth)))
        here.depth.copy_(depth[:, 0])
        here.here.copy_(torch.where(is_node, there, at)[:, 0])
        length = here.length[:, None]
        here.history.scatter_(1, length, torch.where(is_node, there, here.history.gather(1, length)))
        here.length += is_node[:, 0]
        is_done = (tokens == END) | (here.phase == _Phase.DONE)
        here.phase.copy_(torch.where(is_done, int(_Phase.DONE), (here.phase + 1).clamp(max=int(_Phase.WALK))))

    @staticmethod
    def _net_of(state: EulerianState, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """The net of each node [rows, 1], and whether it has one: a device has none."""
        own = state.net.gather(1, (nodes - _PIN_START).clamp(0, _PINS - 1))
        return torch.where(nodes >= _PORT_START, nodes - _PORT_START + _PINS, own), nodes >= _PIN_START

    @staticmethod
    def _pins_on(state: EulerianState, net: Tensor) -> Tensor:
        """The pins of each net [rows, 1] that a new one has an edge with; a port counts as one."""
        return torch.where(net >= _PINS, 1, (state.net == net).sum(-1, keepdim=True))
