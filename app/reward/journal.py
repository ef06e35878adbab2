"""The journal of a run: scored circuits, one line each, written as they come and put in order when a round is judged.

    WORK/reward.json               the model it started from, the recipe, what every finished round came to
    WORK/round-000.partial.ndjson  circuits scored so far, in order of completion
    WORK/round-000.ndjson          all circuits of a judged round, in order of index, with reward and weight

A process that is killed loses at most the line that it was writing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Generic

from app.reward.judge import FactsT, JudgedSample, Sample
from app.simulation_corpus.journal import Journal, read_journal

#: The file that a run is known by.
STATE_NAME = "reward.json"


class RoundJournal(Generic[FactsT]):
    """The scored circuits of one round, whose facts are of `facts_type`; `number` counts from 0. Appending is for one
    thread.
    """

    def __init__(self, folder: Path, number: int, facts_type: type[FactsT]) -> None:
        self._facts_type = facts_type
        self._partial = folder / f"round-{number:03d}.partial.ndjson"
        self._path = folder / f"round-{number:03d}.ndjson"

    @property
    def is_judged(self) -> bool:
        """Whether the round is complete."""
        return self._path.is_file()

    def begin(self) -> list[Sample[FactsT]]:
        """What was scored before; a line that was cut off does not count."""
        return [self._sample(row) for row in read_journal(self._partial)]

    def append(self, sample: Sample[FactsT]) -> None:
        """The sample is in the journal."""
        with Journal(self._partial) as journal:
            journal.add(_sample_json(sample))

    def finish(self, judged: Iterable[JudgedSample[FactsT]]) -> None:
        """The round is complete, with these samples."""
        lines = [
            {
                **_sample_json(entry.sample), "reward": round(entry.reward, 6), "is_duplicate": entry.is_duplicate,
                "advantage": round(entry.advantage, 6), "weight": round(entry.weight, 6),
            }
            for entry in judged
        ]  # fmt: skip
        write_whole(self._path, "".join(json.dumps(line) + "\n" for line in lines))
        self._partial.unlink(missing_ok=True)

    def read(self) -> list[JudgedSample[FactsT]]:
        """The samples of a judged round."""
        rows = [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        return [
            JudgedSample(self._sample(row), row["reward"], row["is_duplicate"], row["advantage"], row["weight"])
            for row in rows
        ]

    def _sample(self, row: dict[str, Any]) -> Sample[FactsT]:
        return Sample(
            row["index"], row["label"], tuple(row["tokens"]), self._facts_type(**row["facts"]), row["is_bare"]
        )


def _sample_json(sample: Sample[Any]) -> dict[str, Any]:
    return {
        "index": sample.index, "label": sample.label, "is_bare": sample.is_bare, "tokens": list(sample.tokens),
        "facts": sample.facts.as_json(),
    }  # fmt: skip


def write_whole(path: Path, text: str) -> None:
    """The file holds the text; whoever reads it sees the old one or the new one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
