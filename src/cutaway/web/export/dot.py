"""One graph for Graphviz, with a cluster for each layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from cutaway.web.data import shapes
from cutaway.web.export.drawn import Drawn

SHAPES = {"placeholder": "ellipse", "get_attr": "ellipse", "output": "ellipse"}


@dataclass
class _Cluster:
    """A layer: its own nodes, and the layers in it."""

    name: str = ""
    nodes: list[shapes.GraphNode] = field(default_factory=list[shapes.GraphNode])
    inside: dict[tuple[str, str], _Cluster] = field(default_factory=dict)


def dot(drawn: Drawn) -> str:
    """A graph as a `digraph`.

    Args:
        drawn: the graph. Inputs that nothing reads are left out.
    """
    root = _Cluster()
    used = {source for node in drawn.nodes for source in node.inputs}
    shown = [node for node in drawn.nodes if node.op != "placeholder" or node.id in used]
    for node in shown:
        here = root
        for fqn, cls in drawn.path(node):
            here = here.inside.setdefault((fqn, cls), _Cluster(f"{fqn}: {cls}" if fqn else cls))
        here.nodes.append(node)
    lines = [
        f"digraph {_quoted(drawn.snapshot.selector)} {{",
        f"  label={_quoted(drawn.snapshot.selector)}; labelloc=t; fontname=Helvetica;",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica, fontsize=10];',
        "  edge [arrowsize=0.6, color=gray40];",
    ]
    _write(root, lines, "  ", [0])
    lines += [f"  n{source} -> n{node.id};" for node in shown for source in node.inputs]
    return "\n".join([*lines, "}"]) + "\n"


def _write(cluster: _Cluster, lines: list[str], indent: str, count: list[int]) -> None:
    for node in cluster.nodes:
        label = "\n".join(filter(None, (node.input or node.short or node.name, node.type)))
        shape = f", shape={SHAPES[node.op]}" if node.op in SHAPES else ""
        lines.append(f"{indent}n{node.id} [label={_quoted(label)}, tooltip={_quoted(node.text or node.name)}{shape}];")
    for each in cluster.inside.values():
        count[0] += 1
        lines.append(f"{indent}subgraph cluster_{count[0]} {{")
        lines.append(f"{indent}  label={_quoted(each.name)}; labeljust=l; color=gray70; style=rounded;")
        _write(each, lines, f"{indent}  ", count)
        lines.append(f"{indent}}}")


def _quoted(text: str) -> str:
    """A quoted string, in which a line break is one and nothing is an escape."""
    safe = "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
