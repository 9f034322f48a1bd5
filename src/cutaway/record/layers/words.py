"""How operators, types and arguments are written in structured text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BLOCK = re.compile(r"^(.*?\.\d+)(?:\.|$)")

DASH = "\N{EN DASH}"

REFERENCE = "\0"
"""Stands for a reference to a node in the text of a right-hand side."""

PREFIXES = {"vllm_ir.": "ir.", "torch.nn.functional.": "F.", "torch._C._nn.": "F."}
DTYPES = {"bfloat16": "bf16", "float": "f", "uint": "u", "int": "i", "complex": "c"}
ITEM_SIZES = {
    **dict.fromkeys(("complex128",), 16),
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 8),
    **dict.fromkeys(("float32", "int32", "uint32"), 4),
    **dict.fromkeys(("bfloat16", "float16", "int16", "uint16"), 2),
    **dict.fromkeys(("bool", "int8", "uint8", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu"), 1),
}
"""Bytes of one element; a dtype that is not here has an unknown size."""


def short_target(target: str) -> str:
    """An op as people say it: `aten.mm.default` is `aten.mm`, `vllm_ir.rms_norm.default` is `ir.rms_norm`."""
    target = target.removesuffix(".default").removesuffix(".Tensor")
    for prefix, short in PREFIXES.items():
        if target.startswith(prefix):
            return short + target[len(prefix) :]
    return target


def short_name(target: str) -> str:
    """The name by which operators are counted: ``aten.mm.default`` -> ``mm``."""
    parts = target.split(".")
    if parts[0] == "vllm_ir" and len(parts) > 1:  # an IR op's overload says what it may do: name it
        return parts[1] if parts[2:] in ([], ["default"]) else ".".join(parts[1:])
    if len(parts) > 2 and parts[-1] in ("default", "Tensor", "Scalar", "int", "out", "self", "dim"):
        return parts[-2]
    return parts[1] if len(parts) == 3 and parts[0] in ("aten", "prims") else parts[-1]


def short_dtype(dtype: str) -> str:
    """A dtype in a few letters: `float32` is `f32`, `bfloat16` is `bf16`; others stay as they are."""
    for long, short in DTYPES.items():
        rest = dtype.removeprefix(long)
        if rest != dtype and (not rest or rest[0].isdigit()):
            return short + rest
    return dtype


def short_bytes(size: int) -> str:
    """A number of bytes as `12.3 MB`, in powers of ten."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


def type_text(described: Mapping[str, Any], usual_device: str) -> str:
    """`f32[s72, 256]`; with strides that do not follow from the shape, and a device that is unusual.

    What is no tensor and no size is shown by its `repr`, as far as the table has one.
    """
    dtype, shape, stride = described.get("dtype"), described.get("shape"), described.get("stride")
    if dtype is None:
        return str(described.get("repr") or "")
    if shape is None:
        value = described.get("value")
        return short_dtype(dtype) if value is None else f"{short_dtype(dtype)} {value}"
    text = f"{short_dtype(dtype)}[{commas(shape)}]"
    if stride is not None and not _is_contiguous(shape, stride):
        text += f" strides [{commas(stride)}]"
    device = described.get("device")
    return f"{text} {device}" if device and device != usual_device else text


def right_hand_side(node: Mapping[str, Any], refs: list[int]) -> str:
    """What stands right of a node's `=`, in one line, with `REFERENCE` for each node it refers to.

    Args:
        node: a node of a node table.
        refs: gets the ids of the nodes referred to, in the order of the text.
    """
    op, target = node["op"], _without_reference(node["target"])
    if op == "get_attr":
        return f"self.{target}"
    args = [_value(arg, refs) for arg in node.get("args") or ()]
    if op == "placeholder":
        return _one_line(f"= {args[0]}" if args else "")
    if op == "output":
        return _one_line(", ".join(args))
    if op == "call_function" and target == "operator.getitem" and len(args) == 2:
        inner = args[1] if REFERENCE in args[1] else _index(node["args"][1])
        return _one_line(f"{args[0]}[{inner}]")
    kwargs = (node.get("kwargs") or {}).items()
    args += [f"{_without_reference(key)}={_value(value, refs)}" for key, value in kwargs]
    if op == "call_method" and args:
        return _one_line(f"{args[0]}.{target}({', '.join(args[1:])})")
    callee = f"self.{target}" if op == "call_module" else short_target(target)
    return _one_line(f"{callee}({', '.join(args)})")


