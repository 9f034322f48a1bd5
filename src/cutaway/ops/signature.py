"""What an operator takes and returns: as Python has it, as torch has it, and how one differs from another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch

from cutaway.errors import OpError

_TAKEN = "Tensor, int, float, bool, str, torch.dtype, torch.device, their lists, and each with `| None`"
_OF_DEFAULT = {
    "SymInt": int,
    "float": float,
    "bool": bool,
    "str": str,
    "ScalarType": torch.dtype,
    "Device": torch.device,
}
_KINDS = {
    inspect.Parameter.KEYWORD_ONLY: (
        "is keyword-only, and a node in a graph hands an implementation its arguments by position",
        "take it by position: move it before the *",
    ),
    inspect.Parameter.POSITIONAL_ONLY: ("is positional-only, which torch's operators have no word for", "remove the /"),
    inspect.Parameter.VAR_POSITIONAL: ("takes any number of arguments", "name each one, or take a list"),
    inspect.Parameter.VAR_KEYWORD: ("takes any keyword", "name each one"),
}


def signature_of(function: Callable[..., Any], whose: str) -> inspect.Signature:
    """Parameters and what is returned, with the annotations evaluated.

    Args:
        function: any callable that Python can say the signature of.
        whose: what it is, for the error.

    Raises:
        OpError: there is no signature, an annotation names something that is not in the function's module, or a
            parameter cannot be handed over by position.
    """
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, SyntaxError) as error:
        raise OpError(
            f"{whose} has an annotation that cannot be evaluated",
            f"{error}, where the function stands",
            "import what its annotations name at the top of that module (not under TYPE_CHECKING)",
        ) from error
    except (TypeError, ValueError) as error:
        raise OpError(
            f"{whose} has no signature that Python can read", str(error), "wrap it in a function with annotations"
        ) from error
    for parameter in signature.parameters.values():
        if parameter.kind in _KINDS:
            why, cure = _KINDS[parameter.kind]
            raise OpError(f"{whose} takes what an operator cannot", f"parameter '{parameter.name}' {why}", cure)
    return signature


def schema_of(signature: inspect.Signature, whose: str, mutated: Iterable[str] = ()) -> str:
    """The signature in torch's words, without a name: ``(Tensor x, float epsilon) -> Tensor``.

    Args:
        signature: with evaluated annotations.
        whose: what it belongs to, for the error.
        mutated: parameters that may be written to.

    Raises:
        OpError: torch has no word for a type, a default does not fit its parameter, or no tensor is returned.
    """
    for parameter in signature.parameters.values():
        _check_default(parameter, _in_schema(parameter, whose), whose)
    try:
        schema = torch.library.infer_schema(_stub(signature), mutates_args=tuple(mutated))
    except ValueError as error:
        raise OpError(
            f"{whose} returns what torch's operators cannot: {_returned(signature)}",
            "they return a Tensor, a list of them, or a tuple of these",
            "annotate what it returns as one of these",
        ) from error
    if "Tensor" not in schema.rpartition("->")[2]:
        raise OpError(
            f"{whose} returns no tensor: {_returned(signature)}",
            "an operator without outputs is removed from a graph as dead code",
            "return what it computes, and annotate it",
        )
    return schema


def _stub(signature: inspect.Signature) -> Callable[..., Any]:
    """A function with this signature, for torch to read: it looks for string annotations in a function's module."""

    def stub() -> None: ...

    stub.__signature__ = signature  # type: ignore[attr-defined]
    return stub


def _in_schema(parameter: inspect.Parameter, whose: str) -> str:
    """``float epsilon=1e-05``: a parameter in torch's words."""
    alone = inspect.Signature([parameter], return_annotation=None)
    if parameter.annotation is inspect.Parameter.empty:
        raise OpError(
            f"{whose} does not say what parameter '{parameter.name}' is", "torch takes the type from the annotation",
            f"annotate it; there are: {_TAKEN}",
        )  # fmt: skip
    try:
        if isinstance(parameter.default, (list, tuple, dict, set)):
            raise ValueError("containers are no defaults")
        return torch.library.infer_schema(_stub(alone), mutates_args=()).removeprefix("(").removesuffix(") -> ()")
    except ValueError as error:
        described = _annotation(parameter.annotation)
        if parameter.default is not inspect.Parameter.empty:
            described += f" = {parameter.default!r}"
        raise OpError(
            f"{whose} has a parameter that torch's operators cannot have: '{parameter.name}: {described}'",
            f"they take {_TAKEN}; and defaults that are plain values or None",
            "take it as one of these",
        ) from error


