"""Finding nodes: by operator, layer, dtype, shape, source line, kernel, pass and more, at all stages at once.

query ──parse──► terms ──search──► hits ──fold──► forms: what is the same in layers and stages, once
                            └─ nothing ──misses──► which term no node fits, and what comes nearest

>>> for form in fold(find_nodes(dump, "op:rms_norm compilation:backbone")):
...     print(form.count, form.op, form.where, form.lacking)
4 ir.rms_norm layers.0–3.input_layernorm []
1 ir.rms_norm norm []
3 ir.rms_norm layers.1–3 ['layers.0']
"""

from __future__ import annotations

from cutaway.dump.query.fields import FIELDS
from cutaway.dump.query.fold import Form, fold
from cutaway.dump.query.misses import Miss, misses
from cutaway.dump.query.search import Found, Hit, find_nodes

__all__ = ["FIELDS", "Form", "Found", "Hit", "Miss", "find_nodes", "fold", "misses"]
