"""Why a pattern does not match: near misses made by hand, each with one thing amiss, for our passes and a user's."""

from __future__ import annotations

import torch
from explain.near_misses import held, rebuilt, why_not
from explain.users_patterns import cast_and_scale, tanh_and_add
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx

from cutaway import torch_internals
from cutaway.explain.patterns.match import Comparison
from cutaway.explain.patterns.sources import Source, find_source
from cutaway.ops.library import fused_add_rms_norm, rms_norm, static_quant

EPS = 1e-6
X, R, W = torch.randn(8, 64), torch.randn(8, 64), torch.ones(64)
SCALE = torch.ones(1)
ADD, QUANT = "add_rms_norm_fusion", "rms_norm_quant_fusion"


class TestOfOurPasses:
    def test_where_it_matches_nothing_is_amiss(self) -> None:
        best = held(ADD, lambda x, r, w: rms_norm(x + r, w, EPS), X, R, W)[0]
        assert (best.matched, best.got, best.of, best.reasons) == (True, 2, 2, [])

    def test_another_operator(self) -> None:
        kind, text = why_not(ADD, lambda x, r, w: rms_norm(x * r, w, EPS), X, R, W)
        assert kind == "op"
        assert text == "rms_norm reads mul = aten.mul, where the pattern has aten.add"

    def test_a_cast_between(self) -> None:
        kind, text = why_not(ADD, lambda x, r, w: rms_norm((x + r).bfloat16(), w.bfloat16(), EPS), X, R, W)
        assert kind == "dtype"
        assert text.startswith(
            "convert_element_type = prims.convert_element_type (f32[8, 64] → bf16[8, 64]) stands between rms_norm"
        )

    def test_a_view_between(self) -> None:
        kind, text = why_not(ADD, lambda x, r, w: rms_norm((x + r).view(8, 2, 32), w[:32], EPS), X, R, W)
        assert kind == "shape"
        assert "(f32[8, 64] → f32[8, 2, 32]) stands between rms_norm and add" in text

    def test_too_many_users(self) -> None:
        def program(x: Tensor, w: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
            normed = rms_norm(x, w, EPS)
            return static_quant(normed, scale, torch.int8), normed

        kind, text = why_not(QUANT, program, X, W, SCALE)
        assert kind == "users"
        assert text == "rms_norm has 2 users (static_quant, output), the pattern allows 1"

    def test_another_constant(self) -> None:
        def program(x: Tensor, r: Tensor, w: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
            normed, total = fused_add_rms_norm(x, r, w, EPS)
            return static_quant(total, scale, torch.int8), normed

        kind, text = why_not(QUANT, program, X, R, W, SCALE)
        assert kind == "constant"
        assert text == "index of getitem_1 is 1, the pattern has 0"

    def test_an_extra_check_that_says_why(self) -> None:
        broadcast = why_not(ADD, lambda x, r, w: rms_norm(x + r, w, EPS), X, R[:1], W)
        assert broadcast == ("check", "one operand is broadcast")
        assert why_not(ADD, lambda x, r, w: rms_norm(x + r, w, EPS), X, R.bfloat16(), W) == (
            "check",
            "the operands are of different dtypes",
        )

    def test_what_the_pattern_would_go_on_with(self) -> None:
        kind, text = why_not(QUANT, lambda x, w: rms_norm(x, w, EPS).relu(), X, W)
        assert kind == "op"
        assert text == "rms_norm is read by relu = aten.relu, where the pattern goes on with cutaway_ir.static_quant"

    def test_a_pass_without_patterns_is_run(self) -> None:
        source = find_source("no_op_elimination", None)
        assert source.run is not None
        assert source.patterns == []


class TestOfAUsersFunctions:
    """Patterns that torch traces: numbers and dtypes are compared when it traces them again."""

    def test_where_it_matches(self) -> None:
        best = held(Source(tanh_and_add()), lambda x, y: torch.tanh(x) * 2.0 + y, X, R)[0]
        assert best.matched

    def test_another_constant(self) -> None:
        kind, text = why_not(Source(tanh_and_add()), lambda x, y: torch.tanh(x) * 3.0 + y, X, R)
        assert (kind, text) == ("constant", "other of mul is 3.0, the pattern has 2.0")

    def test_operands_the_other_way_round(self) -> None:
        kind, text = why_not(Source(tanh_and_add()), lambda x, y: y + torch.tanh(x) * 2.0, X, R)
        assert kind == "order"
        assert text == "the operands of add stand the other way round than in the pattern, all else fits"

    def test_another_dtype_in_a_cast(self) -> None:
        kind, text = why_not(Source(cast_and_scale()), lambda x, y: x.to(torch.float16) * y, X, R.half())
        assert kind == "dtype"
        assert text == "dtype of convert_element_type is torch.float16, the pattern has torch.bfloat16"

    def test_an_extra_check_with_the_part_that_was_false(self) -> None:
        best = held(Source(tanh_and_add()), lambda x, y: torch.tanh(x) * 2.0 + y, X[:, :32], R[:, :32])[0]
        reason = best.reasons[0]
        assert reason.kind == "check"
        assert reason.text == "the extra check wide_enough says no: `value.shape[-1] >= 64` is false"
        assert reason.place.rpartition("/")[2].startswith("users_patterns.py:")

    def test_an_extra_check_that_returns_by_a_condition(self) -> None:
        best = held(Source(cast_and_scale()), lambda x, y: x.to(torch.bfloat16) * y, X[0], R[0].bfloat16())[0]
        reason = best.reasons[0]
        assert reason.kind == "check"
        assert reason.text == "the extra check two_dimensional says no: `value.dim() != 2`"


class TestOfInductor:
    def test_its_own_patterns_are_found(self) -> None:
        source = find_source("torch._inductor.fx_passes.post_grad:pass_patterns", None)
        assert len(source.patterns) > 5

    def test_a_write_between(self) -> None:
        def program(x: Tensor, y: Tensor) -> Tensor:
            half = torch.tanh(x) * 2.0
            y.add_(1.0)
            return half + y

        kinds = [attempt.reasons[0].kind for attempt in held(Source(tanh_and_add()), program, X, R) if attempt.got == 3]
        assert kinds == ["mutation"]


OPS = st.sampled_from(["add", "mul", "relu", "exp", "cast", "double"])


def random_program(steps: list[tuple[str, int, int]]) -> fx.Graph:
    def program(x: Tensor, y: Tensor) -> Tensor:
        values = [x, y]
        for op, left, right in steps:
            a, b = values[left % len(values)], values[right % len(values)]
            made = {
                "add": lambda a=a, b=b: a + b, "mul": lambda a=a, b=b: a * b, "relu": lambda a=a: a.relu(),
                "exp": lambda a=a: a.exp(), "cast": lambda a=a: a.double().float(), "double": lambda a=a: a * 2.0,
            }[op]()  # fmt: skip
            values.append(made)
        return sum(values[2:], values[0])  # pyright: ignore[reportReturnType]

    return rebuilt(program, X, R)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(OPS, st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6))
def test_it_says_what_torch_decides(steps: list[tuple[str, int, int]]) -> None:
    """Our walk over a pattern finds something amiss exactly where torch's finds no match."""
    graph = random_program(steps)
    matcher = torch_internals.pattern_matcher()
    add, mul, relu = (getattr(torch.ops.aten, name) for name in ("add", "mul", "relu"))
    x, y = matcher.KeywordArg("x"), matcher.KeywordArg("y")
    shared = matcher.CallFunction(relu.default, x, _users=matcher.MULTIPLE)
    patterns = [
        matcher.CallFunction(add.Tensor, matcher.CallFunction(mul.Tensor, x, y), y),
        matcher.CallFunction(mul.Tensor, matcher.CallFunction(relu.default, x), 2.0),
        matcher.CallFunction(add.Tensor, shared, shared),
        matcher.CallFunction(add.Tensor, x, x),
        matcher.MultiOutputPattern(
            [matcher.CallFunction(add.Tensor, shared, y), matcher.CallFunction(mul.Tensor, shared, y)]
        ),
    ]
    for node in graph.nodes:
        for pattern in patterns:
            if node.op == "call_function":
                fits = not Comparison(pattern, node).reasons
                said = pattern.match(node)
                assert fits == matcher.is_match(said), (pattern, node.format_node(), str(said))