def _check_default(parameter: inspect.Parameter, text: str, whose: str) -> None:
    """Refuse a default of another type: torch would convert it, or let it be, where Python does the other."""
    default, kind = parameter.default, text.split()[0]
    if default is inspect.Parameter.empty or (default is None and kind.endswith("?")):
        return
    wanted = _OF_DEFAULT.get(kind.removesuffix("?"))
    if default is None or (wanted is not None and type(default) is not wanted):
        annotation = _annotation(parameter.annotation)
        cure = f"annotate it as {annotation} | None" if default is None else f"give a default of type {annotation}"
        raise OpError(
            f"{whose} has parameter '{parameter.name}: {annotation} = {default!r}'",
            "the default is of another type",
            cure,
        )


def difference(wanted: inspect.Signature, found: inspect.Signature, types: bool) -> str:
    """How a signature differs from the one that it must be equal to, in words; empty when it does not.

    Args:
        wanted: of the operator.
        found: of what stands for it.
        types: whether annotations count, and what is returned; else names and defaults alone do.
    """
    names, others = list(wanted.parameters), list(found.parameters)
    if sorted(names) == sorted(others) and names != others:
        return f"the parameters stand in another order: ({', '.join(others)}), not ({', '.join(names)})"
    for place, (name, other) in enumerate(zip(names, others, strict=False), start=1):
        if name != other and other not in names and name not in others:
            return f"parameter {place} is named '{other}', not '{name}'"
    if missing := [name for name in names if name not in others]:
        return f"parameter '{missing[0]}' is missing"
    if further := [name for name in others if name not in names]:
        return f"parameter '{further[0]}' is one too many"
    for name in names:
        if text := _of_parameter(wanted.parameters[name], found.parameters[name], types):
            return f"parameter '{name}' {text}"
    if types and _outputs(wanted) != _outputs(found):
        return f"it returns {_returned(found)}, not {_returned(wanted)}"
    return ""


def _of_parameter(wanted: inspect.Parameter, found: inspect.Parameter, types: bool) -> str:
    if types and _kind(wanted) != _kind(found):
        return f"is of type {_annotation(found.annotation)}, not {_annotation(wanted.annotation)}"
    empty = inspect.Parameter.empty
    if wanted.default is empty or found.default is empty:
        if wanted.default is found.default:
            return ""
        there, due = (_default(parameter) for parameter in (found, wanted))
        return f"has {there}, not {due}"
    same = type(wanted.default) is type(found.default) and repr(wanted.default) == repr(found.default)
    return "" if same else f"has {_default(found)}, not {_default(wanted)}"


def _default(parameter: inspect.Parameter) -> str:
    return "no default" if parameter.default is inspect.Parameter.empty else f"the default {parameter.default!r}"


def _kind(parameter: inspect.Parameter) -> str:
    """A parameter's type in torch's words, in which ``List[int]`` and ``list[int]`` are one."""
    bare = inspect.Parameter("it", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=parameter.annotation)
    return _in_schema(bare, "it")


def _outputs(signature: inspect.Signature) -> str:
    bare = inspect.Signature([], return_annotation=signature.return_annotation)
    try:
        return torch.library.infer_schema(_stub(bare), mutates_args=())
    except ValueError:
        return _returned(signature)


def _returned(signature: inspect.Signature) -> str:
    empty = signature.return_annotation is inspect.Signature.empty
    return "what is not annotated" if empty else _annotation(signature.return_annotation)


def _annotation(annotation: Any) -> str:
    return inspect.formatannotation(annotation).replace("torch.Tensor", "Tensor")


def check_same(wanted: inspect.Signature, function: Callable[..., Any], whose: str, types: bool = True) -> None:
    """Hold what stands for an operator to the operator's signature.

    Args:
        wanted: of the operator.
        function: what stands for it.
        whose: what it is, for the error: ``provider 'cpp' of op 'rms_norm'``.
        types: as in `difference`.

    Raises:
        OpError: they differ; it says how.
    """
    found = signature_of(function, whose)
    if types:
        for parameter in found.parameters.values():
            _in_schema(parameter, whose)
    if text := difference(wanted, found, types):
        shown = str(wanted).replace("torch.Tensor", "Tensor")
        raise OpError(f"{whose} has another signature than the op", text, f"write it as the op has it: {shown}")
