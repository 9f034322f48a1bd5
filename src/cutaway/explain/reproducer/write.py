"""A program as one Python file that runs without anything but torch (and what registers its operators)."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import fx

from cutaway.errors import ReplayError
from cutaway.explain.reproducer import mains
from cutaway.explain.reproducer.code import Code
from cutaway.explain.reproducer.program import Program
from cutaway.replay.compare import TOLERANCES

_INLINE = 64

_MAINS = {
    "pair": mains.PAIR,
    "overwritten": mains.OVERWRITTEN,
    "compiled": mains.COMPILED,
    "code": mains.CODE,
    "crash": mains.CRASH,
    "nan": mains.NAN,
}
_COMPILES = ("compiled", "code", "crash")
_NO_CACHES = 'os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # one may hold what is wrong'
_UNCOMPARED = ("overwritten", "crash", "nan")


def write(
    program: Program,
    path: Path,
    header: Sequence[str],
    imports: Sequence[str],
    is_seeded: bool,
    code: Code | None = None,
) -> None:
    """Write a reproducer; large inputs go into a file beside it.

    Args:
        program: what to write.
        path: the Python file.
        header: what it says at its top.
        imports: import statements for what registers its operators.
        is_seeded: whether floats are random numbers by the place of the input.
        code: that was generated for the graph, where there is any.

    Raises:
        ReplayError: a graph that Python cannot say.
    """
    fault = "code" if program.fault == "compiled" and code is not None else program.fault
    order = list(program.used(code.args if code is not None else ()))
    functions, needed = _functions(program, order)
    made, kept = _inputs({name: program.inputs[name] for name in order}, is_seeded)
    constants = {f"constant {name}": one.cpu() for name, one in code.constants.items()} if code is not None else {}
    beside = path.with_suffix(".pt")
    if kept or constants:
        torch.save(kept | constants, beside)
    reads = f'torch.load(Path(__file__).with_name("{beside.name}"), weights_only=True)'
    text = [
        *_top(fault, header, bool(kept or constants), {*needed, *imports}),
        "" if fault in _UNCOMPARED else f"TOLERANCES = {TOLERANCES!r}",
        f"NAMES = {order!r}" if fault == "overwritten" else "",
        "",
        *([] if code is None else _generated(code, order, reads)),
        *functions,
        *_example_inputs(order, made, reads if kept else ""),
        mains.VALUES if fault in _UNCOMPARED else mains.APART + mains.VALUES,
        _MAINS[fault],
        *("", 'if __name__ == "__main__":', "    main()"),
    ]
    path.write_text(re.sub(r"\n{4,}", "\n\n\n", "\n".join(text)) + "\n")


def _top(fault: str, header: Sequence[str], reads_file: bool, needed: Collection[str]) -> list[str]:
    """What the file says of itself, and its imports."""
    homes = _homes(sorted(needed))
    return [
        *(f"# {line}".rstrip() for line in header),
        *("#", "# Exits with 1 when the fault shows."),
        *(["# It compiles the graph afresh, too; not with --code."] if fault in ("code", "crash") else []),
        *(["import os"] if fault in _COMPILES else []),
        *(["import signal", "import subprocess"] if fault == "crash" else []),
        "import sys",
        *(["from pathlib import Path"] if reads_file else []),
        *(["", _NO_CACHES] if fault in _COMPILES else []),
        *("", "import torch"),
        *(["", *homes, ""] if homes else []),
        *sorted(needed),
        "",
    ]


def _functions(program: Program, order: Sequence[str]) -> tuple[list[str], set[str]]:
    """The graphs as functions of all inputs, and the imports that these need."""
    names = ("before", "after") if len(program.graphs) == 2 else ("graph",)
    functions, needed = [], set[str]()
    for name, graph in zip(names, program.graphs, strict=True):
        text, more = _function(name, graph, order)
        functions.append(text)
        needed |= more
    return functions, needed


def _example_inputs(order: Sequence[str], made: Sequence[str], reads: str) -> list[str]:
    """The function that makes the inputs; `reads` is how it reads those that lie in a file, if any do."""
    return [
        mains.SEEDED if any("seeded(" in line for line in made) else "",
        "def example_inputs():",
        *([f"    kept = {reads}"] if reads else []),
        "    return [",
        *(f"        {line},  # {name}" for name, line in zip(order, made, strict=True)),
        *("    ]", ""),
    ]


def _generated(code: Code, order: Sequence[str], reads: str) -> list[str]:
    """The generated code, and a function of all inputs that calls it and takes the graph's results out of its own."""
    taken = ", ".join("None" if place is None else f"found[{place}]" for place in code.results)
    constants = [f'{name} = {reads}["constant {name}"]' for name in code.constants]
    return [
        "# -- the generated code " + "-" * 90,
        "",
        code.section(),
        *constants,
        "# -- the end of it " + "-" * 95,
        "",
        "",
        f"def generated({', '.join(order)}):",
        f"    found = flat(call([{', '.join(map(str, code.args))}]))",
        f"    return [{taken}]",
        "",
        "",
    ]


