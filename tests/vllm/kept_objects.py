"""A `g++` that compiles a source once: many processes, each with caches of its own, have Inductor write the same.

    python kept_objects.py COMPILER KEPT ARGUMENT...

Runs COMPILER with the arguments, unless KEPT holds what it made of the same arguments and the same contents before; as
ccache does, which a machine need not have.
"""

import os
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

KEPT = "TEST_KEPT_OBJECTS"
"""The variable that says where objects are kept: processes that share the tests share them. Where it is empty, nothing
is kept: for who looks at how long a compile takes."""


def keep_objects(folder: str) -> None:
    """From now on `g++` is this one, here and in what this process starts; one that is already so stays."""
    compiler = shutil.which("g++")
    if compiler is None or KEPT in os.environ:
        return
    kept, binaries = Path(folder, "kept"), Path(folder, "bin")
    kept.mkdir()
    binaries.mkdir()
    script = binaries / "g++"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {__file__} {compiler} {kept} "$@"\n')
    script.chmod(0o755)
    os.environ |= {KEPT: str(kept), "PATH": os.pathsep.join([str(binaries), os.environ.get("PATH", "")])}


def main(compiler: str, kept: str, *arguments: str) -> int:
    if "-o" not in arguments or not os.environ.get(KEPT):
        return subprocess.call([compiler, *arguments])
    place = arguments.index("-o") + 1
    made = Path(arguments[place])
    others = (*arguments[: place - 1], *arguments[place + 1 :])
    object_file = Path(kept, _digest(others))
    if not object_file.exists():
        if code := subprocess.call([compiler, *arguments]):
            return code
        if made.is_file():  # not /dev/null
            _copy(made, object_file)
        return 0
    _copy(object_file, made)
    return 0


def _digest(arguments: tuple[str, ...]) -> str:
    found = blake2b(digest_size=20)
    for argument in arguments:
        is_file = not argument.startswith("-") and os.path.isfile(argument)  # noqa: PTH113 - no suffix is too odd
        found.update(Path(argument).read_bytes() if is_file else argument.encode())
        found.update(b"\0")
    return found.hexdigest()


def _copy(one: Path, to: Path) -> None:
    """Whole or not at all, whoever else does the same."""
    half = to.with_name(f"{to.name}.{os.getpid()}")
    shutil.copy(one, half)
    half.replace(to)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