def commas(values: Iterable[object]) -> str:
    return ", ".join([str(value) for value in values])


def _value(value: Any, refs: list[int]) -> str:
    """An argument as text; the tags are those of docs/dump-format.md, "Arguments"."""
    if isinstance(value, list):
        return "[" + ", ".join([_value(each, refs) for each in value]) + "]"
    if not isinstance(value, dict) or len(value) != 1:
        return repr(value)
    [(tag, inner)] = value.items()
    if tag == "node":
        refs.append(inner)
        return REFERENCE
    if tag == "tuple":
        comma = "," if len(inner) == 1 else ""
        return "(" + ", ".join([_value(each, refs) for each in inner]) + comma + ")"
    if tag == "dict":
        return "{" + ", ".join([f"{_value(key, refs)}: {_value(each, refs)}" for key, each in inner]) + "}"
    if tag == "slice":
        return f"slice({', '.join([_value(each, refs) for each in inner])})"
    return f"self.{_without_reference(inner)}" if tag == "graph" else _without_reference(inner)


def _without_reference(value: Any) -> str:
    """A text of a dump, which may hold anything, without the sign that stands for a reference."""
    text = str(value)
    return text.replace(REFERENCE, "\\0") if REFERENCE in text else text


def _index(value: Any) -> str:
    """What stands between the brackets of `x[…]` when it refers to no node."""
    if isinstance(value, dict) and "tuple" in value:
        return ", ".join([_index(each) for each in value["tuple"]])
    if isinstance(value, dict) and "slice" in value:
        start, stop, step = ["" if each is None else _value(each, []) for each in value["slice"]]
        return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
    return "..." if value == {"repr": "Ellipsis"} else _value(value, [])


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n") if "\n" in text else text


def _is_contiguous(shape: Sequence[int | str], stride: Sequence[int | str]) -> bool:
    """Whether the strides follow from the shape; False when the text of the sizes does not tell."""
    if 0 in shape:
        return True
    number, symbols = 1, list[str]()
    for size, step in zip(reversed(shape), reversed(stride), strict=False):
        if size != 1 and _factors(step) != (number, sorted(symbols)):
            return False
        more = _factors(size)
        number, symbols = number * more[0], symbols + more[1]
    return True


def _factors(expression: int | str) -> tuple[int, list[str]]:
    """`64*s72` as (64, ["s72"]); an expression that is no plain product counts as one symbol."""
    if isinstance(expression, int):
        return expression, []
    parts = [part.strip() for part in expression.split("*")]
    if not all(part.isidentifier() or (part.isdecimal() and len(part) < 20) for part in parts):
        return 1, [expression]
    number = 1
    for part in parts:
        number *= int(part) if part.isdecimal() else 1
    return number, sorted(part for part in parts if not part.isdecimal())


def block(fqn: str) -> str:
    """The numbered layer that a layer is in: `layers.0` for `layers.0.mlp.act_fn`; without one the layer itself."""
    match = _BLOCK.match(fqn)
    return match[1] if match else fqn


def blocks(layers: list[str]) -> list[str]:
    """The layers of a graph in a few words: ``layers.0.mlp.act_fn`` counts as its block ``layers.0``."""
    found: dict[str, None] = {}
    for fqn in layers:
        match = _BLOCK.match(fqn)
        if match:
            found.setdefault(match.group(1))
        elif "." not in fqn and not any(other.startswith(f"{fqn}.") for other in layers):
            found.setdefault(fqn)
    return list(found)


def spans(numbers: Sequence[int]) -> str:
    """Increasing numbers in a few words: `0–35` (with an en dash), `0,2–4`, `0,2…34`."""
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    if len(numbers) > 3 and len(steps) == 1 and steps != {1}:
        return f"{numbers[0]},{numbers[1]}…{numbers[-1]}"
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{low}{DASH}{high}" if low != high else str(low) for low, high in found)


def reason_line(text: str | None) -> str | None:
    """The first line that says something; where it only announces (``... raised:``), with the one behind it."""
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else None
