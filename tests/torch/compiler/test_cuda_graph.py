"""Wrappers around pieces and around the whole, over a backend that records what it is asked for."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from cutaway.compiler.config import CompilationConfig, CUDAGraphMode
from cutaway.compiler.counters import CompilationCounter
from cutaway.compiler.link.buffers import make_copy_and_call
from cutaway.compiler.run.context import BatchDescriptor, allow_capture, batch_context
from cutaway.compiler.run.cuda_graph import (
    CUDAGraphOptions,
    CUDAGraphWrapper,
    maybe_use_cudagraph_partition_wrapper,
    wrap_with_cudagraph_if_needed,
)
from cutaway.compiler.run.graphs import GraphPool, RecordingGraphs
from cutaway.errors import CompileError, ConfigError, InputError

NONE, PIECEWISE, FULL, BOTH = CUDAGraphMode
ONE, TWO = BatchDescriptor(1), BatchDescriptor(2)


@dataclass
class Session:
    """What a session passes to its wrappers."""

    backend: RecordingGraphs = field(default_factory=RecordingGraphs)
    counters: CompilationCounter = field(default_factory=CompilationCounter)

    def __post_init__(self) -> None:
        self.pool = GraphPool(self.backend)

    def wrapper(self, runnable: Callable[..., Any], mode: CUDAGraphMode = PIECEWISE, **kwargs: Any) -> CUDAGraphWrapper:
        return CUDAGraphWrapper(runnable, mode, self.pool, self.counters, **kwargs)

    def wrap(self, runnable: Callable[..., Any], config: CompilationConfig, **kwargs: Any) -> Callable[..., Any]:
        kwargs = {"is_first": True, "is_last": True, **kwargs}
        return wrap_with_cudagraph_if_needed(runnable, config, self.counters, self.pool, **kwargs)


def capture(
    run: Callable[..., Any], *args: Any, mode: CUDAGraphMode = PIECEWISE, batch: Any = ONE, **kwargs: Any
) -> Any:
    with allow_capture(), batch_context(batch, mode):
        return run(*args, **kwargs)


def serve(run: Callable[..., Any], *args: Any, mode: CUDAGraphMode = PIECEWISE, batch: Any = ONE, **kwargs: Any) -> Any:
    with batch_context(batch, mode):
        return run(*args, **kwargs)


def doubled(x: torch.Tensor) -> tuple[torch.Tensor]:
    return (x * 2,)


class TestWhatACallDoes:
    @pytest.mark.parametrize("mode", [NONE, FULL])
    def test_a_batch_of_another_mode_runs_plainly(self, mode: CUDAGraphMode) -> None:
        session = Session()
        (y,) = capture(session.wrapper(doubled), torch.ones(1), mode=mode)
        assert y.item() == 2
        assert session.backend.events == []

    def test_without_a_batch_it_runs_plainly(self) -> None:
        session = Session()
        with allow_capture():
            assert session.wrapper(doubled)(torch.ones(1))[0].item() == 2
        assert session.backend.events == []

    def test_the_first_call_captures_and_the_others_replay(self) -> None:
        session, x = Session(), torch.ones(1)
        wrapper = session.wrapper(doubled)
        with session.counters.expect(cudagraphs_captured=1, cudagraphs_replayed=2):
            assert capture(wrapper, x)[0].item() == 2
            assert serve(wrapper, x.fill_(3))[0].item() == 6
            assert serve(wrapper, x.fill_(4))[0].item() == 8
        assert session.backend.events == [
            "new pool 0",
            "capture graph 0 in pool 0, collected, output released",
            "replay graph 0",
            "replay graph 0",
        ]

    def test_the_outputs_of_every_replay_are_those_of_the_capture(self) -> None:
        session, x = Session(), torch.ones(1)
        wrapper = session.wrapper(doubled, options=CUDAGraphOptions(weak_ref_output=False))
        (first,) = capture(wrapper, x)
        (second,), (third,) = serve(wrapper, x), serve(wrapper, x)
        assert second is third
        assert second is not first, "the wrapper must hold a weak reference, not the tensor that the caller got"
        assert second.data_ptr() == first.data_ptr()

    @pytest.mark.parametrize(
        "other",
        [TWO, BatchDescriptor(1, uniform=True), BatchDescriptor(1, extras=("lora", 2))],
        ids=["size", "uniform", "extras"],
    )
    def test_each_descriptor_has_a_graph_of_its_own(self, other: BatchDescriptor) -> None:
        session, x = Session(), torch.ones(1)
        wrapper = session.wrapper(doubled)
        for batch in (ONE, other, BatchDescriptor(1), other):
            capture(wrapper, x, batch=batch)
        assert session.backend.events[3:] == ["replay graph 0", "replay graph 1"]

    def test_a_capture_computes_once(self) -> None:
        total = torch.zeros(1)
        session = Session()
        wrapper = session.wrapper(lambda x: (total.add_(x),))
        assert capture(wrapper, torch.ones(1))[0].item() == 1
        assert serve(wrapper, torch.ones(1))[0].item() == 2

    def test_keyword_arguments_are_captured_too(self) -> None:
        session, x, bias = Session(), torch.ones(1), torch.ones(1)
        wrapper = session.wrapper(lambda x, *, bias: x + bias, FULL)
        capture(wrapper, x, bias=bias, mode=FULL)
        bias.fill_(5)
        assert serve(wrapper, x, bias=bias, mode=FULL).item() == 6

    def test_numbers_among_the_outputs_come_back(self) -> None:
        wrapper = Session().wrapper(lambda x: (x * 2, 7, None))
        capture(wrapper, torch.ones(1))
        assert serve(wrapper, torch.ones(1))[1:] == (7, None)


class TestWhenCapturingIsNotAllowed:
    def test_it_is_refused_with_the_cure(self) -> None:
        session = Session()
        wrapper = session.wrapper(doubled, name="piece_02")
        with pytest.raises(CompileError, match=r"piece_02 has no CUDA graph .*num_tokens=1.* inside allow_capture\(\)"):
            serve(wrapper, torch.ones(1))
        assert session.backend.events == []
        assert session.counters.cudagraphs_captured == 0

    def test_a_refusal_leaves_nothing_behind(self) -> None:
        wrapper = Session().wrapper(doubled)
        with pytest.raises(CompileError):
            serve(wrapper, torch.ones(1))
        assert capture(wrapper, torch.ones(1))[0].item() == 2

    def test_permission_may_lie_inside_the_batch_or_around_it(self) -> None:
        session = Session()
        wrapper = session.wrapper(doubled)
        with batch_context(ONE, PIECEWISE), allow_capture():
            wrapper(torch.ones(1))
        with allow_capture(), batch_context(TWO, PIECEWISE):
            wrapper(torch.ones(1))
        assert session.counters.cudagraphs_captured == 2

    def test_permission_ends_with_its_block(self) -> None:
        wrapper = Session().wrapper(doubled)
        with batch_context(ONE, PIECEWISE):
            with allow_capture():
                pass
            with pytest.raises(CompileError):
                wrapper(torch.ones(1))

    def test_an_error_in_a_capture_says_where_it_was_and_is_not_kept(self) -> None:
        session, broken = Session(), [True]

        def runnable(x: torch.Tensor) -> tuple[torch.Tensor]:
            if broken:
                raise RuntimeError("operation not permitted when stream is capturing")
            return doubled(x)

        wrapper = session.wrapper(runnable, name="piece_04")
        with pytest.raises(RuntimeError, match="not permitted") as caught:
            capture(wrapper, torch.ones(1))
        assert "piece_04 was captured" in caught.value.__notes__[0]
        assert "splitting op" in caught.value.__notes__[0]
        broken.clear()
        assert capture(wrapper, torch.ones(1))[0].item() == 2
        assert session.counters.cudagraphs_captured == 1


class TestAddresses:
    def test_a_moved_input_is_named_in_debug_mode(self) -> None:
        wrapper = Session().wrapper(lambda x, y, *, mask: x + y + mask, debug=True, name="piece_00")
        x, y, mask = torch.ones(1), torch.ones(1), torch.ones(1)
        capture(wrapper, x, y, mask=mask)
        serve(wrapper, x, y, mask=mask)
        with pytest.raises(
            InputError, match=r"piece_00 .* capture: args\[1\]: 0x\S+ \(1,\) torch.float32 then"
        ) as caught:
            serve(wrapper, x, y.clone(), mask=mask)
        assert "args[0]" not in str(caught.value)
        assert "mask" not in str(caught.value)
        with pytest.raises(InputError, match=r"kwargs\['mask'\]"):
            serve(wrapper, x, y, mask=mask.clone())

    def test_inputs_in_containers_are_looked_at(self) -> None:
        wrapper = Session().wrapper(lambda states: states["x"][0] * 2, debug=True)
        x = torch.ones(1)
        capture(wrapper, {"x": [x]})
        assert serve(wrapper, {"x": [x]}).item() == 2
        with pytest.raises(InputError, match=r"args\[0\]\['x'\]\[0\]"):
            serve(wrapper, {"x": [x.clone()]})

    @pytest.mark.parametrize("other", [(3,), (), (2, 1)], ids=["changed", "missing", "added"])
    def test_another_number_is_an_error_in_debug_mode(self, other: tuple[int, ...]) -> None:
        wrapper = Session().wrapper(lambda x, *sizes: x * sum(sizes), debug=True)
        x = torch.ones(1)
        capture(wrapper, x, 2)
        with pytest.raises(InputError, match=r"args\[\d\]"):
            serve(wrapper, x, *other)

    def test_the_same_memory_in_another_shape_is_an_error_in_debug_mode(self) -> None:
        wrapper = Session().wrapper(doubled, debug=True)
        x = torch.ones(4)
        capture(wrapper, x)
        with pytest.raises(InputError, match=r"\(4,\) .* then, 0x\S+ \(2, 2\)"):
            serve(wrapper, x.view(2, 2))

    def test_without_debug_mode_the_graph_reads_the_old_place(self) -> None:
        wrapper = Session().wrapper(doubled)
        capture(wrapper, torch.ones(1))
        assert serve(wrapper, torch.full((1,), 5.0))[0].item() == 2


class TestTheWrapperItself:
    def test_attributes_of_the_model_are_reached_through_it(self) -> None:
        model = torch.nn.Linear(2, 3)
        wrapper = Session().wrapper(model, FULL)
        assert wrapper.out_features == 3
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            wrapper.nonsense  # noqa: B018

    def test_it_unwraps_through_nested_wrappers(self) -> None:
        session = Session()
        assert session.wrapper(session.wrapper(doubled), FULL).unwrap() is doubled

    def test_it_can_be_copied(self) -> None:
        assert copy.copy(Session().wrapper(doubled)).runnable is doubled

    def test_captures_are_logged_for_the_first_piece_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        session = Session()
        config = CompilationConfig(cudagraph_mode="piecewise")
        with caplog.at_level(logging.DEBUG, logger="cutaway"):
            for number in range(3):
                capture(session.wrap(doubled, config, is_first=number == 0, name=f"piece_0{number}"), torch.ones(1))
        assert caplog.messages == [f"capturing piece_00 in mode PIECEWISE for {ONE}"]


def model_of(session: Session, config: CompilationConfig) -> Callable[..., Any]:
    """Three pieces around two splitting ops, and a wrapper around it all when the mode has one."""
    pieces = [
        session.wrap(lambda x, n=n: (x + n,), config, is_first=n == 0, is_last=n == 2, name=f"piece_0{2 * n}")
        for n in range(3)
    ]

    def stitched(x: torch.Tensor, between: torch.Tensor) -> torch.Tensor:
        for piece in pieces[:2]:
            (x,) = piece(x)
            torch.mul(x, 2, out=between)  # a splitting op writes into what it is given
            x = between
        return pieces[2](x)[0]

    return session.wrap(stitched, config, mode=FULL)


def plain(x: float) -> float:
    return ((x + 0) * 2 + 1) * 2 + 2


class TestAModelOfPieces:
    def test_memory_is_given_back_before_the_first_and_outputs_are_released_by_the_last(self) -> None:
        session = Session()
        model = model_of(session, CompilationConfig(cudagraph_mode=PIECEWISE))
        assert capture(model, torch.ones(2), torch.empty(2), batch=TWO).tolist() == [plain(1)] * 2
        assert session.backend.events == [
            "new pool 0",
            "capture graph 0 in pool 0, collected",
            "capture graph 1 in pool 0",
            "capture graph 2 in pool 0, output released",
        ]

    def test_every_piece_is_replayed_in_order(self) -> None:
        session = Session()
        model = model_of(session, CompilationConfig(cudagraph_mode=PIECEWISE, debug=True))
        x, between = torch.ones(2), torch.empty(2)
        capture(model, x, between)
        session.backend.events.clear()
        assert serve(model, x.fill_(4), between).tolist() == [plain(4)] * 2
        assert session.backend.events == ["replay graph 0", "replay graph 1", "replay graph 2"]

    def test_a_splitting_op_that_returns_a_new_tensor_is_caught_in_debug_mode(self) -> None:
        session = Session()
        model = model_of(session, CompilationConfig(cudagraph_mode=PIECEWISE, debug=True))
        x, between = torch.ones(2), torch.empty(2)
        capture(model, x, between)
        with pytest.raises(InputError, match=r"piece_02 .* args\[0\].* splitting op must write into"):
            serve(model, x, torch.empty(2))

    def test_the_mode_of_the_batch_wakes_the_whole_or_the_pieces(self) -> None:
        session = Session()
        model = model_of(session, CompilationConfig(cudagraph_mode=BOTH))
        x, between = torch.ones(2), torch.empty(2)
        decode = BatchDescriptor(2, uniform=True)
        capture(model, x, between, batch=TWO)
        capture(model, x, between, batch=decode, mode=FULL)
        assert session.counters.cudagraphs_captured == 4
        session.backend.events.clear()
        assert serve(model, x.fill_(2), between, batch=decode, mode=FULL).tolist() == [plain(2)] * 2
        assert serve(model, x.fill_(3), between, batch=TWO).tolist() == [plain(3)] * 2
        assert serve(model, x.fill_(4), between, batch=TWO, mode=NONE).tolist() == [plain(4)] * 2
        assert session.backend.events == ["replay graph 3", "replay graph 0", "replay graph 1", "replay graph 2"]

    def test_full_mode_wraps_no_pieces(self) -> None:
        session = Session()
        model = model_of(session, CompilationConfig(cudagraph_mode=FULL))
        assert serve(model, torch.ones(1), torch.empty(1)).item() == plain(1)
        capture(model, torch.ones(1), torch.empty(1), mode=FULL)
        assert session.backend.events[1:] == ["capture graph 0 in pool 0, collected, output released"]

    def test_copied_inputs_may_come_from_anywhere(self) -> None:
        session = Session()
        config = CompilationConfig(cudagraph_mode=FULL, cudagraph_copy_inputs=True, debug=True)
        whole = session.wrap(lambda x, weight: (x * weight,), config, mode=FULL)
        model, weight = make_copy_and_call([0], [torch.empty(8)], whole), torch.full((1,), 3.0)
        capture(model, torch.ones(2), weight, mode=FULL, batch=TWO)
        assert serve(model, torch.full((2,), 5.0), weight, mode=FULL, batch=TWO)[0].tolist() == [15, 15]
        assert session.counters.cudagraphs_replayed == 1

    def test_sessions_do_not_share_a_pool(self) -> None:
        backend = RecordingGraphs()
        for session in (Session(backend), Session(backend)):
            capture(model_of(session, CompilationConfig(cudagraph_mode=PIECEWISE)), torch.ones(1), torch.empty(1))
        assert [event for event in backend.events if event.startswith("new")] == ["new pool 0", "new pool 1"]
        assert [" in pool 1" in event for event in backend.events if event.startswith("capture")] == [False] * 3 + [
            True
        ] * 3


class Derived(CUDAGraphWrapper):
    """The wrapper class of some other platform."""


class TestWhetherToWrap:
    @pytest.mark.parametrize(
        "config",
        [
            CompilationConfig(),
            CompilationConfig(cudagraph_mode=FULL),
            CompilationConfig(cudagraph_mode=BOTH, off={"cuda_graphs"}),
            CompilationConfig(cudagraph_mode=BOTH, off={"everything"}),
            CompilationConfig(cudagraph_mode=BOTH, use_inductor_graph_partition=True),
        ],
        ids=["none", "full", "off", "all off", "Inductor cuts"],
    )
    def test_a_piece_is_left_alone(self, config: CompilationConfig) -> None:
        assert Session().wrap(doubled, config) is doubled

    @pytest.mark.parametrize("mode", [NONE, PIECEWISE])
    def test_the_whole_is_left_alone(self, mode: CUDAGraphMode) -> None:
        assert Session().wrap(doubled, CompilationConfig(cudagraph_mode=mode), mode=FULL) is doubled

    def test_without_cuda_it_says_so_once_and_wraps_nothing(self) -> None:
        session = Session(RecordingGraphs(available=False))
        config = CompilationConfig(cudagraph_mode=BOTH)
        with pytest.warns(RuntimeWarning, match="there is no CUDA here") as caught:
            wrapped = [session.wrap(doubled, config, mode=mode) for mode in (PIECEWISE, PIECEWISE, FULL)]
        assert wrapped == [doubled] * 3
        assert len(caught) == 1

    def test_nothing_is_said_when_no_graphs_were_asked_for(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Session(RecordingGraphs(available=False)).wrap(doubled, CompilationConfig())

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
    def test_the_real_backend_knows_that_there_is_no_cuda(self) -> None:
        config = CompilationConfig(cudagraph_mode=PIECEWISE)
        with pytest.warns(RuntimeWarning, match="no CUDA"):
            same = wrap_with_cudagraph_if_needed(
                doubled, config, CompilationCounter(), GraphPool(), is_first=True, is_last=True
            )
        assert same is doubled


class TestTheWrapperClassByName:
    def test_the_default_is_ours(self) -> None:
        wrapped = Session().wrap(doubled, CompilationConfig(cudagraph_mode=PIECEWISE, debug=True), name="piece_00")
        assert type(wrapped) is CUDAGraphWrapper
        assert (wrapped.debug, wrapped.name, wrapped.mode) == (True, "piece_00", PIECEWISE)

    def test_a_platform_names_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cutaway.compiler.run.graphs.Derived", Derived, raising=False)
        config = CompilationConfig(cudagraph_mode=PIECEWISE, cudagraph_wrapper="cutaway.compiler.run.graphs.Derived")
        assert type(Session().wrap(doubled, config)) is Derived

    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("cutaway.compiler.run.cuda_graph.CudaGraphWraper", "Did you mean .*cuda_graph.CUDAGraphWrapper"),
            (
                "cutaway.compiler.run.cudagraph.CUDAGraphWrapper",
                "No module named .* mean .*cuda_graph.CUDAGraphWrapper",
            ),
            ("cutaway.compiler.run.graphs.RecordingGraph", "no such class. Did you mean .*graphs.RecordingGraphs"),
            ("cutaway.compiler.run.graphs.gc", "no such class"),
            ("nothing", "Give the dotted name of a class"),
        ],
    )
    def test_a_wrong_name_is_answered_with_the_nearest(self, name: str, near: str) -> None:
        config = CompilationConfig(cudagraph_mode=PIECEWISE, cudagraph_wrapper=name)
        with pytest.raises(ConfigError, match=f"there is no CUDA graph wrapper '{name}'.*{near}"):
            Session().wrap(doubled, config)


class TestPartitionsOfInductor:
    @staticmethod
    def installed() -> Any:
        return torch._inductor.utils._unstable_customized_partition_wrapper.wrapper

    def test_each_is_wrapped_as_a_piece(self) -> None:
        session = Session()
        config = CompilationConfig(cudagraph_mode=PIECEWISE, use_inductor_graph_partition=True)
        with maybe_use_cudagraph_partition_wrapper(config, session.counters, session.pool):
            wrap = self.installed()
            metadata = [torch._inductor.utils.CUDAGraphWrapperMetadata(3, index) for index in range(3)]
            wrapped = [wrap(emptying, one) for one in metadata]
        assert self.installed() is None
        assert [(one.options.gc_disable, one.options.weak_ref_output) for one in wrapped] == [
            (False, False),
            (True, False),
            (True, True),
        ]
        x = torch.ones(1)
        capture(wrapped[0], [x])
        assert serve(wrapped[0], [x.fill_(2)])[0].item() == 4

    @pytest.mark.parametrize(
        "config",
        [
            CompilationConfig(cudagraph_mode=PIECEWISE),
            CompilationConfig(cudagraph_mode=FULL, use_inductor_graph_partition=True),
        ],
    )
    def test_nothing_is_installed_when_they_are_not_wanted(self, config: CompilationConfig) -> None:
        session = Session()
        with maybe_use_cudagraph_partition_wrapper(config, session.counters, session.pool):
            assert self.installed() is None


def emptying(args: list[torch.Tensor]) -> tuple[torch.Tensor]:
    """Inductor's functions empty the list that they are called with, to free its tensors early."""
    (x,) = args
    args.clear()
    return (x * 2,)
