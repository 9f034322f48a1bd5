"""The piecewise compiler: what vLLM-compile does, as a library for any PyTorch model.

    model = cutaway.compile(model, CompilationConfig(splitting_ops=["attn::unified"]))

The folders stand in the order in which the work flows: capture, split, passes, build, cache, link, run. Names that
vLLM-compile has are borne by what does the same here; all of them can be imported from this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cutaway.compiler.api import CompiledModel as CompiledModel
    from cutaway.compiler.api import compile as compile  # noqa: A004  (the name that everybody looks for)
    from cutaway.compiler.api import set_compilation_config as set_compilation_config
    from cutaway.compiler.api import set_model_tag as set_model_tag
    from cutaway.compiler.api import set_on_compilation_complete as set_on_compilation_complete
    from cutaway.compiler.api import support_torch_compile as support_torch_compile
    from cutaway.compiler.backend import CutawayBackend as CutawayBackend
    from cutaway.compiler.build.interface import Compiled as Compiled
    from cutaway.compiler.build.interface import CompilerInterface as CompilerInterface
    from cutaway.compiler.build.interface import Task as Task
    from cutaway.compiler.build.interpreter import PiecewiseBackend as PiecewiseBackend
    from cutaway.compiler.build.interpreter import PiecewiseCompileInterpreter as PiecewiseCompileInterpreter
    from cutaway.compiler.build.make import make_compiler as make_compiler
    from cutaway.compiler.build.ranges import Range as Range
    from cutaway.compiler.cache.manager import CompilerManager as CompilerManager
    from cutaway.compiler.config import CompilationConfig as CompilationConfig
    from cutaway.compiler.config import CUDAGraphMode as CUDAGraphMode
    from cutaway.compiler.config import DynamicShapes as DynamicShapes
    from cutaway.compiler.config import Part as Part
    from cutaway.compiler.counters import CompilationCounter as CompilationCounter
    from cutaway.compiler.link.buffers import make_copy_and_call as make_copy_and_call
    from cutaway.compiler.link.stitching import compile_execution_fn as compile_execution_fn
    from cutaway.compiler.link.stitching import generate_execution_code as generate_execution_code
    from cutaway.compiler.passes.context import PassContext as PassContext
    from cutaway.compiler.passes.context import PassReport as PassReport
    from cutaway.compiler.passes.context import get_pass_context as get_pass_context
    from cutaway.compiler.passes.context import pass_context as pass_context
    from cutaway.compiler.passes.inductor_pass import CutawayPass as CutawayPass
    from cutaway.compiler.passes.inductor_pass import InductorPass as InductorPass
    from cutaway.compiler.passes.manager import PassManager as PassManager
    from cutaway.compiler.passes.order import after as after
    from cutaway.compiler.passes.order import before as before
    from cutaway.compiler.run.context import BatchDescriptor as BatchDescriptor
    from cutaway.compiler.run.context import allow_capture as allow_capture
    from cutaway.compiler.run.context import batch_context as batch_context
    from cutaway.compiler.run.cuda_graph import wrap_with_cudagraph_if_needed as wrap_with_cudagraph_if_needed
    from cutaway.compiler.split.item import SplitItem as SplitItem
    from cutaway.compiler.split.lift import LayerName as LayerName
    from cutaway.compiler.split.ops import splitting_op as splitting_op
    from cutaway.compiler.split.partition import split_graph as split_graph

_HOME = {
    "api": (
        "CompiledModel",
        "compile",
        "set_compilation_config",
        "set_model_tag",
        "set_on_compilation_complete",
        "support_torch_compile",
    ),
    "backend": ("CutawayBackend",),
    "build.interface": ("Compiled", "CompilerInterface", "Task"),
    "build.interpreter": ("PiecewiseBackend", "PiecewiseCompileInterpreter"),
    "build.make": ("make_compiler",),
    "build.ranges": ("Range",),
    "cache.manager": ("CompilerManager",),
    "config": ("CUDAGraphMode", "CompilationConfig", "DynamicShapes", "Part"),
    "counters": ("CompilationCounter",),
    "link.buffers": ("make_copy_and_call",),
    "link.stitching": ("compile_execution_fn", "generate_execution_code"),
    "passes.context": ("PassContext", "PassReport", "get_pass_context", "pass_context"),
    "passes.inductor_pass": ("CutawayPass", "InductorPass"),
    "passes.manager": ("PassManager",),
    "passes.order": ("after", "before"),
    "run.context": ("BatchDescriptor", "allow_capture", "batch_context"),
    "run.cuda_graph": ("wrap_with_cudagraph_if_needed",),
    "split.item": ("SplitItem",),
    "split.lift": ("LayerName",),
    "split.ops": ("splitting_op",),
    "split.partition": ("split_graph",),
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "BatchDescriptor",
    "CUDAGraphMode",
    "CompilationConfig",
    "CompilationCounter",
    "Compiled",
    "CompiledModel",
    "CompilerInterface",
    "CompilerManager",
    "CutawayBackend",
    "CutawayPass",
    "DynamicShapes",
    "InductorPass",
    "LayerName",
    "Part",
    "PassContext",
    "PassManager",
    "PassReport",
    "PiecewiseBackend",
    "PiecewiseCompileInterpreter",
    "Range",
    "SplitItem",
    "Task",
    "after",
    "allow_capture",
    "batch_context",
    "before",
    "compile",
    "compile_execution_fn",
    "generate_execution_code",
    "get_pass_context",
    "make_compiler",
    "make_copy_and_call",
    "pass_context",
    "set_compilation_config",
    "set_model_tag",
    "set_on_compilation_complete",
    "split_graph",
    "splitting_op",
    "support_torch_compile",
    "wrap_with_cudagraph_if_needed",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'cutaway.compiler' has no attribute {name!r}")
    return getattr(import_module(f"cutaway.compiler.{_MODULE[name]}"), name)
