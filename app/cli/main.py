"""From the words of a command line to an exit status: 0 done, 1 failed, 2 usage. The list of commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from app import __version__
from app.cli import (
    bench,
    convert,
    corpus,
    design,
    doctor,
    evaluate,
    generate,
    jobs,
    predict,
    serve,
    simulate,
    size,
    technology,
    testbench,
    train,
    validate,
)
from app.cli.door import DONE, FAILED, USAGE, Door, say, write_document
from app.errors import InvalidInput, JosephsonError

_SUMMARY = "A generative circuit-design engine: analog topologies and OpenQASM programs, checked by ngspice and Qiskit."


#: What typer gives for a command that Ctrl-C ended.
_INTERRUPTED = 130


def build_app() -> typer.Typer:
    """The command line with every command on it."""
    app = typer.Typer(
        name="josephson", help=_SUMMARY, no_args_is_help=True, add_completion=False,
        pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip

    @app.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ) -> None:
        """Options of the command itself; each is done with by the time a command runs."""

    for module in (
        serve,
        generate,
        validate,
        simulate,
        predict,
        size,
        design,
        jobs,
        train,
        evaluate,
        bench,
        corpus,
        convert,
        technology,
        testbench,
        doctor,
    ):
        module.add_to(app)
    return app


def _print_version(is_asked: bool) -> None:
    if is_asked:
        sys.stdout.write(f"josephson {__version__}\n")
        raise typer.Exit()


def main(arguments: Sequence[str] | None = None, door: Door | None = None) -> int:
    """Run one command line and return its exit status; every expected failure is one sentence on standard error.

    With ``--json`` a failure is also one JSON document on standard output.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    wants_json = "--json" in words
    try:
        status = typer.main.get_command(build_app()).main(
            words, prog_name="josephson", standalone_mode=False, obj=door or Door()
        )
        sys.stdout.flush()
        return (
            _fail("interrupted", "Interrupted", FAILED, wants_json) if status == _INTERRUPTED else int(status or DONE)
        )
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`); nothing more may be written, nor flushed at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except typer.TyperException as error:
        if not error.format_message():  # a group without a command has printed its help
            return USAGE
        return _fail(_usage_sentence(error), type(error).__name__, error.exit_code, wants_json)
    except JosephsonError as error:
        status = USAGE if isinstance(error, InvalidInput) else FAILED
        return _fail(str(error), type(error).__name__, status, wants_json)


def _usage_sentence(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    place = context.command_path if context is not None else "josephson"
    return f"{error.format_message()}\nTry '{place} --help'."


def _fail(sentence: str, kind: str, status: int, wants_json: bool) -> int:
    say(f"josephson: {sentence}")
    if wants_json:
        write_document({"error": {"type": kind, "message": sentence}})
    return status
