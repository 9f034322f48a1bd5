"""Finds patterns: by the name of a pass of ours, or as an object of a module or a file."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import fx

from cutaway import torch_internals
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.passes.context import pass_context
from cutaway.compiler.passes.fusion import Fusion, FusionPass
from cutaway.compiler.passes.fusion import Match as FusionMatch
from cutaway.compiler.passes.order import ROUNDS
from cutaway.explain.patterns.check import closure, is_of_replacement, refusals
from cutaway.explain.patterns.graphs import plain_name
from cutaway.explain.patterns.job import Reason
from cutaway.explain.patterns.words import named
from cutaway.explain.vllm_passes import VLLM_PASSES

_PASS_CLASS = re.compile(r"^class (\w+Pass)\(", re.MULTILINE)
Check = Callable[[Any, fx.Node], list[Reason]]


class SourceError(Exception):
    """What was asked for is not there, or has no patterns: what, why, cure."""


@dataclass
class Pattern:
    """A pattern to explain.

    Attributes:
        name: for people.
        expression: torch's ``PatternExpr``.
        check: what is to be said against a match at a node.
    """

    name: str
    expression: Any
    check: Check


@dataclass
class Source:
    """What was asked for.

    Attributes:
        patterns: of it.
        names: by what it may be called in a recording.
        applies: whether it runs for a compile range; None when it does not say.
        run: for a pass without patterns: runs it over a graph.
        around: what a pass may take for granted while it runs, for a compile range.
    """

    patterns: list[Pattern] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    applies: Callable[[int, int], bool] | None = None
    run: Callable[[fx.Graph], Any] | None = None
    around: Callable[[int, int], AbstractContextManager[Any]] = lambda _least, _most: nullcontext()


def find_source(asked: str, vllm: dict[str, Any] | None) -> Source:
    """What a text names.

    Args:
        asked: the name of a pass of ours, `module:object` or `file.py:object`. The object may be a pass or its class,
            a ``PatternMatcherPass``, a pattern or an entry of one, several of them, or a function that makes any.
        vllm: the pass configuration for passes of vLLM.

    Raises:
        SourceError: there is nothing of that name, it cannot be imported, or it is nothing with patterns.
    """
    import_module("cutaway.ops.library")  # without its operators, our fusions have no patterns
    entries = {entry.name: entry for entries in ROUNDS.values() for entry in entries}
    if asked in entries:
        return _of(entries[asked].make(), asked, vllm)
    asked = asked if ":" in asked else _in_vllm(asked)
    module_name, colon, path = asked.rpartition(":")
    if not colon:
        near = get_close_matches(asked, [*entries, *VLLM_PASSES], cutoff=0.5)
        why = f"the nearest are {', '.join(near)}" if near else f"ours are {', '.join(entries)}"
        cure = "give one of them, a pass of vLLM's by its class, or module:object"
        raise SourceError(f"no pass is called {asked!r}", why, cure)
    torch_internals.lazy_patterns(module_name)
    module = _module(module_name)
    found: Any = module
    for part in path.split("."):
        try:
            found = found[int(part)] if part.isdigit() else getattr(found, part)
        except (AttributeError, IndexError, TypeError):
            near = ", ".join(name for name, value in vars(module).items() if _is_source(value, module))
            why = f"its passes are {near}" if near else "it has no passes at all"
            raise SourceError(f"{module_name} has no {path!r}", why, "check the name") from None
    return _of(found, path, vllm)


def _in_vllm(name: str) -> str:
    """``module:Class`` for a pass of vLLM's, found by the text of its sources; the name itself when there is none."""
    spec = importlib.util.find_spec("vllm")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted((Path(folder) / "compilation" / "passes").rglob("*.py")):
            for found in _PASS_CLASS.findall(path.read_text("utf-8", "replace")):
                if plain_name(found) == plain_name(name):
                    parts = path.relative_to(Path(folder).parent).with_suffix("").parts
                    return f"{'.'.join(parts)}:{found}"
    return name


