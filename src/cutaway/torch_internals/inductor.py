"""Inductor: artifacts, kernels, passes, settings, the graph it takes."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
import functools
import platform
import sys
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import fx

from cutaway.torch_internals.swap import loaded, patch_method


def patch_cpp_kernels(make: Callable[[Any], Any]) -> Callable[[], None]:
    """Put ``make(original)`` in the place of ``AsyncCompile.cpp_pybinding(argtypes, source)``; returns the undo.

    Generated code calls it for every C++ kernel; torch has no hook there (torch/_inductor/async_compile.py).
    """
    from torch._inductor.async_compile import AsyncCompile  # noqa: PLC0415  (Inductor is heavy)

    return patch_method(AsyncCompile, "cpp_pybinding", make)


def library_of_kernel(kernel: Any) -> str | None:
    """The shared library that a C++ kernel (or the future of one) was loaded from."""
    result = kernel.result() if hasattr(kernel, "result") else kernel
    return getattr(getattr(result, "__self__", None), "__file__", None)


def load_cpp_kernel(library: Path, name: str) -> Any:
    """A C++ kernel out of its shared library, as ``CppPythonBindingsCodeCache`` would load what it has just built."""
    from torch._inductor.codecache import CppPythonBindingsCodeCache  # noqa: PLC0415  (Inductor is heavy)

    return CppPythonBindingsCodeCache._load_library_inner(str(library), name).kernel


def serialize_artifact(artifact: Any) -> bytes | None:
    """A ``standalone_compile(aot=True)`` artifact as bytes; its own ``save`` adds a header that we keep ourselves.

    None when there is nothing to keep: torch makes an artifact while it asks its own caches, and had them passed by
    (``TORCHINDUCTOR_FX_GRAPH_CACHE=0``, or what stands in torch/_functorch/_aot_autograd/autograd_cache.py).
    """
    return artifact.serialize() if artifact.inner_fn.serialize is not None else None


def deserialize_artifact(data: bytes) -> Callable[..., Any]:
    """What :func:`serialize_artifact` wrote, runnable (torch/_inductor/standalone_compile.py)."""
    from torch._inductor.standalone_compile import AOTCompiledArtifact  # noqa: PLC0415  (Inductor is heavy)

    return AOTCompiledArtifact.deserialize(data)


@functools.cache
def inductor_source_key() -> str:
    """A digest of torch's own compiler sources (torch/_inductor/codecache.py, ``torch_key``)."""
    from torch._inductor.codecache import torch_key  # noqa: PLC0415  (Inductor is heavy)

    return torch_key().hex()


def inductor_cache_folder() -> Path | None:
    """Where Inductor keeps what it compiles (torch/_inductor/runtime/cache_dir_utils.py); None before it is loaded."""
    module = loaded("torch._inductor.runtime.cache_dir_utils")
    return Path(module.cache_dir()) if module is not None else None


def lazy_graph_module(root: dict[str, Any], graph: fx.Graph) -> fx.GraphModule:
    """A GraphModule whose code is generated when it is first run or read (torch/fx/_lazy_graph_module.py).

    Generating it costs some 45 us a node, and most pieces are compiled, or equal to one that is, but never run.
    """
    from torch.fx._lazy_graph_module import _LazyGraphModule  # noqa: PLC0415  (private: kept in one place)

    return _LazyGraphModule(root, graph)


@contextmanager
def inductor_partition_wrapper(wrap: Callable[[Callable[..., Any], int, int], Callable[..., Any]]) -> Generator[None]:
    """Have Inductor pass each partition that it cuts through ``wrap(function, index, how many there are)``.

    torch/_inductor/utils.py, ``set_customized_partition_wrappers``, has one place for it in the whole process.
    """
    from torch._inductor import utils  # noqa: PLC0415  (Inductor is heavy)

    earlier = utils._unstable_customized_partition_wrapper.wrapper
    utils.set_customized_partition_wrappers(
        lambda function, metadata: wrap(function, metadata.partition_index, metadata.num_partitions)
    )
    try:
        yield
    finally:
        utils._unstable_customized_partition_wrapper.wrapper = earlier


