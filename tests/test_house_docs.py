"""The docs tell the truth: commands and options exist, links lead somewhere, tables match the code."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli.main import build_app
from app.jobs.executor import LocalExecutor
from app.jobs.ledger import Ledger
from app.jobs.runner import JobRunner
from app.service.app import create_app
from app.settings import Settings
from app.testing import FakeWorkshop

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("models/*/*.md")])
COMMANDS = typer.main.get_command(build_app())

_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def command_lines(text: str) -> list[str]:
    """Every `josephson ...` and `make ...` in a code block or code span."""
    blocks = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    blocks += [line.strip() for fence in _FENCE.findall(text) for line in fence.splitlines()[1:-1]]
    spans = re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
    lines = [line.removeprefix("$ ").split("  #")[0].strip() for line in [*blocks, *spans]]
    return [
        line.removeprefix(".venv/bin/") for line in lines if re.match(r"(\.venv/bin/)?josephson( |$)|make [a-z]", line)
    ]


def words_of(line: str) -> list[str]:
    """The words of a shell's line up to a pipe or a redirection, both of which may stand inside quotes."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>")
    lexer.whitespace_split, lexer.commenters = True, ""
    return list(takewhile(lambda word: not set(word) <= {"|", ">"}, lexer))


def fault_of(line: str) -> str | None:
    """What is wrong with a command line of ours, or None."""
    words = words_of(line)
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        asked = [word for word in words[1:] if "=" not in word]
        return next((f"no target {word!r}" for word in asked if word not in targets), None)
    command: Any = COMMANDS
    for word in words[1:]:
        if word.startswith("-"):
            if word.split("=")[0] not in options_of(command):
                return f"no option {word!r}"
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return f"no command {word!r}"
            command = command.commands[word]
    return None


def options_of(command: Any) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return names | {"--help", "-h"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_docs_exist(page: Path):
    lines = command_lines(page.read_text(encoding="utf-8"))
    assert [f"{line}: {fault}" for line in lines if (fault := fault_of(line))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_in_the_docs_lead_somewhere(page: Path):
    targets = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_a_wrong_command_would_be_noticed():
    assert fault_of("josephson generate analog --cuont 3") == "no option '--cuont'"
    assert fault_of("josephson genrate") == "no command 'genrate'"
    assert fault_of("make servee") == "no target 'servee'"
    assert fault_of("josephson jobs submit analog --type opamp | jq .") is None
    assert fault_of("josephson size x.cir --spec 'gain_db>60' --sepc 'ugf_hz>1meg' > out") == "no option '--sepc'"
    assert command_lines("text `make test` and\n\n    josephson doctor   # says\n") == ["josephson doctor", "make test"]


def documented_calls() -> set[tuple[str, str]]:
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`]*)`", text, re.MULTILINE))


def served_calls(folder: Path) -> set[tuple[str, str]]:
    """Method and path of every call in the OpenAPI description."""
    settings = Settings(data_dir=folder, database_url=f"sqlite:///{folder}/jobs.sqlite3")
    workshop, ledger = FakeWorkshop(), Ledger(settings.database_url)
    try:
        paths = create_app(settings, workshop, ledger, JobRunner(ledger, LocalExecutor(workshop))).openapi()["paths"]
    finally:
        ledger.close()
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_the_table_of_calls_is_the_openapi_description(tmp_path: Path):
    assert documented_calls() == served_calls(tmp_path)


def test_every_command_takes_json_and_has_a_sentence():
    def walk(command: Any, path: str) -> list[str]:
        if hasattr(command, "commands"):
            return [line for name, inner in command.commands.items() for line in walk(inner, f"{path} {name}")]
        faults = [] if "--json" in options_of(command) else [f"{path} takes no --json"]
        return faults if (command.help or "").strip() else [*faults, f"{path} has no help"]

    assert walk(COMMANDS, "josephson") == []


def test_every_paper_that_a_docstring_names_is_in_the_references():
    keys = set(re.findall(r"^@\w+\{([a-z0-9]+),", (REPOSITORY / "docs" / "references.bib").read_text(), re.MULTILINE))
    cited = set()
    for path in (REPOSITORY / "app").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        cited |= set(re.findall(r"\[([a-z]+(?:19|20)\d\d[a-z0-9]+|rfc\d+)\]", text))
        cited |= set(re.findall(r"reference=\"([a-z0-9]+)\"", text))
    assert sorted(cited - keys) == []


def test_every_skip_has_a_reason_in_writing():
    written = (REPOSITORY / "tests" / "SKIPS.md").read_text(encoding="utf-8")
    skipping = {
        path.name
        for path in (REPOSITORY / "tests").rglob("*.py")
        if re.search(r"pytest\.(skip|importorskip)\(|mark\.skip", path.read_text(encoding="utf-8"))
    } - {Path(__file__).name}
    assert sorted(name for name in skipping if name not in written) == []
