"""Named places in a network where a value can be read or replaced. The network calls; who listens decides."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

#: What a listener does with the value at a place: return it, or another of the same shape.
Listener = Callable[[Tensor], Tensor]


class Taps:
    """Listeners by place. Places of `nn.decoder.Decoder`: ``embedding``, ``layer.{i}.attention_input``,
    ``layer.{i}.attention_output``, ``layer.{i}.mlp_input``, ``layer.{i}.mlp_output``, ``layer.{i}.output``, ``final``.
    Each holds [batch, time, width].
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def listen(self, place: str, listener: Listener) -> None:
        """`listener` is called with each value that passes `place`, after those added before it."""
        self._listeners.setdefault(place, []).append(listener)

    def __call__(self, place: str, value: Tensor) -> Tensor:
        """The value after every listener of `place`."""
        for listener in self._listeners.get(place, ()):
            value = listener(value)
        return value


def record(taps: Taps, place: str, into: list[Tensor]) -> None:
    """Every value that passes `place` is appended to `into`, detached."""

    def keep(value: Tensor) -> Tensor:
        into.append(value.detach())
        return value

    taps.listen(place, keep)
