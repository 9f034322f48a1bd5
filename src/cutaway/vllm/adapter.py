"""Tells the recorder where in vLLM's compile it is: model tag, split, piece, range, pass, caches.

Nothing of vLLM is replaced: methods are wrapped, and call what they wrap. A name that this vLLM does not have costs
one warning and what only it could tell; what torch itself shows is recorded all the same.
"""

from __future__ import annotations

import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import fx

from cutaway import torch_internals
from cutaway.record.context import at, range_name
from cutaway.record.hooks import Payload
from cutaway.record.recording import Process, record_process
from cutaway.record.split import record_split
from cutaway.vllm.host import VllmHost

_PASS = re.compile(r"post_grad(?:\.(\d+))?\.(\w+)\.(before|after)$")
_NUMBERS = re.compile(r"\d+")
_SUBMODULE = re.compile(r"submod_(\d+)$")
_CALL = re.compile(r"__vllm_submods__\[(\d+)\]")
KNOWN_VERSIONS = ("0.30", "0.31", "0.32")


def activate(path: str) -> Adapter | None:
    """Begin to record vLLM in this process, once. Returns None, after a warning, when that is not possible."""
    try:
        process = record_process(path, VllmHost())
        if not isinstance(process.recorder.host, VllmHost):
            process.recorder.host = VllmHost()
        if process.adapter is None:
            process.adapter = Adapter(process)
            process.adapter.install()
        return process.adapter
    except Exception as error:  # noqa: BLE001  (vLLM must start whatever happens here)
        warnings.warn(f"cutaway: vLLM will not be recorded: {type(error).__name__}: {error}", RuntimeWarning, 2)
        return None


def piece_name(submodule: str) -> str:
    """vLLM's ``submod_2`` as ``piece_02``."""
    match = _SUBMODULE.match(submodule)
    return f"piece_{int(match.group(1)):02d}" if match else submodule


