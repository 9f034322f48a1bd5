"""A node table as text, nested by model layer; identical layers are shown once.

    table ──rows──► rows ──nest──► layers ──fold──► layers and folds ──lines──► text

    >>> print(render_layers(table, title="captured · Qwen3ForCausalLM"))
    # captured · Qwen3ForCausalLM
    Qwen3Model
      embed_tokens: VocabParallelEmbedding
        embedding = F.embedding(input_ids, weight)                f32[s72, 256]    qwen2.py:402
      layers.0-35: Qwen3DecoderLayer  x36 identical, shown once (layers.0 differs in 1 node: marked !)
        …

The two columns left of a node hold its mark: `?` when the graph does not say which layer it belongs to
(it is shown where it stands, below the node before it), `!` when this is how the named layers differ
from the layer that is shown. `name@layers.35` is a value of a layer that is not shown.

It runs inside the watched compile, so everything here is linear in the nodes, except for the alignment of
layers that differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cutaway.record.layers.lines import columns, graph_lines
from cutaway.record.layers.rows import Graph, Table
from cutaway.record.layers.words import short_dtype, short_target

__all__ = ["render_layers", "short_dtype", "short_target"]


def render_layers(
    table: Table,
    *,
    title: str,
    header: Sequence[str] = (),
    layer_map: Mapping[str, str] | None = None,
    fold: bool = True,
    providers: Mapping[str, str] | None = None,
    only: str | None = None,
) -> str:
    """Print a node table nested by model layer.

    Args:
        table: a node table as in `nodes/<fingerprint>.json`.
        title: the first line, with or without its `# `.
        header: more comment lines, with or without their `# `.
        layer_map: names for layers, old fqn -> new fqn: a repeated piece is printed from the table of
            the piece it repeats, under its own layers' names.
        fold: show identical layers once; without it every node and every weight has its line.
        providers: node name -> provider, over those in the table.
        only: a glob over layer fqns (`layers.3.*`): only the nodes below a layer that matches.

    Returns:
        The text, with a newline at its end.
    """
    comments = [line if line.startswith("#") else f"# {line}".rstrip() for line in (title, *header)]
    graph = Graph(table, layer_map or {}, providers or {}, only)
    return "\n".join([*comments, *columns(graph_lines(graph, fold))]) + "\n"
