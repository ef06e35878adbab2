"""When two netlists are the same circuit: device and net names, order, and exchangeable pins do not count.

A circuit is seen as a graph of devices and nets. Ports count by role, not by index, so VB1 and VB2 may trade places;
supplies count by name; sizes do not count.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import networkx as nx

from app.analog.kinds import KINDS, SUPPLY_NETS
from app.analog.netlist import Netlist, port_role


def _digest(text: bytes) -> int:
    """A 63-bit number, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def _pin_classes(kind: str) -> tuple[str, ...]:
    """One word a pin; exchangeable pins share theirs."""
    description = KINDS[kind]
    return tuple("|".join(description.exchangeable) if p in description.exchangeable else p for p in description.pins)


#: Kind -> one word a pin, in the order of its pins.
PIN_CLASSES = {kind: _pin_classes(kind) for kind in KINDS}


@dataclass(frozen=True)
class _Graph:
    """Nodes are numbers, nets first; `colours` are their own labels, `edges` their (edge label, neighbour) pairs."""

    colours: tuple[int, ...]
    edges: tuple[tuple[tuple[int, int], ...], ...]


def net_class(net: str, ports: Collection[str]) -> str:
    """What a net is to the outside: a supply by name, ``port ROLE``, ``port`` where no role is told, or ``net``."""
    if net in SUPPLY_NETS:
        return net
    if net not in ports:
        return "net"
    role = port_role(net)
    return f"port {role[0]}" if role else "port"


def _graph(netlist: Netlist, *, merge_parallel: bool, net_label: Callable[[str], str] | None = None) -> _Graph:
    """The bipartite graph. With `merge_parallel`, devices of one kind on the same nets are one node with a count."""
    ports = frozenset(netlist.ports)
    index = {net: position for position, net in enumerate(netlist.nets)}
    labels = [net_label(net) if net_label else net_class(net, ports) for net in netlist.nets]
    colours = [_digest(label.encode()) for label in labels]
    edges: list[list[tuple[int, int]]] = [[] for _ in colours]
    wirings: list[tuple[str, tuple[tuple[int, str], ...]]] = []
    for device in netlist.devices:
        pins: dict[int, list[str]] = defaultdict(list)
        for pin, net in zip(PIN_CLASSES[device.kind], device.nets, strict=True):
            pins[index[net]].append(pin)
        wirings.append((device.kind, tuple(sorted((net, "+".join(sorted(names))) for net, names in pins.items()))))
    counted = Counter(wirings).items() if merge_parallel else [(wiring, 1) for wiring in wirings]
    for (kind, wires), count in counted:
        node = len(colours)
        colours.append(_digest(f"{kind} {count}".encode()))
        edges.append([])
        for position, words in wires:
            label = _digest(words.encode())
            edges[node].append((label, position))
            edges[position].append((label, node))
    return _Graph(tuple(colours), tuple(tuple(row) for row in edges))


def _refined(graph: _Graph, colours: Sequence[int]) -> list[int]:
    """One Weisfeiler-Leman round: a node's new colour tells its old one and the multiset around it."""
    fresh = []
    for own, around in zip(colours, graph.edges, strict=True):
        parts = [own]
        for label, colour in sorted((label, colours[node]) for label, node in around):
            parts += (label, colour)
        fresh.append(_digest(b"".join(part.to_bytes(8, "big") for part in parts)))
    return fresh


def _stable_colours(graph: _Graph, most_rounds: int | None = None) -> list[int]:
    """Colours after as many rounds as still tell more nodes apart, and at most `most_rounds`."""
    colours = list(graph.colours)
    classes = len(set(colours))
    for _ in range(len(colours) if most_rounds is None else most_rounds):
        colours = _refined(graph, colours)
        if len(set(colours)) == classes:
            break
        classes = len(set(colours))
    return colours


def device_colours(netlist: Netlist, net_label: Callable[[str], str], most_rounds: int) -> dict[str, int]:
    """Device name -> a number that devices in equal surroundings share; `net_label` says which nets are alike at first.

    Surroundings are looked at up to `most_rounds` devices away. Equal numbers do not prove that the devices can be
    swapped, but in circuits nearly always mean it.
    """
    colours = _stable_colours(_graph(netlist, merge_parallel=False, net_label=net_label), most_rounds)
    return {device.name: colours[len(netlist.nets) + place] for place, device in enumerate(netlist.devices)}


