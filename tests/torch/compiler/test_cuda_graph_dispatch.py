"""What the engine says of a batch, which sizes are captured, and which of them a batch takes."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.compiler.config import CompilationConfig, CUDAGraphMode
from cutaway.compiler.run.context import (
    Batch,
    BatchDescriptor,
    allow_capture,
    batch_context,
    capture_allowed,
    current_batch,
)
from cutaway.compiler.run.dispatch import capture_sizes, make_dispatcher
from cutaway.errors import ConfigError

NONE, PIECEWISE, FULL, BOTH = CUDAGraphMode


def config_of(*sizes: int, mode: CUDAGraphMode = PIECEWISE, **fields: object) -> CompilationConfig:
    return CompilationConfig(cudagraph_mode=mode, cudagraph_capture_sizes=sizes, **fields)


class TestContext:
    def test_the_batch_is_known_inside_and_forgotten_after(self) -> None:
        with batch_context(BatchDescriptor(8), PIECEWISE):
            with batch_context(BatchDescriptor(1)):
                assert current_batch() == Batch(BatchDescriptor(1), NONE)
            assert current_batch() == Batch(BatchDescriptor(8), PIECEWISE)
        assert current_batch() is None

    def test_an_error_inside_ends_it_too(self) -> None:
        with pytest.raises(KeyError), allow_capture(), batch_context(BatchDescriptor(8)):
            raise KeyError
        assert current_batch() is None
        assert not capture_allowed()

    def test_another_thread_has_its_own(self) -> None:
        seen: list[object] = []
        with allow_capture(), batch_context(BatchDescriptor(8), FULL):
            thread = threading.Thread(target=lambda: seen.extend([current_batch(), capture_allowed()]))
            thread.start()
            thread.join()
        assert seen == [None, False]

    def test_a_batch_runs_in_one_mode(self) -> None:
        with pytest.raises(ConfigError, match="Give FULL or PIECEWISE"), batch_context(BatchDescriptor(8), BOTH):
            pass

    def test_descriptors_are_equal_by_what_they_say(self) -> None:
        assert {BatchDescriptor(8), BatchDescriptor(8, uniform=False, extras=())} == {BatchDescriptor(8)}
        assert BatchDescriptor(8) != BatchDescriptor(8, uniform=True)


class TestSizes:
    def test_the_largest_comes_first_and_each_once(self) -> None:
        assert capture_sizes(config_of(1, 8, 2, 8)) == (8, 2, 1)

    @pytest.mark.parametrize("size", [0, -1, 65])
    def test_a_size_that_no_batch_has_is_refused(self, size: int) -> None:
        with pytest.raises(ConfigError, match=f"captured for a batch of {size}.*1 to 64"):
            capture_sizes(config_of(1, size, max_batch=64))

    def test_a_compile_size_that_padding_skips_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"compile size 5 would never be run.*padded to 8"):
            capture_sizes(config_of(4, 8, compile_sizes=(4, 5)))

    def test_a_compile_size_above_all_graphs_is_not_padded(self) -> None:
        assert capture_sizes(config_of(4, compile_sizes=(5,))) == (4,)


class TestDispatch:
    @given(st.sets(st.integers(1, 40), min_size=1), st.integers(-1, 50))
    def test_a_batch_takes_the_smallest_size_that_holds_it(self, sizes: set[int], num_tokens: int) -> None:
        descriptor, mode = make_dispatcher(config_of(*sizes)).dispatch(num_tokens)
        holding = [size for size in sizes if size >= num_tokens >= 1]
        expected = (min(holding), PIECEWISE) if holding else (num_tokens, NONE)
        assert (descriptor.num_tokens, mode) == expected

    @given(st.sets(st.integers(1, 40)), st.sampled_from(CUDAGraphMode), st.integers(0, 50), st.booleans())
    def test_every_batch_that_is_sent_to_a_graph_finds_one(
        self, sizes: set[int], mode: CUDAGraphMode, num_tokens: int, uniform: bool
    ) -> None:
        dispatcher = make_dispatcher(config_of(*sizes, mode=mode))
        batch = dispatcher.dispatch(num_tokens, uniform=uniform)
        assert batch[1] is NONE or batch in dispatcher.to_capture()

    def test_the_whole_is_for_uniform_batches(self) -> None:
        dispatcher = make_dispatcher(config_of(4, 8, mode=BOTH))
        assert dispatcher.dispatch(3, uniform=True) == (BatchDescriptor(4, uniform=True), FULL)
        assert dispatcher.dispatch(3) == (BatchDescriptor(4), PIECEWISE)
        assert dispatcher.to_capture() == [
            (BatchDescriptor(8), PIECEWISE),
            (BatchDescriptor(4), PIECEWISE),
            (BatchDescriptor(8, uniform=True), FULL),
            (BatchDescriptor(4, uniform=True), FULL),
        ]

    @pytest.mark.parametrize("mode", [PIECEWISE, FULL])
    def test_in_other_modes_one_graph_serves_both(self, mode: CUDAGraphMode) -> None:
        dispatcher = make_dispatcher(config_of(4, 8, mode=mode))
        assert dispatcher.dispatch(3, uniform=True) == dispatcher.dispatch(3) == (BatchDescriptor(4), mode)

    def test_extras_go_along(self) -> None:
        dispatcher = make_dispatcher(config_of(4))
        assert dispatcher.dispatch(3, extras=("lora",))[0] == BatchDescriptor(4, extras=("lora",))
        assert dispatcher.dispatch(9, extras=("lora",))[0] == BatchDescriptor(9, extras=("lora",))

    @pytest.mark.parametrize(
        "config",
        [config_of(4, mode=NONE), config_of(4, off={"cuda_graphs"}), config_of()],
        ids=["none", "off", "no size"],
    )
    def test_without_graphs_no_batch_is_padded(self, config: CompilationConfig) -> None:
        dispatcher = make_dispatcher(config)
        assert dispatcher.dispatch(3) == (BatchDescriptor(3), NONE)
        assert dispatcher.to_capture() == []
