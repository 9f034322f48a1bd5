"""What Inductor compiled: an artifact's code, what it was made for, and the function that is called.

torch/_inductor/output_code.py, ``CompiledFxGraph``.
"""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from cutaway.torch_internals.swap import loaded, patch_method

_Call = Callable[..., Any]


class ArtifactFacts(NamedTuple):
    """What an artifact holds besides what runs.

    Attributes:
        source: the Python that Inductor generated.
        post_grad: its last graph as text.
        key: of Inductor's cache.
        is_inference: whether it was made for inference; None when that was not kept.
    """

    source: str | None
    post_grad: str | None
    key: str | None
    is_inference: bool | None


def artifact_facts(graph: Any) -> ArtifactFacts:
    """What a ``CompiledFxGraph`` holds besides what runs; a cache has kept only some of it."""
    return ArtifactFacts(
        getattr(graph, "source_code", None),
        getattr(graph, "inductor_post_grad_graph_str", None),
        getattr(graph, "_fx_graph_cache_key", None),
        (getattr(graph, "fx_kwargs", None) or {}).get("is_inference"),
    )


def phase_of_artifact(graph: Any) -> str:
    """For what a ``CompiledFxGraph`` was made (``fx_kwargs``): ``inference``, ``forward`` or ``backward``."""
    made_as = getattr(graph, "fx_kwargs", None) or {}
    if made_as.get("is_backward"):
        return "backward"
    return "inference" if made_as.get("is_inference", True) else "forward"


def watch_artifacts(ready: Callable[[Any, bool], None]) -> Callable[[], None] | None:
    """Have ``ready(artifact, is_backward)`` called for each; returns the undo, None before torch has loaded the class.

    ``post_compile`` runs on a cache's miss and on a hit, with the source code.
    """
    module = loaded("torch._inductor.output_code")
    if module is None:
        return None

    def make(original: _Call) -> _Call:
        def post_compile(graph: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(graph, *args, **kwargs)
            options = args[2] if len(args) > 2 else kwargs.get("graph_kwargs", {})
            ready(graph, bool(options.get("is_backward")))
            return result

        return post_compile

    return patch_method(module.CompiledFxGraph, "post_compile", make)


def wrap_artifact(graph: Any, make: Callable[[_Call], _Call]) -> Callable[[], None] | None:
    """Let calls of an artifact go to ``make(function)``, its ``current_callable``, which takes the list of inputs.

    Returns the undo, which keeps the artifact no longer alive than its owner does and leaves what somebody has put
    there meanwhile; None for what has no such function.
    """
    original = getattr(graph, "current_callable", None)
    if original is None:
        return None
    wrapper = graph.current_callable = make(original)
    owner = weakref.ref(graph)

    def undo() -> None:
        held = owner()
        if held is not None and held.current_callable is wrapper:
            held.current_callable = original

    return undo
