"""The house itself: what lies in the repository, where files are found, how a machine is set up."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

import app
from app import bootstrap, debian, resources
from app.errors import Unavailable

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

#: Folders that are never part of a commit.
_OURS_NOT = {".git", ".venv", ".whl", "__pycache__", "build", "dist", "work", "node_modules"}


def repository_files() -> list[Path]:
    """Files that are, or could be, part of a commit; without git, everything outside caches."""
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listing.returncode == 0 and listing.stdout:
        found = [REPOSITORY / name for name in listing.stdout.split("\0") if name]
    else:
        found = [path for path in REPOSITORY.rglob("*") if not _OURS_NOT & set(path.relative_to(REPOSITORY).parts)]
    return [
        path
        for path in found
        if path.is_file() and not any(p.startswith(".") and p.endswith("_cache") for p in path.parts)
    ]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def test_no_file_names_a_package_index_or_a_path_of_one_machine():
    # Put together here, so that this file does not hold them either.
    index_hosts = [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "download.pytorch" + ".org",
        "deb.debian" + ".org",
        "registry.npmjs" + ".org",
    ]
    machine_paths = ["/" + "root/", "/" + "work/main", "/" + "work/shared", "/opt/" + "wheels", "/opt/" + "pypi"]
    pattern = re.compile("|".join(map(re.escape, index_hosts + machine_paths)))
    named = {
        f"{path.relative_to(REPOSITORY)}: {found[0]}"
        for path in repository_files()
        if (found := pattern.search(text_of(path)))
    }
    assert sorted(named) == []


def test_no_file_is_larger_than_16_mb():
    large = [
        f"{path.relative_to(REPOSITORY)}: {path.stat().st_size}"
        for path in repository_files()
        if path.stat().st_size > 16_000_000
    ]
    assert large == []


def test_no_weights_are_pickled():
    assert [
        path.name for path in repository_files() if path.suffix in {".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt"}
    ] == []


def test_top_level_names_are_those_of_the_design():
    allowed = {
        ".ci", ".dockerignore", ".gitignore", "CHANGELOG.md", "LICENSE", "Makefile", "NOTICE", "README.md", "app",
        "constraints.txt", "data", "docker", "docs", "models", "pyproject.toml", "tests",
    }  # fmt: skip
    assert {path.relative_to(REPOSITORY).parts[0] for path in repository_files()} - allowed == set()


def pins() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_exactly_and_torch_as_agreed():
    asked = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]
    names = [plain(re.split(r"[\[<>=~! ]", requirement)[0]) for requirement in asked]
    assert [name for name in names if name not in pins()] == []
    assert pins()["torch"] == "2.13.0"
    assert "torch>=2.6" in PROJECT["dependencies"]
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins().values())


def test_torch_is_not_needed_to_build():
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["build-system"]["requires"]
    assert not any("torch" in requirement for requirement in build)


def test_ci_runs_make_test():
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("make test")


def test_make_knows_the_habits():
    done = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    said = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")}
    assert said >= {
        "setup", "serve", "test", "test-slow", "check", "bench", "docs", "train-analog", "train-quantum", "clean",
    }  # fmt: skip


def test_the_changelog_has_the_version_we_are_at():
    assert f"## {app.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()


def test_data_and_models_are_found_in_a_checkout_and_in_a_wheel(tmp_path: Path):
    assert resources.data_path("recipes") == REPOSITORY / "data" / "recipes"
    assert resources.models_path("x", "card.md") == REPOSITORY / "models" / "x" / "card.md"
    package = tmp_path / "app"
    package.mkdir()
    assert resources.bundle_root(package) == tmp_path
    (package / "_bundle").mkdir()
    assert resources.bundle_root(package) == package / "_bundle"


def test_the_data_folder_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("JOSEPHSON_DATA_DIR", str(tmp_path / "mine"))
    assert resources.user_data_dir() == tmp_path / "mine"
    monkeypatch.delenv("JOSEPHSON_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert resources.user_data_dir() == tmp_path / "share" / "josephson"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resources.user_data_dir() == tmp_path / ".local" / "share" / "josephson"
    assert not (tmp_path / ".local").exists()


class Recorder:
    """A machine whose commands answer with what they were told to, in order of the word each begins with."""

    def __init__(self, **answers: list[int]) -> None:
        self.answers = answers
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str], folder: Path) -> tuple[int, str]:
        self.commands.append(list(command))
        verb = next(word for word in command if word in {"install", "update", "download", "--extract"})
        queue = self.answers.get(verb.strip("-"), [])
        status = queue.pop(0) if queue else 0
        if verb == "download" and status == 0:
            for package in command[command.index("download") + 1 :]:
                (folder / f"{package}_1_amd64.deb").touch()
        return status, "E: last words" if status else ""

    @property
    def verbs(self) -> list[str]:
        return [next(w for w in c if w in {"install", "update", "download", "--extract"}) for c in self.commands]


def test_root_installs_and_updates_the_lists_only_when_that_fails():
    fine, stale = Recorder(), Recorder(install=[100, 0])
    debian.install_packages(["libngspice0"], fine)
    debian.install_packages(["libngspice0"], stale)
    assert fine.verbs == ["install"]
    assert stale.verbs == ["install", "update", "install"]
    with pytest.raises(
        Unavailable, match=r"could not install libngspice0 \(exit status 100: E: last words\); see that"
    ):
        debian.install_packages(["libngspice0"], Recorder(install=[100, 100]))


def test_an_ordinary_user_unpacks_packages_and_keeps_lists_of_their_own_on_a_bare_image(tmp_path: Path):
    bare = Recorder(download=[100, 0])
    debian.unpack_packages(["libngspice0", "libgomp1"], tmp_path / "libs", bare)
    assert bare.verbs == ["download", "update", "download", "--extract", "--extract"]
    assert any(option.startswith("Dir::State::Lists=") for option in bare.commands[1])
    assert bare.commands[-1][-1] == str(tmp_path / "libs")
    with pytest.raises(
        Unavailable, match=r"could not download libngspice0 \(exit status 100: E: last words\); see that"
    ):
        debian.unpack_packages(["libngspice0"], tmp_path, Recorder(download=[100, 100]))
    with pytest.raises(
        Unavailable, match=r"dpkg-deb could not unpack libngspice0_1_amd64.deb into .*; see that the folder"
    ):
        debian.unpack_packages(["libngspice0"], tmp_path, Recorder(extract=[2]))


def test_a_command_that_is_not_there_is_an_answer_not_an_accident(tmp_path: Path):
    assert debian.run_command(["no-such-command-here"], tmp_path) == (
        127,
        "no-such-command-here is not on this machine",
    )
    assert debian.run_command([sys.executable, "-c", "print('a'); print('b'); raise SystemExit(3)"], tmp_path) == (
        3,
        "b",
    )


def test_an_old_python_is_told_which_one_to_use():
    bootstrap.check_python((3, 11))
    with pytest.raises(
        Unavailable, match=r"this is Python 3\.9, the project needs 3\.11 or newer; name one with: make setup"
    ):
        bootstrap.check_python((3, 9))


def test_setup_installs_torch_first_and_keeps_an_environment_that_works(tmp_path: Path):
    calls: list[list[str]] = []

    def call(command: Sequence[str]) -> int:
        calls.append(list(command))
        return 0

    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    assert bootstrap.make_environment(tmp_path, call) == python
    assert calls == [[str(python), "-c", "import pip"]]
    bootstrap.install_project(python, REPOSITORY, call)
    constraints = str(REPOSITORY / "constraints.txt")
    assert [command[command.index("-c") + 1] for command in calls[1:]] == [constraints, constraints]
    assert calls[1][-1] == "torch"
    assert calls[2][-2:] == ["-e", f"{REPOSITORY}[train,evaluate,dev]"]
    with pytest.raises(
        Unavailable, match=r"pip could not install torch \(its message stands above\); see that the package index"
    ):
        bootstrap.install_project(python, REPOSITORY, lambda command: 1)
