"""How a dump grows with the model: node tables, raw graphs, bytes, against the folder that depyf leaves.

Compiles a Qwen3 of each length with vLLM's compiler on the CPU, nothing cached, once with Cutaway and once with
depyf. Equal graphs are stored once: what still grows is the graphs of the whole model.

    python benchmarks/size.py --layers 4 16 32 80
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _measure


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 16, 32, 80], metavar="N")
    arguments = parser.parse_args()
    layers = [4, 16] if arguments.quick else arguments.layers
    found = {count: {way: measure(count, way) for way in ("cutaway", "depyf")} for count in layers}
    head = ["", "node tables", "raw graphs", "files", "MB", "depyf: files", "MB", "folders"]
    rows = [
        [
            f"{count} layers",
            ways["cutaway"]["tables"],
            ways["cutaway"]["raw"],
            ways["cutaway"]["files"],
            f"{ways['cutaway']['bytes'] / 1e6:.1f}",
            ways["depyf"]["files"],
            f"{ways['depyf']['bytes'] / 1e6:.1f}",
            ways["depyf"]["folders"],
        ]
        for count, ways in found.items()
    ]
    _measure.report(arguments.json, {"layers": found}, __doc__ or "", [_measure.table(head, rows)])


def measure(layers: int, way: str) -> dict[str, Any]:
    with _measure.vllm_run(layers, way) as ran:
        files, size = _measure.written(ran.out)
        return {
            "files": files,
            "bytes": size,
            "folders": len({path.parent for path in ran.out.rglob("*") if path.is_file()}),
            "tables": len(list(ran.out.glob("*/*/nodes/*.json"))),
            "raw": sum(path.with_name(f"{path.stem}.layers.txt").exists() for path in scripts(ran.out)),
        }


def scripts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.py"))


if __name__ == "__main__":
    main()
