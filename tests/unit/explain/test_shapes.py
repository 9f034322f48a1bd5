"""Conditions on sizes: spelled as Python, what they leave, and guards that were written down as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.explain.shapes.read import read_constraints, read_inputs, read_sizes, readable, whole_place
from cutaway.explain.shapes.terms import as_python, holds, left_of, names_in, value_of

TEXT = """\
# backbone/guards — guards and sizes

Symbolic sizes (one graph serves every size in the range):
  s72 in [2, ∞], captured with 4096  from L['input_ids'].size()[0]
  s80 in [2, ∞], always s72, captured with 4096  from L['positions'].size()[0]    by model/rotary.py:177: x = x.view(n, -1)
  s9 in [16, 16], always 16, captured with 16  from L['self']._modules['mask'].size()[1]

Other symbolic integers:
  s13 in [-∞, ∞], captured with 93982074720768  from L['self'].handler.item()

Constraints that tracing put on the sizes, and the line that made each:
  Eq(Mod(256*s72, 64*s80), 0)    at model/rotary.py:177: x = x.view(n, -1)
  Eq(Mod(s72, 128), 0)    at model/attention.py:20: if n % 128 == 0:
  Eq(Mod(s72, 8), 0)    at /lib/site-packages/torch/_inductor/codecache.py:2102
  s72 <= 4096    at /lib/site-packages/torch/_inductor/sizevars.py:7
  Eq(s9, 16)    at model/attention.py:22

Guards (Dynamo checks them before it uses the compiled code again):

TREE_GUARD_MANAGER:
+- RootGuardManager
| | +- TENSOR_MATCH: check_tensor(L['input_ids'], Tensor, DispatchKeySet(CPU), torch.int64, device=None, size=[None, 1], stride=[1, 1])  # x = emb(input_ids)  # model/top.py:3 in forward
| | +- TENSOR_MATCH: check_tensor(L['self']._parameters['w'], Tensor, DispatchKeySet(CPU), torch.float32, device=None, size=[4, 4], stride=[4, 1])  # w  # model/top.py:4 in forward
+- LAMBDA_GUARD: L['x'].stride()[0] == L['x'].size()[1]  # (unknown source L['x'].stride()[0], please file a bug)
+- LAMBDA_GUARD: 2 <= L['input_ids'].size()[0]  # x = emb(input_ids)  # model/top.py:3 in forward (user code shown is first use of this value--the guard itself is not due user code but due to 0/1 specialization in the framework)
"""  # noqa: E501  (as torch writes it)


class TestOfText:
    def test_sizes(self) -> None:
        batch, positions, mask = read_sizes(TEXT)
        assert (batch.symbol, batch.source, batch.least, batch.most) == ("s72", "input_ids.size()[0]", 2, None)
        assert (positions.always, positions.place, positions.code) == (
            "s72",
            "model/rotary.py:177",
            "x = x.view(n, -1)",
        )
        assert mask.fixed
        assert not positions.fixed

    def test_constraints_and_whose_they_are(self) -> None:
        found = {each.text: each for each in read_constraints(TEXT, read_sizes(TEXT))}
        assert {text: each.kind for text, each in found.items()} == {
            "256 * s72 % (64 * s80) == 0": "model",
            "s72 % 128 == 0": "model",
            "s72 % 8 == 0": "cache",
            "s72 <= 4096": "torch",
            "s9 == 16": "model",
            "x.stride()[0] == x.size()[1]": "layout",
            "s72 >= 2": "zero_one",
        }
        assert found["s72 % 128 == 0"].leaves == "only multiples of 128"
        assert found["s72 % 128 == 0"].place == "model/attention.py:20"
        assert found["s72 % 128 == 0"].code == "if n % 128 == 0:"
        assert found["s72 >= 2"].place == "model/top.py:3"

    def test_what_is_known_to_be_equal_is_put_in(self) -> None:
        first = read_constraints(TEXT, read_sizes(TEXT))[0]
        assert first.leaves == "every size"

    def test_inputs_without_weights(self) -> None:
        (ids,) = read_inputs(TEXT)
        assert (ids.source, ids.sizes, ids.zero_or_one) == ("input_ids", (None, 1), (1,))

    def test_without_any_of_it(self) -> None:
        assert read_sizes("") == []
        assert read_constraints("nothing", []) == []

    def test_a_recording_without_the_line_itself(self) -> None:
        """As recordings were before the line's code was written down."""
        old = "Constraints that tracing put on the sizes, and the line that made each:\n  s0 <= 8    at a/b.py:3\n"
        (found,) = read_constraints(old, [])
        assert (found.place, found.code, found.leaves) == ("a/b.py:3", "", "at most 8")

    def test_a_path_that_torch_cut_short(self) -> None:
        assert whole_place("me/a.py:3", ["/home/a.py", "/home/b.py"]) == "/home/a.py:3"
        assert whole_place("a.py:3", ["/x/a.py", "/y/a.py"]) == "a.py:3"

    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("L['x'].size()[0]", "x.size()[0]"),
            ("L['self']._modules['layers']._modules['0'].mask.size()[1]", "self.layers.0.mask.size()[1]"),
        ],
    )
    def test_a_source_as_a_user_would_write_it(self, source: str, text: str) -> None:
        assert readable(source) == text


class TestOfConditions:
    @pytest.mark.parametrize(
        ("condition", "text", "leaves"),
        [
            ("Eq(Mod(s0, 8), 0)", "s0 % 8 == 0", "only multiples of 8"),
            ("Ne(Mod(s0, 8), 0)", "s0 % 8 != 0", "no multiples of 8"),
            ("Eq(s0, 4)", "s0 == 4", "only 4"),
            ("Ne(s0, 3)", "s0 != 3", "all but 3"),
            ("s0 <= 64", "s0 <= 64", "at most 64"),
            ("s0 > 4", "s0 > 4", "at least 5"),
            ("Eq(((s0//2)), 3)", "s0 // 2 == 3", "only 6 and 7"),
            ("s0 >= 1", "s0 >= 1", "every size"),
            ("Eq(Mod(s0, 4), 1)", "s0 % 4 == 1", "one in 4"),
            ("s0 < 1", "s0 < 1", "no size is left"),
            ("Max(1, s0) <= 3", "Max(1, s0) <= 3", "only 1 and 2 and 3"),
        ],
    )
    def test_what_it_says_and_leaves(self, condition: str, text: str, leaves: str) -> None:
        assert as_python(condition) == text
        assert left_of(condition, "s0") == leaves

    def test_what_is_no_condition_is_left_as_it_is(self) -> None:
        assert as_python("something (odd") == "something (odd"
        assert holds("open('x')", {}) is None
        assert left_of("u0 == s0", "s0") == ""
        assert value_of("__import__('os')", {}) is None

    def test_names(self) -> None:
        assert names_in("Eq(s27*s77, 16*((s27*s77)//16))") == ["s27", "s77"]

    @given(st.integers(1, 50), st.integers(0, 49), st.integers(1, 4000))
    def test_it_holds_where_python_says_so(self, divisor: int, rest: int, size: int) -> None:
        assert holds(f"Eq(Mod(s0, {divisor}), {rest})", {"s0": size}) == (size % divisor == rest)
        assert value_of(f"({size}*s0 + {rest})//{divisor}", {"s0": 3}) == (size * 3 + rest) // divisor
