"""The settings of torch's compiler as a value that is quick to have and to compare."""

# Here private names are looked up; everywhere else pyright reports them.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from typing import Any

_ABSENT = object()


def settings_now() -> Hashable:
    """What the compiler's settings are, but for passes, places and numbers of threads; equal when they are equal.

    A few microseconds, where ``get_hash`` of torch/utils/_config_module.py takes 250 whenever one was set.
    """
    return tuple([settings.now() for settings in _settings()])


@functools.cache
def _settings() -> tuple[_Settings, ...]:
    import torch._functorch.config as functorch  # noqa: PLC0415  (Inductor is heavy)
    import torch._inductor.config as inductor  # noqa: PLC0415
    import torch.fx.experimental._config as shapes  # noqa: PLC0415

    return _Settings(inductor), _Settings(functorch), _Settings(shapes)


class _Settings:
    """One module of settings, by what differs from the first time that it was looked at.

    torch keeps the values of the last time that somebody asked for all of them (the base), and which were set since:
    only those are looked at. What it keeps is not there for others; without it, all are looked at each time.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.key = ((), tuple(getattr(module, "_cache_config_ignore_prefix", ())), False)
        self.first: dict[str, Hashable] = {}
        self.first = self._different()
        self._bases: dict[int, tuple[Any, dict[str, Hashable]]] = {}

    def now(self) -> Hashable:
        """The values that differ, by name."""
        base, names = self._base(), self._set_since()
        if base is None or names is None:
            return frozenset(self._different().items())
        if id(base) not in self._bases:
            if len(self._bases) >= 16:
                self._bases.clear()
            self._bases[id(base)] = base, self._differing(base)
        different = self._bases[id(base)][1]
        if names:
            ignored = self.key[1]
            values = {name: getattr(self.module, name) for name in names if not name.startswith(ignored)}
            different = {name: value for name, value in different.items() if name not in values}
            different |= self._differing(values)
        return frozenset(different.items())

    def _base(self) -> Mapping[str, Any] | None:
        kept = getattr(self.module, "_get_dict_cache_var", None)
        return ((kept and kept.get()) or {}).get(self.key)

    def _set_since(self) -> set[str] | None:
        names = getattr(self.module, "_get_dict_dirty_keys_var", None)
        return names and names.get()

    def _different(self) -> dict[str, Hashable]:
        return self._differing(self.module.save_config_portable(ignore_private_configs=False, readonly_values=True))

    def _differing(self, values: Mapping[str, Any]) -> dict[str, Hashable]:
        """Those of some values that are not as they were first; of what cannot be hashed, its text."""
        found = {name: value if _is_hashable(value) else repr(value) for name, value in values.items()}
        return {
            name: (type(value), value)
            for name, value in found.items()
            if self.first.get(name, _ABSENT) != (type(value), value)
        }


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
