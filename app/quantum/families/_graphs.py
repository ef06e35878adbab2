"""Graphs that states, problems and lattices are built on."""

from __future__ import annotations

import math
import random
from typing import Final

Edges = tuple[tuple[int, int], ...]

#: Every kind of graph that `graph_edges` makes.
GRAPH_KINDS: Final = ("path", "cycle", "star", "complete", "grid", "random", "three_regular")


def graph_edges(kind: str, size: int, rng: random.Random) -> Edges:
    """Edges of a graph of a kind of `GRAPH_KINDS`, each pair ascending. A random graph touches every vertex.

    A three-regular graph has an even number of vertices: the last one of an odd number is tied to the first alone.
    """
    if kind == "path":
        return chain(size)
    if kind == "cycle":
        return (*chain(size), (0, size - 1)) if size > 2 else chain(size)
    if kind == "star":
        return tuple((0, vertex) for vertex in range(1, size))
    if kind == "complete":
        return tuple((a, b) for a in range(size) for b in range(a + 1, size))
    if kind == "grid":
        width = max(2, math.isqrt(size))
        across = [(v, v + 1) for v in range(size - 1) if (v + 1) % width]
        return tuple(sorted(across + [(v, v + width) for v in range(size - width)]))
    if kind == "random":
        return _random(size, rng)
    return _three_regular(size, rng)


def chain(size: int) -> Edges:
    """Every vertex tied to the next."""
    return tuple((vertex, vertex + 1) for vertex in range(size - 1))


def _random(size: int, rng: random.Random) -> Edges:
    share = min(0.7, 2.5 / size + rng.uniform(0.0, 0.2))
    edges = {(a, b) for a in range(size) for b in range(a + 1, size) if rng.random() < share}
    for vertex in range(size):
        if not any(vertex in edge for edge in edges):
            other = rng.choice([v for v in range(size) if v != vertex])
            edges.add((min(vertex, other), max(vertex, other)))
    return tuple(sorted(edges))


def _three_regular(size: int, rng: random.Random) -> Edges:
    if size < 4:
        return graph_edges("complete", size, rng)
    even = size - size % 2
    while True:
        stubs = [vertex for vertex in range(even) for _ in range(3)]
        rng.shuffle(stubs)
        edges = {(min(a, b), max(a, b)) for a, b in zip(stubs[::2], stubs[1::2], strict=True) if a != b}
        if len(edges) == 3 * even // 2:
            return tuple(sorted(edges)) + (((0, size - 1),) if size % 2 else ())
