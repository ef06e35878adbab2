"""What a generator is: requests into prompts for the engine, sampled sentences into circuits. It calls no simulator."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import torch

from app.inference.engine import Prompt
from app.measures.novelty import TrainingIndex
from app.registry import Registry
from app.tokens._base import Grammar, Language
from app.validators._base import Subject

Request = TypeVar("Request", contravariant=True)

#: The language of the model that a request goes to; it writes the generator's kind of circuit.
AnyLanguage: TypeAlias = Language[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a request is sampled: one prompt for all its items, and the most tokens an item may take."""

    prompt: Prompt
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposed circuit: what validators check, and its fields of a row (netlist or program, sizes, novelty)."""

    subject: Subject
    fields: Mapping[str, Any]


class Generator(Protocol[Request]):
    """Proposes circuits of one job kind. Stateless: the model's language and training index are handed in."""

    kind: str

    def plan(self, request: Request, language: AnyLanguage) -> Plan:
        """The prompt of a request; raises InvalidRequest or UnknownName where nothing can satisfy it."""
        ...

    def candidate(
        self, ids: list[int], request: Request, language: AnyLanguage, seen: TrainingIndex | None
    ) -> Candidate:
        """The circuit of a sentence; raises NotASentence."""
        ...


def satisfiable(language: AnyLanguage, constraint: Hashable) -> Grammar[Any, Any]:
    """The language's grammar; raises InvalidRequest where no sentence can satisfy the constraint."""
    grammar = language.grammar(torch.device("cpu"))
    grammar.start(constraint)
    return grammar


#: Generators by name; one a file. `kind` of each is a job kind such as ``analog.generate``.
generators: Registry[Generator[Any]] = Registry("generator", "app.generators")
