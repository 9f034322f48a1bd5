"""What the piecewise compiler is asked to do: frozen, and every field says whether it keys the cache.

A field that changes what a piece's code is must widen the key of its artifact, and one that does not must not.
Neither is left to a list elsewhere that somebody forgets to extend: :func:`_option` will not make a field
without an answer, and ``tests/unit/compiler/test_config.py`` holds that every field was made by it.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from cutaway.errors import ConfigError

Keys = Literal["piece", "model", "nothing"]


class DynamicShapes(enum.Enum):
    """How Dynamo is told that the batch dimension (the number of tokens) varies. The names are vLLM's.

    ``BACKED`` carries the example's size along: code that asks for it is specialised, and guards say so. Dynamo takes
    a backed size to be at least 2; of a model that asks whether the batch is 1 you are warned.
    ``BACKED_SIZE_OBLIVIOUS`` does too, but answers questions about 0 and 1 as if the size were large.
    ``UNBACKED`` carries no example: whoever asks for the size ends the capture with an error.
    """

    BACKED = "backed"
    BACKED_SIZE_OBLIVIOUS = "backed_size_oblivious"
    UNBACKED = "unbacked"


class CUDAGraphMode(enum.Enum):
    """What is replayed as a CUDA graph: nothing, pieces, the whole model, or both (vLLM's names).

    ``FULL_AND_PIECEWISE`` replays the whole for batches that the engine declares uniform (decode) and pieces for
    the others.
    """

    NONE = 0
    PIECEWISE = 1
    FULL = 2
    FULL_AND_PIECEWISE = 3

    @property
    def pieces(self) -> bool:
        """Whether pieces are wrapped."""
        return self in (CUDAGraphMode.PIECEWISE, CUDAGraphMode.FULL_AND_PIECEWISE)

    @property
    def whole(self) -> bool:
        """Whether the whole model is wrapped."""
        return self in (CUDAGraphMode.FULL, CUDAGraphMode.FULL_AND_PIECEWISE)


class Part(enum.Enum):
    """Every part that has an off-switch, with the meaning that vLLM's debugging guide gives it.

    ==============  ==========================================  =============================
    switched off    what runs instead                           vLLM's switch
    ==============  ==========================================  =============================
    everything      the model's own forward, CUDA graphs off    ``--enforce-eager``
    compile         the model's own forward                     ``-cc.mode=0``
    cuda_graphs     compiled code without replay                ``-cc.cudagraph_mode=NONE``
    inductor        pieces as captured (``backend="eager"``)    ``-cc.backend=eager``
    split           one piece, attention inside                 ``-cc.splitting_ops='[]'``
    passes          only what makes ops run (or one is off)     ``-cc.pass_config``
    cache           every start is cold                         ``VLLM_DISABLE_COMPILE_CACHE``
    regions         every layer traced, equal or not            none
    parallel        nothing is begun beside the capture         none
    ==============  ==========================================  =============================
    """

    EVERYTHING = "everything"
    COMPILE = "compile"
    CUDA_GRAPHS = "cuda_graphs"
    INDUCTOR = "inductor"
    SPLIT = "split"
    PASSES = "passes"
    CACHE = "cache"
    REGIONS = "regions"
    PARALLEL = "parallel"


@overload
def _option(keys: Keys, *, default: Any) -> Any: ...
@overload
def _option(keys: Keys, *, default_factory: Callable[[], Any]) -> Any: ...
def _option(keys: Keys, **kwargs: Any) -> Any:
    """A field of the configuration, with what it keys.

    ``piece``: it changes the code of a piece. ``model``: it changes which pieces there are or how they are put
    together, not the code of each. ``nothing``: it changes neither.
    """
    return dataclasses.field(**kwargs, metadata={"keys": keys})


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("CUTAWAY_CACHE_ROOT") or Path(home) / "cutaway")


def _switched_off() -> frozenset[str]:
    return frozenset(filter(None, os.environ.get("CUTAWAY_OFF", "").replace(" ", "").split(",")))


@dataclass(frozen=True, kw_only=True)
class CompilationConfig:
    """How a model is compiled.

    Attributes:
        splitting_ops: ops at which the graph is cut, as ``namespace::name`` or ``namespace::name.overload``; they run
            as they are, between compiled pieces. Ops tagged :func:`cutaway.compiler.splitting_op` are added.
        backend: ``inductor``, ``eager``, or the dotted name of a :class:`~cutaway.compiler.CompilerInterface`.
        compile_ranges: ranges of the batch size (number of tokens), both ends included, each compiled ahead with the
            size dynamic in it; empty: one range from 1 to ``max_batch``.
        compile_sizes: single batch sizes compiled ahead with the size fixed; they win over a range that holds them.
        max_batch: the largest batch size; larger ones are refused with an :class:`~cutaway.InputError`.
        dynamic_shapes: see :class:`DynamicShapes`.
        evaluate_guards: check Dynamo's guards on sizes at every call (slow), besides what is always checked of the
            arguments. That a backed size is at least 2 is no such guard, so a batch of 1 runs; but a branch that
            only 1 would take another way is then an error at the start.
        inductor: entries of ``torch._inductor.config`` for every piece.
        post_grad_passes: passes over the last graph of every piece, after our own and in order (``InductorPass`` or a
            function of a graph), or where ``before`` and ``after`` of ``cutaway.compiler`` place them; their ``uuid()``
            is part of the key.
        ir_priority: name of an op of ``cutaway.ops`` -> its providers, the preferred first; in force while the model is
            captured, compiled and called. Ops that it does not name have the priority that is in force anyway.
        use_inductor_graph_partition: leave the cutting to Inductor's scheduler instead of splitting the fx graph.
        cudagraph_mode: see :class:`CUDAGraphMode`.
        cudagraph_capture_sizes: batch sizes for which CUDA graphs are captured.
        cudagraph_copy_inputs: copy inputs into buffers of our own before a replay; without it, the engine promises
            to give the same addresses.
        cudagraph_wrapper: dotted name of the wrapper class of this platform.
        cache_dir: where artifacts lie; default ``$CUTAWAY_CACHE_ROOT``, else the user's cache folder.
        cache_format: ``binary``, or ``unpacked``: the generated code as files that can be edited.
        read_only_cache: never write into the cache (it is on a read-only mount, or shared).
        disable_cache: neither read nor write; also ``CUTAWAY_DISABLE_CACHE=1``.
        cache_factors: further facts that an artifact depends on (an engine's own settings), by name.
        aot: keep the whole captured model, so that a warm start need not run Dynamo.
        off: parts that are switched off, see :class:`Part`, and ``pass:NAME`` for one pass; ``$CUTAWAY_OFF`` adds to
            them.
        progress: show a progress bar on a terminal.
        debug: check what is expensive to check (addresses of a CUDA graph's inputs at each replay).
    """

    splitting_ops: tuple[str, ...] = _option("model", default=())
    backend: str = _option("nothing", default="inductor")  # the compiler states what it is and its version
    compile_ranges: tuple[tuple[int, int], ...] = _option("model", default=())
    compile_sizes: tuple[int, ...] = _option("model", default=())
    max_batch: int = _option("model", default=8192)
    dynamic_shapes: DynamicShapes = _option("model", default=DynamicShapes.BACKED)
    evaluate_guards: bool = _option("model", default=False)
    inductor: Mapping[str, Any] = _option("piece", default_factory=dict)
    post_grad_passes: tuple[Any, ...] = _option("piece", default=())
    ir_priority: Mapping[str, tuple[str, ...]] = _option("piece", default_factory=dict)
    use_inductor_graph_partition: bool = _option("piece", default=False)
    cudagraph_mode: CUDAGraphMode = _option("nothing", default=CUDAGraphMode.NONE)
    cudagraph_capture_sizes: tuple[int, ...] = _option("nothing", default=())
    cudagraph_copy_inputs: bool = _option("nothing", default=False)
    cudagraph_wrapper: str = _option("nothing", default="cutaway.compiler.run.cuda_graph.CUDAGraphWrapper")
    cache_dir: Path = _option("nothing", default_factory=_default_cache)
    cache_format: Literal["binary", "unpacked"] = _option("nothing", default="binary")
    read_only_cache: bool = _option("nothing", default=False)
    disable_cache: bool = _option("nothing", default=False)
    cache_factors: Mapping[str, Any] = _option("piece", default_factory=dict)
    aot: bool = _option("nothing", default=True)
    off: frozenset[str] = _option("model", default=frozenset())
    progress: bool = _option("nothing", default=True)
    debug: bool = _option("nothing", default=False)

    def __post_init__(self) -> None:
        for name in _SEVERAL:
            object.__setattr__(self, name, _several(name, getattr(self, name)))
        object.__setattr__(self, "compile_ranges", tuple((first, last) for first, last in self.compile_ranges))
        for name in ("inductor", "cache_factors", "ir_priority"):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigError(
                    f"{name} cannot be {getattr(self, name)!r}", "it takes a mapping", "write {name: value}"
                )
        object.__setattr__(self, "ir_priority", _priorities(self.ir_priority))
        if not _is_number(self.max_batch) or self.max_batch < 1:
            raise ConfigError(f"max_batch cannot be {self.max_batch!r}", cure="give the largest batch size, a number")
        object.__setattr__(self, "dynamic_shapes", _member(DynamicShapes, self.dynamic_shapes))
        object.__setattr__(self, "cudagraph_mode", _member(CUDAGraphMode, self.cudagraph_mode))
        object.__setattr__(self, "cache_dir", Path(self.cache_dir).expanduser())
        off = frozenset(part.value if isinstance(part, Part) else str(part) for part in self.off) | _switched_off()
        object.__setattr__(self, "off", off)
        for part in sorted(off):
            known = [part.value for part in Part]
            if part not in known and not part.startswith("pass:"):
                raise ConfigError(
                    f"there is no part {part!r} to switch off", _nearest(part, known), f"choose of {', '.join(known)}"
                )
        if self.cache_format not in ("binary", "unpacked"):
            raise ConfigError(f"there is no cache format {self.cache_format!r}", cure="choose binary or unpacked")
        if os.environ.get("CUTAWAY_DISABLE_CACHE", "0") not in ("", "0"):
            object.__setattr__(self, "disable_cache", True)

    @classmethod
    def of(cls, config: CompilationConfig | Mapping[str, Any] | None) -> CompilationConfig:
        """A configuration from what a user gave: one, a mapping of fields, or nothing."""
        if isinstance(config, cls):
            return config
        if isinstance(config, Mapping):
            return cls(**config)
        if config is None:
            return cls()
        raise ConfigError(
            f"a configuration cannot be a {type(config).__name__}", cure="give a CompilationConfig or a mapping"
        )

    def is_off(self, part: Part) -> bool:
        """Whether a part was switched off, by its own name or because all are."""
        if part in (Part.COMPILE, Part.CUDA_GRAPHS) and Part.EVERYTHING.value in self.off:
            return True
        if part is Part.CACHE and self.disable_cache:
            return True
        return part.value in self.off

    @property
    def uses_cuda_graphs(self) -> bool:
        """Whether CUDA graphs are asked for, and not switched off; there may be no CUDA."""
        return self.cudagraph_mode is not CUDAGraphMode.NONE and not self.is_off(Part.CUDA_GRAPHS)

    def is_pass_off(self, name: str) -> bool:
        """Whether one pass was switched off, alone or with all of them."""
        return self.is_off(Part.PASSES) or f"pass:{name}" in self.off

    def keyed(self, *kinds: Keys) -> dict[str, Any]:
        """The fields that key artifacts of these kinds, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.metadata["keys"] in kinds}


def _is_number(value: Any) -> bool:
    return type(value) is int


def _is_range(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_number, value))


def _priorities(given: Mapping[Any, Any]) -> dict[str, tuple[str, ...]]:
    """Lists of providers by op. Which there are is known when the model is compiled: modules register them."""
    found: dict[str, tuple[str, ...]] = {}
    for op, providers in given.items():
        if isinstance(providers, str) or not isinstance(providers, Iterable):
            raise ConfigError(
                f"ir_priority of {op!r} cannot be {providers!r}", "it takes several providers", f"write [{providers!r}]"
            )
        found[str(op)] = tuple(map(str, providers))
    return found


_SEVERAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "splitting_ops": (lambda value: isinstance(value, str), "names of ops"),
    "compile_ranges": (_is_range, "pairs of numbers, the first and the last size"),
    "compile_sizes": (_is_number, "numbers"),
    "cudagraph_capture_sizes": (_is_number, "numbers"),
    "post_grad_passes": (callable, "passes, or functions of a graph"),
    "off": (lambda value: isinstance(value, (str, Part)), "names of parts"),
}


