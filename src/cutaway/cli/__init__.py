"""The command line: `cutaway`."""

from __future__ import annotations

import errno
import gc
import io
import os
import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from cutaway.cli.help import Command
from cutaway.cli.output import BAD_USE, INTERRUPTED, complain, printable
from cutaway.errors import CutawayError, DetailedError

__all__ = ["COMMANDS", "main", "make_app"]

COMMANDS: dict[str, dict[str, bool]] = {
    "run": {"ignore_unknown_options": True, "allow_interspersed_args": False},
    "ls": {},
    "show": {},
    "diff": {},
    "compare": {},
    "find": {"ignore_unknown_options": True},
    "lineage": {},
    "replay": {},
    "view": {},
    "report": {},
    "export": {},
    "why": {},
    "cache": {},
    "edit": {"ignore_unknown_options": True},
    "isolate": {"ignore_unknown_options": True},
    "verify": {},
    "ops": {},
}
"""Name -> how its arguments are read. A command is the function, or the group, of that name in its module."""


_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with some of its commands; only the modules of these are imported."""
    app = typer.Typer(
        name="cutaway",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(cutaway)
    for name in names:
        command = getattr(import_module(f"cutaway.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(context_settings=dict(COMMANDS[name]), cls=Command)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            number = version("cutaway")
        except PackageNotFoundError:
            number = "(not installed)"
        sys.stdout.write(f"cutaway {number}\n")
        raise typer.Exit


def cutaway(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """See what a compiler did to a model: record it, then walk through the dump.

    Exit codes: 0, 1 when there is a difference or a finding, 2 for bad use.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; None for this process's own.

    Returns:
        The exit code: 0, 1 (a difference or a finding), 2 (bad use), or the watched program's for `run`.
    """
    _have_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    try:
        with _without_collections():
            app = make_app(given[:1] if given and given[0] in COMMANDS else COMMANDS)
            code = app(arguments, prog_name="cutaway", standalone_mode=False)
        sys.stdout.flush()
    except CutawayError as error:
        if isinstance(error, DetailedError) and error.details:
            sys.stderr.write(printable(error.details.rstrip()) + "\n")
        complain(str(error))
        return BAD_USE
    except typer.TyperException as error:
        return _misused(error)
    except typer.Abort:
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # The reader of our pipe went away (`| head`): typer and rich leave by SystemExit then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        return _not_done(error)
    return int(code or 0)


def _have_streams() -> None:
    """Somewhere to write, where the shell has closed standard output or standard error (`>&-`)."""
    if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (for as long as the process)
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _not_done(error: OSError) -> int:
    """A file that cannot be read, or output that cannot be written: no permission, a full disk."""
    why = error.strerror or str(error)
    if error.filename is not None:
        complain(f"{str(error.filename)!r} cannot be used. {why}.")
    elif error.errno in _NOT_WRITTEN:
        complain(f"the output cannot be written. {why}.")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing is tried again when the interpreter ends
    else:
        complain(f"the operating system refuses. {why}.")
    return BAD_USE


@contextmanager
def _without_collections() -> Generator[None]:
    """No garbage collection: a command builds one tree out of a dump, and to look for cycles in it takes longer."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _misused(error: typer.TyperException) -> int:
    """What typer has to say, as one of our sentences; asking for nothing at all is answered with the help."""
    message = error.format_message()
    if message.startswith("Usage:"):
        sys.stdout.write(f"{message}\n")
        return BAD_USE
    sentence = printable(message[0].lower() + message[1:]).rstrip(".")
    closing = sentence if sentence.endswith("?") else f"{sentence}."
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "cutaway"
    complain(f"{closing} See `{command} --help`.")
    return BAD_USE
