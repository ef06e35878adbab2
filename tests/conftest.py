"""Fixtures and options every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import NgspiceMissing
from app.simulators.library import find_ngspice
from app.simulators.processes import WorkerPool
from app.testbenches._pool import simulation_pool

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--simulator",
        choices=("required", "if-available", "disabled"),
        default="if-available",
        help="tests marked 'simulator': fail without libngspice, skip without it, or always skip",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    choice = config.getoption("--simulator")
    reason = "switched off by --simulator disabled" if choice == "disabled" else None
    if choice == "if-available":
        try:
            find_ngspice()
        except NgspiceMissing as missing:
            reason = str(missing)
    if reason is not None:
        for item in items:
            if item.get_closest_marker("simulator"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of external corpora (AnalogGenie, quantum); the test is skipped where it is absent."""
    folder = Path(os.environ.get("JOSEPHSON_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the external corpora are not here (set JOSEPHSON_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def ngspice() -> Iterator[WorkerPool]:
    """One pool of ngspice workers for the whole run; fails without libngspice, so mark the test `simulator`."""
    with simulation_pool(size=2) as pool:
        yield pool
