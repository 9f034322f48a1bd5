"""A reproducer of wrong stitching: the code that passes values on, against the order that the split graph has.

What the pieces compute plays no part in it: stand-ins return tensors of the shapes that were seen, each with numbers of
its own. Of both sides only what leads to the call at fault is kept.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from cutaway.errors import ReplayError

_WHOLE = "execution_fn"
_LARGEST = 64
Step = Mapping[str, Any]

_HEAD = '''
def seeded(seed, shape, dtype):
    """Numbers that no other value has."""
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(shape, generator=generator).to(dtype)
    return torch.randint(0, 2 if dtype is torch.bool else 100, shape, generator=generator).to(dtype)


class Reached(Exception):
    """The call at fault was reached: what it is passed."""


def piece(name):
    """Stands for a piece: it computes nothing, and returns what has the shape of its result."""
    def call(*args):
        if name == FAULT:
            raise Reached(args)
        return RESULTS[name]
    return call


'''

_MAIN = '''
def passed(function, *given):
    """What the call at fault is passed, or what the whole returns."""
    try:
        return function(*given)
    except Reached as reached:
        return reached.args[0]


def is_same(one, other):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and one == other


def main():
    wanted, found = passed(split_graph), passed(execution_fn, *GIVEN)
    wrong = [place for place, pair in enumerate(zip(wanted, found)) if not is_same(*pair)]
    for place in wrong:
        one, other = wanted[place], found[place]
        print(f"{FAULT or 'the caller'} is given another value than {NAMES[place]} at place {place}:")
        for side, value in (("the split graph", one), ("the code", other)):
            said = f"{list(value.shape)} sum {value.double().sum():.6g}" if isinstance(value, torch.Tensor) else value
            print(f"    {side}: {said}")
    if not wrong:
        print("the code passes on what the split graph says")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
'''


@dataclass(frozen=True)
class _Code:
    """A function of the inputs of the model, without what does not lead to the call at fault.

    Attributes:
        text: of the function.
        inputs: which inputs of the model it takes.
        compared: which of them the call at fault is passed.
        pieces: names of the pieces that it calls.
    """

    text: str
    inputs: tuple[int, ...]
    compared: frozenset[int]
    pieces: frozenset[str]


def write_stitching(path: Path, header: Sequence[str], facts: Mapping[str, Any]) -> int:
    """Write the file.

    Args:
        path: where to.
        header: what it says at its top.
        facts: what the hands told: the stitching ``code``, what it has ``called``, and the ``steps`` of the split graph
            up to the call at fault (`Forward`).

    Returns:
        How many pieces are left besides the one at fault.

    Raises:
        ReplayError: the stitching code cannot be read, or does not call the piece.
    """
    steps: list[Step] = facts["steps"]
    fault = steps[-1]
    target = "" if fault["op"] == "output" else str(fault["target"])
    names = {step["target"] for step in steps if step["op"] == "call_module"}
    code = _of_code(facts["code"], {**{name: name for name in names}, **facts["called"]}, target)
    graph = _of_graph(steps)
    pieces = sorted((code.pieces | graph.pieces) & names)
    text = [
        *_top(header),
        f"FAULT = {target!r}",
        f"NAMES = {[_text_of(one) for one in fault['args']]!r}",
        *_values(steps, code, graph, [name for name in pieces if name != target]),
        *(f"{name} = piece({name!r})" for name in pieces),
        *("", "", "# -- what the split graph says", graph.text),
        *("", "", "# -- what was generated", code.text, ""),
        _MAIN,
    ]
    path.write_text("\n".join(text))
    return len(pieces) - (target in pieces)


def _top(header: Sequence[str]) -> list[str]:
    return [
        *(f"# {line}".rstrip() for line in header),
        *("#", "# Exits with 1 when the fault shows.", "import sys", "", "import torch", ""),
        *(_HEAD.strip("\n"), "", ""),
    ]


def _values(steps: Sequence[Step], code: _Code, graph: _Code, pieces: Sequence[str]) -> list[str]:
    """Inputs of the model, and results of pieces; an input that no call at fault is passed may be anything."""
    inputs = [step for step in steps if step["op"] == "placeholder"]
    known = {step["target"]: step["value"] for step in steps if step["op"] == "call_module"}
    compared = code.compared | graph.compared
    seeds = count()
    return [
        f"INPUTS = {{  # of the model, by their place; no size is larger than {_LARGEST}",
        *(
            f"    {place}: {_expression(inputs[place]['value'] if place in compared else None, seeds)},"
            f"  # {inputs[place]['name']}"
            for place in sorted({*code.inputs, *graph.inputs})
        ),
        "}",
        "RESULTS = {",
        *(f"    {name!r}: {_expression(known[name], seeds)}," for name in pieces),
        "}",
        f"GIVEN = [INPUTS[place] for place in {list(code.inputs)!r}]",
    ]


def _text_of(argument: Mapping[str, Any]) -> str:
    """An argument of a step as it is written: a name, or a constant."""
    return str(argument.get("name", argument.get("text")))


def _expression(value: Any, seeds: Iterator[int]) -> str:
    """What stands for a value of which the kind is known."""
    if not isinstance(value, Mapping):
        return "None"
    if "items" in value:
        return f"({''.join(f'{_expression(one, seeds)}, ' for one in value['items'])})"
    if "number" in value:
        return repr(value["number"])
    return f"seeded({next(seeds)}, {tuple(min(size, _LARGEST) for size in value['shape'])}, {value['dtype']})"


def _of_graph(steps: Sequence[Step]) -> _Code:
    """The split graph as a function, from the call at fault backwards."""
    *before, fault = steps
    places = {step["name"]: place for place, step in enumerate(one for one in steps if one["op"] == "placeholder")}
    compared = frozenset(places[name] for name in _names(fault) if name in places)
    needed, lines, inputs, pieces = _names(fault), list[str](), list[int](), set[str]()
    for step in reversed(before):
        if step["name"] not in needed:
            continue
        needed |= _names(step)
        args = [_text_of(one) for one in step["args"]]
        if step["op"] == "placeholder":
            inputs.append(places[step["name"]])
            lines.append(f"    {step['name']} = INPUTS[{places[step['name']]}]")
        elif step["op"] == "call_module":
            pieces.add(step["target"])
            lines.append(f"    {step['name']} = piece({step['target']!r})({', '.join(args)})")
        elif step["op"] == "item":
            lines.append(f"    {step['name']} = {args[0]}[{args[1]}]")
        else:
            raise ReplayError("the split graph calls what is no piece", f"{step['name']} is of {step['target']}")
    args = ", ".join(_text_of(one) for one in fault["args"])
    end = f"    piece({fault['target']!r})({args})" if fault["op"] == "call_module" else f"    return ({args},)"
    pieces |= {fault["target"]} if fault["op"] == "call_module" else set()
    return _Code("\n".join(["def split_graph():", *reversed(lines), end]), tuple(inputs), compared, frozenset(pieces))


def _names(step: Step) -> set[str]:
    return {one["name"] for one in step["args"] if "name" in one}


def _of_code(text: str, called: Mapping[str, str], target: str) -> _Code:
    """The stitching code, from the call at fault backwards; what it calls bears the names that dumps have."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ReplayError("the stitching code is no Python", str(error)) from error
    whole = next((one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == _WHOLE), None)
    if whole is None:
        raise ReplayError(f"the stitching code has no function {_WHOLE}")
    renamed = _Renamed(called)
    body = [renamed.visit(statement) for statement in whole.body]
    at = next((place for place, one in enumerate(body) if _is_fault(one, target)), None)
    if at is None:
        raise ReplayError(
            f"the stitching code does not call {target}" if target else "the stitching code has no result"
        )
    kept, needed = [body[at]], _read(body[at])
    last = set(needed)
    for statement in reversed(body[:at]):
        if isinstance(statement, ast.Assign) and _written(statement) & needed:
            kept.append(statement)
            needed |= _read(statement)
    params = [one.arg for one in (*whole.args.posonlyargs, *whole.args.args)]
    inputs = tuple(place for place, name in enumerate(params) if name in needed)
    lines = [f"    {line}" for one in reversed(kept) for line in ast.unparse(one).splitlines()]
    head = f"def {_WHOLE}({', '.join(params[place] for place in inputs)}):"
    compared = frozenset(place for place, name in enumerate(params) if name in last)
    return _Code("\n".join([head, *lines]), inputs, compared, frozenset(needed & set(called.values())))


class _Renamed(ast.NodeTransformer):
    def __init__(self, called: Mapping[str, str]) -> None:
        self.called = called

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        name = self.called.get(ast.unparse(node.func))
        return node if name is None else ast.Call(ast.Name(name, ast.Load()), node.args, node.keywords)


def _is_fault(statement: ast.stmt, target: str) -> bool:
    if not target:
        return isinstance(statement, ast.Return)
    return any(
        isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == target
        for one in ast.walk(statement)
    )


def _read(statement: ast.stmt) -> set[str]:
    return {one.id for one in ast.walk(statement) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}


def _written(statement: ast.stmt) -> set[str]:
    return {one.id for one in ast.walk(statement) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
