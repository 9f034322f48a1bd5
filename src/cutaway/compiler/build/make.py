"""A compiler by its name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from cutaway.compiler.build.eager import EagerCompiler
from cutaway.compiler.build.inductor import InductorCompiler
from cutaway.compiler.build.interface import CompilerInterface
from cutaway.compiler.config import CompilationConfig, Part
from cutaway.compiler.passes.manager import PassManager
from cutaway.errors import ConfigError


def make_compiler(config: CompilationConfig, passes: Mapping[str, PassManager] | None = None) -> CompilerInterface:
    """The compiler that a configuration asks for: ``inductor``, ``eager``, or a class by its dotted name.

    Args:
        config: its ``backend``, ``inductor``, ``cache_format`` and ``off`` are looked at.
        passes: Inductor's setting (``post_grad_custom_post_pass``) -> what it runs there over every piece; other
            compilers are not told of it.

    Raises:
        ConfigError: there is no such class, or it is no :class:`CompilerInterface`.
    """
    name = "eager" if config.is_off(Part.INDUCTOR) else config.backend
    if name == "inductor":
        cached = not config.is_off(Part.CACHE)
        return InductorCompiler(config.cache_format, _settings(config), cached, passes)
    if name == "eager":
        return EagerCompiler()
    module, _, attribute = name.rpartition(".")
    try:
        made = getattr(import_module(module), attribute) if module else None
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"there is no compiler {name!r}", str(error), _CHOICE) from error
    if made is None:
        raise ConfigError(f"there is no compiler {name!r}", cure=_CHOICE)
    if not (isinstance(made, type) and issubclass(made, CompilerInterface)):
        raise ConfigError(f"{name!r} names no compiler", "it is no subclass of CompilerInterface", _CHOICE)
    return made()


def _settings(config: CompilationConfig) -> dict[str, Any]:
    settings = dict(config.inductor)
    if config.use_inductor_graph_partition:
        settings["graph_partition"] = True
        settings["custom_should_partition_ops"] = [_overload(name) for name in config.splitting_ops]
    return settings


def _overload(name: str) -> str:
    """Inductor names the ops at which it cuts with their overload: ``ns::op.default``."""
    return name if "." in name.partition("::")[2] else f"{name}.default"


_CHOICE = "choose inductor, eager, or the dotted name of a class derived from cutaway.compiler.CompilerInterface"
