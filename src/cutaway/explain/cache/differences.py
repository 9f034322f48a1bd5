"""Where two keys of a cache differ, in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from cutaway.explain.cache.files import file_differences
from cutaway.explain.cache.key import Key, Path, leaves
from cutaway.explain.cache.words import MISSING, changed, shown
from cutaway.record.kept.notes import changed_lines

KINDS = (
    "graph", "source", "folder", "option", "environment", "torch option", "version", "machine", "inputs", "other",
)  # fmt: skip
"""Kinds of differences, the telling ones first."""

_DIGEST = re.compile(r"[0-9a-f]{10,}")
_DIGESTS = {
    "config_hash": ("option", "vLLM's configuration"),
    "code_hash": ("source", "the traced model files"),
    "compiler_hash": ("torch option", "torch, its options, or the machine"),
}
_FEW = 3
_HEAVY = {"graph": 20.0, "inputs": 5.0}
_HEAVY_SECTIONS = {"range": 8.0, "model": 10.0, "forward": 10.0}


@dataclass(frozen=True)
class Difference:
    """One factor that is another.

    Attributes:
        kind: one of `KINDS`.
        factor: where it stands, such as ``env.VLLM_RAY_BUNDLE_INDICES``.
        old, new: its values; None where it is missing.
        words: for people.
    """

    kind: str
    factor: str
    old: Any
    new: Any
    words: str


def differences(old: Key, new: Key) -> list[Difference]:
    """Every factor in which a key differs from another, the telling ones first."""
    before, after = _comparable(old, new)
    found = [
        *_graph(before, after),
        *(Difference(*one) for one in file_differences(old, new)),
        *_values(before, after),
    ]
    found = _unknown_variables(_without_echoes(found))
    plain = [replace(one, old=_plain(one.old), new=_plain(one.new)) for one in found]
    return sorted(plain, key=lambda one: KINDS.index(one.kind))


def _plain(value: Any) -> Any:
    return None if value is MISSING else value


def distance(found: Iterable[Difference]) -> float:
    """How far apart two keys are: another graph is farther than another flag."""
    return sum(max(_HEAVY.get(one.kind, 1.0), _HEAVY_SECTIONS.get(one.factor.split(".")[0], 0.0)) for one in found)


def _comparable(old: Key, new: Key) -> tuple[dict[Path, Any], dict[Path, Any]]:
    """The factors of both by path; digests only where one of the keys has nothing more."""
    before, after = (_flat(key.factors) for key in (old, new))
    told = {path[0] for path in before} & {path[0] for path in after}
    for known in (before, after):
        for path in list(known):
            section = path[0]
            noted = {"config_hash": "config", "code_hash": "files", "compiler_hash": "compiler"}.get(section)
            if noted in told or (noted is None and section not in told and old.cache == "vllm"):
                del known[path]
    for section in _digested_alike(before, after):
        for known in (before, after):
            for path in [path for path in known if path[:2] == section]:
                del known[path]
    return before, after


def _flat(factors: Mapping[str, Any]) -> dict[Path, Any]:
    """Values by path; equal modules of a model under the names of those that are so."""
    found = {path: value for path, value in leaves(factors) if path[0] != "facts"}
    modules = (factors.get("model") or {}).get("modules") if isinstance(factors.get("model"), Mapping) else None
    if isinstance(modules, Mapping):
        found = {path: value for path, value in found.items() if path[:2] != ("model", "modules")}
        for one in modules.values():
            names = [str(name) or "(the model)" for name in one.get("names", ())]
            more = f" and {len(names) - 1} like it" if len(names) > 1 else ""
            found["model", f"{names[0] if names else '?'}{more}"] = one.get("is")
    return found


def _digested_alike(before: Mapping[Path, Any], after: Mapping[Path, Any]) -> list[Path]:
    """Parts of a configuration whose own digest is the same: what differs in them does not count."""
    ends = [path for path in before if path[0] == "config" and path[-1] == "digest"]
    return [path[:2] for path in ends if before[path] == after.get(path)]


def _graph(before: dict[Path, Any], after: dict[Path, Any]) -> list[Difference]:
    """The graph as one difference."""
    paths = [path for path in {**before, **after} if path[0] == "graph"]
    apart = [path for path in paths if before.get(path, MISSING) != after.get(path, MISSING)]
    for path in paths:
        before.pop(path, None) if path not in apart else None
    if not apart:
        return []
    ops = [path for path in apart if path[:2] == ("graph", "ops")]
    said = [f"{path[-1]} {before.get(path, 0)} → {after.get(path, 0)}" for path in ops]
    words = "another graph" + (f": {', '.join(said[:6])}" if said else " of the same operators")
    old, new = (known.get(("graph", "fingerprint")) for known in (before, after))
    for path in apart:
        before.pop(path, None)
        after.pop(path, None)
    return [Difference("graph", "graph.fingerprint", old, new, words)]


def _values(before: Mapping[Path, Any], after: Mapping[Path, Any]) -> list[Difference]:
    found: list[Difference] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path, MISSING), after.get(path, MISSING)
        if path[0] in ("files", "graph") or old == new:
            continue
        found.append(_difference(path, old, new))
    return found


def _difference(path: Path, old: Any, new: Any) -> Difference:
    kind, words = next(words for fits, words in _RULES if fits(path))(path, old, new)
    if kind in ("option", "environment", "other") and _is_moved(old, new):
        kind, words = "folder", f"{_name(path)}: the folder has moved: {shown(old)} → {shown(new)}"
    return Difference(kind, ".".join(path), old, new, words)


def _is_moved(old: Any, new: Any) -> bool:
    """Whether two values are paths that end alike."""
    if not isinstance(old, str) or not isinstance(new, str) or "/" not in old or "/" not in new:
        return False
    return PurePosixPath(old).name == PurePosixPath(new).name


def _name(path: Path) -> str:
    if path[0] == "env":
        return f"env {path[1]}"
    if path[:2] == ("environment", "variables"):
        return f"env {path[2]}"
    return ".".join(path[1:] if path[0] in ("config", "options") else path).replace(".[", "[")


Rule = Callable[[Path, Any, Any], tuple[str, str]]


def _environment(path: Path, old: Any, new: Any) -> tuple[str, str]:
    return "environment", changed(_name(path), old, new)


def _option(path: Path, old: Any, new: Any) -> tuple[str, str]:
    if path[-1] == "digest":
        return "option", f"{path[-2]}: something in it that is not kept as it was"
    return "option", changed(f"option {_name(path)}", old, new)


def _digest(path: Path, old: Any, new: Any) -> tuple[str, str]:
    kind, what = _DIGESTS[path[0]]
    digests = [str(value)[:10] for value in (old, new)]
    return kind, f"{what}: {digests[0]} → {digests[1]}, and vLLM keeps no more than this digest; record both starts"


def _torch_option(path: Path, old: Any, new: Any) -> tuple[str, str]:
    module = next(part for part in path if part.startswith("torch."))
    if path[-1] == "all":
        return "torch option", f"torch option {module}: a default is another, or one set to its default"
    return "torch option", changed(f"torch option {module}.{path[-1]}", old, new, missing="its default")


def _version(path: Path, old: Any, new: Any) -> tuple[str, str]:
    if path[-1] == "sources":
        what = "torch's own compiler" if path[0] == "compiler" else "Cutaway's own code"
        return "version", f"{what} was changed: other sources under the same name"
    name = path[-1] if path[-1] not in ("version", "git") else path[-2]
    return "version", changed(name, old, new)


def _machine(path: Path, old: Any, new: Any) -> tuple[str, str]:
    if "version" in path:
        return "version", changed(path[-1], old, new)
    return "machine", changed(f"machine: {path[-1]}", old, new)


def _inputs(path: Path, old: Any, new: Any) -> tuple[str, str]:
    return "inputs", changed(_name(path), old, new)


def _model(path: Path, old: Any, new: Any) -> tuple[str, str]:
    """A module's description has a line for each thing: its class, its weights, its numbers."""
    name = f"the model's {path[-1]}"
    if not isinstance(old, str) or not isinstance(new, str):
        return "other", f"{name}: {'is new' if old is MISSING else 'is not there any more'}"
    places = changed_lines(old, new)
    first = places[0] if places else {"old": old, "new": new}
    return "other", changed(name, first["old"], first["new"])


