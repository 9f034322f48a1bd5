"""Identifiers of a generated script: valid and unique, whatever the nodes of a graph are called."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass, field

_NO_WORD = re.compile(r"[^0-9A-Za-z_]+")


def is_identifier(text: str) -> bool:
    """Whether Python lets something be called that: a keyword will not do."""
    return text.isidentifier() and not keyword.iskeyword(text)


@dataclass
class Names:
    """Gives out identifiers on two levels: those of the script, and those of one of its functions.

    Two functions may use a name for different things. A name of the script is used inside of every function, so it is
    none of theirs, not even of one that was written before the script needed the name.

        >>> names, inside = Names({"torch"}), set()
        >>> names.of_function("torch", inside), names.of_function("x.y", inside), names.of_script("x_y")
        ('torch_1', 'x_y', 'x_y_1')

    Attributes:
        script: names of the script, and those that must stay free.
        functions: names inside any of the functions.
    """

    script: set[str]
    functions: set[str] = field(default_factory=set)

    def fork(self) -> Names:
        """A copy: what it gives out from here on, this one does not know of."""
        return Names({*self.script}, {*self.functions})

    def of_script(self, wish: str) -> str:
        """A name that means the same in the whole script; as wished, if that is free."""
        name = _free(wish, self.script, self.functions)
        self.script.add(name)
        return name

    def of_function(self, wish: str, inside: set[str]) -> str:
        """A name inside one function; as wished, if that is free. ``inside`` are its other names; this is added."""
        name = _free(wish, self.script, inside)
        inside.add(name)
        self.functions.add(name)
        return name


def _free(wish: str, *taken: set[str]) -> str:
    """The wish, made an identifier, with a number behind it if it is taken."""
    plain = _NO_WORD.sub("_", wish) or "_"
    if plain[0].isdigit():
        plain = f"_{plain}"
    name, number = plain, 0
    while keyword.iskeyword(name) or hasattr(builtins, name) or any(name in names for names in taken):
        number += 1
        name = f"{plain}_{number}"
    return name
