"""`cutaway why`: why a compile is as it is. One file a question; each is a function of that name in its module."""

from __future__ import annotations

from importlib import import_module

import typer

from cutaway.cli.help import Command

QUESTIONS = ("shape", "pattern", "unfused", "cache")
"""Each is `cutaway why NAME`: the function NAME of the module `cutaway.cli.why_NAME`."""


def make_why() -> typer.Typer:
    """The group with its commands."""
    group = typer.Typer(
        help="Why a compile is as it is: sizes, patterns that did not match, ops left unfused, cache misses.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for name in QUESTIONS:
        group.command(name, cls=Command)(getattr(import_module(f"cutaway.cli.why_{name}"), name))
    return group


why = make_why()