def _other(path: Path, old: Any, new: Any) -> tuple[str, str]:
    return "other", changed(_name(path), old, new)


_RULES: tuple[tuple[Callable[[Path], bool], Rule], ...] = (
    (lambda path: path[0] in _DIGESTS, _digest),
    (lambda path: path[0] == "env" or path[:2] == ("environment", "variables"), _environment),
    (lambda path: path[0] in ("versions", "cutaway"), _version),
    (lambda path: path[:2] == ("compiler", "torch") or path[:2] in (("torch", "version"), ("torch", "git")), _version),
    (lambda path: path[:2] == ("torch", "settings") or (path[0] == "compiler" and path[1].startswith("torch.")),
     _torch_option),
    (lambda path: path[0] == "environment" or path[:2] == ("compiler", "system") or path == ("torch", "threads"),
     _machine),
    (lambda path: path[0] in ("config", "options"), _option),
    (lambda path: path[0] in ("inputs", "range", "arguments"), _inputs),
    (lambda path: path[0] == "model", _model),
    (lambda path: True, _other),
)  # fmt: skip


def _unknown_variables(found: list[Difference]) -> list[Difference]:
    """Variables that only one of two versions of vLLM knows as one difference: none of them was set by anybody."""
    only = [one for one in found if one.factor.startswith("env.") and (one.old is MISSING or one.new is MISSING)]
    if len(only) <= _FEW:
        return found
    names = ", ".join(one.factor.removeprefix("env.") for one in only[:_FEW])
    words = f"{len(only)} variables that only one of the two versions of vLLM knows: {names}, …"
    return [one for one in found if one not in only] + [Difference("version", "env", None, None, words)]


