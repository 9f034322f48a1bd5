"""What the code between the pieces costs at each call: Cutaway's stitching and dispatch against vLLM's.

One stitching graph, shaped like a decoder's: compiled pieces that take the batch size, activations and weights, and
between them attention pieces of one operator. Every compiled piece is a function that returns a constant tuple, and
the operator does nothing, so that only what lies between them is measured. The three ways take turns:

* Cutaway: `generate_execution_code` with the attention inlined, `make_dispatch` above one function for each range;
* vLLM: its `generate_execution_code` and `compile_execution_fn`, and each piece one of its `PiecewiseBackend` with the
  constant function as a runnable, as after a cold start;
* vLLM warm: the same as a warm start makes it, where a runnable is wrapped once more.

A fourth, Cutaway with its weights held, is what a model of `cutaway.compile` calls: it looks at every weight first.

    python benchmarks/stitching.py --layers 4 36 --repeat 200
"""

from __future__ import annotations

import operator
import timeit
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from types import SimpleNamespace
from typing import Any

import _measure
import torch
from torch import fx
from vllm.compilation import codegen
from vllm.compilation.piecewise_backend import PiecewiseBackend
from vllm.config.utils import Range

from cutaway.compiler.build.ranges import make_ranges
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.link.dispatch import make_dispatch
from cutaway.compiler.link.hold import HeldInput, hold_inputs
from cutaway.compiler.link.stitching import compile_execution_fn, generate_execution_code

WEIGHTS = 8
"""Parameters that a layer's piece takes, as in a Qwen3."""

SIZES, MAX_BATCH, BATCH = (1, 2, 4, 8), 8192, 16
"""Single sizes and the one range that are compiled, and the batch size of the calls: it takes the range."""

RESULT = (1, 2, 3, 4, 5)
Function = Callable[..., Any]


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 36], metavar="N")
    parser.add_argument("--repeat", type=int, default=200, metavar="N", help="turns of each way")
    arguments = parser.parse_args()
    _library, attention = define_operator()
    found: dict[int, dict[str, Any]] = {}
    for layers in arguments.layers:
        found[layers] = measured(layers, attention, 5 if arguments.quick else arguments.repeat)
    head = ["", "a call, us", "a piece, ns", "against Cutaway", "nine turns of ten, from – to"]
    rows = [row for layers, result in found.items() for row in rows_of(layers, result)]
    costs = [costs_of(layers, result) for layers, result in found.items()]
    head_of_costs = ["", "of it make_dispatch, ns a call", "weights held besides, us a call", "ns a weight"]
    tables = [_measure.table(head, rows), _measure.table(head_of_costs, costs)]
    _measure.report(arguments.json, {"layers": found}, __doc__ or "", tables)


def measured(layers: int, attention: Any, repeat: int) -> dict[str, Any]:
    """Nanoseconds of one call by each way, in each turn."""
    gm, inputs = stitching_graph(layers, attention)
    direct, ours = by_cutaway(gm)
    ways = {"Cutaway": ours, "vLLM": by_vllm(gm, warm=False), "vLLM warm": by_vllm(gm, warm=True), "direct": direct}
    ways["with weights held"] = hold_inputs(held(inputs), ours)
    assert all(way(*inputs) == RESULT[0] for way in ways.values())
    ns: dict[str, list[float]] = {name: [] for name in (*ways, "dispatch", "held")}
    number = 1 + 4_000 // layers
    for turn in range(repeat):
        names = list(ways)
        for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
            ns[name].append(1e9 * timeit.timeit(lambda call=ways[name]: call(*inputs), number=number) / number)
        ns["dispatch"].append(ns["Cutaway"][-1] - ns["direct"][-1])
        ns["held"].append(ns["with weights held"][-1] - ns["Cutaway"][-1])
    return {"inputs": len(inputs), "weights": WEIGHTS * layers, "pieces": 2 * layers + 1, "ns": ns}


