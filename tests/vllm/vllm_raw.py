"""Runs raw graphs as scripts, each in a process forked from this one, which has imported torch and vLLM already.

    python vllm_raw.py OUT.json FILE... -- SIZE...

A graph without symbolic sizes runs once. Memory that a graph leaves uninitialised is NaN, so that two graphs
that compute the same print the same. Writes a list of `{file, size, output, error}`.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

# What the raw graphs of a model import; a module that is missing here is imported by the file itself.
WARM = ("torch", "vllm._custom_ops", "vllm.ir.ops", "vllm.model_executor.layers.attention.attention")


def main() -> None:
    out, *arguments = sys.argv[1:]
    split = arguments.index("--")
    files, sizes = map(Path, arguments[:split]), [int(size) for size in arguments[split + 1 :]]
    for module in WARM:
        importlib.import_module(module)
    torch = sys.modules["torch"]
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what torch.empty returns
    results: list[dict[str, Any]] = []
    for file in files:
        symbols = size_names(file)
        for size in sizes if symbols else [None]:
            sys.argv = [str(file), *(f"{symbol}={size}" for symbol in symbols)]
            results.append({"file": str(file), "size": size, **_run_forked(file)})
    Path(out).write_text(json.dumps(results))


def size_names(file: Path) -> list[str]:
    """The symbolic sizes of a raw graph: the arguments of its `example_inputs`."""
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "example_inputs":
            return [argument.arg for argument in statement.args.args]
    return []


def _run_forked(file: Path) -> dict[str, str]:
    """Run a script as `__main__` in a child, and return what it printed and how it failed (empty: it did not)."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        printed, error = io.StringIO(), ""
        try:
            with contextlib.redirect_stdout(printed):
                runpy.run_path(str(file), run_name="__main__")
        except BaseException as failure:  # noqa: BLE001 - whatever it is, it is the result
            error = f"{type(failure).__name__}: {failure}"
        with os.fdopen(send, "w") as pipe:
            json.dump({"output": printed.getvalue(), "error": error}, pipe)
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"output": "", "error": f"ended with status {status}"}


if __name__ == "__main__":
    main()
