"""Every exception that Cutaway raises on purpose.

    CutawayError
      RecordError      recording cannot start: the path is not writable, torch is too old
      DumpError        a dump cannot be read: missing, torn, changed, or it points outside itself
        SchemaError    it was made by a newer Cutaway
        SelectorError  a selector names nothing in this dump, or more than one thing
      DetailedError    one behind which stands what another process printed
        ReplayError    a graph of a dump cannot be run again here, or not compared with another
        IsolateError   the search for a fault cannot begin, or not go on
        ExplainError   a question about a compile cannot be answered here, such as of a pattern that cannot be imported
      UsageError       the call makes no sense as it stands: no program to run, options that clash
      OpError          an op or one of its implementations cannot be registered, found or used as asked
        NotInplaceError  an op has no overload that may write to its activations
      CompileError     a model cannot be compiled, or may not be run as it was compiled
        ConfigError      a field that does not exist, ranges that overlap, a size that no range holds
        CaptureError     the model cannot be captured as one graph: graph break, branch on data
        SplitError       the graph cannot be cut there: an op that does not exist, a node nobody can stitch
        InputError       a call that breaks what was assumed when the model was captured

Each says *what* happened, *why*, and the *cure*; `str(error)` joins the three:

    >>> print(DumpError("nothing to read at 'dmp'", "the folder does not exist", "check the path"))
    nothing to read at 'dmp'. The folder does not exist. Check the path.

Anything else that escapes from Cutaway is a bug in Cutaway.
"""

from __future__ import annotations


class CutawayError(Exception):
    """The root: catch this to catch everything that Cutaway raises on purpose.

    Args:
        what: what could not be done, naming the offending object; no full stop.
        why: the reason, as far as it is known; empty when `what` says it all.
        cure: what the user can do about it; empty when nothing can be done.
    """

    def __init__(self, what: str, why: str = "", cure: str = "") -> None:
        super().__init__(what, why, cure)
        self.what = what
        self.why = why
        self.cure = cure

    def __str__(self) -> str:
        further = " ".join(_sentence(part) for part in (self.why, self.cure) if part)
        return f"{_stopped(self.what)} {further}".rstrip()


def _sentence(text: str) -> str:
    """With a capital and a full stop; a name at the beginning (``max_bytes``, ``a/b``) stays as it is."""
    word = text.split(maxsplit=1)[0].rstrip(",:;") if text.split() else ""
    return _stopped(text[0].upper() + text[1:] if word.isalpha() and word.islower() else text)


def _stopped(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


class RecordError(CutawayError):
    """Recording cannot start. Once it has started, nothing is raised into the watched program."""


class DumpError(CutawayError):
    """A dump cannot be read: it is missing, torn, changed, or points outside its own folder."""


class SchemaError(DumpError):
    """A dump was made by a newer Cutaway than the one that reads it."""


class SelectorError(DumpError):
    """A selector names nothing in this dump, or more than one thing.

    Args:
        what, why, cure: as in `CutawayError`.
        candidates: the selectors that were meant (when ambiguous) or that come nearest (when unknown).
    """

    def __init__(self, what: str, why: str = "", cure: str = "", candidates: tuple[str, ...] = ()) -> None:
        super().__init__(what, why, cure)
        self.candidates = candidates


class DetailedError(CutawayError):
    """One behind which stands what another process printed.

    Args:
        what, why, cure: as in `CutawayError`.
        details: what the process printed that tried, such as a traceback; empty when there is nothing more to say.
    """

    def __init__(self, what: str, why: str = "", cure: str = "", details: str = "") -> None:
        super().__init__(what, why, cure)
        self.details = details


class ReplayError(DetailedError):
    """A graph of a dump cannot be run again here, or not be compared with another."""


class IsolateError(DetailedError):
    """The search for a fault cannot begin, or not go on."""


class ExplainError(DetailedError):
    """A question about a compile cannot be answered here."""


class UsageError(CutawayError):
    """The call makes no sense as it stands, whatever the dump holds."""


class OpError(CutawayError):
    """An op or one of its implementations cannot be registered, found or used as asked."""


class NotInplaceError(OpError, AttributeError):
    """An op has no overload that may write to its activations; an `AttributeError` too, so that ``hasattr`` says so."""


class CompileError(CutawayError):
    """A model cannot be compiled, or may not be run as it was compiled."""


class ConfigError(CompileError):
    """The configuration asks for what cannot be: an unknown field, ranges that overlap, a size outside of all."""


class CaptureError(CompileError):
    """The model cannot be captured as one graph."""


class SplitError(CompileError):
    """The graph cannot be cut or stitched as asked."""


class InputError(CompileError):
    """A call breaks what was assumed when the model was captured (a dtype, a fixed size, a size outside all ranges)."""
