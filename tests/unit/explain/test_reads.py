"""What the user's code reads while a piece is compiled anew is noted; what Python and torch read is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cutaway.explain.within.reads import watch_reads


def run(file: Path, text: str, module: str = "users_pass") -> None:
    exec(compile(text, str(file), "exec"), {"os": os, "__name__": module})


def test_variables_and_files_that_the_users_code_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GALLERY_SET", "a secret")
    options = tmp_path / "options.json"
    options.write_text("{}")
    text = f"os.environ.get('GALLERY_SET')\nos.getenv('GALLERY_UNSET', '1')\nopen({str(options)!r}).read()\n"
    with watch_reads() as reads:
        run(tmp_path / "users_pass.py", text)
    assert reads.told() == [
        {"variable": "GALLERY_SET", "at": f"{tmp_path}/users_pass.py:1", "is_set": True},
        {"variable": "GALLERY_UNSET", "at": f"{tmp_path}/users_pass.py:2", "is_set": False},
        {"file": str(options), "at": f"{tmp_path}/users_pass.py:3"},
    ]
    assert "a secret" not in str(reads.told())


def test_reads_of_torch_and_of_those_that_ask_for_all_are_no_news(tmp_path: Path) -> None:
    with watch_reads() as reads:
        run(tmp_path / "config.py", "os.environ.get('GALLERY_TORCH')", "torch._inductor.config")
        run(tmp_path / "users_pass.py", "dict(os.environ)\nfor n in range(30):\n    os.environ.get(f'GALLERY_{n}')\n")
    assert reads.told() == []


def test_it_is_over_with_the_block(tmp_path: Path) -> None:
    with watch_reads() as reads:
        pass
    run(tmp_path / "users_pass.py", "os.environ.get('GALLERY_LATE')\nopen(__import__('os').devnull)")
    assert reads.told() == []
    assert type(os.environ).__getitem__.__qualname__ == "_Environ.__getitem__"
