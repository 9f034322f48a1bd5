"""The docs say everything that there is to say: every event, key, command and JSON shape."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cutaway.cli import COMMANDS
from cutaway.dump import schema

DOCS = Path(__file__).resolve().parents[3] / "docs"
STRUCTS = [
    value
    for value in vars(schema).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not msgspec.Struct
]


def section(page: str, title: str) -> str:
    """A section of a page, its sub-sections included."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if re.fullmatch(f"#+ {re.escape(title)}", line))
    level = len(lines[start]) - len(lines[start].lstrip("#"))
    ends = (i for i in range(start + 1, len(lines)) if re.match(f"#{{1,{level}}} ", lines[i]))
    return "\n".join(lines[start : next(ends, len(lines))])


def documented(text: str) -> set[str]:
    return set(re.findall(r"`([\w-]+)`", text))


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_key_of_every_event_and_table(struct: type[msgspec.Struct]) -> None:
    is_event = issubclass(struct, schema.Event)
    text = section("dump-format.md", "Events" if is_event else "Node tables")
    if struct in (schema.File, schema.KeptInput):
        text = section("dump-format.md", "snapshot" if struct is schema.File else "inputs")
    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= documented(text)


@pytest.mark.parametrize("kind", [str(struct.__struct_config__.tag) for struct in schema.AnyEvent.__args__])
def test_every_kind_of_event_has_a_section(kind: str) -> None:
    assert section("dump-format.md", kind)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"Usage: cutaway {command}" in section("cli.md", f"cutaway {command}")
    assert section("dump-format.md", f"cutaway {command} --json")


@pytest.mark.parametrize("arguments", [("ls",), ("show", "backbone/captured"), ("diff", "lowering"), ("verify",)])
def test_every_key_of_the_json(cutaway: Any, dump: str, process: Path, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    (process / "backbone/00.captured.py").unlink()
    shape = json.loads(cutaway(command, dump, *rest, "--json").out)
    text = section("dump-format.md", f"cutaway {command} --json") + section("dump-format.md", "Events")
    assert set(keys(shape)) <= documented(text)


def keys(value: Any) -> Iterator[str]:
    """Keys of a JSON value and of what is in it; not those that are data, such as names of operators."""
    if isinstance(value, list):
        for each in value:
            yield from keys(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            if key not in ("ops_delta", "values", "coverage", "kernels", "providers", "table"):
                yield from keys(each)


def test_the_reference_is_what_the_commands_say() -> None:
    ran = subprocess.run([sys.executable, DOCS / "check.py"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_an_outdated_reference_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("docs_check", DOCS / "check.py")
    assert spec is not None
    assert spec.loader is not None
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    check.PAGE = tmp_path / "cli.md"
    assert check.check(write=False) == 1
    assert "run python docs/check.py --write" in capsys.readouterr().out
    assert check.check(write=True) == 0
    assert check.check(write=False) == 0
