"""The wheel works outside the checkout: it carries `data/` and `models/`, and finds them."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(REPOSITORY)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("the build backend cannot be had here")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("josephson-*.whl"))


@pytest.mark.slow
def test_the_wheel_carries_every_shipped_file_once_and_nothing_of_the_checkout(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    for folder in ("data", "models"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file():
                assert f"app/_bundle/{path.relative_to(REPOSITORY)}" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"app"}
    for asset in (REPOSITORY / "app" / "service" / "static").rglob("*"):
        if asset.is_file():
            assert str(asset.relative_to(REPOSITORY)) in names


@pytest.mark.slow
def test_an_unpacked_wheel_finds_its_data_and_runs_its_command(wheel: Path, tmp_path: Path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from app.resources import data_path, models_path; import app, sys\n"
        "from app.technologies._base import technologies\n"
        "assert app.__file__.startswith(sys.argv[1]), app.__file__\n"
        "assert data_path('technologies').is_dir(), data_path('technologies')\n"
        "assert str(models_path()).startswith(sys.argv[1])\n"
        "assert all(entry.cards for entry in technologies.values())\n"
    )
    site = str(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": site}
    subprocess.run([sys.executable, "-c", code, site], cwd=tmp_path, env=environment, check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-m", "app", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("josephson ")
