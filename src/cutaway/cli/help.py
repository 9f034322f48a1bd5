"""How a command's help is laid out: typer's, without the Python types of arguments and the brackets of brackets."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help names its arguments as a person would.

    `ls [OPTIONS] DUMP [SELECTOR]` and `DUMP`, where typer 0.29 has `ls [OPTIONS] {DUMP} [SELECTOR]` and `DUMP <str>`.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            if param.param_type_name == "argument":
                name = name.rpartition(" <")[0] or name
            rows[param.param_type_name].append((name, text))
        for title, kind in (("Arguments", "argument"), ("Options", "option")):
            if rows[kind]:
                with formatter.section(title):
                    formatter.write_dl(rows[kind])
