"""The stitching graph as plain Python: calls of the pieces in order, and nothing between them.

    generate_execution_code(split_gm) ──► text, names of pieces, constants      (kept in the cache)
                                            │
    compile_execution_fn(text, callables, constants) ──► execution_fn(*flat_args)

The text is a script with one function, ``make(pieces, consts)``, that returns ``execution_fn``: pieces and constants
are then cells of its closure, which Python reads as quickly as locals. It may be written to a file and read back.

    import torch

    silly_attention = torch.ops.silly.attention.default


    def make(pieces, consts):
        piece_00, piece_02 = pieces

        def piece_01(q, k, v, out):
            silly_attention(q, k, v, out)
            return (out,)

        def execution_fn(x, w):
            q, k, v, out = piece_00(x, w)
            del x
            (out_1,) = piece_01(q, k, v, out)
            del q, k, v, out
            (y,) = piece_02(out_1, w)
            return (y,)

        return execution_fn

Where the idea comes from: vLLM's ``compilation/codegen.py``, which replaces the interpreter of a split graph by code.
"""

from __future__ import annotations

import linecache
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any

import torch
from torch import fx

from cutaway import torch_internals
from cutaway.compiler.link.names import is_identifier
from cutaway.compiler.link.script import Script, attribute_of
from cutaway.errors import CompileError, SplitError


def generate_execution_code(
    split_gm: fx.GraphModule, *, splitting: Collection[str] = (), comments: Mapping[str, str] | None = None
) -> tuple[str, list[str], list[Any]]:
    """Source text that does what a split graph does.

    Args:
        split_gm: the stitching graph: placeholders, ``call_module`` of pieces that return a tuple, ``getitem`` and
            other functions of values, output.
        splitting: pieces whose own graph is written into the text, so that no graph is needed to run them. One that
            cannot be (it calls what no import reaches, or holds another graph) stays among the names.
        comments: what to say above the call of a piece, by its name.

    Returns:
        The text; the names of the pieces that :func:`compile_execution_fn` must be given, in its order; objects that
        the text refers to and cannot carry, which can be pickled if each of them can.

    Raises:
        SplitError: a node that cannot be written; it is printed.
    """
    script = Script()
    called = dict.fromkeys(str(node.target) for node in split_gm.graph.nodes if node.op == "call_module")
    names = {target: script.names.of_script(target) for target in called}
    inlined: dict[str, list[str]] = {}
    for target in called:
        if target in splitting:
            attempt = script.fork()
            try:
                inlined[target] = _Function(attempt, _module(split_gm, target), {}, {}).lines(names[target])
                script = attempt
            except SplitError:
                continue
    main = _Function(script, split_gm, names, comments or {}).lines("execution_fn")
    submod_names = [target for target in called if target not in inlined]
    body = [
        *_unpacked([names[target] for target in submod_names], "pieces"),
        *_unpacked([*script.consts], "consts"),
        *(line for lines in inlined.values() for line in ("", *lines)),
        *("", *main),
        *("", "return execution_fn"),
    ]
    lines = [*script.head(), "", "", "def make(pieces, consts):", *_indented(body if body[0] else body[1:])]
    return "\n".join(lines) + "\n", submod_names, [*script.consts.values()]


def compile_execution_fn(
    code: str, callables: Sequence[Callable[..., Any]], consts: Sequence[Any], *, filename: str = "<execution_code>"
) -> Callable[..., Any]:
    """The function that :func:`generate_execution_code` wrote, with these pieces in it.

    Args:
        code: the text.
        callables: one for each of its names of pieces, in that order.
        consts: its constants.
        filename: what tracebacks call the text; a number is added when another text goes by that name.

    Returns:
        ``execution_fn``: takes the stitching graph's inputs one by one, returns its output.

    Raises:
        CompileError: the text does not run here: what it imports is gone, or it was written for other pieces.
    """
    filename = _remember(code, filename)
    namespace: dict[str, Any] = {"__name__": "execution_code"}
    try:
        exec(compile(code, filename, "exec"), namespace)
        return namespace["make"](callables, consts)
    except Exception as error:
        raise CompileError(
            f"the stitching code {filename} cannot be loaded",
            f"{type(error).__name__}: {error}",
            "import first what registers the model's operators; delete what was cached for it",
        ) from error


def _remember(code: str, filename: str) -> str:
    """Let tracebacks and debuggers find the lines of the text. Returns the name by which they do."""
    lines = code.splitlines(keepends=True)
    for number in count(1):
        name = filename if number == 1 else f"{filename} {number}"
        known = linecache.cache.get(name)
        if known is None or known[2:3] == (lines,):
            filename = name
            break
    linecache.cache[filename] = (len(code), None, lines, filename)  # without a time of change, it stays
    return filename


def _module(split_gm: fx.GraphModule, target: str) -> torch.nn.Module | None:
    try:
        return split_gm.get_submodule(target)
    except AttributeError:
        return None


def _unpacked(names: Sequence[str], source: str) -> list[str]:
    """The line that takes a tuple apart; none for no names."""
    return [f"{', '.join(names)} = {source}" if len(names) > 1 else f"({names[0]},) = {source}"] if names else []


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