def _without_echoes(found: list[Difference]) -> list[Difference]:
    """Without what only repeats another: a digest over what is listed, torch's commit beside its version."""
    options = [one for one in found if one.kind == "torch option" and not one.factor.endswith(".all")]
    modules = {_module(one) for one in options}
    fields = {one.factor.rpartition(".")[0] for one in found if not _is_digest(one)}
    digests = [one for one in found if one.factor.startswith("config.") and _is_digest(one)]
    told = any(one.factor.startswith("config.") for one in found if one not in digests)
    versions = {one.factor for one in found if one.kind == "version"}
    factors = {one.factor for one in found}
    kept: list[Difference] = []
    for one in found:
        if one.factor.endswith(".all") and _module(one) in modules:
            continue
        if one in digests and (told or one.factor.rpartition(".")[0] in fields):
            continue
        if ".hf_text_config." in one.factor and one.factor.replace(".hf_text_config.", ".hf_config.") in factors:
            continue
        if one.factor.startswith("model.") and any(other.kind == "source" for other in found):
            continue  # a class's digest is that of its file
        if one.factor == "torch.git" and "torch.version" in versions:
            continue
        kept.append(one)
    return kept


def _module(one: Difference) -> str:
    return "inductor" if "_inductor" in one.factor else "functorch" if "_functorch" in one.factor else one.factor


def _is_digest(one: Difference) -> bool:
    return one.factor.endswith(".digest") or all(
        isinstance(value, str) and _DIGEST.fullmatch(value) is not None for value in (one.old, one.new)
    )
