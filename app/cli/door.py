"""What every command shares: its ways to the outside, what it writes, and how it leaves.

Commands get their workshop and HTTP client from a `Door`, so tests hand in their own; the real ones load on use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from app.errors import InvalidRequest

if TYPE_CHECKING:
    import httpx

    from app.evaluation.quantum_harness import Loader
    from app.settings import Settings
    from app.validators.ladder import Ladder
    from app.workshop import RowMaker, Workshop

#: Exit status.
DONE, FAILED, USAGE = 0, 1, 2


def _local_workshop(settings: Settings) -> Workshop:
    from app.workshop_local import build_workshop

    return build_workshop(settings)


def _local_simulations(settings: Settings) -> RowMaker:
    from app.simulations import build_simulations

    return build_simulations(settings)


def _local_sizings(settings: Settings) -> RowMaker:
    from app.sizings import build_sizings

    return build_sizings(settings)


def _local_predictions(settings: Settings) -> RowMaker:
    from app.predictions import build_predictions

    return build_predictions(settings)


def _local_ladder(settings: Settings) -> AbstractContextManager[Ladder]:
    from app.evaluation.harness import open_ladder

    return open_ladder(settings.validator_workers, settings.data_dir)


def _local_loader(settings: Settings) -> AbstractContextManager[Loader]:
    from app.evaluation.quantum_harness import open_loader

    return open_loader(settings.validator_workers)


def _http_client(url: str) -> httpx.Client:
    import httpx

    # Reading waits longer than connecting: a page of results is built while the service is busy.
    return httpx.Client(base_url=url, timeout=httpx.Timeout(60.0, connect=5.0), follow_redirects=False, trust_env=False)


@dataclass(frozen=True)
class Door:
    """Where a command finds the machinery: an in-process workshop from settings, an HTTP client from a URL.

    `make_simulations` gives the part of a workshop that simulates, which needs neither models nor torch,
    `make_predictions` the part that predicts and `make_sizings` the one that sizes; `make_ladder` the checks of analog
    circuits and `make_loader` Qiskit for programs, with worker processes of their own until left.

    `look_every_s` passes between two looks at a job that is being watched.
    """

    make_workshop: Callable[[Settings], Workshop] = _local_workshop
    make_simulations: Callable[[Settings], RowMaker] = _local_simulations
    make_predictions: Callable[[Settings], RowMaker] = _local_predictions
    make_sizings: Callable[[Settings], RowMaker] = _local_sizings
    make_ladder: Callable[[Settings], AbstractContextManager[Ladder]] = _local_ladder
    make_loader: Callable[[Settings], AbstractContextManager[Loader]] = _local_loader
    make_client: Callable[[str], httpx.Client] = _http_client
    look_every_s: float = 0.5


def door_of(context: typer.Context) -> Door:
    """The door of the command line that is running."""
    door = context.obj
    assert isinstance(door, Door)
    return door


def say(sentence: str) -> None:
    """A sentence for people, on standard error."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def write_line(text: str) -> None:
    """One line of the command's result, on standard output."""
    sys.stdout.write(text + "\n")


def write_document(document: Any) -> None:
    """One JSON document, on standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def read_text(source: str, limit: int) -> str:
    """The text of a file, or of standard input for ``-``; at most `limit` characters.

    Raises:
        InvalidRequest: the file cannot be read, is longer than that, or is not UTF-8.
    """
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            text = sys.stdin.read(limit + 1)
        else:
            with Path(source).open(encoding="utf-8") as stream:
                text = stream.read(limit + 1)
    except OSError as error:
        raise InvalidRequest(f"{name} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{name} is not UTF-8 text (byte {error.start} of a block); convert it first") from error
    if len(text) > limit:
        raise InvalidRequest(f"{name} is longer than {limit:,} characters; split it into single circuits")
    return text
