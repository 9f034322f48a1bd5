"""The ways in: compile, the decorator, torch's own registry; what a compiled model still is."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler.models import SPLITTING, Block, Decoder, Sizes, close, decoder, rows, same, tokens
from torch import nn

import cutaway
from cutaway.compiler import (
    CompilationConfig,
    set_compilation_config,
    set_model_tag,
    set_on_compilation_complete,
    support_torch_compile,
)
from cutaway.compiler.api import counters_of

EAGER = {"backend": "eager", "max_batch": 300}


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@support_torch_compile(config=EAGER)
class Decorated(Plain):
    pass


def _through_a_file(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


class TestCompile:
    def test_a_compiled_model_is_a_module_with_the_models_own_state(self) -> None:
        model = decoder(layers=1)
        compiled = cutaway.compile(model, EAGER)
        assert isinstance(compiled, nn.Module)
        assert compiled._orig_mod is model
        assert compiled.layers is model.layers
        assert [weight is other for weight, other in zip(compiled.parameters(), model.parameters(), strict=True)]
        with pytest.raises(AttributeError, match="Decoder"):
            compiled.nothing  # noqa: B018

    def test_it_never_computes_gradients(self) -> None:
        compiled = cutaway.compile(Block(), EAGER)
        assert torch.is_grad_enabled()
        assert not compiled(rows(4)).requires_grad

    def test_results_may_be_nested(self) -> None:
        block = Block(lambda x: {"sum": x.sum(0), "parts": (x[:2], [x + 1, 7, None]), "rows": x.shape[0]})
        compiled = cutaway.compile(block, EAGER)
        for number in (4, 9):
            x = rows(number)
            found, wanted = compiled(x), block(x)
            close(found["sum"], wanted["sum"].detach())
            close(found["parts"][1][0], wanted["parts"][1][0].detach())
            assert found["parts"][1][1:] == [7, None]
            assert found["rows"] == number

    def test_arguments_may_be_nested(self) -> None:
        class Sum(nn.Module):
            def forward(self, parts: dict[str, torch.Tensor], pair: tuple[torch.Tensor, int]) -> torch.Tensor:
                return (parts["a"] + parts["b"]) * pair[1] + pair[0]

        compiled = cutaway.compile(Sum(), EAGER, dynamic_arg_dims={"parts": 0})
        for number in (4, 7):
            x = rows(number)
            assert compiled({"a": x, "b": x}, (torch.ones(8), 3)).equal((x + x) * 3 + 1)
        with pytest.raises(cutaway.InputError, match=r"'pair'.*(?i:part) 1: it is 4, and 3 was compiled in"):
            compiled({"a": rows(4), "b": rows(4)}, (torch.ones(8), 4))

    def test_two_arguments_vary_together(self) -> None:
        class Mixed(nn.Module):
            def forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
                return ids * 2 + positions.sum(0)

        compiled = cutaway.compile(Mixed(), EAGER, dynamic_arg_dims={"ids": 0, "positions": -1})
        for number in (16, 1, 5):
            ids, positions = tokens(number), torch.arange(3 * number).view(3, number)
            assert compiled(ids, positions).equal(ids * 2 + positions.sum(0))

    def test_what_changes_in_place_is_changed(self) -> None:
        class Counting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.calls = nn.Buffer(torch.zeros(()))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.calls.add_(1)
                return x.mul_(2)

        model = Counting()
        compiled = cutaway.compile(model, EAGER)
        for number in (4, 7):
            x = rows(number)
            wanted = x * 2
            compiled(x)
            assert x.equal(wanted)
        assert model.calls == 2

    def test_a_module_of_torch_itself(self, tmp_path: Path) -> None:
        """Dynamo does not look at its forward unless another calls it."""
        for seed in (0, 1):
            torch.manual_seed(seed)
            model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
            compiled = cutaway.compile(model, {"cache_dir": tmp_path, "max_batch": 16}, dynamic_arg_dims={"input": 0})
            for number in (5, 1, 16):
                x = rows(number)
                close(compiled(x), model(x).detach())
            assert compiled.counters.models_loaded == seed

    def test_sizes_that_depend_on_data(self) -> None:
        block = Block(lambda x: x[x.sum(1) > 0])
        compiled = cutaway.compile(block, EAGER)
        for number in (16, 1, 40):
            x = rows(number)
            close(compiled(x), block(x).detach())


class TestCopiesAndFiles:
    """A compiled model goes wherever a module goes; what comes back is compiled at its own first call."""

    @pytest.mark.parametrize("called", [False, True])
    @pytest.mark.parametrize("way", [copy.deepcopy, _through_a_file])
    def test_of_a_compiled_model(self, way: Callable[[Any], Any], called: bool) -> None:
        compiled = cutaway.compile(Plain(), EAGER, tag="first")
        x = rows(4)
        if called:
            compiled(x)
        other = way(compiled)
        assert other.counters.graphs_seen == 0
        assert other.session.tag == "first"
        with torch.no_grad():
            other.linear.weight.zero_()
        close(other(x), other.linear.bias.detach().expand(4, 8))
        close(compiled(x), compiled._orig_mod(x).detach())
        assert other.counters.graphs_seen == 1

    @pytest.mark.parametrize("way", [copy.deepcopy, _through_a_file])
    def test_of_an_instance_of_a_decorated_class(self, way: Callable[[Any], Any]) -> None:
        model = Decorated()
        x = rows(4)
        wanted = model(x)
        other = way(model)
        with torch.no_grad():
            other.linear.weight.zero_()
        close(other(x), other.linear.bias.detach().expand(4, 8))
        close(model(x), wanted)
        assert counters_of(other) is not counters_of(model)

    def test_the_state_has_the_models_own_names(self) -> None:
        model, other = Plain(), Plain()
        compiled = cutaway.compile(other, EAGER)
        x = rows(4)
        compiled(x)
        assert list(compiled.state_dict()) == list(model.state_dict())
        compiled.load_state_dict(model.state_dict())
        close(compiled(x), model(x).detach())
        outer = nn.ModuleDict({"inner": compiled})
        assert list(outer.state_dict()) == ["inner.linear.weight", "inner.linear.bias"]
        outer.load_state_dict(outer.state_dict())


class TestDecorator:
    def make(self, **options: Any) -> type[Decoder]:
        @support_torch_compile(**options)
        class Decorated(Decoder):
            def forward(self, ids: torch.Tensor) -> torch.Tensor:
                return super().forward(ids)

        return Decorated

    def test_instances_are_compiled_at_their_first_call(self) -> None:
        kind = self.make(config={**EAGER, "splitting_ops": SPLITTING})
        model = kind(Sizes(layers=3, hidden=16)).eval()
        plain = decoder(layers=3, hidden=16)
        plain.load_state_dict(model.state_dict())
        assert isinstance(model, kind)
        for number in (16, 1, 300):
            same(plain, model, number)
        assert counters_of(model).backend_compilations == 3
        with pytest.raises(cutaway.InputError):
            model(tokens(301))

    def test_without_options(self) -> None:
        @support_torch_compile
        class Plain(Block):
            pass

        model = Plain(torch.relu)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUTAWAY_OFF", "compile")
            model = Plain(torch.relu)
        x = rows(4)
        close(model(x), torch.relu(model.linear(x)).detach())

    def test_enable_if_leaves_an_instance_alone(self) -> None:
        kind = self.make(config=EAGER, enable_if=lambda config: config.max_batch > 1000)
        model = kind(Sizes(layers=1))
        assert "_cutaway" not in vars(model)
        assert model(tokens(301)).requires_grad

    def test_the_configuration_around_the_making_wins(self) -> None:
        kind = self.make(config=EAGER)
        with set_compilation_config({**EAGER, "max_batch": 8}):
            model = kind(Sizes(layers=1))
        with pytest.raises(cutaway.InputError, match=r"batch size 9 .*\[1, 8\]"):
            model(tokens(9))
        assert kind(Sizes(layers=1))(tokens(9)).shape == (9, 128)

    def test_tag_and_callbacks_are_of_the_block_in_which_it_was_made(self) -> None:
        heard: list[str] = []
        with set_model_tag("eagle_head"), set_on_compilation_complete(lambda: heard.append("done")):
            model = self.make(config=EAGER)(Sizes(layers=1))
        assert heard == []
        model(tokens(4))
        model(tokens(5))
        assert heard == ["done"]
        assert vars(model)["_cutaway"].session.tag == "eagle_head"

    def test_of_a_class_and_one_derived_from_it_an_instance_is_compiled_once(self) -> None:
        base = self.make(config=EAGER)

        @support_torch_compile(config={**EAGER, "max_batch": 8})
        class Derived(base):
            pass

        model = Derived(Sizes(layers=1))
        model(tokens(4))
        assert counters_of(model).graphs_seen == 1

    def test_one_inside_another_that_is_compiled_is_a_part_of_it(self) -> None:
        kind = self.make(config=EAGER)
        outer = nn.Sequential(kind(Sizes(layers=1)), nn.Linear(128, 4)).eval()
        compiled = cutaway.compile(outer, EAGER, dynamic_arg_dims={"input": 0})
        ids = tokens(5)
        found = compiled(ids)
        assert compiled.counters.graphs_seen == 1
        assert counters_of(outer[0]).graphs_seen == 0
        with torch.no_grad():
            close(found, outer(ids))


class TestTorchsRegistry:
    def test_it_is_there_by_name(self) -> None:
        assert "cutaway" in torch._dynamo.list_backends()

    @pytest.mark.parametrize("dynamic", [None, True, False])
    def test_torch_compile_with_our_backend(self, dynamic: bool | None) -> None:
        model = decoder(layers=3, hidden=16)
        options = {"backend": "eager", "splitting_ops": SPLITTING}
        with torch.no_grad():
            compiled = torch.compile(model, backend="cutaway", dynamic=dynamic, options=options)
            for number in (16, 1, 5, 300):
                same(model, compiled, number)

    @pytest.mark.parametrize("dynamic", [None, True])
    def test_a_branch_on_the_batch_size_is_compiled_for_each_side(self, dynamic: bool | None) -> None:
        block = Block(lambda x: x + 1 if x.shape[0] > 10 else x - 1)
        with torch.no_grad():
            compiled = torch.compile(block, backend="cutaway", dynamic=dynamic, options={"backend": "eager"})
            for number in (16, 4, 9, 10_000, 1):
                x = rows(number)
                close(compiled(x), block(x))

    def test_with_inductor_and_without_options(self) -> None:
        block = Block()
        compiled = torch.compile(block, backend="cutaway")
        with torch.no_grad():
            for number in (4, 9):
                x = rows(number)
                close(compiled(x), block(x))

    def test_graph_breaks_are_torchs_own_there(self) -> None:
        def then(x: torch.Tensor) -> torch.Tensor:
            torch._dynamo.graph_break()
            return x + 1

        block = Block(then)
        compiled = torch.compile(block, backend="cutaway", options={"backend": "eager"})
        x = rows(4)
        with torch.no_grad():
            close(compiled(x), block(x))

    def test_gradients_are_refused(self) -> None:
        compiled = torch.compile(Block(), backend="cutaway", options={"backend": "eager"})
        with pytest.raises(Exception, match=r"compiles for inference.*needs a gradient.*torch.no_grad\(\)"):
            compiled(rows(4))

    def test_an_unknown_option_is_answered_with_the_nearest(self) -> None:
        with torch.no_grad():
            compiled = torch.compile(Block(), backend="cutaway", options={"splitting_op": []})
            with pytest.raises(Exception, match=r"has no field 'splitting_op'\..*splitting_ops\?"):
                compiled(rows(4))


class TestConfiguration:
    def test_a_mapping_will_do(self) -> None:
        made = cutaway.compile(Block(), EAGER).session.config
        assert made == CompilationConfig(**EAGER)

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            CompilationConfig().max_batch = 3  # type: ignore[misc]