def rows_of(layers: int, result: dict[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    ours = result["ns"]["Cutaway"]
    for way in ("Cutaway", "vLLM", "vLLM warm"):
        times = result["ns"][way]
        ratios = [time / our for time, our in zip(times, ours, strict=True)]
        low, *_, high = quantiles(ratios, n=20)
        rows.append(
            [
                f"{layers} layers, {way}",
                f"{median(times) / 1e3:.1f}",
                f"{median(times) / result['pieces']:.0f}",
                f"{median(ratios):.1f} times" if way != "Cutaway" else "",
                f"{low:.1f} – {high:.1f}" if way != "Cutaway" else "",
            ]
        )
    return rows


def costs_of(layers: int, result: dict[str, Any]) -> list[object]:
    """What dispatch and holding the weights cost, as the middle of differences turn by turn."""
    dispatch, held = median(result["ns"]["dispatch"]), median(result["ns"]["held"])
    name = f"{layers} layers, {result['inputs']} inputs"
    return [name, f"{dispatch:.0f}", f"{held / 1e3:.1f}", f"{held / result['weights']:.0f}"]


def held(inputs: Sequence[Any]) -> list[HeldInput]:
    """All weights; `x`, the second input, is none."""
    named = [(at, value) for at, value in enumerate(inputs) if isinstance(value, torch.Tensor)]
    return [
        HeldInput(at, f"w_{at}", "float32", "cpu", tuple(value.shape), tuple(value.stride())) for at, value in named
    ]


def define_operator() -> Any:
    """An operator for the graphs to name. What is called by its name is a function that does nothing."""
    library = torch.library.Library("cutaway_bench", "FRAGMENT")
    library.define("attention(Tensor q, Tensor k, Tensor v, Tensor(a!) out, str layer) -> ()")
    overload = torch.ops.cutaway_bench.attention.default
    torch.ops.cutaway_bench.attention = SimpleNamespace(default=lambda *args: None)
    return library, overload  # it lives as long as its library


def stitching_graph(layers: int, attention: Any) -> tuple[fx.GraphModule, list[Any]]:
    """The graph, and inputs for it: the batch size, activations, weights."""
    graph, held = fx.Graph(), dict[str, torch.nn.Module]()
    size, x = graph.placeholder("s72"), graph.placeholder("x")
    weights = [graph.placeholder(f"w_{number}") for number in range(WEIGHTS * layers)]
    values = [x]
    for layer in range(layers + 1):
        mine = weights[WEIGHTS * layer : WEIGHTS * (layer + 1)]
        results = 5 if layer < layers else 1
        held[f"submod_{2 * layer}"] = piece(1 + len(values) + len(mine), results)
        called = graph.call_module(f"submod_{2 * layer}", (size, *values, *mine))
        values = [graph.call_function(operator.getitem, (called, index)) for index in range(results)]
        if layer < layers:
            held[f"submod_{2 * layer + 1}"] = attention_piece(attention, layer)
            graph.call_module(f"submod_{2 * layer + 1}", tuple(values[:4]))
            values = values[3:]
    graph.output(values[0])
    return fx.GraphModule(held, graph), [BATCH, 1, *(torch.empty(4, 4) for _ in weights)]


def piece(inputs: int, results: int) -> fx.GraphModule:
    graph = fx.Graph()
    first, *_ = [graph.placeholder(f"x_{number}") for number in range(inputs)]
    graph.output((first,) * results)
    return fx.GraphModule({}, graph)


def attention_piece(attention: Any, layer: int) -> fx.GraphModule:
    graph = fx.Graph()
    inputs = [graph.placeholder(name) for name in ("q", "k", "v", "out")]
    graph.call_function(attention, (*inputs, f"layers.{layer}"))
    graph.output(())
    return fx.GraphModule({}, graph)


def constant(results: int) -> Function:
    """What is called in a piece's place."""
    made = RESULT[:results]
    return lambda *args: made


def results_of(gm: fx.GraphModule, name: str) -> int:
    inner: Any = gm.get_submodule(name)
    return len(inner.graph.output_node().args[0])


def compiled_pieces(gm: fx.GraphModule) -> list[str]:
    return [name for name, _ in gm.named_children() if int(name.removeprefix("submod_")) % 2 == 0]


def by_cutaway(gm: fx.GraphModule) -> tuple[Function, Function]:
    """The function of one range, and what dispatches to those of all ranges."""
    splitting = {name for name, _ in gm.named_children()} - set(compiled_pieces(gm))
    code, names, consts = generate_execution_code(gm, splitting=splitting)
    ranges = make_ranges(CompilationConfig(compile_sizes=SIZES, max_batch=MAX_BATCH))
    functions = [
        compile_execution_fn(code, [constant(results_of(gm, name)) for name in names], consts, filename=f"<{span}>")
        for span in ranges
    ]
    return functions[-1], make_dispatch(ranges, functions, 0)


def by_vllm(gm: fx.GraphModule, *, warm: bool) -> Function:
    names = compiled_pieces(gm)
    backends = {name: piecewise_backend(constant(results_of(gm, name)), warm=warm) for name in names}
    # As vLLM does it: the backend shadows the graph, and what is still a graph is inlined.
    shadowed = fx.GraphModule(gm, gm.graph)
    vars(shadowed).update(backends)
    code, submod_names, consts = codegen.generate_execution_code(shadowed)
    return codegen.compile_execution_fn(code, backends, submod_names, consts)


def piecewise_backend(runnable: Function, *, warm: bool) -> Any:
    """vLLM's object for one piece, made by its constructor without an engine."""
    spans: Sequence[Any] = [Range(start=1, end=MAX_BATCH)]
    config = SimpleNamespace(compile_sizes=list(SIZES), get_compile_ranges=lambda: spans)
    every = [*(Range(start=size, end=size) for size in SIZES), *spans]
    made: Any = PiecewiseBackend(
        graph=None,
        vllm_config=SimpleNamespace(compilation_config=config),
        piecewise_compile_index=0,
        total_piecewise_compiles=2,
        sym_shape_indices=[0],
        vllm_backend=SimpleNamespace(is_encoder=False),
        returns_tuple=True,
        compiled_runnables={str(span): runnable for span in every},
    )
    if not warm:
        for entry in made.range_entries.values():
            entry.runnable = runnable
    return made


if __name__ == "__main__":
    main()