def _module(name: str) -> ModuleType:
    try:
        if not name.endswith(".py"):
            return import_module(name)
        path = Path(name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise SourceError(f"there is no file {name!r}", "", "check the path")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    except SourceError:
        raise
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        if isinstance(error, ModuleNotFoundError) and name.startswith(error.name or "?"):
            cure = "check the name; modules are looked for in this folder, too"
            raise SourceError(f"there is no module {name!r}", str(error), cure) from None
        cure = "explain it where it can be imported: on a machine with the devices and packages that it needs"
        raise SourceError(f"{name} cannot be imported here", f"{type(error).__name__}: {said}", cure) from error
    return module


def _is_source(value: Any, module: ModuleType) -> bool:
    if inspect.isclass(value):
        return value.__module__ == module.__name__ and value.__name__.endswith("Pass")
    return isinstance(value, torch_internals.pattern_matcher().PatternMatcherPass)


def _of(found: Any, name: str, vllm: dict[str, Any] | None) -> Source:
    """What an object has in the way of patterns."""
    matcher = torch_internals.pattern_matcher()
    if inspect.isclass(found):
        found = _made(found, vllm)
    elif inspect.isroutine(found) and not _takes_graph(found):
        found = found()
    if isinstance(found, FusionPass):
        return _known(Source([_of_fusion(fusion) for fusion in found.fusions()]), found, name)
    if isinstance(found, matcher.PatternExpr):
        return Source([Pattern(name, found, lambda _match, _node: [])], [name])
    if isinstance(found, (matcher.PatternMatcherPass, matcher.PatternEntry)):
        return _known(Source(list(patterns_in([found]))), found, name)
    if isinstance(found, (list, tuple)):
        parts = [_of(part, f"{name}.{index}", vllm) for index, part in enumerate(found)]
        return Source(
            [each for part in parts for each in part.patterns], [each for part in parts for each in part.names]
        )
    held = (
        [value for value in vars(found).values() if isinstance(value, matcher.PatternMatcherPass)]
        if hasattr(found, "__dict__")
        else []
    )
    source = _known(Source(list(patterns_in(held))), found, name)
    if not held and callable(found):
        source.run = found
        source.around = lambda least, most: _context_of(found, least, most)
    elif not held:
        raise SourceError(f"{name} has no patterns", f"it is a {type(found).__name__}", "give a pass or a pattern")
    return source


def _known(source: Source, found: Any, name: str) -> Source:
    """By what it is called elsewhere, and for which ranges it runs."""
    names = [
        getattr(found, "pass_name", None),
        getattr(found, "name", None),
        type(found).__name__,
        name.rpartition(".")[2],
    ]
    source.names = [each for each in dict.fromkeys(names) if isinstance(each, str) and each != "PatternMatcherPass"]
    applies = getattr(found, "is_applicable_for_range", None)
    if applies is not None:
        source.applies = lambda least, most: bool(applies(_range_like(found, least, most)))
    return source


def _range_like(found: Any, least: int, most: int) -> Any:
    if type(found).__module__.startswith("vllm."):
        return import_module("vllm.config.utils").Range(least, most)
    return Range(least, most)


def _context_of(found: Any, least: int, most: int) -> AbstractContextManager[Any]:
    if type(found).__module__.startswith("vllm."):
        return import_module("vllm.compilation.passes.inductor_pass").pass_context(_range_like(found, least, most))
    return pass_context(Range(least, most))


def _takes_graph(function: Any) -> bool:
    try:
        return bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False


def _made(cls: type, vllm: dict[str, Any] | None) -> Any:
    try:
        if any(base.__module__.startswith("vllm.") for base in cls.__mro__):
            config_module = import_module("vllm.config")
            given = dict(vllm or {})
            known: dict[str, Any] = config_module.PassConfig.__dataclass_fields__
            passes = config_module.PassConfig(**{name: value for name, value in given.items() if name in known})
            config = config_module.VllmConfig()
            config.compilation_config.pass_config = passes
            with config_module.set_current_vllm_config(config, check_compile=False):
                return cls(config)
        return cls()
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        cure = "give a function that makes it: file.py:function"
        raise SourceError(f"{cls.__name__} cannot be made here", f"{type(error).__name__}: {said}", cure) from error


# -- names of patterns --------------------------------------------------------------------------------------


def _of_fusion(fusion: Fusion) -> Pattern:
    def check(match: Any, node: fx.Node) -> list[Reason]:
        nodes = tuple(sorted(match.nodes))
        why = fusion.why_not(FusionMatch(nodes[-1].graph, nodes, match.output_node(), match.kwargs))
        return [Reason("check", why, named(node), place=_place(fusion.why_not))] if why else []

    return Pattern(fusion.name, fusion.expression(), check)


def patterns_in(held: Iterable[Any]) -> Iterator[Pattern]:
    """Each entry once, though it is registered for every overload that its last call may be."""
    matcher = torch_internals.pattern_matcher()
    entries: dict[int, Any] = {}
    for each in held:
        by_target = [[each]] if isinstance(each, matcher.PatternEntry) else list(each.patterns.values())
        entries |= {id(entry): entry for some in by_target for entry in some}
    for entry in entries.values():
        check = entry.extra_check

        def refused(match: Any, node: fx.Node, check: Any = check) -> list[Reason]:
            return refusals(check, match, node)

        yield Pattern(_name(entry), entry.pattern, refused)


def _name(entry: Any) -> str:
    given = getattr(entry, "pattern_name", None)
    if given:
        return str(given)
    if is_of_replacement(entry.extra_check):
        return _name_of_function(closure(entry.extra_check)["search_fn"].cell_contents)
    handler = getattr(entry, "handler", None)
    name = str(getattr(handler, "__qualname__", type(entry).__name__))
    return name.replace(".<locals>", "").removeprefix("_").removesuffix(".fn")


def _name_of_function(function: Any) -> str:
    """A search function's name; of one that a pattern's class makes, the class with what it was made with."""
    owner = getattr(function, "__self__", None)
    if owner is None and getattr(function, "__closure__", None):
        cells = closure(function)
        owner = cells["self"].cell_contents if "self" in cells else None
        inner = cells.get("fn")
        if owner is None and inner is not None:
            return _name_of_function(inner.cell_contents)
    if owner is None:
        return str(getattr(function, "__name__", function))
    given = {name: value for name, value in vars(owner).items() if isinstance(value, (bool, int, float, str))}
    return f"{type(owner).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _place(function: Any) -> str:
    while hasattr(function, "func"):
        function = function.func
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
