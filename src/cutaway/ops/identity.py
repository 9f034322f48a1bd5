"""By what an implementation is known in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cutaway.errors import OpError
from cutaway.identity.sources import UncacheableError, digest
from cutaway.identity.stable import canonical, stable

if TYPE_CHECKING:
    from cutaway.ops.impl import IrOpImpl


def implementation_uuid(impl: IrOpImpl) -> str:
    """Digest of all that says what an implementation computes, as far as Python can see it.

    The file of a function counts as a whole, because a function calls what stands beside it. What it reads through
    global names counts too: values and objects as they are now (they may come from the environment), functions and
    classes with what they read in turn. What comes with Python, torch or another package is keyed by its version.

    Raises:
        OpError: a part cannot be told from its like in another process.
    """
    where = f"provider '{impl.provider}' of op '{impl.op.name}'"
    try:
        return digest(canonical(stable(impl.made_of(), where)))
    except UncacheableError as error:
        raise OpError(
            f"{where} has no identity that holds in another process",
            str(error),
            "let it be a function in a file, which refers to functions, modules, and objects whose state can be read",
        ) from error
