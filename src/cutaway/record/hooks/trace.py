"""What torch's structured trace says: the graph a stage is about, caches, guards, breaks, recompiles, times."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from cutaway import torch_internals
from cutaway.record.hooks.stages import Stages
from cutaway.record.kept.loading import Loads
from cutaway.record.recorder import Recorder

Payload = Callable[[], Any]
RecordHandler = Callable[[Mapping[str, Any], Payload], None]

_GRAPHS = {
    "after_pre_grad_graph": "after_pre_grad",
    "before_joint_graph": "before_joint",
    "after_joint_graph": "after_joint",
    "before_post_grad_graph": "before_post_grad",
}
_CACHES = {
    f"{prefix}_{result}": (kind, result)
    for prefix, kind in (
        ("fx_graph_cache", "fx_graph"),
        ("fx_graph_bundled_cache", "fx_graph"),
        ("aotautograd_cache", "aot_autograd"),
    )
    for result in ("hit", "miss", "bypass")
}
_LONGEST_VALUE = 400  # torch puts its whole configuration beside the times: 30 KB a compile
_LONGEST_FACTOR = 400


class Trace:
    """Takes the records of the structured trace.

    Attributes:
        records: handlers of records and artifacts, by name; a host adds its own.
    """

    def __init__(self, recorder: Recorder, stages: Stages, loads: Loads) -> None:
        self.recorder = recorder
        self.stages = stages
        self.loads = loads
        self.records: dict[str, RecordHandler] = {
            "recompile_reasons": self._recompile_reasons,
            "dynamo_graph_break_reason": self._graph_break,
            "dynamo_cpp_guards_str": self._guards,
            "compilation_metrics": self._metrics,
            "bwd_compilation_metrics": self._metrics,
        }

    def listens_to(self, name: str | None) -> bool:
        """Whether anything is to be learnt from a record of this name (an artifact's own name comes later)."""
        return name in ("artifact", "graph_dump") or name in self.records

    def traced(self, name: str, metadata_fn: Callable[[], Any], payload_fn: Payload) -> None:
        """A record was made. Its metadata and payload are functions, as torch has them."""
        metadata = metadata_fn()
        if name in ("artifact", "graph_dump"):
            name = metadata.get("name", "")
        if name in _GRAPHS:
            gm = torch_internals.graph_of_payload(payload_fn)
            if gm is not None:
                self.stages.at(_GRAPHS[name], gm)
        elif name in _CACHES:
            self._cache(*_CACHES[name], payload_fn)
        elif name in self.records:
            self.records[name](metadata, payload_fn)

    def _cache(self, kind: str, result: str, payload_fn: Payload) -> None:
        facts = payload_fn()
        facts = json.loads(facts) if isinstance(facts, str) else facts or {}
        lines = facts.get("components") or []
        factors: Any = [str(line)[:_LONGEST_FACTOR] for line in lines] or None
        if facts.get("cache_bypass_reason"):
            factors = {"bypass_reason": facts["cache_bypass_reason"]}
        if kind == "aot_autograd" and result != "hit" and self.recorder.compilations.known() is not None:
            self.recorder.scope().aot_key = facts.get("key")
        self.recorder.cache(kind, result, facts.get("key"), factors)

    def _recompile_reasons(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        reasons = payload_fn()
        texts = [str(reasons)] if isinstance(reasons, str) else [str(reason) for reason in reasons]
        self.recorder.compilations.foretell(texts)

    def _graph_break(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        self.stages.breaks.setdefault(torch_internals.current_compile_id(), []).append(str(payload_fn()))

    def _guards(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        text = str(payload_fn())

        def note() -> None:
            self.recorder.current().guards_text = text

        self.loads.when_used(note)

    def _metrics(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        compile_id = str(metadata.get("compile_id") or torch_internals.current_compile_id())
        compilation = self.recorder.compilations.compiled_as(compile_id)
        for text in self.stages.breaks.pop(compile_id, []):
            self.recorder.metric("graph_break", {"reason": text.strip(), "compile_id": compile_id}, compilation)
        if compilation is None:
            return
        if metadata.get("fail_type"):
            compilation.failed = f"{metadata['fail_type']}: {metadata.get('fail_reason') or ''}".strip()
        values = {key: value for key, value in metadata.items() if isinstance(value, (int, float, str))}
        values = {key: value for key, value in values.items() if len(str(value)) <= _LONGEST_VALUE}
        self.recorder.metric("compile_time", values, compilation)
        self.recorder.finish(compilation)
