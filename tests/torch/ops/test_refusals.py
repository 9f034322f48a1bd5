"""What cannot be registered or asked for: the error names the op, what is there, and the cure."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, List, Optional, Sequence  # noqa: UP035  (other spellings of the same types)

import pytest
import torch
from refusals import refused
from torch import Tensor

from cutaway.errors import NotInplaceError, OpError
from cutaway.ops import find_op, register_op, registry


@register_op
def refusing(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None = None) -> Tensor:
    return x * epsilon


@refusing.register_impl("cpp", supports_args=lambda x, weight, epsilon, size=None: x.dim() == 2)
def _cpp(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None = None) -> Tensor:
    return x * epsilon


class TestNames:
    @pytest.mark.parametrize("name", ["", "Big", "1st", "a-b", "a.b", "a b", "größe", "x\n"])
    def test_of_an_op(self, name: str) -> None:
        with refused("an op cannot be named", repr(name), "lower-case letters, digits and underscores"):
            register_op(name=name)(lambda x: x)
        assert name not in registry

    def test_a_good_one_is_proposed(self) -> None:
        with refused("name it 'rms_norm'"):
            register_op(name="RMS-Norm")(lambda x: x)

    @pytest.mark.parametrize("name", ["Big", "1st", "", 3])
    def test_of_a_provider(self, name: Any) -> None:
        with refused("a provider of op 'refusing'", repr(name)):
            refusing.register_impl(name)

    def test_native_is_the_op_itself(self) -> None:
        with refused("provider 'native' of op 'refusing'", "refusing (test_refusals.py:", "another name"):
            refusing.register_impl("native")

    def test_an_op_twice(self) -> None:
        with refused("'refusing' is registered already", "test_refusals.refusing (test_refusals.py:", "another name"):

            @register_op(name="refusing")
            def again(x: Tensor) -> Tensor:
                return x + 1

    def test_a_provider_twice(self) -> None:
        with refused("op 'refusing'", "'cpp' already", "test_refusals._cpp (test_refusals.py:", "another name"):
            refusing.register_impl("cpp")

    @pytest.mark.parametrize("name", ["name", "__class__"])
    def test_a_name_that_torch_uses_itself(self, name: str) -> None:
        with refused(f"cannot be named '{name}'", f"torch.ops.cutaway_ir.{name}"):
            register_op(name=name)(lambda x: x)

    def test_an_op_that_another_library_has_defined(self) -> None:
        library = torch.library.Library("cutaway_ir", "FRAGMENT")
        library.define("from_elsewhere(Tensor x) -> Tensor")
        with refused("cannot be named 'from_elsewhere'", "something else already"):
            register_op(name="from_elsewhere")(lambda x: x)

    def test_an_op_that_does_not_exist(self) -> None:
        with refused("no op 'refusin'", "refusing", "did you mean 'refusing'"):
            find_op("refusin")
        with refused("no op 'qqqqqq'", "import the module", "cutaway.ops.library"):
            find_op("qqqqqq")


def no_annotation(x: Tensor, weight) -> Tensor: ...  # type: ignore[no-untyped-def]
def a_dict(x: Tensor, table: dict[str, int]) -> Tensor: ...
def a_tuple(x: Tensor, size: tuple[int, int]) -> Tensor: ...
def a_list_as_default(x: Tensor, sizes: list[int] = [1, 2]) -> Tensor: ...  # noqa: B006
def keyword_only(x: Tensor, *, epsilon: float) -> Tensor: ...
def any_number(x: Tensor, *others: Tensor) -> Tensor: ...
def any_keyword(x: Tensor, **others: float) -> Tensor: ...
def positional_only(x: Tensor, /, weight: Tensor) -> Tensor: ...
def returns_unsaid(x: Tensor): ...  # type: ignore[no-untyped-def]
def returns_none(x: Tensor) -> None: ...
def returns_number(x: Tensor) -> int: ...
def returns_optional(x: Tensor) -> Tensor | None: ...
def returns_any_number(x: Tensor) -> tuple[Tensor, ...]: ...
def none_for_a_tensor(x: Tensor, weight: Tensor = None) -> Tensor: ...  # type: ignore[assignment]
def a_float_for_an_int(x: Tensor, size: int = 1.5) -> Tensor: ...  # type: ignore[assignment]
def an_int_for_a_float(x: Tensor, epsilon: float = 1) -> Tensor: ...
def infinite(x: Tensor, limit: float = math.inf) -> Tensor: ...
def quoted(x: Tensor, mode: str = 'a"b') -> Tensor: ...
def unknown_name(x: Tensor, weight: Wight) -> Tensor: ...  # type: ignore[name-defined]  # noqa: F821


SIGNATURES: dict[Callable[..., Any], tuple[str, ...]] = {
    no_annotation: ("'weight'", "annotate it", "Tensor, int, float"),
    a_dict: ("'table: dict[str, int]'", "take it as one of these"),
    a_tuple: ("'size: tuple[int, int]'", "take it as one of these"),
    a_list_as_default: ("'sizes: list[int] = [1, 2]'", "defaults that are plain"),
    keyword_only: ("'epsilon' is keyword-only", "before the *"),
    any_number: ("'others' takes any number of arguments",),
    any_keyword: ("'others' takes any keyword",),
    positional_only: ("'x' is positional-only", "remove the /"),
    returns_unsaid: ("what is not annotated", "annotate"),
    returns_none: ("no tensor: None", "dead code"),
    returns_number: ("no tensor: int",),
    returns_optional: ("Tensor | None", "a Tensor, a list of them, or a tuple"),
    returns_any_number: ("tuple[Tensor, ...]", "a tuple of these"),
    none_for_a_tensor: ("'weight: Tensor = None'", "Tensor | None"),
    a_float_for_an_int: ("'size: int = 1.5'", "a default of type int"),
    an_int_for_a_float: ("'epsilon: float = 1'", "a default of type float"),
    infinite: ("limit=inf", "take None instead"),
    quoted: ("mode=", "take None instead"),
    unknown_name: ("'Wight' is not defined", "TYPE_CHECKING"),
}


@pytest.mark.parametrize(("function", "parts"), SIGNATURES.items(), ids=[function.__name__ for function in SIGNATURES])
def test_a_function_that_cannot_be_an_op(function: Callable[..., Any], parts: tuple[str, ...]) -> None:
    with refused(f"op '{function.__name__}'", *parts):
        register_op(function)
    assert function.__name__ not in registry
    assert not hasattr(torch.ops.cutaway_ir, function.__name__)


def test_what_is_no_function() -> None:
    with refused("3", "no function"):
        register_op(3)  # type: ignore[call-overload]
    with refused("provider 'three' of op 'refusing'", "no function but 3"):
        refusing.register_impl("three")(3)  # type: ignore[arg-type]
    with refused("provider 'of_torch' of op 'refusing'", "any number of arguments"):
        refusing.register_impl("of_torch")(torch.ops.aten.mul.Tensor)


def renamed(x: Tensor, weight: Tensor | None, eps: float, size: int | None = None) -> Tensor: ...
def reordered(x: Tensor, epsilon: float, weight: Tensor | None, size: int | None = None) -> Tensor: ...
def shorter(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor: ...
def longer(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None = None, more: int = 0) -> Tensor: ...
def another_type(x: Tensor, weight: Tensor, epsilon: float, size: int | None = None) -> Tensor: ...
def no_default(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None) -> Tensor: ...
def another_default(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None = 1) -> Tensor: ...
def a_default(x: Tensor, weight: Tensor | None = None, epsilon: float = 1.0, size: int | None = None) -> Tensor: ...
def two_outputs(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None = None) -> tuple[Tensor, Tensor]: ...
def by_keyword(x: Tensor, weight: Tensor | None, *, epsilon: float, size: int | None = None) -> Tensor: ...
def untyped(x, weight, epsilon, size=None): ...  # type: ignore[no-untyped-def]


DIFFERENCES: dict[Callable[..., Any], str] = {
    renamed: "parameter 3 is named 'eps', not 'epsilon'",
    reordered: "another order: (x, epsilon, weight, size), not (x, weight, epsilon, size)",
    shorter: "parameter 'size' is missing",
    longer: "parameter 'more' is one too many",
    another_type: "parameter 'weight' is of type Tensor, not Tensor | None",
    no_default: "parameter 'size' has no default, not the default None",
    another_default: "parameter 'size' has the default 1, not the default None",
    a_default: "parameter 'weight' has the default None, not no default",
    two_outputs: "it returns tuple[Tensor, Tensor], not Tensor",
    by_keyword: "'epsilon' is keyword-only",
    untyped: "does not say what parameter 'x' is",
}
NAMES_ONLY = [function for function in DIFFERENCES if function not in (another_type, two_outputs, untyped)]


@pytest.mark.parametrize("function", DIFFERENCES, ids=[function.__name__ for function in DIFFERENCES])
def test_an_implementation_with_another_signature(function: Callable[..., Any]) -> None:
    with refused(f"provider '{function.__name__}' of op 'refusing'", DIFFERENCES[function]):
        refusing.register_impl(function.__name__)(function)
    assert function.__name__ not in refusing.impls


@pytest.mark.parametrize("function", NAMES_ONLY, ids=[function.__name__ for function in NAMES_ONLY])
def test_supports_args_and_a_fake_with_another_signature(function: Callable[..., Any]) -> None:
    with refused("supports_args of provider 'mine' of op 'refusing'", DIFFERENCES[function]):
        refusing.register_impl("mine", supports_args=function)(_cpp.function)
    assert "mine" not in refusing.impls
    with refused("fake of op 'refusing'", DIFFERENCES[function]):
        refusing.register_fake(function)
    assert refusing.fake is refusing.impls["native"].function


def test_the_signature_to_write_is_given() -> None:
    with refused("(x: Tensor, weight: Tensor | None, epsilon: float, size: int | None = None) -> Tensor"):
        refusing.register_impl("renamed")(renamed)


def test_the_same_types_spelled_otherwise_are_the_same() -> None:
    @register_op
    def refuse_spelled(x: Tensor, weight: Tensor | None, sizes: list[int]) -> list[Tensor]:
        return [x + 1]

    @refuse_spelled.register_impl("other")
    def other(x: torch.Tensor, weight: Optional[Tensor], sizes: List[int]) -> List[Tensor]:  # noqa: UP006, UP045
        return [x + 1]

    @refuse_spelled.register_impl("sequence")
    def sequence(x: torch.Tensor, weight: Optional[Tensor], sizes: Sequence[int]) -> list[Tensor]:  # noqa: UP045
        return [x + 1]

    assert list(refuse_spelled.impls) == ["native", "other", "sequence"]


def test_whether_a_provider_is_supported_is_said_plainly() -> None:
    with refused("provider 'asked' of op 'refusing'", "supported=<", "call it"):
        refusing.register_impl("asked", supported=torch.cuda.is_available)  # type: ignore[arg-type]
    with refused("provider 'asked' of op 'refusing'", "supported=None", "True or False"):
        refusing.register_impl("asked", supported=None)  # type: ignore[arg-type]
    with refused("supports_args of provider 'asked' of op 'refusing'", "no function but True"):
        refusing.register_impl("asked", supports_args=True)(_cpp.function)  # type: ignore[arg-type]


class TestInPlace:
    def test_an_implementation_of_an_op_that_has_none(self) -> None:
        with refused("provider 'over' cannot be an in-place one of op 'refusing'", "allow_inplace=True"):
            refusing.register_impl("over", inplace=True)

    def test_the_overload_of_an_op_that_has_none(self) -> None:
        with refused("op 'refusing' has no maybe_inplace", "@register_op(allow_inplace=True)"):
            _ = refusing.maybe_inplace
        assert not hasattr(refusing, "maybe_inplace")
        assert issubclass(NotInplaceError, OpError)

    def test_outputs_that_do_not_answer_to_the_activations(self) -> None:
        def refuse_outputs(x: Tensor, x_other: Tensor) -> Tensor:
            return x + x_other

        with refused("op 'refuse_outputs'", "returns Tensor", "activations are: x, x_other", "activations=[…]"):
            register_op(allow_inplace=True)(refuse_outputs)
        op = register_op(allow_inplace=True, activations=["x"])(refuse_outputs)
        assert op.maybe_inplace.schema == "(Tensor(a0!) x, Tensor x_other) -> Tensor"

    def test_without_activations(self) -> None:
        with refused("op 'refuse_without'", "activations are: nothing"):
            register_op(allow_inplace=True, name="refuse_without")(_of_y)

    def test_an_output_that_is_no_tensor(self) -> None:
        def refuse_number(x: Tensor, x_other: Tensor) -> tuple[Tensor, int]: ...

        with refused("op 'refuse_number'", "returns (Tensor, SymInt)"):
            register_op(allow_inplace=True)(refuse_number)


def _of_y(y: Tensor, factor: float) -> Tensor:
    return y * factor


class TestActivations:
    def test_are_those_that_begin_with_x_or_those_named(self) -> None:
        by_convention = register_op(name="refuse_convention")(refusing.impls["native"].function)
        named = register_op(name="refuse_named", activations=["y"])(_of_y)
        assert (by_convention.activations, by_convention.activation_indices) == (("x",), (0,))
        assert (named.activations, named.activation_indices) == (("y",), (0,))

    @pytest.mark.parametrize("wanted", ["factor", "z"])
    def test_a_name_that_is_no_tensor(self, wanted: str) -> None:
        with refused("op 'refuse_activation'", f"activation '{wanted}'", "tensor parameters are: y"):
            register_op(name="refuse_activation", activations=[wanted])(_of_y)

    def test_a_name_alone(self) -> None:
        with refused("op 'refuse_activation'", "list of names", "['y']"):
            register_op(name="refuse_activation", activations="y")(_of_y)


def test_the_checks_see_what_inspect_sees() -> None:
    assert refusing.signature == inspect.signature(refusing.impls["native"].function, eval_str=True)
    assert refusing.schema == "(Tensor x, Tensor? weight, float epsilon, SymInt? size=None) -> Tensor"