class _Function:
    """Writes one graph as one function.

    Args:
        script: what it shares with the other functions.
        gm: the graph.
        pieces: what the modules that it may call are called.
        comments: what to say above the call of a module.
    """

    def __init__(
        self, script: Script, gm: torch.nn.Module | None, pieces: Mapping[str, str], comments: Mapping[str, str]
    ) -> None:
        if not isinstance(gm, fx.GraphModule):
            raise SplitError(f"a {type(gm).__name__} is no graph")
        self.script = script
        self.gm = gm
        self.pieces = pieces
        self.comments = comments
        self.inside: set[str] = set()
        self.refs: dict[fx.Node, str] = {}
        called = [node for node in gm.graph.nodes if node.op == "call_module"]
        self.unpacked = {node: items for node in called if (items := self._items(node))}
        # Nobody misses an item that nobody uses.
        self.skipped = {item for items in self.unpacked.values() for item in items}
        self.skipped |= {node for node in gm.graph.nodes if _is_item(node) and not node.users}
        last_use = self._last_use()
        self.used = set(last_use)
        self.done: dict[fx.Node, list[fx.Node]] = {}
        for value, node in last_use.items():
            self.done.setdefault(node, []).append(value)

    def lines(self, name: str) -> list[str]:
        """The function's lines, from its ``def`` on.

        Raises:
            SplitError: a node that cannot be written; it is printed.
        """
        params: list[str] = []
        body: list[str] = []
        for node in self.gm.graph.nodes:
            try:
                if node.op == "placeholder":
                    params.append(self._param(node))
                elif node not in self.skipped:
                    body += self._statement(node)
            except SplitError as error:
                raise SplitError(f"no stitching code can be written for {node.format_node()}", error.what) from error
        if not body or not body[-1].startswith("return "):
            body.append("return None")
        if len(body) > 1 and body[-2].startswith("del "):
            del body[-2]  # the function ends there
        return [f"def {name}({', '.join(params)}):", *_indented(body)]

    def _param(self, node: fx.Node) -> str:
        if node.args or str(node.target).startswith("*"):
            raise SplitError("an input must be positional and have no default")
        return self._ref(node)

    def _statement(self, node: fx.Node) -> list[str]:
        if node.op == "output":
            return [f"return {self.script.value(node.args[0], self.refs)}"]
        if node.op == "get_attr":
            self.refs[node] = self.script.const(self._attribute(str(node.target)))
            return []
        text, lines = self._expression(node), self._comment(node)
        if node in self.unpacked:
            lines += _unpacked([self._ref(item) for item in self.unpacked[node]], text)
        else:
            lines.append(f"{self._ref(node)} = {text}" if node in self.used else text)
        done = [self.refs[value] for value in self.done.get(node, ())]
        return [*lines, f"del {', '.join(done)}"] if done else lines

    def _expression(self, node: fx.Node) -> str:
        """What a node computes."""
        args, function = node.args, None
        if node.op == "call_module" and _module(self.gm, str(node.target)) is not None:
            function = self.pieces.get(str(node.target))
        elif node.op == "call_method" and isinstance(args[0], fx.Node) and is_identifier(str(node.target)):
            function, args = f"{self.refs[args[0]]}.{node.target}", args[1:]
        elif node.op == "call_function" and node.target is operator.getitem:
            return f"{self.script.value(args[0], self.refs)}[{self.script.value(args[1], self.refs)}]"
        elif node.op == "call_function" and not _is_numbered(node):
            function = self.script.function(node.target)
        if function is None:
            raise SplitError(f"nothing that another process can import or be given is the {node.op} {node.target!r}")
        return self.script.call(function, args, node.kwargs, self.refs)

    def _comment(self, node: fx.Node) -> list[str]:
        said = self.comments.get(str(node.target), "") if node.op == "call_module" else ""
        plain = said.replace("\0", "").encode(errors="backslashreplace").decode()
        return [f"# {line}" for line in plain.splitlines()]

    def _ref(self, node: fx.Node) -> str:
        if node not in self.refs:
            self.refs[node] = self.script.names.of_function(node.name, self.inside)
        return self.refs[node]

    def _attribute(self, target: str) -> Any:
        value = attribute_of(self.gm, target.split("."))
        if value is None or isinstance(value, torch.nn.Module):
            raise SplitError(f"a {type(value).__name__} cannot be a constant")
        return value

    def _items(self, node: fx.Node) -> list[fx.Node] | None:
        """The items of a piece's result in order, when all of them are used, each by one name; else None."""
        piece = _module(self.gm, str(node.target))
        if not isinstance(piece, fx.GraphModule) or not all(_is_item(user) and user.users for user in node.users):
            return None
        result = next((part.args[0] for part in piece.graph.nodes if part.op == "output"), None)
        items = {user.args[1]: user for user in node.users}
        every = range(len(result) if isinstance(result, (tuple, list)) else 0)
        complete = len(node.users) == len(items) and items.keys() == set(every)
        return [items[index] for index in every] if complete else None

    def _last_use(self) -> dict[fx.Node, fx.Node]:
        """Which node uses a value last. What nobody uses is not there, nor is a constant."""
        last: dict[fx.Node, fx.Node] = {}
        for node in self.gm.graph.nodes:
            if node not in self.skipped:
                last |= {value: node for value in node.all_input_nodes if value.op != "get_attr"}
        return last


def _is_item(node: fx.Node) -> bool:
    """Whether a node takes one item, by its number, of what a piece returned."""
    if node.op != "call_function" or node.target is not operator.getitem:
        return False
    source, index = node.args
    return isinstance(source, fx.Node) and source.op == "call_module" and type(index) is int


def _is_numbered(node: fx.Node) -> bool:
    """Whether a node calls a user's Triton kernel, which is a number in a table of this process."""
    return "kernel_idx" in node.kwargs and torch_internals.is_higher_order(node.target)