def forget_generated_code(paths: Collection[Path]) -> None:
    """Let files of generated code be read again when they are loaded (PyCodeCache in torch/_inductor/codecache.py).

    Inductor reads each path once in a process, so that what a person edits after that would have no effect.
    """
    codecache = loaded("torch._inductor.codecache")
    known: dict[str, Any] = codecache.PyCodeCache.modules_no_attr if codecache is not None else {}
    for path in [path for path in known if Path(path) in paths]:
        del known[path]


def is_generated_code(names: Mapping[str, Any]) -> bool:
    """Whether these are the global names of a file that Inductor generated (torch/_inductor/codegen/wrapper.py).

    torch says so of no function (PyCodeCache knows not all of them); a person who looks for wrong code must know which
    one ran.
    """
    return "assert_size_stride" in names and "empty_strided_cpu" in names and "call" in names


def settings_of_torch() -> dict[str, dict[str, Any]]:
    """Every setting that the compile of a graph may look at, by module: values that are keys of torch's own caches.

    ``save_config_portable`` (torch/utils/_config_module.py) leaves out what does not change code (threads, places).
    """
    names = ("torch._inductor.config", "torch._functorch.config", "torch.fx.experimental._config")
    modules: list[Any] = [import_module(name) for name in names]
    return {
        name: module.save_config_portable(ignore_private_configs=False, readonly_values=True)
        for name, module in zip(names, modules, strict=True)
    }


def default_of(module: str, name: str) -> Any:
    """What one of those settings is in torch's source. (Whether it was ever set says less: torch sets many anew.)"""
    config: Any = sys.modules[module]
    return config._config[name].default


_INDUCTOR_PASSES = (
    "pre_grad_custom_pass", "joint_custom_pre_pass", "joint_custom_post_pass", "post_grad_custom_pre_pass",
    "post_grad_custom_post_pass", "_pre_fusion_custom_pass", "_post_fusion_custom_pass", "custom_partitioner_fn",
    "_fuse_ddp_communication_passes", "external_matmul",
)  # fmt: skip


def passes_of_inductor() -> dict[str, Any]:
    """Passes that somebody has put into Inductor's settings: they are not in :func:`settings_of_torch`."""
    import torch._inductor.config  # noqa: PLC0415  (Inductor's settings import much)

    found = {name: getattr(torch._inductor.config, name, None) for name in _INDUCTOR_PASSES}
    common = loaded("torch._inductor.codegen.common")
    found |= {f"backend.{name}": made for name, made in getattr(common, "custom_backend_passes", {}).items()}
    default = default_of("torch._inductor.config", "_fuse_ddp_communication_passes")
    return {name: made for name, made in found.items() if made and made != default}


def custom_graph_pass() -> type:
    """The class of passes that Inductor takes and keys its caches with (torch/_inductor/custom_graph_pass.py)."""
    from torch._inductor.custom_graph_pass import CustomGraphPass  # noqa: PLC0415  (Inductor is heavy)

    return CustomGraphPass


def standalone_compile(graph: fx.GraphModule, inputs: Sequence[Any], **options: Any) -> Any:
    """Compile one graph to an artifact that can be kept (torch/_inductor/__init__.py)."""
    import torch._inductor as inductor  # noqa: PLC0415  (Inductor is heavy)

    return inductor.standalone_compile(graph, list(inputs), **options)


def inductor_compile(graph: fx.GraphModule, inputs: Sequence[Any]) -> Any:
    """A graph compiled for these inputs, for this process alone (torch/_inductor/__init__.py)."""
    import torch._inductor as inductor  # noqa: PLC0415  (Inductor is heavy)

    return inductor.compile(graph, list(inputs))


@contextmanager
def without_inductor_caches() -> Generator[None]:
    """Within the block, Inductor reads and writes none of its caches (``force_disable_caches`` of its settings)."""
    import torch._inductor.config  # noqa: PLC0415  (Inductor's settings import much)

    with torch._inductor.config.patch(force_disable_caches=True):
        yield


