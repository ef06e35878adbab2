"""One design from its candidates to their rows: all are checked, then judged offline, then sized as long as it pays.

What a candidate's row says depends on the candidates before it: enough may pass, or the budget end, before its turn.
Everything of which there is one a design (the budget, the clock, what was reached) is kept by the thread that runs it.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from app.design.candidates import Candidate
from app.design.stages import REACHED, FellOut, Reached
from app.design.triage import HOPELESS, LOST, Forecaster, OfflineSearch, Promise
from app.errors import EngineClosed, JosephsonError, Unavailable
from app.requests import AnalogDesignRequest
from app.sizing._base import Floats, Trial
from app.sizing.problem import SizingProblem
from app.sizing.report import unmet_limits
from app.sizing.run import Budget, SizingResult
from app.sizing.setup import SizingSetup
from app.workshop import Row, unfinished_row

#: A sizing gets as much of the budget as if so many times those that are to pass were sized, all at equal cost.
_TRIES = 2

#: Simulations of the least search, and for each corner those of its check and of the last one.
_LEAST_SEARCH, _CHECKS = 8, 2

#: Part of the time that is left which the first looks of all candidates may take; the rest of them go unlooked at.
_LOOKING = 1 / 3

#: What sizing a candidate gives: the result, and the fields of its row.
_Sized = tuple[SizingResult, dict[str, Any]]

#: Shortest time of a sizing, and between two words about what is being done, in seconds.
_LEAST_S, _NEWS_S = 20.0, 0.5


class Checks(Protocol):
    """`app.design.checks.CandidateChecks`."""

    def legal(self, candidate: Candidate, /) -> SizingSetup | FellOut:
        """The candidate on the testbench, or why it is none."""
        ...

    def conducting(self, candidate: Candidate, /) -> tuple[FellOut | None, int]:
        """Why it does not conduct, and how many operating points were tried."""
        ...


class Sizer(Protocol):
    """Sizes one candidate; raises JosephsonError where that cannot be done."""

    def __call__(
        self,
        setup: SizingSetup,
        /,
        *,
        index: int,
        points: Floats | None,
        budget: Budget,
        on_trial: Callable[[Trial, int], None],
        should_stop: Callable[[], bool],
    ) -> _Sized:
        """The result, and the fields of its row; `points` [n, V] of the unit cube are simulated first."""
        ...


@dataclass(frozen=True)
class DesignTools:
    """What a design is made with.

    `model_of` makes the offline model of a circuit, None where there is none. `at_once` candidates are worked on
    together.
    """

    checks: Checks
    model_of: Callable[[SizingProblem], Forecaster | None]
    size: Sizer
    at_once: int


@dataclass(eq=False)
class _Entry:
    """A candidate on its way; where `is_certain` it is sized whatever the model expects. `reached` only ever grows.

    `doubt` is why the model gives it up. Models err about circuits unlike those that they learnt from, so where too few
    others pass, the few sizings that it thinks best, and the start, are simulated all the same.
    """

    candidate: Candidate
    reached: Reached = "proposed"
    setup: SizingSetup | None = None
    search: OfflineSearch | None = None
    promise: Promise | None = None
    operating_points: int = 0
    is_certain: bool = False
    doubt: FellOut | None = None

    @property
    def index(self) -> int:
        return self.candidate.index

    @property
    def legal_setup(self) -> SizingSetup:
        """What it is sized as, which legal candidates have."""
        assert self.setup is not None, "only legal candidates are asked for it"
        return self.setup

    @property
    def score(self) -> float:
        """What candidates are ordered by; one that the model can say nothing of is on the edge."""
        return 0.0 if self.promise is None else self.promise.score


def least_simulations(corners: int) -> int:
    """Fewer simulations are not worth beginning a sizing with."""
    return _LEAST_SEARCH + _CHECKS * corners


@dataclass
class DesignRun:
    """One run; every wanted candidate's row goes to `emit`, unfinished ones before it.

    `emit` may be called from any thread. `has_ended` says that nobody waits for rows any more, or that the machinery
    was closed.
    """

    request: AnalogDesignRequest
    tools: DesignTools
    emit: Callable[[Row], None]
    has_ended: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    began: float = field(init=False)
    simulations: int = 0
    passing: int = 0
    _entries: list[_Entry] = field(default_factory=list)
    _told_at: float = 0.0
    _looks_until: float = math.inf
    _is_broken: bool = False

    def __post_init__(self) -> None:
        """The clock begins; what earlier rows of the same job used up is used up."""
        self.began = self.clock()
        if (spent := self.request.spent) is not None:
            self.simulations, self.passing = spent.simulations, spent.passing
            self.began -= spent.seconds

    def run(self, candidates: Iterable[Candidate], twins: Mapping[int, Candidate]) -> None:
        """Every candidate has its row.

        Args:
            candidates: Those without a row yet, in the order of their indices.
            twins: See `app.design.candidates.twins`.

        Raises:
            Unavailable: The machine lacks something that every candidate needs, or was told to end.
        """
        self._entries = [_Entry(candidate) for candidate in candidates]
        single = [entry for entry in self._entries if entry.index not in twins]
        for entry in self._entries:
            if (twin := twins.get(entry.index)) is not None:
                self._fall(
                    entry, FellOut("duplicate", f"it is the same circuit as candidate {twin.index}, {twin.called}")
                )
        legal = self._through(single, self._wired, "legal")
        conducting = self._through(legal, self._biased, "conducting")
        self._looks_until = self.clock() + _LOOKING * self.left_s
        self._size(self._promising(self._through(conducting, self._judged, "conducting")))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the design began, those of earlier runs of the same job included."""
        return self.clock() - self.began

    @property
    def left_s(self) -> float:
        """Seconds until the budget's time is over."""
        return 60 * self.request.budget.minutes - self.elapsed_s

    @property
    def ended_by(self) -> str | None:
        """Why no further candidate is begun, None while others may be."""
        if self.passing >= self.request.enough:
            return "enough candidates meet the specification"
        if self.left_s <= 0:
            return f"the budget of {self.request.budget.minutes:g} minutes ended"
        return None

    # --- checks and triage ------------------------------------------------------------------------------------------

    def _through(
        self, entries: Sequence[_Entry], step: Callable[[_Entry], FellOut | None], reached: Reached
    ) -> list[_Entry]:
        """The entries that a step lets pass, in their order; the others have their rows."""
        passed = []
        with self._threads() as threads:
            futures = [threads.submit(self._step, step, entry) for entry in entries]
            for entry, future in zip(entries, futures, strict=True):
                outcome = future.result()
                self._check()
                if outcome is None:
                    entry.reached = reached
                    passed.append(entry)
                    self._tell_now_and_then(entry)
                else:
                    self._settle(entry, outcome)
        for entry in passed:
            self._tell(entry)
        return passed

    def _step(self, step: Callable[[_Entry], FellOut | None], entry: _Entry) -> FellOut | JosephsonError | None:
        """What a step says of an entry, or what kept it from saying anything."""
        if (reason := self.ended_by) is not None:
            return FellOut("not_tried", f"{reason} before it was looked at")
        try:
            return step(entry)
        except Unavailable:
            raise
        except JosephsonError as error:
            return error

    def _wired(self, entry: _Entry) -> FellOut | None:
        found = self.tools.checks.legal(entry.candidate)
        if isinstance(found, FellOut):
            return found
        entry.setup = found
        return None

    def _biased(self, entry: _Entry) -> FellOut | None:
        fallen, entry.operating_points = self.tools.checks.conducting(entry.candidate)
        return fallen

    def _judged(self, entry: _Entry) -> FellOut | None:
        if self.clock() >= self._looks_until:
            return None
        problem = entry.legal_setup.problem
        searched = replace(problem, benches=problem.benches[:1])
        model = self.tools.model_of(searched)
        if model is not None:
            entry.search = OfflineSearch(searched, model, self.request.seed or 0)
            entry.promise = entry.search.promise
        return None

    def _refined(self, entry: _Entry) -> FellOut | None:
        """The whole offline search, at the entry's turn; its best points are judged at every corner."""
        if entry.search is None:
            return None
        entry.search.refine()
        problem = entry.legal_setup.problem
        if len(problem.benches) > 1 and (model := self.tools.model_of(problem)) is not None:
            entry.search.judge(problem, model)
        entry.promise = entry.search.promise
        return self._doubted(entry, HOPELESS, "the neural simulator, asked for longer at its turn,")

    def _doubted(self, entry: _Entry, least: float, who: str = "the neural simulator") -> FellOut | None:
        """Why the entry is not promising: its best point falls short of the limits by more than `least`.

        One that the first look lets pass has reached ``promising``, whatever the whole search says of it: what was
        counted stays counted.
        """
        if entry.promise is None or entry.is_certain or entry.promise.score >= least:
            return None
        missed = unmet_limits(entry.legal_setup.problem, entry.promise.margins)
        return FellOut("not_promising", f"{who} expects even its best sizing to miss {', '.join(missed)}")

    def _promising(self, entries: Iterable[_Entry]) -> list[_Entry]:
        """The entries in their turn, those that are doubted last; as many as are to pass are not doubted in any case.

        Archetypes and generated circuits take turns, each the most promising first.
        """
        promising, doubted = [], []
        for place, entry in enumerate(sorted(entries, key=lambda entry: (-entry.score, entry.index))):
            entry.is_certain = place < self.request.enough
            entry.doubt = self._doubted(entry, LOST)
            if entry.doubt is not None:
                doubted.append(entry)
            else:
                entry.reached = "promising"
                promising.append(entry)
                self._tell(entry)
        return [*_in_turns(promising), *doubted]

    # --- sizing -----------------------------------------------------------------------------------------------------

    def _size(self, entries: Iterable[_Entry]) -> None:
        """Every entry has its row: they are sized in their order, a few at once, until enough pass."""
        waiting = deque(entries)
        running: dict[Future[_Sized | FellOut | JosephsonError], tuple[_Entry, int]] = {}
        with self._threads() as threads:
            while waiting or running:
                while waiting and len(running) < self.tools.at_once:
                    share = self._share(waiting[0], sum(given for _, given in running.values()))
                    if share == 0:
                        break
                    entry = waiting.popleft()
                    running[threads.submit(self._sized, entry, share)] = entry, share
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    entry, _ = running.pop(future)
                    outcome = future.result()
                    self._check()
                    if isinstance(outcome, FellOut):
                        entry.doubt = outcome
                        behind = (n for n, other in enumerate(waiting) if other.doubt and other.score < entry.score)
                        waiting.insert(next(behind, len(waiting)), entry)
                    else:
                        self._conclude(entry, outcome)
        reason = self.ended_by or f"the budget of {self.request.budget.simulations} simulations was spent"
        for entry in waiting:
            self._fall(entry, entry.doubt or FellOut("not_tried", f"{reason} before its turn"))

    def _share(self, entry: _Entry, given: int) -> int:
        """Simulations that the entry may use while so many are given to others; 0 where it is not to be begun now."""
        if self.ended_by is not None:
            return 0
        least = least_simulations(len(entry.legal_setup.corners))
        left = self.request.budget.simulations - self.simulations - given
        fair = 0 if entry.doubt else self.request.budget.simulations // (_TRIES * self.request.enough)
        return min(left, max(least, fair)) if left >= least else 0

    def _sized(self, entry: _Entry, share: int) -> _Sized | FellOut | JosephsonError:
        whole_s = 60 * self.request.budget.minutes
        fair_s = max(_LEAST_S, whole_s * self.tools.at_once / (_TRIES * self.request.enough))
        try:
            doubt = self._refined(entry) if entry.doubt is None else None
            return doubt or self.tools.size(
                entry.legal_setup,
                index=entry.index,
                points=None if entry.promise is None else entry.promise.points,
                budget=Budget(share, min(self.left_s, fair_s)),
                on_trial=lambda trial, simulations: self._tell_now_and_then(entry, simulations),
                should_stop=lambda: self.passing >= self.request.enough or self._is_broken or self.has_ended(),
            )
        except Unavailable:
            raise
        except JosephsonError as error:
            return error

    def _conclude(self, entry: _Entry, outcome: _Sized | JosephsonError) -> None:
        """The row of an entry whose turn it was, and what it means for those that wait."""
        if isinstance(outcome, JosephsonError):
            self._settle(entry, outcome)
            return
        result, fields = outcome
        self.simulations += result.simulations
        if entry.doubt is None:
            entry.reached = "sized"
        told = {name: value for name, value in fields.items() if value is not None or name != "netlist"}
        if fields["status"] == "ok":
            self.passing += 1
            entry.reached = "passing"
        elif entry.doubt is not None:
            words = (
                f"{entry.doubt.why}, and {result.simulations} simulations did not show otherwise: {fields['binding']}"
            )
            told |= {"stage": "not_promising", "why": words}
        else:
            early = "; its sizing was ended when enough others passed" if result.status == "stopped" else ""
            told |= {"stage": "not_met", "why": f"{fields['binding']}{early}"}
        if result.rows:
            told["least_margin"] = round(float(result.margins.min()), 4)
        told["offline_simulations"] = fields["offline_simulations"] + self._offline(entry)
        self.emit(self._row(entry) | told)

    # --- rows -------------------------------------------------------------------------------------------------------

    def _settle(self, entry: _Entry, outcome: FellOut | JosephsonError) -> None:
        """The row of an entry that came no farther, or could not be dealt with."""
        if isinstance(outcome, FellOut):
            self._fall(entry, outcome)
            return
        problem = {"type": type(outcome).__name__, "detail": str(outcome)}
        self.emit(self._row(entry) | {"status": "error", "problem": problem})

    def _fall(self, entry: _Entry, fallen: FellOut) -> None:
        self.emit(self._row(entry) | {"status": "invalid", "stage": fallen.stage, "why": fallen.why})

    def _row(self, entry: _Entry) -> Row:
        """What every row says; those of candidates that were sized say more."""
        promise = entry.promise
        return {
            "index": entry.index,
            "status": "invalid",
            "type": self.request.type,
            "seed": self.request.seed,
            "model": self.request.model if entry.candidate.origin == "generated" else None,
            "stage": None,
            "reached": entry.reached,
            "why": None,
            **entry.candidate.facts,
            "promise": None if promise is None else promise.as_json(entry.legal_setup.problem),
            "operating_points": entry.operating_points,
            "simulations": 0,
            "offline_simulations": self._offline(entry),
            "elapsed_s": round(self.elapsed_s, 3),
        }

    def _offline(self, entry: _Entry) -> int:
        """Offline simulations of the triage."""
        return 0 if entry.promise is None else entry.promise.evaluations

    def _tell_now_and_then(self, entry: _Entry, simulations: int = 0) -> None:
        """Who waits hears of the entry, unless something was said just now."""
        now = self.clock()
        if now - self._told_at >= _NEWS_S:
            self._told_at = now
            self._tell(entry, simulations)

    def _tell(self, entry: _Entry, simulations: int = 0) -> None:
        words = f"{entry.candidate.called}: {entry.reached}"
        if simulations:
            words += f", {simulations} simulations"
        told = {"reached": entry.reached, "name": entry.candidate.called, "simulations": simulations}
        self.emit(unfinished_row(entry.index, f"{words} ({self._funnel})", **told))

    @property
    def _funnel(self) -> str:
        """How many of the candidates of this run have reached what."""
        counts = {
            name: sum(REACHED.index(entry.reached) >= place for entry in self._entries)
            for place, name in enumerate(REACHED)
        }
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """Threads for one stage; where it ends with an exception, what waits never begins and what runs ends soon."""
        threads = ThreadPoolExecutor(self.tools.at_once, thread_name_prefix="design")
        try:
            yield threads
        except BaseException:
            self._is_broken = True
            raise
        finally:
            threads.shutdown(cancel_futures=True)

    def _check(self) -> None:
        """Somebody waits for rows; what a candidate came to while nobody did says nothing about it."""
        if self.has_ended():
            raise EngineClosed("the design was ended before it had all of its rows")


def _in_turns(entries: Sequence[_Entry]) -> list[_Entry]:
    """The first entry of each origin, then the second ones, and so on."""
    seen: Counter[str] = Counter()
    turn_of = {}
    for entry in entries:
        turn_of[entry.index] = seen[entry.candidate.origin]
        seen[entry.candidate.origin] += 1
    return sorted(entries, key=lambda entry: turn_of[entry.index])
