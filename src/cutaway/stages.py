"""The one list of stages: what a graph goes through between the model's Python and the machine's code.

Every other part of Cutaway (hooks, folders, command line, page, documentation) takes its names from here, so
that a stage is explained in one place, in words for somebody who has never used ``torch.compile``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["graph", "code", "fact"]


@dataclass(frozen=True)
class Stage:
    """One place at which Cutaway looks at a compile.

    Attributes:
        name: how events, selectors and file names call it.
        title: two or three words for a table.
        sentence: what it is, for a reader who is new to ``torch.compile``.
        kind: ``graph`` (an fx graph), ``code`` (generated text) or ``fact`` (neither: numbers, reasons).
        maker: the part of the stack that produced it.
    """

    name: str
    title: str
    sentence: str
    kind: Kind
    maker: str


STAGES: tuple[Stage, ...] = (
    Stage(
        "captured",
        "captured by Dynamo",
        "Dynamo ran the Python of your function symbolically and wrote down every tensor operation, in order; "
        "model code, weights as inputs, no optimisation yet.",
        "graph",
        "Dynamo",
    ),
    Stage(
        "guards",
        "guards and sizes",
        "The conditions under which the captured graph may be used again, and what was learnt about each "
        "symbolic size (such as the number of tokens) while capturing: its range and every constraint on it.",
        "code",
        "Dynamo",
    ),
    Stage(
        "before_split",
        "before the split",
        "The whole graph as the piecewise compiler received it, before it was cut into pieces.",
        "graph",
        "piecewise compiler",
    ),
    Stage(
        "after_split",
        "after the split",
        "The stitching graph: one call for each piece, in model order. The pieces are cut at the splitting ops "
        "(attention and its like), which run as they are, between compiled pieces.",
        "graph",
        "piecewise compiler",
    ),
    Stage(
        "piece",
        "a piece",
        "One piece of the split graph, before anything was done to it. Pieces that are equal up to names are "
        "stored and compiled once.",
        "graph",
        "piecewise compiler",
    ),
    Stage(
        "before_pre_grad",
        "before pre-grad passes",
        "The graph as Inductor received it, for one compile range: still torch-level operations.",
        "graph",
        "Inductor",
    ),
    Stage(
        "pre_grad_pass",
        "after a pre-grad pass",
        "The graph after one named pass that ran on torch-level operations, before AOTAutograd.",
        "graph",
        "Inductor",
    ),
    Stage(
        "after_pre_grad",
        "after pre-grad passes",
        "The graph after all passes on torch-level operations; this is what AOTAutograd traces.",
        "graph",
        "Inductor",
    ),
    Stage(
        "aot_joint",
        "AOTAutograd: joint",
        "Training only: forward and backward in one graph, before they are parted.",
        "graph",
        "AOTAutograd",
    ),
    Stage(
        "aot_forward",
        "AOTAutograd: forward",
        "The graph after AOTAutograd: ATen operations only, mutation and views made explicit, compound "
        "operations decomposed.",
        "graph",
        "AOTAutograd",
    ),
    Stage(
        "aot_backward",
        "AOTAutograd: backward",
        "Training only: the gradient computation, as ATen operations.",
        "graph",
        "AOTAutograd",
    ),
    Stage(
        "before_joint",
        "before joint passes",
        "The ATen graph before Inductor's joint-graph passes (constant folding, no-op removal, ...).",
        "graph",
        "Inductor",
    ),
    Stage(
        "joint_pass",
        "after a joint pass",
        "The graph after one named pass of Inductor's joint-graph passes.",
        "graph",
        "Inductor",
    ),
    Stage(
        "after_joint",
        "after joint passes",
        "The ATen graph after Inductor's joint-graph passes.",
        "graph",
        "Inductor",
    ),
    Stage(
        "before_post_grad",
        "before post-grad passes",
        "The ATen graph just before the last round of graph passes; vLLM's own passes run in that round.",
        "graph",
        "Inductor",
    ),
    Stage(
        "post_grad_pass",
        "after a post-grad pass",
        "The graph after one of Inductor's own named passes on the ATen graph.",
        "graph",
        "Inductor",
    ),
    Stage(
        "custom_pass",
        "after a custom pass",
        "The graph after one pass that the engine added to Inductor (vLLM: fusions, lowering of IR ops to the "
        "chosen provider's implementation, clean-up).",
        "graph",
        "engine",
    ),
    Stage(
        "post_grad",
        "after post-grad passes",
        "The last graph: what Inductor turns into kernels.",
        "graph",
        "Inductor",
    ),
    Stage(
        "output_code",
        "output code",
        "The Python that Inductor generated: it allocates buffers and calls the kernels in order.",
        "code",
        "Inductor",
    ),
    Stage(
        "kernel",
        "a kernel",
        "The source of one generated kernel (C++ on a CPU, Triton on a GPU), taken out of the output code.",
        "code",
        "Inductor",
    ),
    Stage(
        "execution_code",
        "execution (stitching) code",
        "The generated function that runs at every step: it calls the compiled pieces and the splitting ops "
        "one after another.",
        "code",
        "piecewise compiler",
    ),
    Stage(
        "patterns",
        "patterns of a pass",
        "The patterns that a pattern-matching pass looks for, as the engine prints them.",
        "code",
        "engine",
    ),
    Stage(
        "cache",
        "cache",
        "A compile cache was asked: hit, miss, store or load, with the factors of its key.",
        "fact",
        "caches",
    ),
    Stage(
        "metrics",
        "metrics",
        "Numbers about the compile: times, counts of guards, graph breaks, the cost of recording.",
        "fact",
        "all",
    ),
)

_BY_NAME = {stage.name: stage for stage in STAGES}


def stage(name: str) -> Stage:
    """The stage called ``name``. Raises KeyError when there is none."""
    return _BY_NAME[name]
