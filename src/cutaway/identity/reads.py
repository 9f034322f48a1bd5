"""What code reads that it does not hold itself: names of globals, attributes, imports, variables of the environment."""

from __future__ import annotations

import dis
import functools
import types
from dataclasses import dataclass

_OF_ENVIRONMENT = {"environ", "environb", "getenv"}


@dataclass(frozen=True)
class Reads:
    """What the code of a function names, that of functions within it too.

    Attributes:
        names: of globals.
        attributes: of whatever objects, modules among them.
        imports: modules that it imports when it runs; relative ones begin with their dots.
        variables: texts in code that reads the environment, each of which may be the name of a variable.
    """

    names: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[str]
    variables: frozenset[str]


@functools.lru_cache(maxsize=8192)
def reads(code: types.CodeType) -> Reads:
    """What a function's code reads."""
    names: set[str] = set()
    attributes: set[str] = set()
    imports: set[str] = set()
    level = 0
    for step in dis.get_instructions(code):
        kind, value = step.opname, step.argval
        if kind in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"):
            names.add(value)
        elif kind in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"):
            attributes.add(value)
        elif kind == "IMPORT_NAME":
            imports.add("." * level + value)
        elif isinstance(value, int) and kind.startswith("LOAD_"):  # two before an import: how many dots
            level = value
    inner = [reads(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    names.update(*(one.names for one in inner))
    attributes.update(*(one.attributes for one in inner))
    return Reads(
        frozenset(names),
        frozenset(attributes),
        frozenset(imports).union(*(one.imports for one in inner)),
        frozenset(_texts(code)) if _OF_ENVIRONMENT & (names | attributes) else frozenset(),
    )


def reads_of_file(text: str, path: str) -> Reads:
    """What any function in a source file reads; what runs once, when the file is imported, is none."""
    code = compile(text, path, "exec", dont_inherit=True)
    inner = [reads(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    parts = [[getattr(one, part) for one in inner] for part in ("names", "attributes", "imports", "variables")]
    return Reads(*(frozenset().union(*sets) for sets in parts))


def _texts(code: types.CodeType) -> set[str]:
    inner = [_texts(const) for const in code.co_consts if isinstance(const, types.CodeType)]
    own = {const for const in code.co_consts if isinstance(const, str) and const.isidentifier()}
    return own.union(*inner)
