"""Names to entries: filled once, and never seen half full."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.registry import Registry


def test_threads_that_ask_at_once_all_see_every_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "slow_entries"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("early", "late"):
        (package / f"{name}.py").write_text(
            "import sys, time\ntime.sleep(0.1)\n"
            f"sys.modules['slow_entries'].registry.add({name!r}, {name!r})\n"
            "assert 'early' in sys.modules['slow_entries'].registry\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[str] = Registry("entry", "slow_entries")
    monkeypatch.setattr(importlib.import_module("slow_entries"), "registry", registry, raising=False)
    try:
        with ThreadPoolExecutor(4) as threads:
            seen = list(threads.map(lambda _: list(registry), range(4)))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "slow_entries"]:
            del sys.modules[name]
    assert seen == [["early", "late"]] * 4