def _function(name: str, graph: fx.Graph, order: Sequence[str]) -> tuple[str, set[str]]:
    """A graph as a function of all inputs, and the imports that it needs."""
    code = graph.python_code("self")
    (definition,) = (node for node in ast.parse(code.src).body if isinstance(node, ast.FunctionDef))
    body = [ast.unparse(statement) for statement in definition.body if not _forgets(statement)]
    if any("self." in line for line in body):
        raise ReplayError("the graph holds another graph", "a function of its own cannot be written for it")
    mine = [node.name for node in graph.find_nodes(op="placeholder")]
    arguments = [argument.arg for argument in definition.args.args if argument.arg != "self"]
    shown = dict(zip(mine, arguments, strict=True))
    head = ", ".join(shown.get(one, one) for one in order)
    lines = [f"def {name}({head}):", *(f"    {line}" for part in body for line in part.splitlines())]
    used = {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}
    needed = {_import(known, value) for known, value in code.globals.items() if known in used}
    return "\n".join([*lines, "", ""]), needed - {""}


def _forgets(statement: ast.stmt) -> bool:
    """Whether a statement only sets names to None, as fx does to free memory."""
    return (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Constant)
        and statement.value.value is None
    )


def _import(name: str, value: Any) -> str:
    if name == "torch":
        return ""
    if isinstance(value, ModuleType):
        return f"import {value.__name__} as {name}"
    if isinstance(value, float):
        return f'{name} = float("{value}")'
    home, known = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if home and known and "<" not in known and "." not in known:
        return f"from {home} import {known}" + (f" as {name}" if known != name else "")
    raise ReplayError(f"the graph calls {name}, which no import reaches")


def _homes(imports: Sequence[str]) -> list[str]:
    """Lines that let modules be imported which are not installed: they stand beside the program that had the fault."""
    known = {one for one in (*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path[:1]) if one}
    found: dict[str, str] = {}
    for module in sorted({words[1].partition(".")[0] for one in imports if len(words := one.split()) > 1}):
        origin = getattr(sys.modules.get(module), "__file__", None)
        if not origin:
            continue
        place = Path(origin)
        folder = str(place.parents[1] if place.name == "__init__.py" else place.parent)
        if folder in known:
            found.setdefault(folder, f"sys.path.append({folder!r})  # {module}")
    return list(found.values())


def _inputs(inputs: Mapping[str, Any], is_seeded: bool) -> tuple[list[str], dict[str, torch.Tensor]]:
    """An expression for each input, and what goes into the file beside."""
    made: list[str] = []
    kept: dict[str, torch.Tensor] = {}
    for seed, (name, value) in enumerate(inputs.items()):
        if not isinstance(value, torch.Tensor):
            made.append(repr(value))
        elif is_seeded and value.is_floating_point() and value.device.type == "cpu":
            made.append(f"seeded({tuple(value.shape)}, {value.dtype}, {seed})")
        elif value.numel() <= _INLINE and value.is_contiguous():
            made.append(_inline(value))
        else:
            kept[name] = value.cpu()
            made.append(f"kept[{name!r}]" + (f".to({str(value.device)!r})" if value.device.type != "cpu" else ""))
    return made, kept


def _inline(value: torch.Tensor) -> str:
    numbers = re.sub(r"\b(inf|nan)\b", r'float("\1")', repr(value.tolist()))
    device = f", device={str(value.device)!r}" if value.device.type != "cpu" else ""
    return f"torch.tensor({numbers}, dtype={value.dtype}{device})"


def imports_of(text: str) -> list[str]:
    """The imports of a raw file that register operators."""
    found: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)) and getattr(node, "module", None) != "torch":
            line = ast.unparse(node)
            if line not in ("import sys", "import torch") and not line.startswith("from torch import"):
                found.append(line)
    return found
