"""Compiling the kernels: once, by whoever comes first, and never when something is imported."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import refused

from cutaway.ops.kernels import build

needs_compiler = pytest.mark.skipif(build.find_compiler() is None, reason="there is no C++ compiler")

CALL = """
import torch
import cutaway.ops.library
from cutaway.ops import kernels
print(kernels.ops.rms_norm(torch.ones(1, 4), None, 0.0).tolist())
"""


def run(code: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@needs_compiler
def test_two_processes_compile_once(tmp_path: Path) -> None:
    real, log = shutil.which(build.find_compiler() or ""), tmp_path / "log"
    counting = program(tmp_path, "counting", f'echo "$@" >> {log}\nexec {real} "$@"')
    cache = tmp_path / "cache"
    processes = [run(CALL, CXX=counting, CUTAWAY_CACHE_ROOT=str(cache)) for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=240)
        assert out.strip() == "[[1.0, 1.0, 1.0, 1.0]]", err
    assert sum("-o " in line for line in log.read_text().splitlines()) == 1
    (library,) = cache.glob("kernels/*/*.so")
    assert {path.name for path in library.parent.iterdir()} == {library.name, library.with_suffix(".lock").name}


@needs_compiler
def test_compiled_library_is_found_again(kernel_folder: Path) -> None:
    folder = kernel_folder / "kernels"
    path = build.compiled(folder)
    before = path.stat()
    assert build.compiled(folder) == path
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.is_relative_to(folder)


@needs_compiler
def test_library_of_other_sources_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = [Path(shutil.copy(source, tmp_path)) for source in build.SOURCES]
    compiler = [build.find_compiler() or ""]
    monkeypatch.setattr(build, "SOURCES", tuple(copies))
    before = build._digest(compiler)
    copies[-1].write_text(copies[-1].read_text() + "\n")
    assert build._digest(compiler) != before
    copies[-1].write_text(copies[-1].read_text()[:-1])
    assert build._digest(compiler) == before
    assert build._digest([*compiler, "-DOTHER"]) != before


def test_import_compiles_nothing(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    compiler = program(tmp_path, "compiler", f"touch {touched}; exit 1")
    process = run("import cutaway.ops.library", CXX=compiler, CUTAWAY_CACHE_ROOT=str(tmp_path / "cache"))
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert not touched.exists()
    assert not (tmp_path / "cache").exists()


def test_failing_compiler_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", program(tmp_path, "compiler", 'echo "no such thing as a float" >&2; exit 3'))
    with refused("cannot be compiled", "ended with 3", "no such thing as a float", "CXX", "'cpp'"):
        build.compiled(tmp_path / "cache")


@needs_compiler
def test_compile_that_fails_leaves_nothing_that_is_taken_for_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which(build.find_compiler() or "")
    half = 'for last; do :; done; case "$*" in *" -o "*) echo half > "$last"; exit 1;; esac'
    monkeypatch.setenv("CXX", program(tmp_path, "compiler", f'{half}\nexec {real} "$@"'))
    with refused("cannot be compiled", "ended with 1"):
        build.compiled(tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*/*.so")) == []


def test_error_reaches_who_calls_the_op(tmp_path: Path) -> None:
    compiler = program(tmp_path, "compiler", "exit 3")
    process = run(CALL, CXX=compiler, CUTAWAY_CACHE_ROOT=str(tmp_path / "cache"))
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "OpError: the C++ kernels cannot be compiled" in err


def test_no_compiler_means_not_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import cutaway.ops.library as l; print(l.rms_norm.supported_providers())"
    out, err = run(code, CXX=str(tmp_path / "missing")).communicate(timeout=240)
    assert out.strip() == "['native', 'torch']", err
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused("cannot be compiled", "there is no C++ compiler", "g++"):
        build.compiled(tmp_path / "cache")


@needs_compiler
def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with refused("cannot be kept", str(tmp_path / "file"), "CUTAWAY_CACHE_ROOT"):
        build.compiled(tmp_path / "file")


def test_damaged_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "digest" / "cutaway_cpp.so"
    path.parent.mkdir()
    path.write_bytes(b"no library")
    monkeypatch.setattr(build, "compiled", lambda folder: path)
    with refused("cannot be loaded", str(path.parent)):
        build.load.__wrapped__()
