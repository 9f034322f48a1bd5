"""Where a node of an eager graph comes from: its layer, and its line of the model's Python."""

from __future__ import annotations

import re

from torch import fx


def layer_of(node: fx.Node | None) -> str | None:
    """``fqn: class`` of the innermost layer of a node."""
    stack = list((node.meta.get("nn_module_stack") or {}).values()) if node is not None else []
    if not stack:
        return None
    name, kind = stack[-1]
    name = str(name).removeprefix("L['self'].")
    return f"{name}: {getattr(kind, '__name__', str(kind).rpartition('.')[2])}"


def source_of(node: fx.Node | None) -> str | None:
    """``file:line  code`` of a node."""
    trace = str(node.meta.get("stack_trace") or "") if node is not None else ""
    frames = re.findall(r'File "([^"]+)", line (\d+)[^\n]*\n\s*([^\n]*)', trace)
    return f"{frames[-1][0]}:{frames[-1][1]}  {frames[-1][2].strip()}" if frames else None
