"""Which nets belong together once some are joined. Knows names alone: what joins nets is the caller's matter."""

from __future__ import annotations

from collections.abc import Iterable


class JoinedNets:
    """Disjoint sets of net names; a name that was never joined is a set of its own."""

    def __init__(self) -> None:
        self._leader: dict[str, str] = {}

    def find(self, net: str) -> str:
        """The name that stands for the set of `net`, the same for all of its members until the next `join`."""
        leader = self._leader
        while leader.setdefault(net, net) != net:
            leader[net] = leader[leader[net]]
            net = leader[net]
        return net

    def join(self, nets: Iterable[str]) -> None:
        """All of `nets` are in one set."""
        first, *others = nets
        for net in others:
            self._leader[self.find(net)] = self.find(first)
