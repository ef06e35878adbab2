"""What is said of a run while it goes on, and how signals end it."""

from __future__ import annotations

import math
import os
import signal
import threading

import pytest

from app.training.loop import Progress
from app.training.watching import Lines, StopSignals, told_time


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7100.0, "118 min"), (7300.0, "2 h 02 min"),
        (math.nan, "unknown time"),
    ],
)  # fmt: skip
def test_a_time_is_told_in_the_unit_that_suits_it(seconds: float, words: str):
    assert told_time(seconds) == words


def test_a_line_is_written_at_once_and_then_now_and_then(capsys: pytest.CaptureFixture[str]):
    at = Progress(done=4_000, total=10_000, loss=1.25, held_out=1.5, seconds=9.0, per_s=1_000.0)
    seldom, always = Lines(every_s=3600.0), Lines(every_s=0.0)
    for lines, count in ((seldom, 1), (always, 3)):
        for _ in range(3):
            lines(at)
        assert (
            capsys.readouterr().err.splitlines()
            == ["4,000 of 10,000 tokens: 1,000 tokens/s, loss 1.250, held out 1.500 nats a token, 6 s left"] * count
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_remembered_and_the_next_is_obeyed(number: signal.Signals):
    before = signal.getsignal(number)
    obeyed: list[int] = []
    signal.signal(number, lambda received, frame: obeyed.append(received))
    try:
        with StopSignals() as stop:
            assert not stop()
            os.kill(os.getpid(), number)
            assert stop()
            assert stop.received == number
            assert obeyed == []
            os.kill(os.getpid(), number)
            assert obeyed == [number]
        os.kill(os.getpid(), number)
        assert obeyed == [number, number]
    finally:
        signal.signal(number, before)


def test_away_from_the_main_thread_no_signal_is_touched():
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def watch() -> None:
        with StopSignals() as stop:
            seen.extend((stop(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [False, before]
