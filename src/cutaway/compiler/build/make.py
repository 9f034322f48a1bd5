"""A compiler by its name."""

from __future__ import annotations

from importlib import import_module

from cutaway.compiler.build.eager import EagerCompiler
from cutaway.compiler.build.inductor import InductorCompiler
from cutaway.compiler.build.interface import CompilerInterface
from cutaway.compiler.config import CompilationConfig, Part
from cutaway.errors import ConfigError


def make_compiler(config: CompilationConfig) -> CompilerInterface:
    """The compiler that a configuration asks for: ``inductor``, ``eager``, or a class by its dotted name.

    Raises:
        ConfigError: there is no such class, or it is no :class:`CompilerInterface`.
    """
    name = "eager" if config.is_off(Part.INDUCTOR) else config.backend
    if name == "inductor":
        return InductorCompiler(config.cache_format, config.inductor)
    if name == "eager":
        return EagerCompiler()
    module, _, attribute = name.rpartition(".")
    try:
        made = getattr(import_module(module), attribute) if module else None
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"there is no compiler {name!r}", str(error), _CHOICE) from error
    if not (isinstance(made, type) and issubclass(made, CompilerInterface)):
        raise ConfigError(f"{name!r} names no compiler", "it is no subclass of CompilerInterface", _CHOICE)
    return made()


_CHOICE = "choose inductor, eager, or the dotted name of a class derived from cutaway.compiler.CompilerInterface"