def compile_in_this_thread() -> None:
    """From now on Inductor compiles in the thread that asks (``compile_threads`` of its settings).

    For a copy of a process (``os.fork``): torch/_inductor/async_compile.py keeps a pool, and no thread of it is copied.
    """
    import torch._inductor.config  # noqa: PLC0415  (Inductor's settings import much)

    torch._inductor.config.compile_threads = 1


def patch_torch_compile(around: Callable[..., Any]) -> Callable[[], None]:
    """Let ``torch.compile``'s backend go to ``around(original, wrapper, graph, inputs, **patches)``; returns the undo.

    torch/__init__.py, ``_TorchCompileInductorWrapper.__call__``: what Dynamo hands a graph to by default. There is no
    hook that sees the graph and what was compiled of it together.
    """

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def call(self: Any, graph: Any, inputs: Any, **patches: Any) -> Any:
            return around(original, self, graph, inputs, **patches)

        return call

    return patch_method(torch._TorchCompileInductorWrapper, "__call__", make)


def patch_disabled_passes(is_off: Callable[[str], bool]) -> Callable[[], None]:
    """Skip those of Inductor's named passes for which ``is_off(name)`` is true; returns the undo.

    torch/fx/passes/graph_transform_observer.py, ``_check_disable_pass``: asked once before each run of each. What is
    there (``torch._inductor.config.disabled_passes``, ``CompilerBisector``) takes parts of names, or needs torch's own
    bisection to be going on.
    """
    from torch.fx.passes.graph_transform_observer import GraphTransformObserver  # noqa: PLC0415

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def check(self: Any) -> bool:
            return is_off(self.passname) or original(self)

        return check

    return patch_method(GraphTransformObserver, "_check_disable_pass", make)


@contextmanager
def generated_code(replace: Callable[[str], str]) -> Generator[None]:
    """Within the block, what Inductor generates goes through ``replace(text)`` before it is written and loaded.

    torch/_inductor/graph.py, ``GraphLowering._compile_to_module_lines``: torch shows the text there
    (``save_output_code``), but takes none back.
    """
    from torch._inductor.graph import GraphLowering  # noqa: PLC0415  (Inductor is heavy)

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def write(self: Any, wrapper_code: Any) -> Any:
            text = replace(wrapper_code.value)
            if text != wrapper_code.value:
                wrapper_code.value, wrapper_code.line_map = text, []
            return original(self, wrapper_code)

        return write

    undo = patch_method(GraphLowering, "_compile_to_module_lines", make)
    try:
        yield
    finally:
        undo()


def cause_of(error: Exception) -> Exception:
    """What Inductor raised its own error for (torch/_inductor/exc.py), or the error itself."""
    return getattr(error, "inner_exception", error)


def load_unpacked_artifact(folder: Path) -> Callable[..., Any]:
    """An artifact that was kept as files (torch/_inductor/standalone_compile.py)."""
    import torch._inductor as inductor  # noqa: PLC0415  (Inductor is heavy)

    return inductor.CompiledArtifact.load(path=str(folder), format="unpacked")


def probe_vector_instructions() -> None:
    """Let Inductor find out what the processor can do; it keeps the answer (torch/_inductor/cpu_vec_isa.py).

    The answer comes from small C++ programs that are built and run, once for a process; here several at a time.
    """
    from torch._inductor import cpu_vec_isa  # noqa: PLC0415  (Inductor is heavy)

    with contextlib.suppress(Exception), ThreadPoolExecutor(max_workers=4) as pool:
        flags = cpu_vec_isa.x86_isa_checker() if platform.machine() in ("x86_64", "AMD64") else []
        likely = [isa for isa in cpu_vec_isa.supported_vec_isa_list if all(f in flags for f in str(isa).split())]
        list(pool.map(bool, likely))
    cpu_vec_isa.valid_vec_isa_list()
