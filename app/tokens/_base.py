"""What every language offers: a vocabulary, circuits to token ids and back, and a grammar that runs as tensors."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Generic, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

from app.errors import NotExpressible
from app.registry import Registry


@dataclass(frozen=True)
class Vocabulary:
    """Token names in id order. The first three are always ``<pad>``, ``<begin>`` and ``<end>``."""

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        """Names are distinct and the specials come first, else ValueError."""
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError("a token name occurs twice")
        if self.tokens[:3] != ("<pad>", "<begin>", "<end>"):
            raise ValueError("a vocabulary starts with <pad>, <begin>, <end>")

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Token name to id."""
        return MappingProxyType({token: number for number, token in enumerate(self.tokens)})

    def __len__(self) -> int:
        return len(self.tokens)

    def ids(self, names: Sequence[str]) -> list[int]:
        """Ids of token names; NotExpressible names the first that is not here."""
        try:
            return [self.index[name] for name in names]
        except KeyError as error:
            raise NotExpressible(f"no token for {error.args[0]!r} in this language") from None


PAD, BEGIN, END = 0, 1, 2

Circuit = TypeVar("Circuit")
AnyCircuit = TypeVar("AnyCircuit", contravariant=True)
Constraint = TypeVar("Constraint", contravariant=True)
State = TypeVar("State", bound="TensorState")


class Grammar(Protocol[Constraint, State]):
    """Which tokens may follow, for many sequences at once. A state is tensors with one row per sequence.

    `mask` and `advance` use neither host data nor data-dependent shapes, so they run inside a captured graph. From any
    reachable state at least one token is legal, and every legal walk reaches ``<end>`` within `longest` tokens.
    """

    vocabulary_size: int

    def start(self, constraint: Constraint) -> State:
        """The one-row state before the token after ``<begin>``; raises InvalidRequest where nothing can satisfy it."""
        ...

    def allocate(self, rows: int) -> State:
        """A state of `rows` rows that are finished: only ``<pad>`` may follow."""
        ...

    def mask(self, state: State, rows: int) -> Tensor:
        """Bool [rows, vocabulary]: the tokens that may follow in the first `rows` rows."""
        ...

    def given(self, state: State, rows: int) -> Tensor:
        """Bool [rows]: whether the constraint itself spells out the next token, so that it is no choice of a model."""
        ...

    def advance(self, state: State, tokens: Tensor) -> None:
        """The first len(tokens) rows have taken one token each (int64 [rows]); the tokens were legal."""
        ...

    def longest(self, constraint: Constraint) -> int:
        """Most tokens a sentence under this constraint may have, ``<begin>`` and ``<end>`` included."""
        ...


class Language(Protocol, Generic[Circuit, Constraint, State]):
    """Circuits as token ids. `decode(encode(c, rng))` is `c` up to isomorphism, whatever the order that `rng` chose."""

    name: str
    vocabulary: Vocabulary

    def encode(self, circuit: Circuit, label: str, rng: random.Random) -> list[int]:
        """A sentence, ``<begin>`` to ``<end>``; `label` is the type or family. Raises NotExpressible."""
        ...

    def decode(self, ids: Sequence[int], *, checks_size: bool = True) -> tuple[Circuit, str]:
        """The circuit and its label; raises NotASentence. `checks_size` holds the sentence to what it declares."""
        ...

    def prompt(self, constraint: Constraint) -> list[int]:
        """The longest token prefix that every sentence under this constraint shares."""
        ...

    def grammar(self, device: torch.device) -> Grammar[Constraint, State]:
        """The grammar with its tables on an accelerator (or the CPU)."""
        ...


@runtime_checkable
class HasBeginnings(Protocol[AnyCircuit]):
    """What some languages offer besides: sentences of a circuit that begin elsewhere than `encode` has them begin."""

    def encode_from_anywhere(self, circuit: AnyCircuit, label: str, rng: random.Random) -> list[int]:
        """As `encode`, but the sentence begins at any part of the circuit. Raises NotExpressible."""
        ...


class TensorState:
    """Base of grammar states: every attribute named in `FIELDS` is a tensor whose first axis is the row."""

    FIELDS: tuple[str, ...] = ()

    def first(self, rows: int) -> Self:
        """The same state seen through its first `rows` rows; views are kept, for slicing has its cost."""
        views: dict[int, Self] = self.__dict__.setdefault("_views", {})
        if rows not in views:
            view = object.__new__(type(self))
            for name in self.FIELDS:
                setattr(view, name, getattr(self, name)[:rows])
            views[rows] = view
        return views[rows]

    def put(self, row: int, one: TensorState) -> None:
        """Row `row` becomes the single row of `one`."""
        for name in self.FIELDS:
            getattr(self, name)[row] = getattr(one, name)[0]

    def move(self, target: int, source: int) -> None:
        """Row `target` becomes a copy of row `source`."""
        for name in self.FIELDS:
            tensor = getattr(self, name)
            tensor[target] = tensor[source]


#: Every language by name. Entries are instances.
languages: Registry[Language] = Registry("language", "app.tokens")  # type: ignore[type-arg]  # entries differ in type
