"""A small decoder through our compiler with one fault in it: what a trial runs.

    python planted.py FAULT [BATCH ...]

Prints the sum of the outputs for each batch; exits 1 when they are not the model's own (the fault shows).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "compiler"))

import models
from planted_op import scaled

import cutaway
from cutaway.compiler.build.inductor import InductorCompiler
from cutaway.compiler.link.assembler import assemble

SPLITTING = models.SPLITTING
CONFIG: dict[str, Any] = {"splitting_ops": SPLITTING, "compile_ranges": ((1, 16), (17, 64)), "max_batch": 64}


class Scaled(nn.Module):
    """The decoder, with an op of ours behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = models.decoder()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return scaled(self.decoder(ids), 2.0)


class Poisoned(nn.Module):
    """The decoder, with a layer that makes NaN of large numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = models.decoder()
        with torch.no_grad():
            self.decoder.layers[2].norm_1.weight.fill_(float("inf"))
            self.decoder.layers[2].norm_1.weight[0] = 0.0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.decoder(ids)


def wrong_in_layer_3(graph: fx.Graph) -> None:
    """A pass that is wrong in one layer alone: its silu is divided by something else."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.neg.default):
        stack = [str(name) for name, _ in (node.meta.get("nn_module_stack") or {}).values()]
        if any("layers.3" in name or "layers'].modules['3'" in name or "layers[3]" in name for name in stack):
            with graph.inserting_after(node):
                twice = graph.call_function(torch.ops.aten.mul.Tensor, (node, 2.0))
                twice.meta = dict(node.meta)
            node.replace_all_uses_with(twice, delete_user_cb=lambda user, made=twice: user is not made)


def fine(graph: fx.Graph) -> None:
    """A pass that does no harm."""


def slow(graph: fx.Graph) -> None:
    """A pass that takes its time."""
    time.sleep(0.4)


def crashes(graph: fx.Graph) -> None:
    """A pass that fails in the last piece."""
    if any(tuple(node.meta["val"].shape)[-1:] == (128,) for node in graph.find_nodes(op="output")[0].all_input_nodes):
        raise RuntimeError("no such thing")


def wrong_sigmoid() -> None:
    """Inductor's code for sigmoid is made wrong, as a bug of its own would make it."""
    from torch._inductor.codegen.cpp import CppOverrides, CppVecOverrides  # noqa: PLC0415

    for owner in (CppOverrides, CppVecOverrides):
        original = owner.exp

        def exp(x: Any, original: Callable[..., Any] = original) -> Any:
            return original(f"({x} * {x})")

        owner.exp = staticmethod(exp)


def swapped(code: str) -> str:
    """Stitching code in which one piece gets two of its arguments the wrong way round."""
    lines = code.splitlines()
    at = next(i for i, line in enumerate(lines) if "= piece_04(s" in line)
    head, _, tail = lines[at].partition("(")
    parts = tail.rstrip(")").split(", ")
    parts[1], parts[3] = parts[3], parts[1]
    lines[at] = f"{head}({', '.join(parts)})"
    return "\n".join(lines) + "\n"


def swap_arguments() -> None:
    backend = import_module("cutaway.compiler.backend")

    def wrong(plan: Any, *args: Any, **kwargs: Any) -> Any:
        return assemble(replace(plan, code=swapped(plan.code)), *args, **kwargs)

    backend.assemble = wrong


def reuse_inputs() -> None:
    """What was compiled for piece_02 leaves its last activation in the memory of an input that is read again."""
    original = InductorCompiler.compile

    def compile_(self: InductorCompiler, task: Any) -> Any:
        made = original(self, task)
        if task.name != "piece_02":
            return made

        def run(*args: Any) -> Any:
            result = made(*args)
            (weight,) = [one for one in args if isinstance(one, torch.Tensor) and tuple(one.shape) == (256, 64)]
            weight[0] += 1.0
            return result

        return run

    InductorCompiler.compile = compile_  # type: ignore[method-assign]


def crash_in_kernel() -> None:
    """A kernel of piece_08 writes where it must not."""
    original = InductorCompiler.compile

    def compile_(self: InductorCompiler, task: Any) -> Any:
        made = original(self, task)
        if task.name != "piece_08":
            return made

        def run(*args: Any) -> Any:
            os.abort()

        return run

    InductorCompiler.compile = compile_  # type: ignore[method-assign]


def plant(fault: str) -> tuple[nn.Module, dict[str, Any]]:
    """The model and the configuration with a fault."""
    passes: dict[str, Any] = {"wrong_pass": wrong_in_layer_3, "slow_pass": slow, "crash_in_pass": crashes}
    config = dict(CONFIG)
    if fault in passes:
        config["post_grad_passes"] = (fine, passes[fault])
    if fault == "provider":
        config["ir_priority"] = {"scaled": ("quick", "native")}
        return Scaled().eval(), config
    if fault == "nan":
        return Poisoned().eval(), config
    in_process: dict[str, Callable[[], None]] = {
        "lowering": wrong_sigmoid,
        "swapped": swap_arguments,
        "donated": reuse_inputs,
        "crash": crash_in_kernel,
    }
    in_process.get(fault, lambda: None)()
    return models.decoder(), config


def main() -> None:
    fault, *sizes = sys.argv[1:]
    model, config = plant(fault)
    reference = Scaled().eval() if fault == "provider" else models.decoder()
    compiled = cutaway.compile(model, {**config, "disable_cache": fault != "stale"})
    wrong = False
    for size in map(int, sizes or ("8", "32")):
        torch.manual_seed(size)
        ids = models.tokens(size)
        with torch.no_grad():
            found, wanted = compiled(ids), reference(ids)
        print(f"{size}: {found.double().sum().item():.6f}", flush=True)
        wrong |= not torch.allclose(found, wanted, rtol=1e-3, atol=1e-3)
    sys.exit(int(wrong))


if __name__ == "__main__":
    main()
