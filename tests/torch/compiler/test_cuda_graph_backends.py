"""The backends themselves: weak references, and that the fake behaves as the real one does."""

from __future__ import annotations

import gc

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from cutaway.compiler.run import graphs
from cutaway.compiler.run.graphs import GraphPool, RecordingGraphs, TorchGraphs
from cutaway.torch_internals import map_tensors, weak_tensor


class TestWeakTensors:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
    def test_one_lies_over_the_same_memory(self, dtype: torch.dtype) -> None:
        base = torch.arange(24).to(dtype).reshape(4, 6)
        tensor = base[1:, ::2].t()
        weak = weak_tensor(tensor)
        assert weak is not None
        assert (weak.data_ptr(), weak.stride(), weak.dtype) == (tensor.data_ptr(), tensor.stride(), tensor.dtype)
        assert torch.equal(weak, tensor)
        base.zero_()
        assert not weak.any()

    def test_one_does_not_keep_it_alive(self) -> None:
        tensor = torch.ones(4)
        storage = StorageWeakRef(tensor.untyped_storage())
        weak = weak_tensor(tensor)
        assert weak is not None
        assert not storage.expired()
        del tensor
        assert storage.expired()

    def test_of_a_tensor_of_another_class_there_is_none(self) -> None:
        class Marked(torch.Tensor):
            pass

        assert weak_tensor(torch.ones(1).as_subclass(Marked)) is None
        assert weak_tensor(torch.nn.Parameter(torch.ones(1))) is not None

    def test_where_torch_has_no_such_function_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(torch._C, "_construct_storage_from_data_pointer")
        assert weak_tensor(torch.ones(1)) is None

    def test_the_containers_are_kept(self) -> None:
        mapped = map_tensors(lambda tensor: tensor + 1, (torch.ones(1), [torch.zeros(1), 7], {"x": None}))
        assert mapped == (torch.tensor([2.0]), [torch.tensor([1.0]), 7], {"x": None})

    def test_tensors_that_are_not_on_a_gpu_stay_as_they_are(self) -> None:
        x = torch.ones(1)
        assert TorchGraphs().weak_references((x,))[0] is x


class TestRecordingGraphs:
    def test_a_replay_reads_the_arguments_of_the_capture(self) -> None:
        backend, x = RecordingGraphs(), torch.ones(2)
        graph, output = backend.capture(torch.neg, (x,), "pool", collect=False, release=False)
        x.fill_(5)
        graph.replay()
        assert output.tolist() == [-5, -5]
        assert backend.events == ["capture graph 0 in pool", "replay graph 0"]

    def test_a_replay_fills_released_outputs_too(self) -> None:
        backend, x = RecordingGraphs(), torch.ones(2)
        graph, output = backend.capture(torch.neg, (x,), "pool", collect=True, release=True)
        x.fill_(5)
        graph.replay()
        assert output.tolist() == [-5, -5]

    def test_nothing_is_asked_for_before_the_first_capture(self) -> None:
        backend = RecordingGraphs()
        pool = GraphPool(backend)
        assert pool.is_available
        assert backend.events == []
        assert pool.handle == pool.handle == "pool 0"
        assert backend.events == ["new pool 0"]


class TestTheHoldOnGarbageCollection:
    @pytest.mark.parametrize("enabled", [True, False])
    def test_it_leaves_things_as_they_were(self, enabled: bool) -> None:
        before = gc.isenabled()
        (gc.enable if enabled else gc.disable)()
        try:
            with graphs._no_collection():
                assert not gc.isenabled()
            assert gc.isenabled() is enabled
        finally:
            (gc.enable if before else gc.disable)()
