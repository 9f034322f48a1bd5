"""Dumps that no compile would leave."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from dump_maker import DumpMaker, make_dump

MARKUP = "<img src=x onerror=window.hit=1></script><script>window.hit=1</script>{@html '<b onclick=hit=1>'}"
NASTY = f"{MARKUP}\x00\x1b[31m\u202e\n\t"
LONG = "op" * 500_000
PROCESS = "run_001/rank_0_dp_0"


def chain(count: int, name: str = "n", target: str = "aten.neg.default", layers: int = 1) -> dict[str, Any]:
    """Nodes one after another, in layers one after another."""
    per = max(1, count // layers)
    nodes: list[dict[str, Any]] = [{"id": 0, "name": "x", "op": "placeholder", "target": "x", "input": "x"}]
    nodes += [
        {"id": number, "name": f"{name}{number}", "op": "call_function", "target": target}
        | {"args": [{"node": number - 1}], "layer": min(layers - 1, number // per), "dtype": "float32", "shape": [8]}
        for number in range(1, count)
    ]
    nodes.append({"id": count, "name": "output", "op": "output", "target": "output", "args": [{"node": count - 1}]})
    paths = [["Model", f"layers.{number}: Layer"] for number in range(layers)]
    return {"nodes": nodes, "layers": paths, "sources": []}


def write(root: Path, tables: list[dict[str, Any]], stages: tuple[str, ...], name: str = "one") -> Path:
    """A dump of these graphs, one after another."""
    maker = DumpMaker(root / PROCESS)
    maker.compilation(name, function=name, file=name, model=name)
    for number, (table, stage) in enumerate(zip(tables, stages, strict=True)):
        nodes = maker.write(f"nodes/{number}.json", json.dumps({"schema": 1, **table}), "nodes")
        raw = maker.write(f"one/{number}.py", f"# {name}\nimport torch\n", "raw")
        facts = {"stage": "captured", "graph": f"graph{number}", "nodes": len(table["nodes"]), "ops_delta": {name: 1}}
        more = {"files": [nodes, raw], "layers": [], "changed": number > 0, "pass": name if number else None}
        maker.event("snapshot", name, selector=f"{name}/{stage}", **facts, **more)
    maker.end(name)
    maker.end()
    return root


STAGES = ("captured", "before_split", "after_split")


def markup(root: Path) -> Path:
    """Text that a browser or a terminal would obey, in every place that has a name."""
    tables = [chain(30, name=NASTY, target=NASTY, layers=3) for _ in STAGES]
    for number, table in enumerate(tables):
        table["layers"] = [["Model", f"layers.{index}{MARKUP}: {NASTY}"] for index in range(3)]
        table["sources"] = [{"file": NASTY, "line": 1, "function": NASTY, "code": NASTY}]
        for node in table["nodes"]:
            node |= {"source": 0, "dtype": NASTY, "provider": NASTY, "from": [node["id"]]}
        table["nodes"][5 + number]["kwargs"] = {NASTY: NASTY}
    stages = (*STAGES[:1], f"{STAGES[1]}{MARKUP.replace('/', '|')}", STAGES[2])
    return write(root, tables, stages, name=MARKUP.replace("/", "|"))


def long_names(root: Path) -> Path:
    tables = [chain(40, name=LONG, target=LONG, layers=2) for _ in STAGES]
    for number, table in enumerate(tables):
        table["layers"] = [["Model", f"{LONG}.{index}: {LONG}"] for index in range(2)]
        table["sources"] = [{"file": LONG, "line": 1, "function": LONG, "code": LONG}]
        table["nodes"][5 + number] |= {"source": 0, "dtype": LONG, "provider": LONG}
    return write(root, tables, STAGES)


def rings(root: Path) -> Path:
    """Origins that go in a circle, and far beyond."""
    tables = [chain(20) for _ in STAGES]
    for table in tables:
        for node in table["nodes"]:
            node["from"] = [(node["id"] + 1) % 20, node["id"], 10**9, -1]
    return write(root, tables, STAGES)


def huge(root: Path) -> Path:
    return write(root, [chain(100_000, layers=200), chain(99_999, layers=200)], STAGES[:2])


def missing_files(root: Path) -> Path:
    """A dump whose graphs and texts are gone."""
    make_dump(root)
    for path in [*root.glob("*/*/nodes/*"), *root.glob("*/*/backbone/**/*.py")]:
        path.unlink()
    return root