class Adapter:
    """The wrapped methods of vLLM, and what they have told so far."""

    def __init__(self, process: Process) -> None:
        self.recorder, self.hooks = process.recorder, process.hooks
        host = process.recorder.host
        assert isinstance(host, VllmHost)
        self.host = host
        self.pieces: dict[int, tuple[fx.GraphModule, str]] = {}
        self.loading = threading.local()
        self.loaded: dict[int, tuple[Any, list[Any]]] = {}
        self.missing: list[str] = []

    def install(self) -> None:
        """Wrap what there is to wrap in this version of vLLM."""
        self.hooks.graphs.append(self.logged_graph)
        self.hooks.records["vllm_execution_code"] = self.execution_code
        self.hooks.sink = self.loaded_code
        wrapper = "vllm.compilation.wrapper:TorchCompileWithNoGuardsWrapper"
        self.wrap("vllm.config.compilation:CompilationConfig", "init_backend", self.init_backend)
        self.wrap("vllm.config.vllm:VllmConfig", "compile_debug_dump_path", self.no_depyf)
        self.wrap(wrapper, "aot_compile", self.compile_model)
        self.wrap(wrapper, "__call__", self.compile_model)
        self.wrap("vllm.compilation.backends:VllmBackend", "__call__", self.backend)
        self.wrap("vllm.compilation.backends:CompilerManager", "compile", self.compile_piece)
        self.wrap("vllm.compilation.decorators", "_try_load_aot_compiled_fn", self.load_model)
        self.wrap("vllm.compilation.caching:StandaloneCompiledArtifacts", "load_all", self.load_pieces)
        self.wrap("torch._inductor.standalone_compile:AOTCompiledArtifact", "deserialize", self.load_artifact)
        passes = "vllm.compilation.passes.vllm_inductor_pass:VllmPatternMatcherPass"
        self.wrap(passes, "dump_patterns", self.dump_patterns)
        version = str(import_module("vllm").__version__)
        if self.missing or not version.startswith(KNOWN_VERSIONS):
            lacks = f" It lacks {', '.join(self.missing)}." if self.missing else ""
            warnings.warn(
                f"cutaway: vLLM {version} is not one of those it was made for ({', '.join(KNOWN_VERSIONS)}).{lacks} "
                "What torch shows is recorded; pieces and ranges may be missing.",
                RuntimeWarning,
                2,
            )

    def wrap(self, where: str, name: str, around: Callable[..., Any]) -> None:
        """Replace ``where``'s ``name`` by a function that calls ``around(original, *args, **kwargs)``."""
        module_name, _, class_name = where.partition(":")
        try:
            module = import_module(module_name)
            owner: Any = getattr(module, class_name) if class_name else module
            held = vars(owner)[name]
        except (ImportError, AttributeError, KeyError):
            self.missing.append(f"{where}.{name}")
            return
        original = held.__func__ if isinstance(held, (staticmethod, classmethod)) else held

        @wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        setattr(owner, name, type(held)(wrapped) if isinstance(held, (staticmethod, classmethod)) else wrapped)

    # -- model ------------------------------------------------------------------------------------------

    def init_backend(self, original: Any, config: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> Any:
        self.host.config = vllm_config
        return original(config, vllm_config, *args, **kwargs)

    def no_depyf(self, original: Any, config: Any) -> None:
        """vLLM writes its depyf dump where this says; with None it imports no depyf and writes nothing."""
        return getattr(self.loading, "patterns", None)

    def model_place(self, model: Any) -> AbstractContextManager[None]:
        """The place of a model: vLLM's tag (``backbone``, ``eagle_head``, an encoder's class) and the architecture."""
        tag = getattr(model, "_compile_tag", "") or getattr(model, "_compile_prefix", "")
        tag = tag or getattr(import_module("vllm.compilation.backends"), "model_tag", "") or "backbone"
        return at(compilation=tag, model=self.host.model)

    def compile_model(self, original: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        self.host.config = getattr(model, "vllm_config", self.host.config)
        if getattr(model, "_cutaway_compiled", False):
            return original(model, *args, **kwargs)
        with self.model_place(model):
            result = original(model, *args, **kwargs)
            self.recorder.guarded(self.finished)()
        object.__setattr__(model, "_cutaway_compiled", True)
        return result

    def finished(self) -> None:
        compilation = self.recorder.known()
        if compilation is not None and not compilation.finished:
            self.recorder.finish(compilation)

    def backend(self, original: Any, backend: Any, graph: fx.GraphModule, inputs: Any) -> Any:
        self.recorder.guarded(self.recorder.graph)("before_split", graph)
        return original(backend, graph, inputs)

    # -- pieces -----------------------------------------------------------------------------------------

    def logged_graph(self, name: str, gm: fx.GraphModule) -> bool:
        if name == "before split":
            return True  # vLLM logs it after it has split; see ``backend``
        if name == "after split":
            pieces = {child: piece_name(child) for child, _ in gm.named_children() if _SUBMODULE.match(child)}
            self.pieces = {id(gm.get_submodule(child)): (gm, piece) for child, piece in pieces.items()}
            record_split(self.recorder, gm, pieces)
            return True
        match = _PASS.match(name)
        if match is None:
            return name.startswith("post_grad.")
        number, pass_name, when = match.groups()
        if when == "before":
            self.hooks.begin_pass(gm)
            return True
        part = "pre_grad" if self.recorder.scope().part == "pre_grad" else "post_grad"
        leaf = f"{part}.{number}.{pass_name}" if number is not None else f"{part}.{pass_name}"
        stage = "custom_pass" if part == "post_grad" else "pre_grad_pass"
        found = torch_internals.caller(lambda names: hasattr(names.get("self"), "selected_impls"), depth=12)
        taken = {} if found is None else _merged(found["self"].selected_impls)
        number_or_none = int(number) if number is not None else None
        self.hooks.end_pass(stage, gm, pass_name, leaf, number_or_none, providers=taken or None)
        return True

    def compile_piece(
        self, original: Any, manager: Any, graph: fx.GraphModule, *args: Any, compile_range: Any, **kwargs: Any
    ) -> Any:
        index = kwargs.get("graph_index", 0)
        known = self.pieces.get(id(graph))
        piece = known[1] if known else f"piece_{index:02d}"
        before = dict(manager.loaded_artifacts)
        stored = (compile_range, index, manager.compiler.name) in manager.cache
        with at(piece=piece, range=range_name(compile_range.start, compile_range.end)):
            result = original(manager, graph, *args, compile_range=compile_range, **kwargs)
            self.recorder.guarded(self.piece_compiled)(manager, result, before, stored)
        return result

    def piece_compiled(self, manager: Any, result: Any, before: Mapping[str, Any], stored: bool) -> None:
        key = next((key for key, artifact in manager.loaded_artifacts.items() if artifact is result), None)
        shared = any(artifact is result for artifact in before.values())
        self.recorder.cache("vllm_piece", "load" if stored else "shared" if shared else "store", key)

    def execution_code(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        text = str(payload_fn())
        compilation = self.recorder.current()
        layers = compilation.piece_layers
        names = list(dict.fromkeys(re.findall(r"submod_\d+", text)))
        found = torch_internals.caller(lambda local: isinstance(local.get("submod_names"), list), depth=12)
        names = found["submod_names"] if found else names
        lines: list[str] = []
        for line in text.splitlines():
            match = _CALL.search(line)
            if match and int(match.group(1)) < len(names):
                piece = piece_name(names[int(match.group(1))])
                line += f"  # {piece}" + (f": {layers[piece]}" if piece in layers else "")
            lines.append(line)
        ranges = ", ".join(sorted({scope.name for scope in compilation.root.walk() if scope.name.startswith("range_")}))
        note = f"# {compilation.name}: the function that runs at every step. Each piece is compiled for: {ranges}.\n"
        self.recorder.code("execution_code", note + "\n".join(lines) + "\n", leaf="execution_code", file="99.execution_code.py")

    # -- caches and warm starts -------------------------------------------------------------------------

    def load_model(self, original: Any, model: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        self.host.config = getattr(model, "vllm_config", self.host.config)
        with self.model_place(model):
            loaded = original(model, path, *args, **kwargs)
            result = "miss" if loaded is None else "hit"
            self.recorder.guarded(self.recorder.cache)("vllm_aot", result, Path(path).parent.parent.name)
            if loaded is not None:
                self.recorder.guarded(self.finished)()
        return loaded

    def load_artifact(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        self.loading.codes = codes = []
        try:
            artifact = original(*args, **kwargs)
        finally:
            self.loading.codes = None
        self.loaded[id(artifact)] = (artifact, codes)
        return artifact

    def loaded_code(self, source: str, post_grad: str | None, key: str | None) -> bool:
        """Keep code that comes out of an artifact until it is known whose it is (vLLM loads them in threads)."""
        codes = getattr(self.loading, "codes", None)
        if codes is None:
            return False
        codes.append((source, post_grad, key))
        return True

    def load_pieces(self, original: Any, artifacts: Any) -> Any:
        result = original(artifacts)
        self.recorder.guarded(self.pieces_loaded)(artifacts)
        return result

    def pieces_loaded(self, artifacts: Any) -> None:
        for name in artifacts.submodule_bytes:
            submodule, _, shape = name.rpartition("_")
            start, end = (*_NUMBERS.findall(shape), "0", "0")[:2]
            artifact = artifacts.get_loaded(submodule, shape)
            with at(piece=piece_name(submodule), range=range_name(int(start), int(end))):
                self.recorder.cache("vllm_piece", "load", artifacts.submodule_bytes[name])
                for source, post_grad, key in self.loaded.get(id(artifact), (None, []))[1]:
                    self.hooks.write_output_code(self.recorder.scope(), source, post_grad, True, key)
        self.loaded.clear()

    def dump_patterns(self, original: Any, owner: Any, config: Any, patterns: Any) -> None:
        """Let vLLM print its patterns aside, and record the text."""
        with tempfile.TemporaryDirectory() as folder:
            self.loading.patterns = Path(folder)
            try:
                original(owner, config, patterns)
            finally:
                self.loading.patterns = None
            for file in sorted(Path(folder).iterdir()):
                write = self.recorder.guarded(self.recorder.code)
                write("patterns", file.read_text(), leaf=f"patterns/{owner.pass_name}", file=f"patterns/{owner.pass_name}.py")


def _merged(by_op: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {node: provider for nodes in by_op.values() for node, provider in nodes.items()}
