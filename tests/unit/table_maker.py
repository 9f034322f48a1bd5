"""Node tables as the recorder writes them, made without torch."""

from __future__ import annotations

from typing import Any


class TableMaker:
    """Builds a node table node by node: `maker.call("aten.mm.default", [a, b], layer="layers.0.mlp")`.

    Layers are declared as `fqn -> class`; a node's path is made of the declared layers around its fqn.
    """

    def __init__(self, classes: dict[str, str]) -> None:
        self.classes = classes
        self.paths: dict[tuple[str, ...], int] = {}
        self.nodes: list[dict[str, Any]] = []
        self.names: set[str] = set()

    def input(self, path: str, shape: list[Any], dtype: str = "float32", **facts: Any) -> dict[str, Any]:
        name = path if "." not in path else "l_" + path.replace(".", "_") + "_"
        return self._add("placeholder", name, name, input=path, **_tensor(shape, dtype), **facts)

    def call(self, target: str, args: list[Any], layer: str | None = "", **facts: Any) -> dict[str, Any]:
        """A call; `layer` is an fqn ("" for the root, None for unknown); nodes in args become references."""
        short = target.removesuffix(".default").removesuffix(".Tensor")
        name = facts.pop("name", None) or short.rpartition(".")[2]
        facts.setdefault("shape", ["s72", 256])
        facts = {**_tensor(facts.pop("shape"), facts.pop("dtype", "float32")), **facts}
        if layer is not None:
            facts["layer"] = self._layer(layer)
        op = facts.pop("op", "call_function")
        return self._add(op, name, target, args=[_ref(arg) for arg in args], **facts)

    def output(self, *values: dict[str, Any]) -> dict[str, Any]:
        return self._add("output", "output", "output", args=[{"tuple": [_ref(value) for value in values]}])

    def table(self) -> dict[str, Any]:
        return {
            "symbols": {"s72": {"min": 2, "max": 4096, "hint": 17}},
            "layers": [list(path) for path in self.paths],
            "sources": [{"file": "/x/qwen2.py", "line": 402, "function": "forward", "code": "…"}],
            "nodes": self.nodes,
        }

    def _layer(self, fqn: str) -> int:
        parts = fqn.split(".") if fqn else []
        around = [".".join(parts[:count]) for count in range(len(parts) + 1)]
        path = tuple(
            f"{name}: {self.classes[name]}" if name else self.classes[name] for name in around if name in self.classes
        )
        return self.paths.setdefault(path, len(self.paths))

    def _add(self, op: str, name: str, target: str, **facts: Any) -> dict[str, Any]:
        free, number = name, 0
        while free in self.names:
            number += 1
            free = f"{name}_{number}"
        self.names.add(free)
        node = {"id": len(self.nodes), "name": free, "op": op, "target": target, **facts}
        self.nodes.append(node)
        return node


def _ref(value: Any) -> Any:
    return {"node": value["id"]} if isinstance(value, dict) and "id" in value else value


def _tensor(shape: list[Any], dtype: str) -> dict[str, Any]:
    stride: list[Any] = []
    step: int = 1
    for size in reversed(shape):
        stride.insert(0, step)
        step = step * size if isinstance(size, int) else step
    return {"dtype": dtype, "shape": shape, "stride": stride, "device": "cpu"}


def decoder(layers: int, *, kinds: dict[int, str] | None = None, unknown: bool = False) -> dict[str, Any]:
    """A decoder as vLLM traces it: 14 nodes a layer.

    Args:
        layers: how many decoder layers.
        kinds: layers of another kind: "gated" has one node more, "other" has little in common.
        unknown: the add between two layers has no layer, as after a fusion across them.
    """
    classes = {"": "Qwen3Model", "embed_tokens": "VocabParallelEmbedding", "norm": "RMSNorm"}
    for i in range(layers):
        classes |= {
            f"layers.{i}": "Qwen3DecoderLayer",
            f"layers.{i}.input_layernorm": "RMSNorm",
            f"layers.{i}.self_attn": "Qwen3Attention",
            f"layers.{i}.self_attn.qkv_proj": "QKVParallelLinear",
            f"layers.{i}.mlp": "Qwen3MLP",
        }
    maker = TableMaker(classes)
    ids = maker.input("input_ids", ["s72"], "int64")
    size = maker.input("s72", [], "SymInt")
    for key in ("shape", "stride", "device"):
        del size[key]
    size["value"] = "s72"
    positions = maker.input("positions", ["s72"], "int64")
    weights = [_weights(maker, i) for i in range(layers)]
    embedding = maker.input("self.embed_tokens.weight", [1024, 256])
    hidden = maker.call("torch.nn.functional.embedding", [ids, embedding], "embed_tokens", source=0)
    residual = hidden
    for i in range(layers):
        hidden, residual = _decoder_layer(
            maker, i, weights[i], hidden, residual, positions, (kinds or {}).get(i, ""), unknown
        )
    last = maker.call("vllm_ir.rms_norm.default", [hidden, residual, 1e-06], "norm", provider="native")
    maker.output(last)
    return maker.table()


def _weights(maker: TableMaker, i: int) -> dict[str, dict[str, Any]]:
    names = {"input_layernorm": [256], "self_attn.qkv_proj": [256, 512], "mlp.up_proj": [256, 768]}
    return {name: maker.input(f"self.layers.{i}.{name}.weight", shape) for name, shape in names.items()}


def _decoder_layer(
    maker: TableMaker,
    i: int,
    weights: dict[str, Any],
    hidden: dict[str, Any],
    residual: dict[str, Any],
    positions: dict[str, Any],
    kind: str,
    unknown: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    here = f"layers.{i}"
    if kind == "other":
        for _ in range(9):
            hidden = maker.call("aten.relu.default", [hidden], f"{here}.mlp")
        return hidden, residual
    norm = f"{here}.input_layernorm"
    if i == 0:
        hidden = maker.call("vllm_ir.rms_norm.default", [hidden, weights["input_layernorm"], 1e-06], norm)
    else:
        hidden = maker.call("aten.add.Tensor", [hidden, residual], None if unknown else norm, name="add")
        residual = hidden
        hidden = maker.call("vllm_ir.rms_norm.default", [hidden, weights["input_layernorm"], 1e-06], norm)
    qkv = maker.call(
        "torch.nn.functional.linear",
        [hidden, weights["self_attn.qkv_proj"]],
        f"{here}.self_attn.qkv_proj",
        shape=["s72", 512],
    )
    attention = f"{here}.self_attn"
    split = maker.call("split", [qkv, [256, 128, 128]], attention, op="call_method", shape=["s72", 256])
    q, k, v = [maker.call("operator.getitem", [split, n], attention, shape=["s72", 128]) for n in range(3)]
    rotated = maker.call("vllm.rotary.default", [positions, q, k], attention)
    hidden = maker.call(
        "vllm.unified_attention.default", [rotated, k, v, f"model.layers.{i}.self_attn.attn"], attention
    )
    if kind == "gated":
        hidden = maker.call("aten.sigmoid.default", [hidden], attention)
    hidden = maker.call("aten.mm.default", [hidden, weights["mlp.up_proj"]], f"{here}.mlp", shape=["s72", 768])
    index = {"tuple": [{"slice": [None, None, None]}, {"slice": [0, 384, None]}]}
    half = maker.call("operator.getitem", [hidden, index], f"{here}.mlp", shape=["s72", 384])
    half["stride"] = [768, 1]
    hidden = maker.call("aten.view.default", [half, [{"sym": "s72"}, 256]], f"{here}.mlp")
    return hidden, residual
