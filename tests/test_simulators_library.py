"""Finding libngspice, and fetching it without root."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import NgspiceMissing, Unavailable
from app.simulators.library import fetch_ngspice, fetched_folder, find_ngspice, load_companions


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("JOSEPHSON_NGSPICE_LIBRARY", raising=False)


def put_library(folder: Path) -> Path:
    folder.mkdir(parents=True)
    library = folder / "libngspice.so.0"
    library.write_bytes(b"")
    return library


def put_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_variable_comes_before_every_other_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_library(fetched_folder() / "usr" / "lib")
    named = put_library(tmp_path / "elsewhere")
    monkeypatch.setenv("JOSEPHSON_NGSPICE_LIBRARY", str(named))
    assert find_ngspice() == str(named)


def test_a_variable_that_names_nothing_is_an_error_and_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    put_library(fetched_folder() / "usr" / "lib")
    monkeypatch.setenv("JOSEPHSON_NGSPICE_LIBRARY", "/nonexistent/libngspice.so")
    with pytest.raises(NgspiceMissing, match=r"/nonexistent/libngspice\.so, which JOSEPHSON_NGSPICE_LIBRARY names"):
        find_ngspice()


def test_the_users_data_folder_comes_before_the_system(tmp_path: Path) -> None:
    system = put_library(tmp_path / "system" / "x86_64-linux-gnu")
    assert find_ngspice([str(tmp_path / "system")]) == str(system)
    fetched = put_library(fetched_folder() / "usr" / "lib" / "x86_64-linux-gnu")
    assert find_ngspice([str(tmp_path / "system")]) == str(fetched)


def test_a_missing_library_says_where_it_was_looked_for_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/nonexistent")
    with pytest.raises(NgspiceMissing) as caught:
        find_ngspice([])
    assert str(fetched_folder()) in str(caught.value)
    assert "josephson doctor --fetch-ngspice" in str(caught.value)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.0")
    assert find_ngspice(["/nonexistent"]) == "libngspice.so.0"


def test_the_packages_are_fetched_and_unpacked_by_the_distributions_own_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    download = 'test "$1 $2 $3" = "download libngspice0 libgomp1" && : > libngspice0.deb && : > libgomp1.deb'
    put_program(tmp_path / "bin", "apt-get", download)
    put_program(tmp_path / "bin", "dpkg-deb", 'mkdir -p "$3/usr/lib/any" && : > "$3/usr/lib/any/libngspice.so.0"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    fetched = fetch_ngspice()
    assert fetched == fetched_folder() / "usr" / "lib" / "any" / "libngspice.so.0"
    assert find_ngspice() == str(fetched)
    assert [path.name for path in fetched_folder().iterdir()] == ["usr"]


@pytest.mark.parametrize(
    ("apt_get", "dpkg_deb", "sentence"),
    [
        (None, None, "apt-get is not on this machine"),
        ("echo no network; exit 100", "true", r"could not download .*exit status 100: no network"),
        ("exit 0", "true", r"could not download libngspice0 libgomp1"),
        (": > a.deb; : > b.deb", "exit 2", r"could not unpack a.deb into .*exit status 2"),
        (": > a.deb; : > b.deb", "true", "holds no libngspice for this machine"),
    ],
)
def test_what_cannot_be_fetched_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, apt_get: str | None, dpkg_deb: str | None, sentence: str
) -> None:
    for name, script in (("apt-get", apt_get), ("dpkg-deb", dpkg_deb)):
        if script is not None:
            put_program(tmp_path / "bin", name, script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(Unavailable, match=sentence):
        fetch_ngspice(tmp_path / "target")


def test_libraries_fetched_beside_ngspice_are_loaded_first(tmp_path: Path) -> None:
    (tmp_path / "libgomp.so.1").write_bytes(b"no library")
    with pytest.raises(OSError, match="libgomp"):
        load_companions(str(tmp_path / "libngspice.so.0"))
    (tmp_path / "libgomp.so.1").unlink()
    load_companions(str(tmp_path / "libngspice.so.0"))


@pytest.mark.simulator
def test_nothing_but_a_worker_loads_pyspice_or_ngspice() -> None:
    program = (
        "import sys, app.simulators.ngspice, app.simulators.operating_point, app.validators._base as base\n"
        "list(base.validators)\n"
        "app.simulators.ngspice.ngspice_pool(size=1).close()\n"
        "print([name for name in ('PySpice', 'torch', 'cffi', 'qiskit') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.stdout.strip() == "[]"
