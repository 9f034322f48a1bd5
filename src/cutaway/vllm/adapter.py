"""Tells the recorder where in vLLM's compile it is: model tag, split, piece, range, pass, caches.

Nothing of vLLM is replaced but where it puts its depyf dump: methods are wrapped, and call what they wrap. A name that
this vLLM does not have costs one warning and what only it could tell; what torch shows is recorded all the same.
"""

from __future__ import annotations

import re
import tempfile
import threading
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from torch import fx

from cutaway import torch_internals
from cutaway.record.compilation import Compilation
from cutaway.record.context import at, range_name
from cutaway.record.hooks import Payload
from cutaway.record.kept.keep import keep_artifact, keep_compilation
from cutaway.record.kept.place import Place
from cutaway.record.output_code import Generated
from cutaway.record.recording import Process, record_process
from cutaway.record.split import comment_execution_code, record_split
from cutaway.record.watch import Watcher
from cutaway.vllm.cache import KeyWatch
from cutaway.vllm.host import VllmHost

_PASS = re.compile(r"post_grad(?:\.(\d+))?\.(\w+)\.(before|after)$")
_SUBMODULE = re.compile(r"submod_(\d+)$")
_ASIDE = re.compile(r"\.\d+\.tmp$")  # vLLM writes an artifact beside its place, then renames it
KNOWN_VERSIONS = ("0.30", "0.31", "0.32")


