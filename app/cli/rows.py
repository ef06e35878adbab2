"""Rows from an in-process workshop to a file: in the order of their index, one JSON line each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from pydantic import ValidationError

from app.cli.progress import ProgressBar
from app.errors import InvalidRequest, UnknownName
from app.requests import JOB_REQUESTS, AnalogDesignRequest, AnalogSizeRequest, BenchRequest, JobRequest
from app.workshop import OUTCOME_OF, Row, RowMaker, is_finished

#: Takes one finished row.
Take: TypeAlias = Callable[[Row], None]

#: A workshop keeps a place for every row of a call, so a long run asks for so many after each other.
AT_ONCE = 10_000

#: Option of a request's field where its name is not the field's own.
_OPTIONS = {"validate": "--validate", "validate_": "--validate", "include_deck": "--deck"}
_BENCH_OPTIONS = {
    "netlist": "NETLIST", "sizings": "--sizing", "draw": "--count", "metrics": "--metric", "settings": "--setting",
    "ports": "--port", "include_operating_point": "--operating-point",
}  # fmt: skip
_SPECIFIED_OPTIONS = {
    "netlist": "NETLIST", "specification": "--spec", "specification/objective": "--objective",
    "specification/settings": "--setting", "specification/supply_v": "--supply", "specification/corners": "--corners",
    "budget/simulations": "--simulations", "budget/minutes": "--minutes", "ports": "--port", "include_decks": "--deck",
}  # fmt: skip


@dataclass
class Tally:
    """How far a run is; `seed` is the one that was used, `heading` what its rows have in common."""

    total: int
    noun: str = "circuits"
    seed: int | None = None
    heading: Mapping[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: {"ok": 0, "invalid": 0, "error": 0})
    seconds: float = 0.0
    is_interrupted: bool = False

    @property
    def done(self) -> int:
        """Rows written."""
        return sum(self.counts.values())

    @property
    def has_failed(self) -> bool:
        """The run stopped early, or not one of its rows could be made."""
        return self.is_interrupted or (self.done > 0 and self.counts["error"] == self.done)

    def as_json(self) -> dict[str, Any]:
        """The tally as a JSON object."""
        counts = {"total": self.total, "done": self.done, **self.counts}
        return {"seed": self.seed, "counts": counts, "seconds": round(self.seconds, 3)}

    def sentence(self, place: str) -> str:
        """What happened, for people."""
        noun = self.noun if self.done != 1 else self.noun.removesuffix("s")
        share = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count) or "none"
        if self.is_interrupted:
            return f"interrupted: {self.done} of {self.total} {self.noun} are in {place} ({share}); seed {self.seed}"
        return f"{self.done} {noun} in {self.seconds:.1f} s ({share}); seed {self.seed}"


def read_request(kind: str, fields: dict[str, Any]) -> JobRequest:
    """The request of job kind `kind` with these fields.

    Raises:
        InvalidRequest: a field is outside its range; the message names the option.
        UnknownName: there is no such kind, type or family.
    """
    if kind not in JOB_REQUESTS:
        raise UnknownName("kind of job", kind, JOB_REQUESTS)
    try:
        return JOB_REQUESTS[kind].model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        raise InvalidRequest(
            f"{_option_of(JOB_REQUESTS[kind], first['loc'])}: {first['msg']} (got {str(first['input'])[:80]!r})",
            pointer=f"/{name}",
        ) from error


def _option_of(schema: type[JobRequest], place: tuple[int | str, ...]) -> str:
    """The option that sets the field at a place of a request."""
    options = _OPTIONS
    if issubclass(schema, BenchRequest):
        options = _OPTIONS | _BENCH_OPTIONS
    elif issubclass(schema, (AnalogSizeRequest, AnalogDesignRequest)):
        options = _OPTIONS | _SPECIFIED_OPTIONS
    parts = [str(part) for part in place]
    holders = ("/".join(parts[:end]) for end in range(len(parts), 0, -1))
    own = "--" + (parts[0] if parts else "").replace("_", "-")
    return next((options[holder] for holder in holders if holder in options), own)


@contextlib.contextmanager
def opened_for_text(target: str) -> Iterator[TextIO]:
    """A text stream to write to: the file `target`, or standard output for ``-``.

    Raises:
        InvalidRequest: the file cannot be opened for writing.
    """
    if target == "-":
        yield sys.stdout
        return
    try:
        stream = Path(target).open("w", encoding="utf-8")  # noqa: SIM115 - opened apart from `with` to name its errors
    except OSError as error:
        raise InvalidRequest(f"--output: {target} cannot be written: {error.strerror or error}") from error
    with stream:
        yield stream


@contextlib.contextmanager
def lines_to(target: str) -> Iterator[Take]:
    """Rows become JSON lines of `target`, as for `opened_for_text`; each line is written whole and at once."""
    with opened_for_text(target) as stream:
        yield lambda row: _write_line(stream, row)


def _write_line(stream: TextIO, row: Row) -> None:
    stream.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
    stream.flush()


def generate_rows(
    workshop: RowMaker, kind: str, request: JobRequest, sink: AbstractContextManager[Take], bar: ProgressBar
) -> Tally:
    """Every row of the request has gone to the sink, in the order of the index; the workshop is closed.

    The sink is entered only when the workshop has accepted the request. Ctrl-C ends the run early: what was made by
    then has gone to the sink, and the tally says that it was interrupted.
    """
    tally = Tally(request.row_count, request.noun)
    started = time.monotonic()
    # On Ctrl-C asyncio cancels the run, which still hands over its rows and closes the workshop, then raises this.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_generate(workshop, kind, request, sink, tally, bar))
    tally.seconds = time.monotonic() - started
    return tally


async def _generate(
    workshop: RowMaker,
    kind: str,
    request: JobRequest,
    sink: AbstractContextManager[Take],
    tally: Tally,
    bar: ProgressBar,
) -> None:
    try:
        prepared = workshop.prepare(kind, request)
        tally.seed = prepared.seed
        tally.heading = workshop.heading(kind, prepared)
        with sink as take:
            for start in range(0, prepared.row_count, AT_ONCE):
                indices = range(start, min(start + AT_ONCE, prepared.row_count))
                await _hand_over_in_order(workshop.produce(kind, prepared, indices), take, tally, bar)
    except asyncio.CancelledError:
        tally.is_interrupted = True
        raise
    finally:
        await workshop.aclose()


async def _hand_over_in_order(rows: AsyncIterator[Row], take: Take, tally: Tally, bar: ProgressBar) -> None:
    early: dict[int, Row] = {}

    def hand_over(row: Row) -> None:
        take(row)
        tally.counts[OUTCOME_OF[row["status"]]] += 1

    try:
        async for row in rows:
            if not is_finished(row):
                bar.advance_to(tally.done + len(early), row["progress"]["note"])
                continue
            early[row["index"]] = row
            while tally.done in early:
                hand_over(early.pop(tally.done))
            bar.advance_to(tally.done + len(early))
    finally:
        for index in sorted(early):
            hand_over(early[index])
        if isinstance(rows, AsyncGenerator):
            await rows.aclose()
