"""Which part of a compile to record: globs over stage, pass, piece and function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cutaway.errors import UsageError
from cutaway.stages import STAGES

Globs = str | Iterable[str] | None


def _tuple(globs: Globs) -> tuple[str, ...]:
    if globs is None:
        return ()
    return (globs,) if isinstance(globs, str) else tuple(globs)


@dataclass(frozen=True)
class Filters:
    """Empty means everything. A graph or text is recorded when every filter that is set accepts it.

    Attributes:
        stages: names from ``cutaway.stages`` (``post_grad*``).
        passes: names of passes (``*Fusion*``); stages that are not a pass are not affected.
        pieces: ``piece_02``; what belongs to no piece is not affected.
        functions: names of compilations or qualified names of functions (``Qwen3Model.*``).
    """

    stages: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    @classmethod
    def of(cls, stages: Globs = None, passes: Globs = None, pieces: Globs = None, functions: Globs = None) -> Filters:
        """Raises UsageError for a stage glob that no stage's name matches."""
        names = [stage.name for stage in STAGES]
        for glob in _tuple(stages):
            if not any(fnmatchcase(name, glob) for name in names):
                raise UsageError(
                    f"no stage is called {glob!r}", f"the stages are {', '.join(names)}", "use one of them, or a glob"
                )
        return cls(_tuple(stages), _tuple(passes), _tuple(pieces), _tuple(functions))

    @classmethod
    def parse(cls, text: str) -> Filters:
        """Filters from ``CUTAWAY_ONLY``: ``stage=post_grad*,custom_pass function=Qwen* piece=piece_0*``.

        Raises UsageError for a word that is not ``stage=``, ``pass=``, ``piece=`` or ``function=``.
        """
        names = {"stage": "stages", "pass": "passes", "piece": "pieces", "function": "functions"}
        found: dict[str, list[str]] = {}
        for word in text.split():
            key, equals, globs = word.partition("=")
            if key not in names or not equals:
                raise UsageError(
                    f"CUTAWAY_ONLY does not understand {word!r}",
                    "it is a list of stage=, pass=, piece= and function= with globs",
                    "for example: CUTAWAY_ONLY='stage=post_grad*,captured function=Qwen3Model.*'",
                )
            found.setdefault(names[key], []).extend(globs.split(","))
        return cls.of(**found)

    def accept(self, stage: str, pass_name: str | None, piece: str | None) -> bool:
        """Whether to record a graph or text of this stage, pass and piece."""
        return (
            _matches(self.stages, stage)
            and (pass_name is None or _matches(self.passes, pass_name))
            and (piece is None or _matches(self.pieces, piece))
        )

    def accept_function(self, *names: str | None) -> bool:
        """Whether to record a compilation with any of these names."""
        return not self.functions or any(name is not None and _matches(self.functions, name) for name in names)


def _matches(globs: tuple[str, ...], name: str) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)
