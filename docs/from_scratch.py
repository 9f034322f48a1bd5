"""A piecewise compiler for PyTorch models, from nothing: what src/cutaway/compiler does, in nine steps that run.

    python docs/from_scratch.py            three starts: a cold one, a warm one, one that meets a damaged file
    python docs/from_scratch.py FOLDER     the same, and the artifacts stay there: the next run begins warm

Read it from top to bottom. A step says what it is for, does it, and asserts that it worked. "Really:" is where in
src/cutaway/compiler the real thing does that, and much that is left out here. It needs torch, a C++ compiler, no GPU.
"""

import hashlib
import json
import platform
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.fx.passes.split_module import split_module

# == 1. The model ======================================================================================================
# A decoder as an inference engine runs it. The tokens of all requests lie in one row, and how many they are, the batch
# size, differs from call to call. Attention is a custom op: an engine brings its own kernel, which reads the KV cache
# and what the batch is made of, and no compiler has to look inside.
# Really: any nn.Module; its attention ops are CompilationConfig.splitting_ops.

LAYERS, HIDDEN, HEADS, VOCABULARY = 4, 64, 4, 128


@torch.library.custom_op("toy::attention", mutates_args=())
def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(0, 1) for part in (q, k, v))
    return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1).flatten(1)


@attention.register_fake  # for those who ask only for the shape
def fake_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return q.new_empty(q.shape)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.RMSNorm(HIDDEN), nn.RMSNorm(HIDDEN)
        self.qkv, self.o = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, 4 * HIDDEN), nn.Linear(4 * HIDDEN, HIDDEN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm_1(x)).chunk(3, dim=-1)
        x = x + self.o(attention(q, k, v))
        return x + self.down(nn.functional.silu(self.up(self.norm_2(x))))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCABULARY, HIDDEN), nn.Linear(HIDDEN, VOCABULARY)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def tokens(size: int) -> torch.Tensor:
    return torch.randint(VOCABULARY, (size,))


torch.manual_seed(0)
torch.set_grad_enabled(False)
model = Decoder()
assert model(tokens(3)).shape == (3, VOCABULARY)
print(f"1. model: a decoder of {LAYERS} layers")

# == 2. Capture: model -> graph ========================================================================================
# Dynamo runs the model's Python once, on fake tensors (shapes, no numbers), and hands a backend the graph of what
# happened. The weights are inputs of that graph; so is the batch size, as a symbol, because we mark that dimension as
# dynamic. What the backend returns is called from then on in the model's place: the graph as it is, until step 8 puts
# something quicker there. (Dynamo would check before each call that nothing has changed, and compile again if it had.
# An engine knows that nothing has, and goes without these guards.)
# Really: capture/

captured: list[fx.GraphModule] = []
linked: list[Callable[..., Any]] = []


