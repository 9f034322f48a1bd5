"""A dump as the recorder writes it, made of plain files: no torch, no recorder."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

from table_maker import TableMaker, decoder

from cutaway.record.fingerprint import fingerprint
from cutaway.record.layers import render_layers


class DumpMaker:
    """Writes one process's folder, event by event.

    Args:
        folder: the process folder; made here.
        rank: its rank.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.seq = 0
        self.stored: dict[str, str] = {}
        folder.mkdir(parents=True)
        self.write("context.json", '{"versions": {"torch": "2.13.0"}}\n')
        self.event(
            "run",
            schema=1,
            cutaway="0.1.0",
            torch="2.13.0+cpu",
            python="3.11.7",
            pid=1,
            rank=rank,
            dp_rank=0,
            argv=["serve.py", "--model", "tiny"],
            context="context.json",
        )

    def event(self, event: str, compilation: str | None = None, **facts: Any) -> None:
        line = {
            "seq": self.seq,
            "time": 1.7e9 + self.seq,
            "event": event,
            "compilation": compilation,
            **facts,
        }
        self.seq += 1
        with (self.folder / "manifest.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def write(self, path: str, text: str, kind: str = "") -> dict[str, Any]:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        content = text.encode()
        return {
            "kind": kind,
            "path": path,
            "bytes": len(content),
            "digest": blake2b(content, digest_size=16).hexdigest(),
        }

    def compilation(self, name: str, **facts: Any) -> None:
        known = {"function": "Qwen3Model.forward", "file": "/x/qwen3.py", "line": 12, "model": "Qwen3Model"}
        more = {"compile_id": "0/0", "recompile": 0, "reason": [], "folder": name}
        self.event("compilation", name, **{**known, **more, **facts})

    def snapshot(self, selector: str, stage: str, table: dict[str, Any], file: str, **facts: Any) -> dict[str, Any]:
        """A snapshot; its files are written unless an earlier one had the same graph."""
        graph = fingerprint(table)
        files: list[dict[str, Any]] = []
        if graph not in self.stored:
            self.stored[graph] = selector
            nodes = json.dumps({"schema": 1, "fingerprint": graph, **table})
            files = [
                self.write(f"{file}.py", f"# {selector}\nimport torch\n", "raw"),
                self.write(f"{file}.layers.txt", render_layers(table, title=selector), "layers"),
                self.write(f"nodes/{graph}.json", nodes, "nodes"),
            ]
        layers = dict.fromkeys(part.rpartition(": ")[0] for path in table["layers"] for part in path)
        known = {
            "selector": selector,
            "stage": stage,
            "phase": None,
            "pass": None,
            "number": None,
            "piece": _part(selector, "piece_"),
            "range": (_part(selector, "range_") or "").removeprefix("range_") or None,
            "graph": graph,
            "changed": False,
            "nodes": len(table["nodes"]),
            "ops_delta": {},
            "ms": None,
            "files": files,
            "same_as": None if files else self.stored[graph],
            "layers": [layer for layer in layers if layer],
            "donated_inputs": [],
            "providers": {},
            "cached": False,
            "coverage": {"layer": 100.0, "source": 100.0, "origin": 100.0},
        }
        snapshot = {**known, **facts}
        self.event("snapshot", selector.partition("/")[0], **snapshot)
        return snapshot

    def ran(self, selector: str, stage: str, nodes: int, **facts: Any) -> None:
        leaf = selector.rpartition("/")[2].split(".")
        known = {
            "selector": selector,
            "stage": stage,
            "phase": "inference",
            "pass": leaf[-1],
            "number": int(leaf[1]) if leaf[1:-1] else None,
            "piece": _part(selector, "piece_"),
            "range": (_part(selector, "range_") or "").removeprefix("range_") or None,
            "changed": False,
            "nodes": nodes,
            "ops_delta": {},
            "ms": 0.25,
        }
        self.event("pass", selector.partition("/")[0], **{**known, **facts})

    def code(self, selector: str, kind: str, file: str, text: str, **facts: Any) -> None:
        known = {
            "kind": kind,
            "selector": selector,
            "phase": "inference",
            "piece": _part(selector, "piece_"),
            "range": (_part(selector, "range_") or "").removeprefix("range_") or None,
            "files": [self.write(file, text, "code")],
            "same_as": None,
            "kernels": {},
            "cached": False,
        }
        self.event("code", selector.partition("/")[0], **{**known, **facts})

    def end(self, compilation: str | None = None) -> None:
        self.event("end", compilation, values={})


def _part(selector: str, prefix: str) -> str | None:
    return next((part for part in selector.split("/") if part.startswith(prefix)), None)


def piece(layer: int, lowered: bool = False) -> dict[str, Any]:
    """The nodes between two attentions: the end of one layer and the start of the next."""
    classes = {"": "Qwen3Model"}
    for i in (layer, layer + 1):
        classes |= {f"layers.{i}": "Qwen3DecoderLayer", f"layers.{i}.mlp": "Qwen3MLP"}
    maker = TableMaker(classes)
    x = maker.input("x", ["s72", 256])
    weight = maker.input(f"self.layers.{layer}.mlp.down_proj.weight", [256, 256])
    x = maker.call("aten.mm.default", [x, weight], f"layers.{layer}.mlp", source=0)
    norm = "vllm.fused_norm.default" if lowered else "vllm_ir.rms_norm.default"
    maker.output(maker.call(norm, [x, 1e-06], f"layers.{layer + 1}", provider="native"))
    return maker.table()


def make_process(folder: Path, *, rank: int = 0, layers: int = 4, ended: bool = True) -> DumpMaker:
    """The dump of a small split model: the first piece, one repeated piece, two ranges, passes, an error.

    Args:
        folder: the process folder.
        rank: its rank.
        layers: decoder layers; there is one piece between every two of them.
        ended: whether the process came to its end.
    """
    maker = DumpMaker(folder, rank)
    maker.compilation("backbone")
    whole = decoder(layers)
    maker.snapshot("backbone/captured", "captured", whole, "backbone/00.captured")
    maker.snapshot("backbone/before_split", "before_split", whole, "backbone/01.before_split")
    names = [f"piece_{2 * i:02d}" for i in range(layers)]
    maker.snapshot("backbone/piece_00/piece", "piece", decoder(1), "backbone/03.piece_00/00.piece")
    for i, name in enumerate(names[1:]):
        maker.snapshot(f"backbone/{name}/piece", "piece", piece(i), f"backbone/04.{name}/00.piece")
    calls = TableMaker({})
    value = calls.input("input_ids", ["s72"], "int64")
    for i in range(2 * layers - 1):
        value = calls.call(f"submod_{i}", [value], None, op="call_module")
    calls.output(value)
    maker.snapshot("backbone/after_split", "after_split", calls.table(), "backbone/02.after_split")
    for compile_range in ("1_4096", "8_8"):
        _compiled(maker, "piece_02", compile_range, "backbone/04.piece_02")
    maker.code("backbone/execution_code", "execution_code", "backbone/99.execution_code.py", "def run(): ...\n")
    maker.event("metric", "backbone", kind="compile_time", values={"seconds": 1.5}, piece=None, range=None)
    maker.event("error", "backbone", where="hook", error="ValueError: no", traceback="Traceback …")
    maker.event("novelty", "backbone", something="a kind of event from the future")
    maker.write("backbone/index.md", "# backbone\n")
    maker.end("backbone")
    maker.compilation("backbone.2", recompile=1, compile_id="0/1", reason=["x.size(0) == 4"])
    maker.snapshot("backbone.2/captured", "captured", decoder(2), "backbone.2/00.captured")
    maker.end("backbone.2")
    if ended:
        maker.end()
    return maker


def _compiled(maker: DumpMaker, name: str, compile_range: str, folder: str) -> None:
    """One range of a piece: two idle passes, one that lowers, the last graph and its code."""
    here, folder = f"backbone/{name}/range_{compile_range}", f"{folder}/range_{compile_range}"
    asked = {"kind": "vllm_piece", "key": "abc", "factors": None, "piece": name, "range": compile_range}
    maker.event("cache", "backbone", result="miss", **asked)
    before, after = piece(0), piece(0, lowered=True)
    maker.snapshot(f"{here}/before_post_grad", "before_post_grad", before, f"{folder}/00.before_post_grad")
    for i, idle in enumerate(["NoOpEliminationPass", "SequenceParallelismPass"]):
        maker.ran(f"{here}/post_grad.{i}.{idle}", "custom_pass", len(before["nodes"]))
    lowering = f"{here}/post_grad.2.VllmIRLoweringPass"
    delta = {"rms_norm": -1, "fused_norm": 1}
    facts = {"changed": True, "ops_delta": delta, "ms": 1.25, "phase": "inference"}
    maker.snapshot(
        lowering,
        "custom_pass",
        after,
        f"{folder}/01.post_grad.2.VllmIRLoweringPass",
        **facts,
        **{"pass": "VllmIRLoweringPass", "number": 2, "providers": {"fused_norm": "native"}},
    )
    maker.ran(lowering, "custom_pass", len(after["nodes"]), **facts)
    maker.snapshot(f"{here}/post_grad", "post_grad", after, f"{folder}/02.post_grad", phase="inference")
    maker.code(
        f"{here}/output_code",
        "output_code",
        f"{folder}/90.output_code.py",
        f"# output code of {here}\ndef call(args): ...\n",
        kernels={"cpp_fused_norm_0": ["fused_norm"]},
    )
    maker.code(
        f"{here}/kernels/cpp_fused_norm_0",
        "kernel",
        f"{folder}/90.kernels/cpp_fused_norm_0.cpp",
        'extern "C" void kernel() {}\n',
        kernels={"cpp_fused_norm_0": ["fused_norm"]},
    )
    maker.event("cache", "backbone", result="store", **asked)


def make_dump(root: Path, *, ranks: int = 1, runs: int = 1, **options: Any) -> Path:
    """A dump with its root: runs, and processes in each. Returns the root."""
    root.mkdir(exist_ok=True)
    (root / "README.md").write_text("# What lies here\n", encoding="utf-8")
    for run in range(1, runs + 1):
        for rank in range(ranks):
            make_process(root / f"run_{run:03d}" / f"rank_{rank}_dp_0", rank=rank, **options)
    return root


def manifest(process: Path) -> list[dict[str, Any]]:
    """The events of a process folder."""
    return [json.loads(line) for line in (process / "manifest.jsonl").read_text("utf-8").splitlines()]
