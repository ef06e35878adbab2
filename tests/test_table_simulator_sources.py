"""Device tables for many callers at once: each is made once, and making one holds nobody up who wants another."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.errors import Unavailable
from app.table_simulator import device_tables as module
from app.table_simulator import table_files
from app.table_simulator.device_tables import DeviceTableSource
from app.technologies._base import technologies

GENERIC180 = technologies["generic180"]


def test_tables_are_made_once_and_others_need_not_wait(monkeypatch: pytest.MonkeyPatch):
    made: list[float] = []
    may_end = threading.Event()

    def slow_when_hot(technology: Any, pool: Any, process: str, celsius: float, *, folder: Path | None) -> Any:
        made.append(celsius)
        if celsius > 100:
            assert may_end.wait(20)
        return f"{process} {celsius:g}"

    monkeypatch.setattr(module, "device_tables", slow_when_hot)
    source: Any = DeviceTableSource()
    with ThreadPoolExecutor(4) as threads:
        hot = [threads.submit(source.tables, GENERIC180, "tt", 125.0) for _ in range(3)]
        assert source.tables(GENERIC180, "tt", 27.0) == "tt 27"
        may_end.set()
        assert [each.result(20) for each in hot] == ["tt 125"] * 3
    assert sorted(made) == [27.0, 125.0]


def test_a_failure_is_told_and_not_kept(monkeypatch: pytest.MonkeyPatch):
    answers = iter([Unavailable("no ngspice"), "tables"])

    def once(*_: Any, **__: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "device_tables", once)
    source: Any = DeviceTableSource()
    with pytest.raises(Unavailable, match="no ngspice"):
        source.tables(GENERIC180, "tt", 27.0)
    assert source.tables(GENERIC180, "tt", 27.0) == "tables"


def test_the_cache_keeps_the_files_that_were_used_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(table_files, "MOST_FILES", 2)
    for age, name in enumerate(("new", "old", "older"), start=1):
        (tmp_path / f"{name}.npz").touch()
        os.utime(tmp_path / f"{name}.npz", (1e9 - age, 1e9 - age))
    table_files.write_arrays(tmp_path / "newest.npz", {})
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["new", "newest"]
