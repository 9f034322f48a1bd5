"""What may import what: the layout of docs/architecture.md, held."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import cutaway

SRC = Path(cutaway.__file__).parent
# A module imports only from what stands above it here. ``__init__`` is the face of all and imports errors alone.
ORDER = (
    "errors", "stages", "torch_internals", "identity", "record", "dump", "replay", "ops", "compiler", "explain", "vllm",
    "web", "cli",
)  # fmt: skip
# Within the compiler, too.
COMPILER = (
    "config", "counters", "session", "capture", "split", "passes", "build", "cache", "link", "run", "observe",
    "progress", "backend", "forward", "api",
)  # fmt: skip
MODULES = {
    "cutaway." + ".".join(path.relative_to(SRC).with_suffix("").parts): path
    for path in sorted(SRC.rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py")
}
PACKAGES = {
    ".".join(("cutaway", *path.relative_to(SRC).parent.parts)): path for path in sorted(SRC.rglob("__init__.py"))
}
FILES = MODULES | PACKAGES
IN_THE_WATCHED_PROCESS = [name for name in FILES if name.split(".")[1:2] in (["record"], ["torch_internals"])]


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported."""
    for statement in body:
        if is_for_types(statement) or isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        yield statement
        for field in ("body", "orelse", "handlers", "finalbody"):
            inner = [part for part in getattr(statement, field, []) if isinstance(part, (ast.stmt, ast.excepthandler))]
            yield from at_import([part for part in inner if isinstance(part, ast.stmt)])
            for handler in inner:
                yield from at_import(handler.body if isinstance(handler, ast.excepthandler) else [])


def names_of(statement: ast.AST) -> list[str]:
    """The modules that an import statement names; ``from cutaway import record`` names ``cutaway.record``."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        module = statement.module or ""
        below = [f"{module}.{alias.name}" for alias in statement.names if f"{module}.{alias.name}" in FILES]
        return below or [module]
    return []


@cache
def imports(name: str, lazy: bool = False) -> frozenset[str]:
    """What a module imports: when it is imported, or anywhere in it."""
    tree = ast.parse(FILES[name].read_text())
    typed = {id(part) for node in ast.walk(tree) if is_for_types(node) for part in ast.walk(node)}
    every = (node for node in ast.walk(tree) if id(node) not in typed)
    statements = every if lazy else at_import(tree.body)
    return frozenset(found for statement in statements for found in names_of(statement))


def reached(name: str) -> set[str]:
    """Everything of Cutaway that importing a module imports, packages on the way included."""
    seen: set[str] = set()
    queue = [name]
    while queue:
        current = queue.pop()
        parents = [current.rsplit(".", count)[0] for count in range(1, current.count(".") + 1)]
        for found in [current, *parents]:
            if found in FILES and found not in seen:
                seen.add(found)
                queue += [other for other in imports(found) if other.startswith("cutaway")]
    return seen


def folder(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def test_every_folder_has_its_place_in_the_order() -> None:
    assert {folder(name) for name in FILES} - {None} <= set(ORDER)


@pytest.mark.parametrize("name", MODULES | {name: path for name, path in PACKAGES.items() if name != "cutaway"})
def test_a_module_imports_only_from_folders_above_it(name: str) -> None:
    place = ORDER.index(str(folder(name)))
    others = {str(folder(other)): other for other in imports(name, lazy=True) if other.startswith("cutaway.")}
    below = [other for where, other in others.items() if ORDER.index(where) > place]
    assert below == []


@pytest.mark.parametrize("name", [name for name in MODULES if folder(name) == "compiler"])
def test_a_step_of_the_compiler_imports_only_from_steps_before_it(name: str) -> None:
    place = COMPILER.index(name.split(".")[2])
    others = {other.split(".")[2]: other for other in imports(name, lazy=True) if other.startswith("cutaway.compiler.")}
    assert [other for step, other in others.items() if COMPILER.index(step) > place] == []


def test_the_package_itself_imports_nothing_heavy() -> None:
    assert {name for name in imports("cutaway") if name.startswith("cutaway")} == {"cutaway.errors"}


def test_modules_do_not_import_each_other_in_a_ring() -> None:
    pairs = [(name, other) for name in FILES for other in imports(name) if other in FILES and other != name]
    assert [f"{name} -> {other} -> ... -> {name}" for name, other in pairs if name in _below(other)] == []


def _below(name: str) -> set[str]:
    seen: set[str] = set()
    queue = [name]
    while queue:
        for other in imports(queue.pop()):
            if other in FILES and other not in seen:
                seen.add(other)
                queue.append(other)
    return seen


@pytest.mark.parametrize("name", IN_THE_WATCHED_PROCESS)
def test_the_watched_process_needs_torch_and_the_standard_library_alone(name: str) -> None:
    allowed = {"torch", "cutaway", *sys.stdlib_module_names}
    assert {found.partition(".")[0] for found in imports(name, lazy=True)} <= allowed


WITHOUT_TORCH = [name for name in MODULES if folder(name) in ("dump", "web", "cli", "errors", "stages")]


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_a_dump_is_read_without_torch(name: str) -> None:
    with_torch = [
        found for found in reached(name) if any(other.partition(".")[0] == "torch" for other in imports(found))
    ]
    assert with_torch == []


def test_a_dump_is_read_without_torch_in_truth() -> None:
    modules = "cutaway.dump.reader, cutaway.dump.verify, cutaway.cli"
    code = f"import sys, {modules}; cutaway.cli.make_app(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def private(tree: ast.AST) -> Iterator[str]:
    """``torch._x``, ``from torch.y import _z``, and ``something._x`` of anything but ``self`` or ``cls``."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            parts = [*names_of(node), *(alias.name for alias in node.names)]
            if any(name.startswith("torch") for name in names_of(node)):
                yield from (name for name in parts if _is_private(name))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr):
            yield from [ast.unparse(node)] if ast.unparse(node.value) not in ("self", "cls", "super()") else []