def wl_labels(netlist: Netlist, depth: int = 3, net_label: Callable[[str], str] | None = None) -> Counter[int]:
    """The Weisfeiler-Leman labels of every device and net after 0 to `depth` rounds, with their counts.

    Labels are below 2**63 and the same on every machine; equal circuits have equal counters. The overlap of two
    counters is a measure of likeness. `net_label` says which nets are alike at first, `net_class` when absent.
    """
    graph = _graph(netlist, merge_parallel=False, net_label=net_label)
    colours = list(graph.colours)
    labels = Counter(colours)
    for _ in range(depth):
        colours = _refined(graph, colours)
        labels.update(colours)
    return labels


def canonical_hash(netlist: Netlist) -> str:
    """32 hex digits that equal circuits share. Different circuits nearly always differ; `are_isomorphic` settles it."""
    graph = _graph(netlist, merge_parallel=True)
    return _hash_of(_stable_colours(graph))


def wiring_hash(netlist: Netlist) -> str:
    """Like `canonical_hash`, with ports seen as nets like any other: what a circuit calls its ports does not count."""
    return _hash_of(_stable_colours(_graph(netlist, merge_parallel=True, net_label=_supply_or_net)))


def _supply_or_net(net: str) -> str:
    return net if net in SUPPLY_NETS else "net"


def _hash_of(colours: Iterable[int]) -> str:
    text = b"".join(colour.to_bytes(8, "big") for colour in sorted(colours))
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def are_isomorphic(first: Netlist, second: Netlist) -> bool:
    """True when the two are the same circuit: some renaming of devices, nets and port indices makes them equal."""
    if Counter(device.kind for device in first.devices) != Counter(device.kind for device in second.devices):
        return False
    graphs = [_graph(netlist, merge_parallel=True) for netlist in (first, second)]
    colours = [_stable_colours(graph) for graph in graphs]
    if Counter(colours[0]) != Counter(colours[1]):
        return False
    return _match_pieces(_symmetric_pieces(graphs[0], colours[0]), _symmetric_pieces(graphs[1], colours[1]))


def _symmetric_pieces(graph: _Graph, colours: Sequence[int]) -> list[nx.Graph]:
    """The connected pieces left when every node with a colour of its own is taken out.

    Such a node can only map to its namesake, and its edges are told by its neighbours' colours; so the pieces may be
    compared one by one, which keeps the exact search small on circuits with many equal parts.
    """
    count = Counter(colours)
    rest = nx.Graph()
    rest.add_nodes_from((node, {"colour": c}) for node, c in enumerate(colours) if count[c] > 1)
    rest.add_edges_from(
        (node, other, {"pins": label})
        for node in rest.nodes
        for label, other in graph.edges[node]
        if node < other and other in rest
    )
    return [rest.subgraph(piece) for piece in nx.connected_components(rest)]


def _match_pieces(first: list[nx.Graph], second: list[nx.Graph]) -> bool:
    """True when the pieces pair off. Being isomorphic is an equivalence, so the first fit is as good as any."""
    waiting: dict[str, list[nx.Graph]] = defaultdict(list)
    for piece in second:
        waiting[_piece_key(piece)].append(piece)
    for piece in first:
        candidates = waiting[_piece_key(piece)]
        for position, candidate in enumerate(candidates):
            if _is_exact_match(piece, candidate):
                del candidates[position]
                break
        else:
            return False
    return not any(waiting.values())


def _piece_key(piece: nx.Graph) -> str:
    return _hash_of(colour for _, colour in piece.nodes(data="colour"))


def _is_exact_match(first: nx.Graph, second: nx.Graph) -> bool:
    matcher = nx.isomorphism.GraphMatcher(
        first,
        second,
        node_match=nx.isomorphism.categorical_node_match("colour", None),
        edge_match=nx.isomorphism.categorical_edge_match("pins", None),
    )
    return bool(matcher.is_isomorphic())
