"""Stand-ins for paths of files: whole ones, and those of the program's own files however they are shortened."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from cutaway.dump import Dump
from cutaway.errors import CutawayError

# Of a file in an installed package what stands behind `site-packages` says nothing about whose machine it was.
_INSTALLED = re.compile(r"(?:.*/)?(?:site-packages|dist-packages|lib/python3\.\d+)/(.+)", re.DOTALL)
_PATH = re.compile(r"(?<![\w./:>)\]~-])~?/(?:[^\s/'\"`<>|;,(){}\[\]:]+/)+[^\s/'\"`<>|;,(){}\[\]:]*|file://[^\s'\"]+")
_SUFFIX = re.compile(r"(?<=\w)\.\w{1,5}$")
MODEL_FILE = re.compile(r"(.*/models/)(\w+)\.py")


class Files:
    """Stand-ins for paths; the same for the same file.

    Torch and the page name a file by its last parts (``acme/layers.py:7``), imports by its module (``acme.layers``):
    these become what the whole path does.

    Args:
        own: whole paths of files that are the program's own, not an installed package's.
        known: what a name is called that has a stand-in already; the name itself when it has none.
    """

    def __init__(self, own: Iterable[str], known: Callable[[str], str]) -> None:
        self._known = known
        self._numbers: dict[str, str] = {}
        self._own = [PurePosixPath(path) for path in dict.fromkeys(own)]
        stems = "|".join(sorted({re.escape(path.stem) for path in self._own}, key=len, reverse=True))
        modules = {f"{path.parent.name}.{path.stem}" for path in self._own if path.parent.name}
        named = "|".join(sorted(map(re.escape, modules), key=len, reverse=True))
        self._short = re.compile(rf"(?<![\w./-])(?:[\w.-]+/)*(?:{stems})\.py\b") if stems else None
        self._module = re.compile(rf"(?<![\w/-])(?:\w+\.)*(?:{named})(?!\w)") if named else None

    def without(self, text: str) -> str:
        """A text with stand-ins for the paths in it."""
        text = _PATH.sub(lambda match: self.stand_in(match[0]), text)
        if self._short is not None:
            text = self._short.sub(lambda match: self._shortened(match[0]), text)
        if self._module is not None:
            text = self._module.sub(lambda match: self._imported(match[0]), text)
        return text

    def stand_in(self, path: str) -> str:
        """For a whole path: what is inside an installed package keeps its place there."""
        inside = _INSTALLED.fullmatch(path)
        if inside is not None:
            of_model = MODEL_FILE.fullmatch(inside[1])
            return inside[1] if of_model is None else f"{of_model[1]}{self._numbered(of_model[2], 'model')}.py"
        suffix = _SUFFIX.search(path.rstrip("/").rpartition("/")[2])
        return f"/hidden/{self._numbered(path.rstrip('/'), 'path')}{suffix[0] if suffix is not None else ''}"

    def _shortened(self, path: str) -> str:
        whole = next((one for one in self._own if _ends(one, path)), None)
        if whole is None:
            return path
        found = self.stand_in(str(whole))
        return found.rpartition("/")[2] if "/" not in path else found.lstrip("/")

    def _imported(self, module: str) -> str:
        whole = next((one for one in self._own if module.endswith(f"{one.parent.name}.{one.stem}")), None)
        assert whole is not None, module
        return "hidden." + PurePosixPath(self.stand_in(str(whole))).stem

    def _numbered(self, name: str, kind: str) -> str:
        known = self._known(name)
        return known if known != name else self._numbers.setdefault(name, f"{kind}_{len(self._numbers) + 1}")


def _ends(path: PurePosixPath, short: str) -> bool:
    parts = PurePosixPath(short).parts
    return path.parts[-len(parts) :] == parts


def own_files(dump: Dump) -> list[str]:
    """Whole paths of the program's own files, as far as its graphs, compilations and the command line name them."""
    found: dict[str, None] = {}
    for compilation in dump:
        if compilation.started is not None and compilation.started.file:
            found[compilation.started.file] = None
        for snapshot in compilation.snapshots:
            if snapshot.owner is not snapshot or snapshot.piece is not None:
                continue
            try:
                sources = snapshot.table.sources
            except CutawayError:  # what cannot be read is not in the report either
                continue
            found.update(dict.fromkeys(source.file for source in sources if source.file))
    return [path for path in found if path.startswith("/") and path.endswith(".py") and not _INSTALLED.fullmatch(path)]