def _is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


@pytest.mark.parametrize("name", [name for name in MODULES if folder(name) != "torch_internals"])
def test_only_torch_internals_touches_what_is_private(name: str) -> None:
    found = set(private(ast.parse(FILES[name].read_text())))
    if folder(name) == "vllm":  # it touches vLLM's own; there, what is torch's must say so
        found = {text for text in found if text.startswith("torch.")}
    assert found == set()


def test_all_of_torch_internals_is_reached_through_the_package() -> None:
    inside = [path for name, path in MODULES.items() if folder(name) == "torch_internals"]
    functions = [
        node for path in inside for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    package = import_module("cutaway.torch_internals")
    public = {node.name for node in functions if not node.name.startswith("_")}
    assert public <= set(package.__all__)
    others = [name for name in MODULES if folder(name) != "torch_internals"]
    assert [name for name in others if any(i.startswith("cutaway.torch_internals.") for i in imports(name, True))] == []


def test_torch_internals_says_why_of_each_entry() -> None:
    trees = [ast.parse(path.read_text()) for name, path in MODULES.items() if folder(name) == "torch_internals"]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    public = [node for node in functions if not node.name.startswith("_")]
    assert len(public) > 10
    assert [node.name for node in public if not ast.get_docstring(node)] == []


class TestTheChecksThemselves:
    """Each check is shown to fail on what it is for."""

    @pytest.mark.parametrize(
        "code",
        [
            "import torch._dynamo",
            "from torch._inductor import config",
            "from torch.fx.graph_module import _format_import_block",
            "import torch\ntorch._C._get_tracing_state()",
            "def f(gm): return gm.graph._codegen",
        ],
    )
    def test_private_names_are_seen(self, code: str) -> None:
        assert list(private(ast.parse(code)))

    @pytest.mark.parametrize(
        "code", ["self._x", "cls._x", "super()._x", "x.__dict__", "import _thread", "from cutaway import _x"]
    )
    def test_ones_own_are_not(self, code: str) -> None:
        assert list(private(ast.parse(code))) == []

    def test_imports_are_seen_where_they_run(self) -> None:
        tree = ast.parse("if x:\n    import a\ntry:\n    import b\nexcept E:\n    import c\ndef f():\n    import d")
        assert [name for statement in at_import(tree.body) for name in names_of(statement)] == ["a", "b", "c"]

    def test_the_reader_would_be_caught_importing_torch(self) -> None:
        assert any("torch" in imports(found) for found in reached("cutaway.record.nodes"))
