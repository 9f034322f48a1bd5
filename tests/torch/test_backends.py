"""Compiles of every kind: other backends, dynamic sizes, nested graphs, Inductor without Dynamo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from programs import numbers
from recordings import check, recorded
from torch import fx

import cutaway


def capture(function: Any, *inputs: torch.Tensor) -> tuple[fx.GraphModule, list[torch.Tensor]]:
    """The graph and inputs that Dynamo hands to a backend."""
    seen: list[Any] = []

    def backend(gm: fx.GraphModule, values: list[torch.Tensor]) -> Any:
        seen.append((gm, list(values)))
        return gm.forward

    torch.compile(function, backend=backend)(*inputs)
    return seen[0]


class TestBackends:
    def test_eager_has_one_graph(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path):
            found = torch.compile(programs.doubled, backend="eager")(numbers(3))
        assert found.equal(programs.doubled(numbers(3)))
        assert recorded(tmp_path).stages("doubled") == ["captured"]
        check(tmp_path)

    def test_one_of_the_users_own(self, tmp_path: Path) -> None:
        def backend(gm: fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
            return gm.forward

        with cutaway.record(tmp_path):
            torch.compile(programs.doubled, backend=backend)(numbers(3))
        assert recorded(tmp_path).stages("doubled") == ["captured"]

    def test_one_that_refuses(self, tmp_path: Path) -> None:
        def backend(gm: fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
            raise LookupError("not today")

        with (
            cutaway.record(tmp_path),
            pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="not today"),
        ):
            torch.compile(programs.doubled, backend=backend)(numbers(3))
        assert recorded(tmp_path).stages("doubled") == ["captured"]
        assert recorded(tmp_path).events[-1]["event"] == "end"
        check(tmp_path)

    def test_a_function_that_cannot_be_captured(self, tmp_path: Path) -> None:
        def broken(x: torch.Tensor) -> torch.Tensor:
            torch._dynamo.graph_break()
            return x + 1

        with cutaway.record(tmp_path / "dump"), pytest.raises(torch._dynamo.exc.Unsupported):
            torch.compile(broken, backend="eager", fullgraph=True)(numbers(3))
        if (tmp_path / "dump").exists():
            assert recorded(tmp_path / "dump").of("error") == []
            check(tmp_path / "dump")

    def test_without_tensors_nothing_is_compiled(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path / "dump"):
            assert torch.compile(lambda x: x, backend="eager")(3) == 3
        assert not (tmp_path / "dump").exists() or recorded(tmp_path / "dump").of("snapshot") == []

    def test_under_inference_mode_and_autocast(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            torch.compile(programs.Mlp(8), backend="aot_eager")(numbers(4, 8))
        recording = recorded(tmp_path)
        assert recording.stages("Mlp.forward") == ["captured", "aot_forward"]
        assert recording.of("error") == []
        check(tmp_path)


class TestSizes:
    def test_a_marked_one_is_dynamic_at_once(self, tmp_path: Path) -> None:
        x = numbers(6, 3)
        torch._dynamo.mark_dynamic(x, 0, min=2, max=64)
        with cutaway.record(tmp_path):
            compiled = torch.compile(programs.doubled, backend="aot_eager")
            compiled(x)
            compiled(numbers(9, 3))
        recording = recorded(tmp_path)
        assert recording.compilations == ["doubled"]
        (event,) = recording.of("snapshot", stage="captured")
        ((_, facts),) = recording.table(event)["symbols"].items()
        assert facts == {"min": 2, "max": 64, "hint": 6, "source": "L['x'].size()[0]"}
        assert "in [2, 64], captured with 6" in recording.read("doubled/98.guards.txt")

    def test_recording_adds_no_guard(self, tmp_path: Path) -> None:
        """Sizes in products, sums and quotients, looked at in every way; still one graph serves all."""

        def mixed(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            z = torch.cat([x.flatten(), y.flatten()])
            return z.view(x.shape[0] + y.shape[0], -1)[: x.shape[0] // 2] + x.shape[0] * y.shape[0]

        def compiles(record: bool) -> int:
            torch._dynamo.reset()
            counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
            compiled = torch.compile(mixed, backend=counter, dynamic=True)
            if record:
                with cutaway.record(tmp_path):
                    for rows in (4, 6, 10, 15):
                        compiled(numbers(rows, 8), numbers(rows + 1, 8))
            else:
                for rows in (4, 6, 10, 15):
                    compiled(numbers(rows, 8), numbers(rows + 1, 8))
            return counter.frame_count

        assert compiles(record=True) == compiles(record=False)
        (event,) = recorded(tmp_path).of("snapshot", stage="captured")
        assert len(recorded(tmp_path).table(event)["symbols"]) == 3

    def test_one_that_only_the_data_knows(self, tmp_path: Path) -> None:
        def found(x: torch.Tensor) -> torch.Tensor:
            return x.nonzero() * 2

        with cutaway.record(tmp_path), torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
            torch.compile(found, backend="aot_eager")(torch.tensor([0, 1, 2]))
        recording = recorded(tmp_path)
        (event,) = recording.of("snapshot", stage="captured")
        assert any(name.startswith("u") for name in recording.table(event)["symbols"])
        check(tmp_path)


class TestNestedGraphs:
    def test_a_condition(self, tmp_path: Path) -> None:
        with cutaway.record(tmp_path):
            found = torch.compile(programs.branching, backend="aot_eager")(numbers(4))
        assert found.equal(programs.branching(numbers(4)))
        recording = recorded(tmp_path)
        for event in recording.of("snapshot"):
            table = recording.table(event)
            assert len(table["graphs"]) == 2
            assert all(graph["nodes"][-1]["op"] == "output" for graph in table["graphs"].values())
        assert recording.of("error") == []
        check(tmp_path)

    def test_an_autograd_function_and_a_checkpoint(self, tmp_path: Path) -> None:
        from torch.utils.checkpoint import checkpoint  # noqa: PLC0415  (slow, and for this alone)

        def inner(x: torch.Tensor) -> torch.Tensor:
            return x.sin().cos()

        def outer(x: torch.Tensor) -> torch.Tensor:
            return checkpoint(inner, x, use_reentrant=False) * 2

        x = numbers(4).requires_grad_()
        with cutaway.record(tmp_path):
            torch.compile(outer, backend="aot_eager")(x).sum().backward()
        (event,) = recorded(tmp_path).of("snapshot", stage="captured")
        assert recorded(tmp_path).table(event)["graphs"]
        assert recorded(tmp_path).of("error") == []
        check(tmp_path)


class TestInductorAlone:
    def test_standalone_compile(self, tmp_path: Path) -> None:
        gm, inputs = capture(programs.shifted, numbers(3))
        with cutaway.record(tmp_path):
            artifact = torch._inductor.standalone_compile(gm, inputs, dynamic_shapes="from_example_inputs")
        (result,) = artifact(*inputs)
        assert result.equal(programs.shifted(numbers(3)))
        recording = recorded(tmp_path)
        (name,) = recording.compilations
        assert name
        stages = recording.stages(name)
        assert stages[0] == "before_pre_grad"
        assert stages[-1] == "post_grad"
        assert recording.of("code", kind="output_code")
        check(tmp_path)

    def test_two_graphs_are_two_compilations(self, tmp_path: Path) -> None:
        graphs = [capture(function, numbers(3)) for function in (programs.shifted, programs.squared)]
        with cutaway.record(tmp_path):
            for gm, inputs in graphs:
                torch._inductor.standalone_compile(gm, inputs, dynamic_shapes="from_example_inputs")
        recording = recorded(tmp_path)
        assert len(recording.compilations) == 2
        for name in recording.compilations:
            assert len(recording.of("code", kind="output_code", compilation=name)) == 1
        check(tmp_path)

    def test_aot_function_by_hand(self, tmp_path: Path) -> None:
        from torch._functorch.aot_autograd import aot_function  # noqa: PLC0415  (for this alone)

        def compiler(gm: fx.GraphModule, inputs: Any) -> Any:
            return gm.forward

        with cutaway.record(tmp_path):
            found = aot_function(programs.doubled, compiler)(numbers(3))
        assert found.equal(programs.doubled(numbers(3)))
        recording = recorded(tmp_path)
        assert recording.of("error") == []
        assert [event["stage"] for event in recording.of("snapshot")] == ["aot_forward"]
        check(tmp_path)
