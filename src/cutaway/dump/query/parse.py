"""A query as terms.

    op:rms_norm  layer:*.mlp  dtype:bf16|f16  -shape:[s*, 256]  source:"self.norm(x)"  gelu

Terms are separated by blanks and all must hold. A term is `field:value`, or a word alone, which is looked for in
operators and names. `a|b` is either of two values, `-` before a term turns it round, `*` and `?` stand for any
characters and for any one. Quotes keep blanks, `|` and `:` in a value; so do brackets.

    >>> parse("op:mm|addmm -dtype:bf16")
    [Term(field='op', values=('mm', 'addmm'), negated=False), Term(field='dtype', values=('bf16',), negated=True)]
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from cutaway.errors import UsageError

LONGEST = 4000
"""Characters of a query: what somebody may type, and no work without end for what nobody would."""

WORD = "word"
"""The field of a term that names none."""


@dataclass(frozen=True)
class Term:
    """One condition.

    Attributes:
        field: what of a node it is about; `WORD` for its operator or its name.
        values: what it may be, any of them.
        negated: it must be none of them.
    """

    field: str
    values: tuple[str, ...]
    negated: bool = False

    def __str__(self) -> str:
        """As one would type it."""
        values = "|".join(f'"{value}"' if set(value) & set(" |:\"'") else value for value in self.values)
        return ("-" if self.negated else "") + (values if self.field == WORD else f"{self.field}:{values}")


def parse(text: str, fields: Collection[str] | None = None) -> list[Term]:
    """The terms of a query.

    Args:
        text: what somebody typed.
        fields: the fields that there are; None for any.

    Raises:
        UsageError: it says nothing, names no field that there is, or leaves a quote or a bracket open.
    """
    if len(text) > LONGEST:
        raise UsageError(f"the query has {len(text)} characters", f"at most {LONGEST} are read", "ask for less at once")
    terms = [_term(token, fields) for token in _tokens(text)]
    if not terms:
        raise UsageError("the query is empty", "it would find every node", "say what to look for: 'op:rms_norm'")
    return terms


_Part = list[tuple[str, bool]]
"""Characters, and whether each is only itself: quoted, or in brackets."""


def _tokens(text: str) -> list[_Part]:
    """The query cut at blanks that stand in no quotes and no brackets."""
    tokens: list[_Part] = [[]]
    quote, depth = "", 0
    for index, char in enumerate(text):
        if quote:
            if char == quote:
                quote = ""
            else:
                tokens[-1].append((char, True))
        elif char in "\"'" and _begins(tokens[-1]) and not depth:
            quote = char
            tokens[-1].append(("", True))
        elif char.isspace() and not depth:
            tokens.append([])
        else:
            depth = max(0, depth + (char == "[") - (char == "]"))
            tokens[-1].append((char, depth > 0 and char != "["))
        if index == len(text) - 1 and (quote or depth):
            _complain(text, "a quote" if quote else "a bracket")
    return [token for token in tokens if token]


def _begins(token: _Part) -> bool:
    """Whether a quote here opens a value, and is not a character within one."""
    return not token or (not token[-1][1] and token[-1][0] in ":|-")


def _complain(text: str, what: str) -> None:
    cure = "close it, or put the value in quotes" if what == "a bracket" else "close it"
    raise UsageError(f"{what} is left open in {text!r}", "", cure)


def _term(token: _Part, fields: Collection[str] | None) -> Term:
    whole = "".join(char for char, _ in token)
    negated = token[0] == ("-", False)
    rest = token[1:] if negated else token
    if rest[:1] == [("-", False)]:
        raise UsageError(f"{whole!r} is neither an option nor a term", "", "see `cutaway find --help` for both")
    colon = next((index for index, part in enumerate(rest) if part == (":", False)), None)
    name = WORD if colon is None else "".join(char for char, _ in rest[:colon]).lower()
    values = _values(rest if colon is None else rest[colon + 1 :])
    if not all(values):
        raise UsageError(f"{whole!r} says nothing to look for", "a value is empty", "write op:rms_norm, or op:mm|addmm")
    if colon is not None and fields is not None and name not in fields:
        near = get_close_matches(name, fields, 1, 0.5)
        quoted = f'"{whole}" in quotes to look for the text'
        cure = f"did you mean {near[0]}:{'|'.join(values)}, or {quoted}" if near else f"write {quoted}"
        raise UsageError(f"nothing can be asked of {name!r}", f"the fields are {', '.join(fields)}", cure)
    return Term(name, tuple(values), negated)


def _values(part: _Part) -> list[str]:
    values = [""]
    for char, plain in part:
        if char == "|" and not plain:
            values.append("")
        else:
            values[-1] += char
    return values
