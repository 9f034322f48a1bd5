"""Opaque values as arguments of operators, and operators made on demand."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def opaque_value(value: Any) -> Any:
    """The real object behind a fake script object (torch/_library/fake_class_registry.py); others as they are."""
    if type(value).__name__ == "FakeScriptObject":
        return object.__getattribute__(value, "real_obj")
    return value


def opaque_expression(value: Any) -> tuple[str, dict[str, Any]] | None:
    """An expression that makes an equal object, and the names in it (``__fx_repr__``), when the object has one."""
    describe = getattr(value, "__fx_repr__", None)
    return describe() if describe is not None else None


def is_passed_through(value: Any) -> bool:
    """Whether an opaque object is only handed on by the code, whatever it is (a hoisted one that none looks into)."""
    kind = type(opaque_value(value))
    opaque = torch._library.opaque_object
    return opaque.is_opaque_type(kind) and opaque.should_hoist(kind) and not opaque.has_members(kind)


OpaqueBase = torch._opaque_base.OpaqueBase  # what a class derives from whose objects ops may take


def register_opaque_value(kind: type) -> None:
    """Let ops take objects of this class, as inputs of a graph rather than constants in it.

    torch/_library/opaque_object.py; ``hoist`` is what makes them inputs.
    """
    from torch._library.opaque_object import register_opaque_type  # noqa: PLC0415  (private: kept in one place)

    register_opaque_type(kind, typ="value", hoist=True)


def schema_text(overload: Any) -> str:
    """The schema of an op, as ``Library.define`` takes it, without its namespace: ``name.overload(...) -> ...``."""
    return str(overload._schema).partition("::")[2]


def string_arguments(overload: Any) -> tuple[str, ...]:
    """The names of an op's arguments that are a string (``str`` or ``str?``), and "" for each other argument."""
    return tuple(
        argument.name if str(argument.type) in ("str", "Optional[str]") else ""
        for argument in overload._schema.arguments
    )


def is_plain_custom(overload: Any) -> bool:
    """Whether an op is a black box to the compiler: neither torch's own, nor taken apart into other ops."""
    if overload.namespace in ("aten", "prims", "prim", "inductor", "_c10d_functional", "c10d"):
        return False
    return not overload.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)


class _OnDemand(torch._ops._OpNamespace):
    """A namespace of ``torch.ops`` that defines an op when it is first asked for it (torch/_ops.py)."""

    __module__ = torch._ops.__name__  # code generated for its ops takes the module from here

    def __init__(self, name: str, define: Callable[[torch.library.Library, str], None]) -> None:
        super().__init__(name)
        self.define = define
        self.library: torch.library.Library | None = None
        self.asked: set[str] = set()

    def __getattr__(self, op_name: str) -> Any:
        if op_name.startswith("__") or op_name in self.asked:  # defining it asks whether it is there
            return super().__getattr__(op_name)
        self.asked.add(op_name)
        try:
            self.library = self.library or torch.library.Library(self.name, "FRAGMENT")
            self.define(self.library, op_name)
            return super().__getattr__(op_name)
        except AttributeError:
            raise AttributeError(
                f"torch.ops.{self.name}.{op_name} stands for an op that is not registered here. "
                "Import the module that registers it."
            ) from None
        finally:
            self.asked.discard(op_name)


def define_on_demand(namespace: str, define: Callable[[torch.library.Library, str], None]) -> None:
    """Call ``define(library, name)`` when ``torch.ops.<namespace>.<name>`` is first used.

    Generated code that was loaded from disk names its ops and nothing else, so that is where they must come to be.
    """
    if not isinstance(vars(torch.ops).get(namespace), _OnDemand):
        setattr(torch.ops, namespace, _OnDemand(namespace, define))
