"""The batched engine: sequences of many callers share every step. One per model; one thread; no circuits known.

Rows in flight are the first `n` slots, the longer ones in front (`cache` says why). A finished row hands its slot on to
a shorter one, and a waiting sequence takes the last. The grammar's mask, the draw and the append happen on the
accelerator; one flag a step comes back.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from app.errors import EngineClosed
from app.inference.cache import ROW_MULTIPLE, Precision, SlabDecoder
from app.inference.randomness import uniform
from app.inference.sampling import masked_nats, sample
from app.nn.decoder import Decoder
from app.tokens._base import END, Grammar, TensorState

log = logging.getLogger(__name__)

_PROMPTS_KEPT = 64


@dataclass(frozen=True)
class Prompt:
    """What a sequence starts from: tokens from ``<begin>`` on and the grammar's constraint. Shared by a whole job."""

    tokens: tuple[int, ...]
    constraint: Hashable
    is_constrained: bool = True


@dataclass(frozen=True)
class Sequence:
    """One sequence to sample. `key` is its stream of randomness; at most `max_tokens` tokens, the prompt included, and
    without the grammar, which leads to an end, no more than the network was trained on.

    A lower `lane` is admitted first: 0 for people who wait, 1 for jobs.
    """

    prompt: Prompt
    key: int
    temperature: float
    top_p: float
    max_tokens: int
    lane: int = 0


@dataclass(frozen=True)
class Completion:
    """A sampled sentence, prompt included. `has_ended` is False where it ran into the most tokens that it may have.

    `masked_nats` is the sum of `sampling.masked_nats` over its steps: what the grammar had to take away. Tokens that
    the constraint spells out do not count.
    """

    ids: list[int]
    has_ended: bool
    masked_nats: float
    queued_s: float
    sampled_s: float


@dataclass(eq=False)
class Ticket:
    """A submitted sequence; `on_done` is called once from the engine's thread with a Completion or an exception."""

    sequence: Sequence
    on_done: Callable[[Completion | BaseException], None]
    submitted: float
    started: float = 0.0
    is_cancelled: bool = False


@dataclass
class _Snapshot:
    """A prompt made ready: grammar row and keys and values of all its tokens but the last."""

    state: TensorState
    keys: Tensor | None
    values: Tensor | None


@dataclass
class EngineStatistics:
    """What the engine has done since it was made."""

    tokens: int = 0
    sequences: int = 0
    steps: int = 0
    busy_s: float = 0.0
    active: int = 0
    waiting: int = 0
    slots: int = 0


