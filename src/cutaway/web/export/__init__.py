"""Dumps in the formats of other viewers.

model-explorer  graphs nested by layer, pieces as subgraphs: Google's Model Explorer
dot             one graph with a cluster for each layer: Graphviz
chrome-trace    the compile as a timeline: Perfetto, chrome://tracing
json            graphs as docs/web-data.md describes them: scripts of one's own
"""

from __future__ import annotations

from cutaway.web.export.export import FORMATS, export

__all__ = ["FORMATS", "export"]
