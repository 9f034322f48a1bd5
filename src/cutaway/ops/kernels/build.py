"""From the C++ sources in this folder to a loaded library: found by digest, or compiled.

    <cache>/kernels/<digest>/cutaway_cpp.so

The digest is of the sources, the flags, torch's version, and what the compiler says of itself and of the processor
that it compiles for; so a cache that several machines share holds one library for each kind of processor.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from filelock import FileLock

from cutaway.errors import OpError

_HERE = Path(__file__).parent
_TORCH = Path(torch.__file__).parent
_MAIN = _HERE / "library.cpp"
SOURCES = (_MAIN, *sorted(_HERE.glob("*.h")))
"""What is compiled."""

# No contraction: a product that is added before it is rounded would not be what torch computes in two steps.
_FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    "-fvisibility=hidden", "-fPIC", "-shared",
)  # fmt: skip
_LOG_LINES = 30


def find_compiler() -> str | None:
    """The C++ compiler: ``$CXX``, or the first that is found."""
    named = os.environ.get("CXX")
    if named:
        return named if shutil.which(shlex.split(named)[0]) else None
    return next((name for name in ("g++", "c++", "clang++") if shutil.which(name)), None)


def has_headers() -> bool:
    """Whether torch was installed with the headers of its stable ABI."""
    return (_TORCH / "include" / "torch" / "csrc" / "stable" / "library.h").is_file()


@functools.cache
def load() -> None:
    """Load the kernels into this process; compile them when nobody has.

    Raises:
        OpError: they cannot be compiled, kept or loaded.
    """
    path = compiled(cache_folder())
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise OpError("the C++ kernels cannot be loaded", str(error), f"remove {path.parent}") from error


def cache_folder() -> Path:
    """Where compiled kernels are kept: beside the compiler's artifacts."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("CUTAWAY_CACHE_ROOT") or home / "cutaway") / "kernels"


def compiled(folder: Path) -> Path:
    """The library in that folder, after it was compiled there by this process, or by another one.

    Raises:
        OpError: there is no compiler, it fails, or the folder cannot be written.
    """
    compiler = _compiler()
    path = folder / _digest(compiler) / "cutaway_cpp.so"
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _compile(compiler, path)
    except OSError as error:
        raise OpError(
            f"the C++ kernels cannot be kept in {folder}",
            str(error),
            "set CUTAWAY_CACHE_ROOT to a folder that can be written, or take 'cpp' out of the ops' priorities",
        ) from error
    return path


def _compiler() -> list[str]:
    found = find_compiler()
    if found is None or not has_headers():
        raise OpError(
            "the C++ kernels cannot be compiled",
            f"torch's headers are not in {_TORCH / 'include'}" if found else "there is no C++ compiler",
            "install one (g++), name one in CXX, or take 'cpp' out of the ops' priorities",
        )
    return shlex.split(found)


def _digest(compiler: list[str]) -> str:
    # The macros that a compiler defines by itself name its version and all that -march=native found.
    machine = _run([*compiler, *_FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    parts = [" ".join(_FLAGS).encode(), torch.__version__.encode(), machine.encode()]
    parts += [part for source in SOURCES for part in (source.name.encode(), source.read_bytes())]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _compile(compiler: list[str], path: Path) -> None:
    """Compile aside, then rename: a library that is there is whole."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        headers, libraries = _TORCH / "include", _TORCH / "lib"
        _run(
            [*compiler, *_FLAGS, "-isystem", str(headers), str(_MAIN), f"-L{libraries}", "-ltorch_cpu", "-o", str(made)]
        )
        made.replace(path)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise OpError("the C++ compiler cannot be started", str(error), "check CXX") from error
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[:_LOG_LINES])
        raise OpError(
            "the C++ kernels cannot be compiled",
            f"the compiler ended with {done.returncode}: {shlex.join(command)}\n{said}\n",
            "name another compiler in CXX, or take 'cpp' out of the ops' priorities",
        )
    return done.stdout