def _several(name: str, value: Any) -> tuple[Any, ...]:
    """The values of a field that takes several; a text is not taken for its letters."""
    fits, words = _SEVERAL[name]
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"{name} cannot be {value!r}", f"it takes several: {words}", "write a list of them")
    found: tuple[Any, ...] = tuple(value)
    for one in found:
        if not fits(one):
            raise ConfigError(f"{name} cannot hold {one!r}", f"it takes {words}", "correct it, or leave it out")
    return found


def _member(kind: type[enum.Enum], value: Any) -> Any:
    """A member of an enum from itself, its name or its value."""
    if isinstance(value, kind):
        return value
    for member in kind:
        if value == member.value or str(value).lower() == member.name.lower():
            return member
    known = [member.name for member in kind]
    near = _nearest(str(value).upper(), known)
    raise ConfigError(f"{kind.__name__} has no {value!r}", near, f"choose of {', '.join(known)}")


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _checked(made: Callable[..., None]) -> Callable[..., None]:
    """``__init__`` that answers an unknown field with the nearest names."""
    known = [field.name for field in dataclasses.fields(CompilationConfig)]

    def __init__(self: CompilationConfig, **fields: Any) -> None:  # noqa: N807
        unknown = [name for name in fields if name not in known]
        if unknown:
            raise ConfigError(
                f"CompilationConfig has no field {unknown[0]!r}",
                _nearest(unknown[0], known),
                f"its fields are {', '.join(known)}",
            )
        made(self, **fields)

    return __init__


CompilationConfig.__init__ = _checked(CompilationConfig.__init__)  # type: ignore[method-assign]
