"""Decks that rows carry, run by the ngspice program as they are written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


def run_as_written(decks: Mapping[str, str], folder: Path) -> None:
    """There are decks and each runs; skips what is left of the test where the program is not installed."""
    assert decks
    if shutil.which("ngspice") is None:
        pytest.skip("the ngspice program is not installed, so the decks were not run")
    for name, text in decks.items():
        deck = folder / f"{name}.cir"
        deck.write_text(text, encoding="utf-8")
        done = subprocess.run(["ngspice", "-b", deck], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
