"""Names taken out of a report: paths, users, hosts, models, configuration, command lines.

The same name becomes the same stand-in wherever it stands, in texts, selectors and paths of resources alike, so that
the page still works. What remains: operators, shapes, classes of layers and lines of the model's Python, without those
names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from cutaway.dump import Dump
from cutaway.web.data import shapes
from cutaway.web.report.files import MODEL_FILE, Files, own_files

HIDDEN = "(hidden)"
_SUFFIX = re.compile(
    r"(?:For\w+|Model|Decoder|Encoder|Layer|Block|Attention|MLP|Mlp|MoE|Moe|Embeddings?|Backbone|Transformer|Config|LM)+$"
)
_GENERIC = frozenset((
    "model", "models", "decoder", "encoder", "layer", "layers", "block", "module", "net", "network", "transformer",
    "language", "causal", "base", "main", "test", "tests", "forward", "attention", "linear", "embedding", "sequential",
    "mlp", "utils",
))  # fmt: skip
_SECRET_VARIABLES = ("USER", "LOGNAME", "HOSTNAME", "HOST", "USERNAME")
_SHORTEST = 3
"""A name of fewer letters stands in too many words."""


class Redactor:
    """Takes names out of resources.

    Args:
        dumps: whose names; the same stand-ins are used for all of them.
        names: further names to hide: of this machine, of its user.
    """

    def __init__(self, dumps: Iterable[Dump], names: Iterable[str] = ()) -> None:
        dumps = list(dumps)
        self._stand_ins: dict[str, str] = {}
        for dump in dumps:
            for name in _people(dump):
                self._hide(name, "name")
            for name in _models(dump):
                self._hide(name, "model")
        for name in names:
            self._hide(name, "name")
        longest = sorted(self._stand_ins, key=len, reverse=True)
        self._files = Files(
            (path for dump in dumps for path in own_files(dump)), lambda name: self._stand_ins.get(name.lower(), name)
        )
        self._names = re.compile("|".join(map(re.escape, longest)), re.IGNORECASE) if longest else None

    @property
    def hidden(self) -> tuple[str, ...]:
        """The names that are hidden wherever they stand, in lower case."""
        return tuple(self._stand_ins)

    def path(self, path: str) -> str:
        """The path of a resource, or a selector."""
        return self.text(path)

    def text(self, text: str) -> str:
        """A text without names and paths."""
        return self._without_names(self._files.without(text))

    def resource(self, found: Struct) -> Any:
        """A resource as plain values, without what is to be hidden."""
        if isinstance(found, shapes.Overview):
            found = self._overview(found)
        elif isinstance(found, shapes.Comparison):
            settings = [shapes.SettingPair(each.name, HIDDEN, HIDDEN) for each in found.settings]
            found = msgspec.structs.replace(found, settings=settings)
        elif isinstance(found, shapes.Index):
            found = msgspec.structs.replace(found, title="a dump")
        return self._plain(msgspec.to_builtins(found))

    def _overview(self, found: shapes.Overview) -> shapes.Overview:
        return msgspec.structs.replace(
            found,
            argv=[],
            context=None,
            facts=[shapes.Fact(each.name, HIDDEN) for each in found.facts],
            findings=[
                msgspec.structs.replace(each, detail=HIDDEN) if each.kind == "cache" and each.detail else each
                for each in found.findings
            ],
        )

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            if value and isinstance(value[0], int):
                return value  # columns and sets of numbers, which are long
            return [self._plain(each) for each in value]
        if isinstance(value, dict):
            return {self.text(key): self._plain(each) for key, each in value.items()}
        return value

    def _without_names(self, text: str) -> str:
        if self._names is None:
            return text
        return self._names.sub(lambda match: self._stand_ins[match[0].lower()], text)

    def _hide(self, name: str, kind: str) -> None:
        name = name.strip().lower()
        if len(name) < _SHORTEST or name in _GENERIC or name.isdigit() or name in self._stand_ins:
            return
        number = 1 + sum(each.startswith(kind) for each in self._stand_ins.values())
        self._stand_ins[name] = f"{kind}{number}"


def _people(dump: Dump) -> set[str]:
    """Names of users and hosts, as far as the dump has any."""
    context = _mapping(dump.context)
    environment = _mapping(context.get("environment"))
    found = {str(environment[name]) for name in _SECRET_VARIABLES if name in environment}
    for text in _strings(context):
        found.update(re.findall(r"(?:/home|/Users|/data/home|/export/home)/([^/\s:'\"]+)", text))
    return found


def _models(dump: Dump) -> list[str]:
    """Names of the model: of its configuration, its architecture, its root classes, and what these have in common."""
    configuration = _mapping(_mapping(dump.context).get("configuration"))
    found = dict.fromkeys(_named_models(configuration))
    classes = [compilation.model for compilation in dump if compilation.model]
    for compilation in dump:
        if compilation.function:
            classes.append(compilation.function.partition(".")[0])
        if compilation.started is not None and compilation.started.file:
            in_package = MODEL_FILE.fullmatch(compilation.started.file)
            found.update(dict.fromkeys([in_package[2]] if in_package is not None else []))
    for cls in classes:
        stem = _SUFFIX.sub("", cls)
        found.update(dict.fromkeys([stem if len(stem) >= _SHORTEST else cls]))
    return list(found)


def _named_models(configuration: Mapping[str, Any]) -> Iterable[str]:
    """What vLLM's configuration calls the model: a hub's name, a folder, a served name, a type."""
    wanted = (
        "model",
        "tokenizer",
        "served_model_name",
        "model_type",
        "_name_or_path",
        "name_or_path",
        "hf_config_path",
    )
    for key, value in _items(configuration):
        for text in value if isinstance(value, list) else [value]:
            if key == "architectures" and isinstance(text, str):
                yield _SUFFIX.sub("", text) or text
            elif key in wanted and isinstance(text, str) and text and len(text) < 300:
                yield from (
                    part for part in text.split("/")[-2:] if text.count("/") == 1 or part is text.split("/")[-1]
                )


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key), each
            yield from _items(each)
    elif isinstance(value, list):
        for each in value:
            yield from _items(each)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


Change = Callable[[Struct], Any]
"""What is done to each resource before it is packed."""
