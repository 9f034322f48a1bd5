"""What lowering costs for each op: Cutaway's pass, with an empty and a filled cache, against vLLM's.

Graphs of `rms_norm` nodes, each with a weight of its own, as Inductor hands them over: fake values, layers, source
lines, notes of where a node was traced from. vLLM's op is its own, with its native implementation; Cutaway's is one
with the same body. Both passes run in one process and take turns; each takes a graph of its own, which is built
beforehand. Times are of the processor, so that what else the machine does counts little.

    python benchmarks/lowering.py --nodes 1 3 32 128 --repeat 7
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from statistics import median
from time import thread_time
from types import SimpleNamespace
from typing import Any

import _measure
import torch
from torch import Tensor, fx
from torch._dynamo.source import ConstantSource
from torch._inductor.virtualized import V
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.fx.traceback import NodeSource, NodeSourceAction
from vllm.compilation.passes.ir.lowering_pass import VllmIRLoweringPass

from cutaway.compiler.build.ranges import Range
from cutaway.compiler.passes.context import pass_context
from cutaway.compiler.passes.lowering import IrLowering
from cutaway.compiler.passes.replacement.cache import ReplacementCache
from cutaway.ops import register_op

BATCH, HIDDEN, DTYPE = 16, 4096, torch.bfloat16

Graph = tuple[fx.GraphModule, FakeTensorMode]


@register_op
def benchmark_rms_norm(x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None) -> Tensor:
    """The body of vLLM's native implementation, word for word."""
    orig_dtype = x.dtype
    x = x.to(torch.float32)
    x_var = x if variance_size is None else x[..., :variance_size]
    variance = x_var.pow(2).mean(dim=-1, keepdim=True)
    x = x * torch.rsqrt(variance + epsilon)
    if weight is not None:
        x = x.to(weight.dtype) * weight
    return x.to(orig_dtype)


OURS, THEIRS = benchmark_rms_norm.torch_op, torch.ops.vllm_ir.rms_norm.default


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 3, 32, 128], metavar="N")
    parser.add_argument(
        "--repeat", type=int, default=7, metavar="N", help="turns of each way, for 128 nodes; more for less"
    )
    arguments = parser.parse_args()
    logging.getLogger("vllm").setLevel(logging.ERROR)
    results = [
        measured(nodes, symbolic, 2 if arguments.quick else arguments.repeat)
        for symbolic in (False, True)
        for nodes in arguments.nodes
    ]
    rows = [row_of(result) for result in results]
    head = [
        "",
        "vLLM, ms",
        "first graph, ms",
        "times",
        "filled cache, ms",
        "times",
        "vLLM, us a node",
        "filled, us a node",
    ]
    _measure.report(arguments.json, {"results": results}, __doc__ or "", [_measure.table(head, rows)])


def measured(nodes: int, symbolic: bool, repeat: int) -> dict[str, Any]:
    """Seconds of one graph by each way, in each turn."""
    vllm_pass = make_vllm_pass()
    filled = IrLowering(ReplacementCache())
    ways: dict[str, tuple[Any, Callable[[], Callable[[fx.Graph], None]]]] = {
        "vLLM": (THEIRS, lambda: vllm_pass),
        "first graph": (OURS, lambda: IrLowering(ReplacementCache())),
        "filled cache": (OURS, lambda: filled),
    }
    for op, make in ways.values():  # whatever happens once in a process, or fills the cache
        seconds(make(), graph(1, symbolic, op))
    gc.freeze()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeat + 16 // nodes):
        names = list(ways)
        for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
            op, make = ways[name]
            gc.collect()
            times[name].append(seconds(make(), graph(nodes, symbolic, op)))
    check_alike(nodes, symbolic, vllm_pass, filled)
    return {"nodes": nodes, "symbolic": symbolic, "seconds": times}


def seconds(lowering: Callable[[fx.Graph], None], made: Graph) -> float:
    gm, mode = made
    with V.set_fake_mode(mode), torch.no_grad(), pass_context(Range(2, 8192)):
        began = thread_time()
        lowering(gm.graph)
        return thread_time() - began


def row_of(result: dict[str, Any]) -> list[object]:
    times, nodes = result["seconds"], result["nodes"]
    theirs, first, filled = (median(times[name]) for name in ("vLLM", "first graph", "filled cache"))
    return [
        f"{nodes} node{'s'[: nodes > 1]}, {'symbolic' if result['symbolic'] else 'static'} batch",
        f"{theirs * 1e3:.1f}",
        f"{first * 1e3:.2f}",
        f"{ratio(times, 'first graph'):.1f}",
        f"{filled * 1e3:.2f}",
        f"{ratio(times, 'filled cache'):.1f}",
        f"{theirs / nodes * 1e6:.0f}",
        f"{filled / nodes * 1e6:.0f}",
    ]


def ratio(times: dict[str, list[float]], name: str) -> float:
    """How many times as long vLLM takes; the median of the turns."""
    return median(theirs / ours for theirs, ours in zip(times["vLLM"], times[name], strict=True))


def make_vllm_pass() -> Any:
    """vLLM's pass, made by its constructor without an engine."""
    compilation = SimpleNamespace(splitting_ops=[], use_inductor_graph_partition=False, pass_config=None)
    config: Any = SimpleNamespace(compilation_config=compilation, model_config=None, device_config=None)
    return VllmIRLoweringPass(config)


def graph(nodes: int, symbolic: bool, op: Any) -> Graph:
    """A chain of calls of the op, in a fake mode of its own."""
    mode = FakeTensorMode(shape_env=ShapeEnv())
    dynamic = DimDynamic.DYNAMIC if symbolic else DimDynamic.STATIC
    context = StatelessSymbolicContext(dynamic_sizes=[dynamic, DimDynamic.STATIC], constraint_sizes=[None, None])
    x = mode.from_tensor(torch.empty(BATCH, HIDDEN, dtype=DTYPE), symbolic_context=context, source=ConstantSource("x"))
    made = fx.Graph()
    last = made.placeholder("x")
    last.meta["val"] = x
    weights = [made.placeholder(f"weight_{number}") for number in range(nodes)]
    for weight in weights:
        weight.meta["val"] = mode.from_tensor(torch.empty(HIDDEN, dtype=DTYPE), static_shapes=True)
    for number, weight in enumerate(weights):
        last = made.call_function(op, (last, weight, 1e-5))
        with mode:
            last.meta["val"] = torch.empty_like(x)
        last.meta |= {
            "nn_module_stack": {"layer": (f"L['self'].layers.{number}.norm", torch.nn.RMSNorm)},
            "stack_trace": f'  File "model.py", line {number}, in forward\n    x = self.norm(x)\n',
            "original_aten": op,
            "from_node": [NodeSource(last, "trace", NodeSourceAction.CREATE)],
        }
    made.output((last,))
    return fx.GraphModule({}, made), mode


def check_alike(nodes: int, symbolic: bool, *passes: Callable[[fx.Graph], None]) -> None:
    """Both passes must leave as many calls of the same operators."""
    left: list[list[str]] = []
    for op, lowering in zip((THEIRS, OURS), passes, strict=True):
        made = graph(nodes, symbolic, op)
        seconds(lowering, made)
        left.append([str(node.target) for node in made[0].graph.nodes if node.op == "call_function"])
    assert left[0] == left[1], left


if __name__ == "__main__":
    main()
