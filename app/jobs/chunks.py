"""Pieces of a job that are sent away to be done. All of it is JSON, so that a piece can cross a machine's border."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Fewest and most rows of a chunk (the last one of a job may be smaller).
MIN_CHUNK = 64
MAX_CHUNK = 256

#: Half-open range of indices ``(start, stop)``.
Range = tuple[int, int]


class ChunkSpec(BaseModel):
    """What an executor needs to know to make some rows of a job; doing it twice makes the same rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: str
    kind: str = Field(description="A key of `requests.JOB_REQUESTS`.")
    request: dict[str, Any] = Field(description="The prepared request, as JSON.")
    ranges: tuple[Range, ...] = Field(description="The indices to make, as ascending half-open ranges.")
    stall_s: float = Field(gt=0, description="Longest time without a word of any row; then the chunk is given up.")

    def indices(self) -> tuple[int, ...]:
        """The indices to make, ascending."""
        return tuple(each for start, stop in self.ranges for each in range(start, stop))


class ChunkResult(BaseModel):
    """An executor's word that it delivered every row of a chunk."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job_id: str
    rows: int = Field(description="How many rows were delivered, repeated ones included.")
    duration_s: float


def chunk_size(total: int) -> int:
    """Rows of a chunk of a job of `total` rows: about 32 chunks a job, within `MIN_CHUNK` and `MAX_CHUNK`."""
    return min(MAX_CHUNK, max(MIN_CHUNK, total // 32))


def cut(ranges: Iterable[Range], size: int) -> Iterator[tuple[Range, ...]]:
    """Groups of `size` indices (the last may be smaller); every index is in one group, in the order given."""
    group: list[Range] = []
    room = size
    for start, stop in ranges:
        while start < stop:
            taken = min(room, stop - start)
            group.append((start, start + taken))
            start += taken
            room -= taken
            if room == 0:
                yield tuple(group)
                group, room = [], size
    if group:
        yield tuple(group)


def ranges_of(indices: Iterable[int]) -> tuple[Range, ...]:
    """The ascending half-open ranges that cover exactly these indices."""
    ranges: list[Range] = []
    for index in sorted(indices):
        if ranges and ranges[-1][1] >= index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)
