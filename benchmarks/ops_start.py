"""Cold starts of one model, written with the library's operators or in plain torch: what operators cost a compile.

The model is that of startup.py; with operators, normalisation and the gated activation are those of
``cutaway.ops.library``, the additions are fused into the normalisations, and all are lowered to ``native``. A start is
the first call of the built model in a process of its own, with nothing cached. The two take turns.

    python benchmarks/ops_start.py --layers 4 32 --repeat 5
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import _measure

SIDES = {"torch": False, "operators": True}
TOLERANCE = 1e-3


def main() -> None:
    parser = _measure.parser(__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 32], metavar="N")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="turns")
    arguments = parser.parse_args()
    layers = [4] if arguments.quick else arguments.layers
    found: dict[int, dict[str, list[dict[str, Any]]]] = {count: {side: [] for side in SIDES} for count in layers}
    start("operators", layers[0])  # reads the libraries from the disk for the first time
    for turn in range(1 if arguments.quick else arguments.repeat):
        for count in layers:
            for side in list(SIDES)[:: 1 if turn % 2 == 0 else -1]:
                found[count][side].append(start(side, count))
                print(f"{count} layers, {side}: {found[count][side][-1]['total']:.2f} s", file=sys.stderr)
    _measure.report(
        arguments.json, {str(count): sides for count, sides in found.items()}, __doc__ or "", [_table(found)]
    )


def _table(found: dict[int, dict[str, list[dict[str, Any]]]]) -> str:
    rows: list[list[object]] = []
    for count, sides in found.items():
        plain = sides["torch"]
        for side, starts in sides.items():
            pairs = list(zip(starts, plain, strict=True))
            ratios = [median(one[key] / other[key] for one, other in pairs) for key in ("total", "cpu")]
            rows.append(
                [
                    f"{count} layers, {side}",
                    f"{median(one['total'] for one in starts):.2f}",
                    f"{median(one['cpu'] for one in starts):.2f}",
                    *(f"{ratio:.2f}" if side != "torch" else "" for ratio in ratios),
                    starts[0]["matched"],
                    starts[0]["lowered"],
                    starts[0]["traced"],
                ]
            )
    head = [
        "cold start", "median, s", "processor time, s", "against torch", "processor time against torch",
        "fusions", "lowered", "traced for it",
    ]  # fmt: skip
    return _measure.table(head, rows)


def start(side: str, layers: int) -> dict[str, Any]:
    """One cold start in a process of its own.

    Raises:
        SystemExit: what it computes is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = _measure.run_python(
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import ops_start; "
            f"ops_start.child({SIDES[side]}, {layers})",
            CUTAWAY="0",
            CUTAWAY_CACHE_ROOT=str(Path(folder) / "cutaway"),
            TORCHINDUCTOR_CACHE_DIR=str(Path(folder) / "inductor"),
        )
    if not found["error"] < TOLERANCE:
        raise SystemExit(f"the result with {layers} layers in {side} is off by {found['error']}")
    return found


def child(ir: bool, layers: int) -> None:
    """Start the model in this process, and print what it took as JSON."""
    import _decoder  # noqa: PLC0415  (the parent needs none of these)
    import torch  # noqa: PLC0415
    import torch._inductor.compile_fx  # noqa: PLC0415

    import cutaway.compiler.backend  # noqa: PLC0415

    _decoder.define_attention()
    with torch.no_grad():
        torch.manual_seed(0)
        config = {"splitting_ops": [_decoder.SPLITTING], "max_batch": 2048, "progress": False}
        model = cutaway.compile(_decoder.Decoder(layers, ir=ir), config, dynamic_arg_dims={"ids": 0})
        ids = torch.arange(16) * 7
        began, cpu = perf_counter(), _measure.cpu_seconds()
        model(ids)
        total, cpu = perf_counter() - began, _measure.cpu_seconds() - cpu
        torch.manual_seed(0)
        error = float((model(ids) - _decoder.Decoder(layers)(ids)).abs().max())
    counters = model.counters
    facts = {"matched": counters.patterns_matched, "lowered": counters.nodes_lowered}
    print(json.dumps({"total": total, "cpu": cpu, "error": error, "traced": counters.replacements_traced, **facts}))


if __name__ == "__main__":
    main()