def backend(gm: fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
    def call(*flat_args: Any) -> Any:
        return linked[-1](*flat_args)

    captured.append(gm)
    linked.append(gm)
    return call


no_guards = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
compiled_model = torch.compile(model, fullgraph=True, backend=backend, options=no_guards)
ids = tokens(8)
torch._dynamo.mark_dynamic(ids, 0)
for some in (ids, tokens(3)):
    torch.testing.assert_close(compiled_model(some), model(some))
(gm,) = captured  # one graph, for all sizes


def example_inputs(gm: fx.GraphModule, size: int | None = None) -> list[Any]:
    """What a graph was captured with, the batch size a symbol; or, for a size, tensors to try it with."""

    def filled(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.rand([filled(part) for part in value.shape]).to(value.dtype)
        return size if isinstance(value, torch.SymInt) else value

    values = [node.meta["example_value"] for node in gm.graph.find_nodes(op="placeholder")]
    return values if size is None else [filled(value) for value in values]


(batch,) = (place for place, value in enumerate(example_inputs(gm)) if isinstance(value, torch.SymInt))
print(f"2. capture: {len(captured)} graph of {len(gm.graph.nodes)} nodes; input {batch} is the batch size")

# == 3. Split: graph -> pieces =========================================================================================
# Cut before and after each attention: it runs as it is, and what lies between is compiled. The split graph calls piece
# after piece, and carries along what a later one needs (the residual stream).
# Really: split/


class SplitItem(NamedTuple):
    submod_name: str
    is_splitting_graph: bool
    graph: fx.GraphModule


def split_graph(gm: fx.GraphModule, splitting_ops: list[Any]) -> tuple[fx.GraphModule, list[SplitItem]]:
    body = [node for node in gm.graph.nodes if node.op not in ("placeholder", "output")]
    runs = [(cut, list(nodes)) for cut, nodes in groupby(body, lambda node: node.target in splitting_ops)]
    number = {node: graph_id for graph_id, (_, nodes) in enumerate(runs) for node in nodes}
    as_it_was = {"keep_original_order": True, "keep_original_node_name": True}
    split_gm = split_module(gm, None, number.__getitem__, tuple_return=True, **as_it_was)
    items: list[SplitItem] = []
    for call, (cut, _) in zip(split_gm.graph.find_nodes(op="call_module"), runs, strict=True):
        piece = split_gm.get_submodule(call.target)
        call.target = f"piece_{len(items):02}"
        split_gm.add_submodule(call.target, piece)
        items.append(SplitItem(call.target, cut, piece))
        for result, value in zip(call.users, piece.graph.output_node().args[0], strict=True):
            result.name = value.name  # as the model's code calls it
    split_gm.recompile()
    return split_gm, items


split_gm, items = split_graph(gm, [torch.ops.toy.attention.default])
to_compile = [item for item in items if not item.is_splitting_graph]
assert (len(items), len(to_compile)) == (LAYERS + 1 + LAYERS, LAYERS + 1)
some = example_inputs(gm, 5)
torch.testing.assert_close(split_gm(*some), gm(*some))
print(f"3. split: {len(items)} pieces, {len(to_compile)} of them to compile")

# == 4. Which pieces are the same? =====================================================================================
# From one attention to the next, all layers compute the same thing with other weights, and weights are inputs. So write
# down what each node computes from which, with numbers for names, and compare. (As text 1, 1.0 and True are three.)
# Really: split/same.py


class Ref(int):
    def __repr__(self) -> str:
        return f"%{int(self)}"


def structural_key(piece: fx.GraphModule) -> str:
    lines: list[str] = []
    number: dict[fx.Node, Ref] = {}
    for node in piece.graph.nodes:
        number[node] = Ref(len(number))
        value = node.meta.get("example_value")
        if node.op != "placeholder":
            target = node.target if isinstance(node.target, str) else torch.typename(node.target)
            lines.append(f"{target} {fx.map_arg((node.args, node.kwargs), number.__getitem__)}")
        elif isinstance(value, torch.Tensor):
            lines.append(f"input {value.dtype} {tuple(value.shape)} {value.stride()} {value.device}")
        else:
            lines.append(f"input {value}")
    return "\n".join(lines)


first: dict[str, str] = {}  # key -> the first piece that has it
same_as = {item.submod_name: first.setdefault(structural_key(item.graph), item.submod_name) for item in to_compile}
distinct = [item for item in to_compile if same_as[item.submod_name] == item.submod_name]
assert [item.submod_name for item in distinct] == ["piece_00", "piece_02", items[-1].submod_name]
print(f"4. same: {len(distinct)} distinct pieces, {len(to_compile) - len(distinct)} repeated")

# == 5. Build: piece -> artifact =======================================================================================
# Inductor compiles a piece for a range of batch sizes, where the size stays a symbol, or for a single size, filled in:
# quicker code for a size that is common, such as one token of one request.
# Really: build/, and passes/ for what is done to the graph on its way


class Range(NamedTuple):
    start: int
    end: int


RANGES = (Range(1, 1), Range(2, 64))


def compile_piece(piece: fx.GraphModule, span: Range) -> Any:
    inputs, shapes = example_inputs(piece), "from_graph"
    if span.start == span.end:
        inputs, shapes = example_inputs(piece, span.start), "from_example_inputs"
    return torch._inductor.standalone_compile(piece, inputs, dynamic_shapes=shapes, aot=True)


last = distinct[-1].graph
for span in RANGES:
    artifact = compile_piece(last, span)
    for some in (example_inputs(last, span.start), example_inputs(last, span.end)):
        torch.testing.assert_close(artifact(*some), last(*some))
print(f"5. build: {distinct[-1].submod_name} compiled for batch sizes {' and '.join(f'{a}-{b}' for a, b in RANGES)}")

# == 6. Cache: artifact -> disk ========================================================================================
# The key of an artifact is the digest of a document of all that it depends on (in truth a longer one). The document
# lies beside it: compare two, and you know why a start was cold. It is written last and renamed, so what it names is
# whole; and it holds the artifact's own digest: what was damaged since is not loaded, but compiled again.
# Really: cache/, and build/kernels.py, which keeps the machine code of C++ kernels along

scratch = tempfile.TemporaryDirectory()
cache = Path(sys.argv[1] if len(sys.argv) > 1 else scratch.name)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def piece_factors(piece: fx.GraphModule, span: Range) -> dict[str, Any]:
    machine = [platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    compiler = ["inductor", torch.__version__, torch.version.git_version]
    return {"graph": structural_key(piece).split("\n"), "range": span, "compiler": compiler, "machine": machine}


def key_of(factors: dict[str, Any]) -> str:
    return sha256(json.dumps(factors).encode())


def compile_or_load(piece: fx.GraphModule, span: Range, counters: Counter[str]) -> Callable[..., Any]:
    factors = piece_factors(piece, span)
    folder = cache / key_of(factors)
    binary, document, aside = folder / "artifact.bin", folder / "factors.json", folder / "aside"
    if document.exists():
        if sha256(binary.read_bytes()) == json.loads(document.read_text())["sha256"]:
            counters["loaded"] += 1
            return torch._inductor.CompiledArtifact.load(path=str(binary))
        counters["refused"] += 1
    counters["compiled"] += 1
    artifact = compile_piece(piece, span)
    folder.mkdir(parents=True, exist_ok=True)
    artifact.save(path=str(binary))
    aside.write_text(json.dumps({**factors, "sha256": sha256(binary.read_bytes())}, indent=1))
    aside.replace(document)
    return artifact


def start(which: str) -> tuple[dict[tuple[str, Range], Callable[..., Any]], Counter[str]]:
    """What runs each piece in each range, and how it was come by."""
    begin, counters = time.perf_counter(), Counter(compiled=0, loaded=0, refused=0)
    made = {(one.submod_name, span): compile_or_load(one.graph, span, counters) for one in distinct for span in RANGES}
    counts = ", ".join(f"{number} {what}" for what, number in counters.items())
    print(f"6. cache: {which} start: {counts}, in {time.perf_counter() - begin:.2f} s")
    return {(name, span): made[same, span] for name, same in same_as.items() for span in RANGES}, counters


wanted = len(distinct) * len(RANGES)
_, counters = start("first")
assert counters in (Counter(compiled=wanted), Counter(loaded=wanted))
_, counters = start("second")
assert counters == Counter(loaded=wanted)
with (cache / key_of(piece_factors(last, RANGES[0])) / "artifact.bin").open("r+b") as damaged:
    damaged.truncate(1000)
runnables, counters = start("third")
assert counters == Counter(loaded=wanted - 1, refused=1, compiled=1)

# == 7. Link: pieces -> function =======================================================================================
# All that the split graph still does is to call pieces. So write it down as Python that does nothing else between two
# pieces, and deletes each value after its last use: the next piece may then have its memory.
# Really: link/stitching.py


def generate_execution_code(split_gm: fx.GraphModule) -> str:
    inputs = ", ".join(node.name for node in split_gm.graph.find_nodes(op="placeholder"))
    last_use = {value: node for node in split_gm.graph.nodes for value in node.all_input_nodes}
    lines = [f"def execution_fn({inputs}):"]
    for node in split_gm.graph.nodes:
        if node.op == "call_module":  # its users take the tuple apart that it returns
            lines.append(f"    {', '.join(map(str, node.users))}, = {node.target}({', '.join(map(str, node.args))})")
            done = [str(value) for value in node.args if last_use[value] is node and value.op != "placeholder"]
            lines += [f"    del {', '.join(done)}"] if done else []
        elif node.op == "output":
            lines.append(f"    return {node.args[0]}")
    return "\n".join(lines)


def compile_execution_fn(code: str, callables: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    namespace: dict[str, Any] = dict(callables)
    exec(code, namespace)
    return namespace["execution_fn"]


code = generate_execution_code(split_gm)
as_captured = {item.submod_name: item.graph for item in items}
some = example_inputs(gm, 5)
torch.testing.assert_close(compile_execution_fn(code, as_captured)(*some), gm(*some))
print(
    "7. link:", re.sub(r"(l_self_\w+, )*l_self_\w+", "...", code).replace("\n", "\n   ")
)  # without the weights' names

# == 8. Run: dispatch on the batch size ================================================================================
# For each range, that code is linked with what was compiled for the range; attention stays as it was captured. So one
# look at the batch size at the top of a call decides for all pieces.
# Really: link/dispatch.py, link/assembler.py


def make_dispatch(functions: dict[Range, Callable[..., Any]], position: int) -> Callable[..., Any]:
    table = {size: function for span, function in functions.items() for size in range(span.start, span.end + 1)}
    return lambda *flat_args: table[flat_args[position]](*flat_args)


of_range = {span: as_captured | {name: runnables[name, span] for name in same_as} for span in RANGES}
linked.append(make_dispatch({span: compile_execution_fn(code, of_range[span]) for span in RANGES}, batch))
sizes = (1, 2, 7, 33, 64)
for some in map(tokens, sizes):
    torch.testing.assert_close(compiled_model(some), model(some))
assert len(captured) == 1
print(f"8. run: equal to eager at {len(sizes)} batch sizes: {', '.join(map(str, sizes))}")

# == 9. What CUDA graphs would add =====================================================================================
# On a GPU, a small batch takes longer to launch than to compute. A CUDA graph records the kernels of a piece once, for
# one batch size and fixed addresses, and replays them with a single launch. So step 8 would wrap each compiled piece in
# something that records at its first call and replays from then on. Attention, which looks at the batch on the CPU, is
# run between two replays as before. Batches are padded to one of a few sizes, inputs are copied to where they were when
# it was recorded, and all graphs share one pool of memory, in which the deletions of step 7 make room.
# Really: run/

once_each = len(to_compile) * len(RANGES)
print(f"In sum: {len(items)} pieces, {wanted} compiles instead of {once_each} when cold, none when warm")