class Engine:
    """Samples sequences of one model. Thread-safe; `submit` never blocks on the network."""

    def __init__(
        self,
        network: Decoder,
        grammar: Grammar[Any, Any],
        *,
        slots: int = 64,
        device: torch.device,
        threads: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        slots = -(-slots // ROW_MULTIPLE) * ROW_MULTIPLE
        self._grammar = grammar
        self._slots = slots
        self._device = device
        self._threads = threads
        with torch.inference_mode():
            self._decoder = SlabDecoder(network, slots, device, precision=precision)
            self._state: TensorState = grammar.allocate(slots)
            self._idle: TensorState = grammar.allocate(1)
            self._tokens = torch.zeros(slots, dtype=torch.int64, device=device)
            self._positions = torch.zeros(slots, dtype=torch.int64, device=device)
            self._steps = torch.zeros(slots, dtype=torch.int64, device=device)
            self._limits = torch.zeros(slots, dtype=torch.int64, device=device)
            self._keys = torch.zeros(slots, dtype=torch.int64, device=device)
            self._temperature = torch.ones(slots, device=device)
            self._top_p = torch.ones(slots, device=device)
            self._masked_nats = torch.zeros(slots, device=device)
            self._free = torch.zeros(slots, 1, dtype=torch.bool, device=device)
            self._written = torch.zeros(slots, 256, dtype=torch.int64, device=device)
        self._tickets: list[Ticket] = []
        self._lengths: list[int] = []
        self._snapshots: OrderedDict[Prompt, _Snapshot] = OrderedDict()
        self._waiting: list[tuple[int, int, Ticket]] = []
        self._order = itertools.count()
        self._condition = threading.Condition()
        self._is_closed = False
        self._has_cancelled = False
        self._statistics = EngineStatistics(slots=slots)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, sequence: Sequence, on_done: Callable[[Completion | BaseException], None]) -> Ticket:
        """The sequence waits for a slot; raises EngineClosed after `close`."""
        ticket = Ticket(sequence, on_done, time.monotonic())
        with self._condition:
            if self._is_closed:
                raise EngineClosed("the engine is closed")
            heapq.heappush(self._waiting, (sequence.lane, next(self._order), ticket))
            self._condition.notify()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """The sequence leaves at the next step; its `on_done` is not called any more."""
        with self._condition:
            ticket.is_cancelled = True
            self._has_cancelled = True
            self._condition.notify()

    def statistics(self) -> EngineStatistics:
        """Counters, and how many sequences run and wait now."""
        with self._condition:
            return replace(self._statistics, active=len(self._tickets), waiting=len(self._waiting))

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """The thread has ended; what was under way gets EngineClosed."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()
        self._thread.join()

    # Everything below runs in the engine's thread.

    def _run(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        failure: BaseException = EngineClosed("the engine was closed")
        try:
            with torch.inference_mode():
                while self._admit():
                    if self._tickets:
                        self._step()
        except Exception as error:
            log.exception("the engine's thread ends")
            failure = EngineClosed(f"the engine failed: {type(error).__name__}: {error}")
        with self._condition:
            self._is_closed = True
            left = [*self._tickets, *(ticket for _, _, ticket in self._waiting)]
            self._tickets, self._waiting = [], []
        for ticket in left:
            _settle(ticket, failure)

    def _admit(self) -> bool:
        """Waiting sequences fill free slots and cancelled ones are gone; blocks while idle; False when closed."""
        with self._condition:
            while not (self._is_closed or self._tickets or self._waiting):
                self._condition.wait()
            if self._is_closed:
                return False
            if self._has_cancelled:
                self._has_cancelled = False
                self._waiting = [entry for entry in self._waiting if not entry[2].is_cancelled]
                heapq.heapify(self._waiting)
                gone = [row for row, ticket in enumerate(self._tickets) if ticket.is_cancelled]
            else:
                gone = []
            admitted: list[Ticket] = []
            while self._waiting and len(self._tickets) - len(gone) + len(admitted) < self._slots:
                admitted.append(heapq.heappop(self._waiting)[2])
        for row in reversed(gone):
            self._release(row)
        for ticket in admitted:
            self._start(ticket)
        return True

    def _snapshot(self, prompt: Prompt) -> _Snapshot:
        known = self._snapshots.get(prompt)
        if known is None:
            state = self._grammar.start(prompt.constraint)
            for token in prompt.tokens[1:]:
                self._grammar.advance(state, torch.tensor([token], device=self._device))
            keys = values = None
            if len(prompt.tokens) > 1:
                keys, values = self._decoder.prefill(list(prompt.tokens[:-1]))
            known = self._snapshots[prompt] = _Snapshot(state, keys, values)
            if len(self._snapshots) > _PROMPTS_KEPT:
                self._snapshots.popitem(last=False)
        self._snapshots.move_to_end(prompt)
        return known

    def _start(self, ticket: Ticket) -> None:
        """The ticket occupies the next slot. A prompt that cannot be made ready is the ticket's failure alone."""
        sequence = ticket.sequence
        tokens = sequence.prompt.tokens
        try:
            snapshot = self._snapshot(sequence.prompt)
        except Exception as error:
            _settle(ticket, error)
            return
        row = len(self._tickets)
        # without a constraint any token may come, which a grammar need not expect: for it the row is finished
        self._state.put(row, snapshot.state if sequence.prompt.is_constrained else self._idle)
        if snapshot.keys is not None and snapshot.values is not None:
            self._decoder.reserve(len(tokens) + 1)
            self._decoder.place(row, snapshot.keys, snapshot.values)
        self._reserve_written(len(tokens) + 1)
        self._written[row, : len(tokens)] = torch.tensor(tokens, device=self._device)
        self._tokens[row] = tokens[-1]
        self._positions[row] = len(tokens) - 1
        self._steps[row] = 0
        self._masked_nats[row] = 0.0
        most = sequence.max_tokens
        self._limits[row] = most if sequence.prompt.is_constrained else min(most, self._decoder.config.context)
        self._keys[row] = sequence.key
        self._temperature[row] = sequence.temperature
        self._top_p[row] = sequence.top_p
        self._free[row] = not sequence.prompt.is_constrained
        ticket.started = time.monotonic()
        self._tickets.append(ticket)
        self._lengths.append(len(tokens))

    def _reserve_written(self, length: int) -> None:
        while self._written.shape[1] < length:
            self._written = torch.cat((self._written, torch.zeros_like(self._written)), dim=1)

    def _step(self) -> None:
        """Every row in flight takes one token."""
        began = time.monotonic()
        count = len(self._tickets)
        rows = -(-count // ROW_MULTIPLE) * ROW_MULTIPLE
        longest = max(self._lengths)
        self._decoder.reserve(longest)
        self._reserve_written(longest + 1)
        scores = self._decoder.step(self._tokens[:rows], self._positions[:rows], self._lengths)
        mask = self._grammar.mask(self._state, rows) | self._free[:rows]
        narrowed = any(ticket.sequence.top_p < 1.0 for ticket in self._tickets)
        draws = uniform(self._keys[:rows], self._steps[:rows])
        tokens = sample(scores, mask, self._temperature[:rows], self._top_p[:rows] if narrowed else None, draws)
        taken_away = masked_nats(scores, mask, self._temperature[:rows])
        self._masked_nats[:rows] += taken_away.masked_fill(self._grammar.given(self._state, rows), 0.0)
        self._grammar.advance(self._state, tokens)
        self._tokens[:rows] = tokens
        self._steps[:count] += 1
        self._positions[:count] += 1
        self._written[:rows].scatter_(1, self._positions[:rows, None], tokens[:, None])
        ended = (tokens == END) | (self._positions[:rows] + 1 >= self._limits[:rows])
        for row in range(count):
            self._lengths[row] += 1
        finished = ended[:count].nonzero()[:, 0].tolist()
        done = [self._complete(row) for row in finished]
        for row in reversed(finished):
            self._release(row)
        with self._condition:
            s = self._statistics
            s.tokens += count
            s.steps += 1
            s.sequences += len(done)
            s.busy_s += time.monotonic() - began
        for ticket, completion in done:
            _settle(ticket, completion)

    def _complete(self, row: int) -> tuple[Ticket, Completion]:
        ticket = self._tickets[row]
        ids = self._written[row, : self._lengths[row]].tolist()
        now = time.monotonic()
        return ticket, Completion(
            ids, ids[-1] == END, float(self._masked_nats[row]), ticket.started - ticket.submitted, now - ticket.started
        )

    def _release(self, row: int) -> None:
        """The slot is free: the longest row of the next block moves into it, and so on, and in the end the last row.

        So rows of like length stay in a block, at a move a block; the last slot is finished for the grammar.
        """
        last, block = len(self._tickets) - 1, self._decoder.block
        for first in range((row // block + 1) * block, last + 1, block):
            longest = max(range(first, min(first + block, last + 1)), key=self._lengths.__getitem__)
            self._move(row, longest)
            row = longest
        if row != last:
            self._move(row, last)
        self._tickets.pop()
        self._lengths.pop()
        self._positions[last] = 0
        self._limits[last] = 1 << 30
        self._free[last] = False
        self._state.put(last, self._idle)

    def _move(self, target: int, source: int) -> None:
        """Slot `target` holds what `source` holds."""
        self._tickets[target], self._lengths[target] = self._tickets[source], self._lengths[source]
        self._state.move(target, source)
        self._decoder.move(target, source, self._lengths[source])
        for tensor in (
            self._tokens, self._positions, self._steps, self._limits, self._keys, self._temperature, self._top_p,
            self._masked_nats, self._free, self._written,
        ):  # fmt: skip
            tensor[target] = tensor[source]


def _settle(ticket: Ticket, outcome: Completion | BaseException) -> None:
    """The caller has heard the outcome, unless it cancelled; a callback that fails is logged and harms nobody else."""
    if ticket.is_cancelled:
        return
    try:
        ticket.on_done(outcome)
    except Exception:
        log.exception("a callback failed")
