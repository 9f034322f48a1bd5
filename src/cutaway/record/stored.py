"""What a process's folder holds already, so that the same is named there, and not written again."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Stored:
    """Graphs and texts that were written and announced.

    Attributes:
        graphs: fingerprint -> selector of the snapshot that has the files.
        before: fingerprint -> that of the snapshot before the one that has the files, whose nodes the table names.
        texts: digest of a text -> selector of the one that has the file.
    """

    graphs: dict[str, str] = field(default_factory=dict[str, str])
    before: dict[str, str | None] = field(default_factory=dict[str, "str | None"])
    texts: dict[str, str] = field(default_factory=dict[str, str])
    _artifacts: set[tuple[str, str | None, str]] = field(default_factory=set[tuple[str, "str | None", str]])

    def keep_graph(self, graph: str, selector: str, before: str | None) -> None:
        """A graph was written and announced, and came after ``before``."""
        self.graphs[graph] = selector
        self.before[graph] = before

    def keep_artifact(self, scope: str, phase: str | None, digest: str) -> None:
        """An artifact is recorded: the code, by its digest, that a scope has in a phase."""
        self._artifacts.add((scope, phase, digest))

    def has_artifact(self, scope: str, phase: str | None, digest: str) -> bool:
        """Whether it is."""
        return (scope, phase, digest) in self._artifacts