def activate(path: str) -> Adapter | None:
    """Begin to record vLLM in this process, once. Returns None, after a warning, when that is not possible."""
    try:
        process = record_process(path, VllmHost())
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
    """The watched methods of vLLM, and what they have told so far."""

    def __init__(self, process: Process) -> None:
        self.recorder, self.hooks = process.recorder, process.hooks
        self.host = VllmHost()
        self.recorder.join(self.host)
        self.pieces: dict[int, tuple[Any, str]] = {}
        self.here = threading.local()  # what this thread is inside of
        self.loaded: dict[int, tuple[Any, list[Generated]]] = {}
        self.names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self.keys = KeyWatch(self.recorder)

    def install(self) -> None:
        """Watch what there is to watch in this version of vLLM."""
        self.hooks.stages.handlers.append(self.logged_graph)
        self.hooks.trace.records["vllm_execution_code"] = self.execution_code
        self.hooks.artifacts.sink = self.keep_loaded_code
        watcher = Watcher(self.recorder)
        wrapper = "vllm.compilation.wrapper:TorchCompileWithNoGuardsWrapper"
        manager = "vllm.compilation.backends:CompilerManager"
        artifacts = "vllm.compilation.caching:StandaloneCompiledArtifacts"
        watcher.watch("vllm.config.compilation:CompilationConfig", "init_backend", place=self.configured)
        watcher.replace("vllm.config.vllm:VllmConfig", "compile_debug_dump_path", self.no_depyf)
        watcher.watch(wrapper, "aot_compile", place=self.model)
        watcher.watch(wrapper, "__call__", place=self.model)
        watcher.watch(manager, "compile", place=self.piece)
        watcher.watch(
            "vllm.compilation.decorators", "_try_load_aot_compiled_fn", place=self.loading, after=self.model_loaded
        )
        watcher.watch("torch._dynamo.aot_compile:AOTCompiledFunction", "save_compiled_function", after=self.model_saved)
        watcher.watch(artifacts, "load_all", after=self.pieces_loaded)
        watcher.replace("torch._inductor.standalone_compile:AOTCompiledArtifact", "deserialize", self.load_artifact)
        watcher.replace(
            "vllm.compilation.passes.vllm_inductor_pass:VllmPatternMatcherPass", "dump_patterns", self.patterns
        )
        self.keys.install(watcher)
        version = str(import_module("vllm").__version__)
        if watcher.missing or not version.startswith(KNOWN_VERSIONS):
            lacks = f" It lacks {', '.join(watcher.missing)}." if watcher.missing else ""
            warnings.warn(
                f"cutaway: vLLM {version} is not one of those this was made for ({', '.join(KNOWN_VERSIONS)}).{lacks} "
                "What torch shows is recorded; pieces, ranges or providers may be missing.",
                RuntimeWarning,
                2,
            )

    # -- the model --------------------------------------------------------------------------------------

    def configured(self, config: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> None:
        self.host.config = vllm_config

    def no_depyf(self, original: Any, config: Any) -> Path | None:
        """vLLM dumps with depyf into what this returns; for None it imports no depyf and writes nothing."""
        return getattr(self.here, "patterns", None)

    @contextmanager
    def model(self, model: Any, *args: Any, **kwargs: Any) -> Generator[None]:
        """Within a call that compiles a model: vLLM's tag (``backbone``, ``eagle_head``) and the architecture."""
        self.host.config = getattr(model, "vllm_config", self.host.config)
        with at(compilation=self.name_of(model), model=self.host.model):
            started = perf_counter()
            yield
            self.recorder.guarded(self.compiled)(perf_counter() - started)

    def name_of(self, model: Any) -> str:
        """What the dump calls the compilation of a model: its tag, which another model may have too."""
        if model not in self.names:
            tag = getattr(model, "_compile_tag", "") or getattr(model, "_compile_prefix", "")
            tag = tag or getattr(import_module("vllm.compilation.backends"), "model_tag", "") or "backbone"
            self.names[model] = self.recorder.compilations.unused_name(tag)
        return self.names[model]

    def compiled(self, seconds: float) -> None:
        compilation = self.recorder.compilations.known()
        if compilation is not None and not compilation.finished:
            self.recorder.metric("compile_time", {"seconds": round(seconds, 3)}, compilation)
            self.recorder.finish(compilation)
            self.here.finished = compilation
        self.pieces.clear()

    # -- graphs that vLLM logs --------------------------------------------------------------------------

    def logged_graph(self, name: str, gm: fx.GraphModule) -> bool:
        if name in ("before split", "after split") and self.is_read_back():
            return True
        if name == "before split":
            self.recorder.graph("before_split", gm)
            return True
        if name == "after split":
            pieces = {child: piece_name(child) for child, _ in gm.named_children() if _SUBMODULE.match(child)}
            self.pieces = {id(held): (held, pieces[child]) for child, held in gm.named_children() if child in pieces}
            record_split(self.recorder, gm, pieces)
            return True
        match = _PASS.match(name)
        if match is None:
            return name.startswith("post_grad.")
        number, pass_name, when = match.groups()
        if when == "before":
            self.hooks.passes.begin(gm)
            return True
        early = self.recorder.scope().part == "pre_grad"
        leaf = ".".join(part for part in ("pre_grad" if early else "post_grad", number, pass_name) if part)
        found = torch_internals.caller(lambda names: hasattr(names.get("self"), "pass_name"), depth=12)
        that: Any = found["self"] if found else None
        by_op: Mapping[str, Mapping[str, str]] = getattr(that, "selected_impls", {})
        taken = {node: provider for nodes in by_op.values() for node, provider in nodes.items()}
        counts = {"matches": int(that.matched_count)} if hasattr(that, "matched_count") else {}
        stage = "pre_grad_pass" if early else "custom_pass"
        place = int(number) if number else None
        self.hooks.passes.end(stage, gm, pass_name, leaf, place, providers=taken or None, counts=counts)
        return True

    def execution_code(self, metadata: Mapping[str, Any], payload_fn: Payload) -> None:
        found = torch_internals.caller(lambda names: isinstance(names.get("submod_names"), list), depth=12)
        names: list[str] = found["submod_names"] if found else []
        calls = {f"__vllm_submods__[{index}]": piece_name(name) for index, name in enumerate(names)}
        text = str(payload_fn())
        calls |= {
            inner: f"piece_{int(inner.rsplit('_', 1)[1]):02d}"
            for inner in re.findall(r"__vllm_inlined_submods__\d+", text)
        }

        def write() -> None:
            commented = comment_execution_code(text, self.recorder.current(), calls)
            self.recorder.code("execution_code", commented, leaf="execution_code", file="99.execution_code.py")

        self.hooks.loads.when_used(write)

    def patterns(self, original: Any, owner: Any, config: Any, patterns: Any) -> None:
        """Let vLLM print a pass's patterns aside, and record the text."""
        self.recorder.guarded(self.patterns_aside)(original, owner, config, patterns)

    def patterns_aside(self, original: Any, owner: Any, config: Any, patterns: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.here.patterns = Path(folder)
            try:
                original(owner, config, patterns)
            finally:
                self.here.patterns = None
            for file in sorted(Path(folder).iterdir()):
                name = f"patterns/{owner.pass_name}"
                self.recorder.code("patterns", file.read_text(), leaf=name, file=f"{name}.py")

    # -- pieces -----------------------------------------------------------------------------------------

    @contextmanager
    def piece(self, manager: Any, graph: Any, *args: Any, compile_range: Any, **kwargs: Any) -> Generator[None]:
        """Within the compile of one piece for one range."""
        index = kwargs.get("graph_index", 0)
        _, name = self.pieces.get(id(graph), (None, f"piece_{index:02d}"))
        before = dict(manager.loaded_artifacts)
        entry = (compile_range, index, manager.compiler.name)
        kept = self.place_of(manager, entry)
        with at(piece=name, range=range_name(compile_range.start, compile_range.end), kept=kept):
            started = perf_counter()
            yield
            seconds = perf_counter() - started
            self.recorder.guarded(self.piece_compiled)(manager, before, kept is not None, seconds)
            if kept is None:
                self.recorder.guarded(self.piece_stored)(manager, entry)

    def place_of(self, manager: Any, entry: Any) -> Place | None:
        """Where a piece's recording lies, beside the artifact that vLLM has of it as a file of its own."""
        handle = (manager.cache.get(entry) or {}).get("graph_handle")
        return Place.named_by(Path(manager.cache_dir, handle[0]), self.cache_root()) if handle else None

    def cache_root(self) -> Path:
        return Path(import_module("vllm.envs").VLLM_CACHE_ROOT)

    def piece_compiled(self, manager: Any, before: Mapping[str, Any], stored: bool, seconds: float) -> None:
        new = [key for key in manager.loaded_artifacts if key not in before]
        result = "load" if stored else "store" if new else "shared"
        self.recorder.cache("vllm_piece", result, new[0] if new else None)
        self.recorder.metric("compile_time", {"seconds": round(seconds, 4)})

    def piece_stored(self, manager: Any, entry: Any) -> None:
        place, compilation = self.place_of(manager, entry), self.recorder.compilations.known()
        if place is not None and compilation is not None:
            keep_artifact(self.recorder, compilation, self.recorder.scope(), place)

    # -- whole models -----------------------------------------------------------------------------------

    def model_saved(self, result: Any, function: Any, path: str, *args: Any, **kwargs: Any) -> None:
        """A model was compiled and its artifact written: keep beside it what was recorded."""
        compilation: Compilation | None = getattr(self.here, "finished", None)
        self.here.finished = None
        if compilation is None:
            return
        entry = Path(_ASIDE.sub("", path))
        place = Place.beside(entry, self.cache_root())
        with at(compilation=compilation.name):
            keep_compilation(self.recorder, compilation, replace(place, entry=Path(path)))

    @contextmanager
    def loading(self, model: Any, path: str, *args: Any, **kwargs: Any) -> Generator[None]:
        """Within the load of a model that vLLM may have as an artifact."""
        self.here.path = path
        with self.model(model), self.hooks.loads.loading():
            yield
        self.loaded.clear()
        self.here.finished = None  # nothing of it will be stored

    def model_loaded(self, loaded: Any, model: Any, path: str, *args: Any, **kwargs: Any) -> None:
        key = Path(path).parent.parent.name
        if loaded is None:
            self.recorder.cache("vllm_aot", "miss", key, self.keys.why_missed(Path(path)))
            return
        self.recorder.cache("vllm_aot", "hit", key)
        self.is_read_back()

    def is_read_back(self) -> bool:
        """Whether the model that is being loaded is recorded already (it is split anew, from the artifact's graph)."""
        load = self.hooks.loads.current
        if load is not None:
            load.tell(self.recorder, Place.beside(Path(self.here.path), self.cache_root()))
        return load is not None and load.is_read_back

    def load_artifact(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        """vLLM loads artifacts in threads: what each holds is kept until it is known whose it is."""
        self.here.codes = codes = []
        try:
            artifact = original(*args, **kwargs)
        finally:
            self.here.codes = None
        self.loaded[id(artifact)] = (artifact, codes)
        return artifact

    def keep_loaded_code(self, generated: Generated) -> bool:
        codes: list[Generated] | None = getattr(self.here, "codes", None)
        if codes is not None:
            codes.append(generated)
        return codes is not None

    def pieces_loaded(self, result: Any, artifacts: Any) -> None:
        """All pieces and ranges of a model were loaded."""
        load = self.hooks.loads.current
        for name, digest in artifacts.submodule_bytes.items():
            submodule, _, shape = name.rpartition("_")
            start, end = (*re.findall(r"\d+", shape), "0", "0")[:2]
            artifact = artifacts.get_loaded(submodule, shape)
            _, codes = self.loaded.get(id(artifact), (None, []))
            with at(piece=piece_name(submodule), range=range_name(int(start), int(end))):
                self.recorder.cache("vllm_piece", "load", digest)
                for generated in codes:
                    self.hooks.artifacts.watch_inputs(generated)
                    if load is None:
                        self.write_loaded(generated)
                    else:
                        load.codes.append(generated)
                        load.later(partial(self.write_loaded, generated))

    def write_loaded(self, generated: Generated) -> None:
        """The code of an artifact, for the piece and range on this thread."""
        self.hooks.artifacts.write(self.recorder.scope(), generated, cached=True)
