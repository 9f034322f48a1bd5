"""Tells the recorder where in vLLM's compile it is: model tag, split, piece, range, pass, caches.

Nothing of vLLM is replaced but where it puts its depyf dump: methods are wrapped, and call what they wrap. A name that
this vLLM does not have costs one warning and what only it could tell; what torch shows is recorded all the same.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from torch import fx

from cutaway import torch_internals
from cutaway.record.context import at, range_name
from cutaway.record.hooks import Payload
from cutaway.record.kept.keep import keep_artifact
from cutaway.record.kept.place import Place
from cutaway.record.recording import Process, record_process
from cutaway.record.split import comment_execution_code, record_split
from cutaway.record.warning import warn
from cutaway.record.watch import Watcher
from cutaway.vllm.cache import KeyWatch
from cutaway.vllm.host import VllmHost
from cutaway.vllm.models import WholeModels
from cutaway.vllm.pieces import cache_root, is_piece, piece_name

_PASS = re.compile(r"post_grad(?:\.(\d+))?\.(\w+)\.(before|after)$")
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
        warn(f"vLLM will not be recorded: {type(error).__name__}: {error}")
        return None


class Adapter:
    """The watched methods of vLLM, and what they have told so far."""

    def __init__(self, process: Process) -> None:
        self.recorder, self.hooks = process.recorder, process.hooks
        self.host = VllmHost()
        self.recorder.join(self.host)
        self.pieces: dict[int, tuple[Any, str]] = {}
        self.here = threading.local()  # what this thread is inside of
        self.names: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        self.keys = KeyWatch(self.recorder)
        self.models = WholeModels(self.recorder, self.hooks, self.keys)

    def install(self) -> None:
        """Watch what there is to watch in this version of vLLM."""
        self.hooks.stages.handlers.append(self.logged_graph)
        self.hooks.trace.records["vllm_execution_code"] = self.execution_code
        watcher = Watcher(self.recorder)
        wrapper = "vllm.compilation.wrapper:TorchCompileWithNoGuardsWrapper"
        manager = "vllm.compilation.backends:CompilerManager"
        watcher.watch("vllm.config.compilation:CompilationConfig", "init_backend", place=self.configured)
        watcher.replace("vllm.config.vllm:VllmConfig", "compile_debug_dump_path", self.no_depyf)
        watcher.watch(wrapper, "aot_compile", place=self.model)
        watcher.watch(wrapper, "__call__", place=self.model)
        watcher.watch(manager, "compile", place=self.piece)
        watcher.replace(
            "vllm.compilation.passes.vllm_inductor_pass:VllmPatternMatcherPass", "dump_patterns", self.patterns
        )
        self.models.install(watcher, self.model)
        self.keys.install(watcher)
        version = str(import_module("vllm").__version__)
        if watcher.missing or not version.startswith(KNOWN_VERSIONS):
            lacks = f" It lacks {', '.join(watcher.missing)}." if watcher.missing else ""
            warn(
                f"vLLM {version} is not one of those this was made for ({', '.join(KNOWN_VERSIONS)}).{lacks} "
                "What torch shows is recorded; pieces, ranges or providers may be missing."
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
            self.models.finished = compilation
        self.pieces.clear()

    # -- graphs that vLLM logs --------------------------------------------------------------------------

    def logged_graph(self, name: str, gm: fx.GraphModule) -> bool:
        if name in ("before split", "after split") and self.models.is_read_back():
            return True
        if name == "before split":
            self.recorder.graph("before_split", gm)
            return True
        if name == "after split":
            pieces = {child: piece_name(child) for child, _ in gm.named_children() if is_piece(child)}
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
        return Place.named_by(Path(manager.cache_dir, handle[0]), cache_root()) if handle else None

    def piece_compiled(self, manager: Any, before: Mapping[str, Any], stored: bool, seconds: float) -> None:
        new = [key for key in manager.loaded_artifacts if key not in before]
        result = "load" if stored else "store" if new else "shared"
        self.recorder.cache("vllm_piece", result, new[0] if new else None)
        self.recorder.metric("compile_time", {"seconds": round(seconds, 4)})

    def piece_stored(self, manager: Any, entry: Any) -> None:
        place, compilation = self.place_of(manager, entry), self.recorder.compilations.known()
        if place is not None and compilation is not None:
            keep_artifact(self.recorder, compilation, self.recorder.scope(), place)
