"""The examples in docstrings of what reads dumps run, on a small dump and say what they print."""

from __future__ import annotations

import doctest
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

import pytest
from dump_maker import make_dump

import cutaway.dump
from cutaway.dump import load

NAMES = [module.name for module in walk_packages(cutaway.dump.__path__, "cutaway.dump.")]
MODULES = [name for name in NAMES if ">>> " in Path(str(getattr(find_spec(name), "origin", ""))).read_text("utf-8")]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(name="root", scope="module")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dump(tmp_path_factory.mktemp("examples") / "dump", ranks=2)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dump` is one of four decoder layers, `dump/` its path; the module's own names are there."""
    module = import_module(name)
    examples = [found for found in doctest.DocTestFinder().find(module) if found.examples]
    assert examples
    if any("to_frame(" in example.source for found in examples for example in found.examples):
        pytest.importorskip("pandas")
    monkeypatch.chdir(root.parent)
    for found in examples:
        found.globs |= {"dump": load(root)}
        said: list[str] = []
        doctest.DocTestRunner(optionflags=FLAGS).run(found, out=said.append)
        assert not said, "".join(said)
