"""Inductor as a compiler of pieces, through ``torch._inductor.standalone_compile``."""

from __future__ import annotations

import platform
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.compiler.build.interface import Compiled, CompilerInterface, Runnable, Task
from cutaway.compiler.build.kernels import KernelWatch, kernels_from
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.compiler.passes.manager import PassManager
from cutaway.identity.sources import UncacheableError

_BINARY = "artifact.bin"
_UNPACKED = "unpacked"


class InductorCompiler(CompilerInterface):
    """Compiles a piece with Inductor, for its range: the batch size is dynamic in a range and fixed for a single size.

    Args:
        form: ``binary`` (one file: quick to load) or ``unpacked`` (the generated code as files that can be edited).
        settings: entries of ``torch._inductor.config`` for every piece.
        cached: whether torch's own caches may be asked and artifacts kept; without, every compile is cold.
        passes: setting of Inductor (``pre_grad_custom_pass``) -> the pass that runs there, before those that somebody
            else has put there.
    """

    name = "inductor"

    def __init__(
        self,
        form: str = "binary",
        settings: Mapping[str, Any] | None = None,
        cached: bool = True,
        passes: Mapping[str, PassManager] | None = None,
    ) -> None:
        self.form = form
        self.settings = dict(settings or {})
        self.cached = cached
        self.passes = dict(passes or {})
        self._probing = threading.Lock()
        if not cached:
            self.settings["force_disable_caches"] = True

    def factors(self) -> dict[str, Any]:
        """torch's own build, and what of the machine Inductor's code depends on."""
        device = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
        return {
            "torch": torch.__version__,
            "torch_key": torch_internals.inductor_source_key(),
            "form": self.form,
            "machine": platform.machine(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "cuda": torch.version.cuda,
            "gpu": f"{device.name} sm_{device.major}{device.minor}" if device is not None else None,
        }

    def rewriters(self) -> Sequence[InductorPass]:
        return [one for manager in self.passes.values() for one in manager.passes]

    def prepare(self, devices: Collection[str]) -> None:
        """Find out what vector instructions the processor has, by building small programs: seconds of waiting."""
        if "cpu" in devices:
            with self._probing:
                torch_internals.probe_vector_instructions()

    def compile(self, task: Task) -> Compiled:
        """Compile one piece for one range. Whatever Inductor raises goes through."""
        with self._probing:  # what is being found out need not be found out twice
            pass
        watch = KernelWatch()
        with watch.watching(), torch.no_grad():
            artifact = torch_internals.standalone_compile(
                task.graph,
                list(task.inputs),
                dynamic_shapes="from_example_inputs" if task.range.is_single_size else "from_graph",
                options={"config_patches": self._patches(task)},
                aot=self.form == "binary" or not self.cached,  # the other form wants to be written to torch's caches
                donate_graph_module=True,
                fake_mode=torch_internals.mode_of_inputs(task.inputs) if task.range.is_single_size else None,
            )
        return _InductorArtifact(artifact, watch, self.cached)

    def _patches(self, task: Task) -> dict[str, Any]:
        """Entries of Inductor's configuration while it compiles a task."""
        patches = {**self.settings, **task.options}
        for name, ours in self.passes.items():
            there = patches[name] if name in patches else torch_internals.passes_of_inductor().get(name)
            others = there if isinstance(there, (list, tuple)) else [there] if there else []
            patches[name] = [ours, *others] if others else ours
        return patches

    def load(self, folder: Path, form: str) -> Runnable:
        """An artifact from its folder; its C++ kernels are taken from there, too."""
        with kernels_from(folder), torch.no_grad():
            if form == "binary":
                return torch_internals.deserialize_artifact((folder / _BINARY).read_bytes())
            return torch_internals.load_unpacked_artifact(folder / _UNPACKED)


class _InductorArtifact(Compiled):
    def __init__(self, artifact: Any, watch: KernelWatch, kept: bool) -> None:
        self.artifact = artifact
        self.watch = watch
        self.kept = kept

    def __call__(self, *args: Any) -> Any:
        return self.artifact(*args)

    def save(self, folder: Path, form: str) -> bool:
        if not self.kept:
            return False
        if form == "binary":
            content = torch_internals.serialize_artifact(self.artifact)
            if content is None:
                raise UncacheableError("its artifact", "torch made none, because its own caches are off or passed by")
            (folder / _BINARY).write_bytes(content)
        else:
            if not self.artifact.is_saveable():
                return False
            self.artifact.save(path=str(folder / _UNPACKED), format="unpacked")
        self.watch.save(folder)
        return True
