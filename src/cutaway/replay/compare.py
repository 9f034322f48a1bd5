"""How far two values are apart: in units in the last place, absolutely and relatively.

Floats are compared by the order of their bits: two neighbours are one unit in the last place apart whatever their size,
0 and -0 are the same number, and so is every NaN. Numbers, booleans and integers are equal or not.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from cutaway.replay.job import Comparison, Verdict
from cutaway.replay.unwritten import is_unwritten
from cutaway.replay.values import elements, type_text

TOLERANCES: dict[torch.dtype, tuple[float, float]] = {
    torch.float64: (1e-7, 1e-9),
    torch.float32: (1e-4, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-3),
    torch.float16: (2e-3, 1e-4),
}
"""dtype -> relative and absolute tolerance: what another order of summation may do, and a wrong constant does not.
A shorter float may differ by one unit in its last place."""

_CHUNK = 1 << 20
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_MOST_ULP = 2**63 - 1
_ORDER: tuple[Verdict, ...] = ("skipped", "unwritten", "same", "close", "apart", "kind")


def compare(
    one: list[Any], other: list[Any], rtol: float | None = None, atol: float | None = None, reshape: bool = False
) -> Comparison:
    """Compare the values of two nodes; of several, the answer is about the first of those that are furthest apart.

    Args:
        one: the reference's values.
        other: what should be the same.
        rtol, atol: tolerance; None for that of the dtype.
        reshape: another shape of the same elements is no difference.
    """
    if not any(isinstance(value, torch.Tensor) for value in (*one, *other)) and len(one) != len(other):
        return Comparison(verdict="skipped", why=f"{_count(one)} against {_count(other)}")  # sizes, another way
    if len(one) != len(other):
        return Comparison(verdict="kind", why=f"{_count(one)} against {_count(other)}")
    if not one:
        return Comparison(verdict="skipped", why="there is no value")
    found = [_compare(left, right, rtol, atol, reshape) for left, right in zip(one, other, strict=True)]
    for leaf, comparison in enumerate(found):
        comparison.leaf = leaf
    worst = max(found, key=lambda comparison: _ORDER.index(comparison.verdict))
    worst.strides = next((each.strides for each in found if each.strides is not None), None)
    return worst


def _count(values: list[Any]) -> str:
    return f"{len(values)} value" + ("" if len(values) == 1 else "s")


def _compare(one: Any, other: Any, rtol: float | None, atol: float | None, reshape: bool) -> Comparison:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return _compare_tensors(one, other, rtol, atol, reshape)
    types = type_text(one), type_text(other)
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return Comparison(verdict="kind", types=types, why="one of them is no tensor")
    if not isinstance(one, (bool, int, float, str)) or not isinstance(other, (bool, int, float, str)):
        return Comparison(verdict="skipped", types=types, why="it is neither a tensor nor a number")
    texts = repr(one), repr(other)
    same = one == other or texts == ("nan", "nan")
    differing = 0 if same else 1
    return Comparison(
        verdict="same" if same else "apart",
        types=types,
        elements=1,
        differing=differing,
        beyond=differing,
        values=None if same else texts,
    )


def _compare_tensors(
    one: torch.Tensor, other: torch.Tensor, rtol: float | None, atol: float | None, reshape: bool
) -> Comparison:
    types = type_text(one), type_text(other)
    other = other.to(one.device)
    if one.layout is not torch.strided or other.layout is not torch.strided or one.is_quantized or other.is_quantized:
        return Comparison(verdict="skipped", types=types, why="it is sparse or quantised")
    if one.dtype != other.dtype:
        return Comparison(verdict="kind", types=types, elements=one.numel(), why="another dtype")
    if one.shape != other.shape and not (reshape and one.numel() == other.numel()):
        return Comparison(verdict="kind", types=types, elements=one.numel(), why="another shape")
    found = _Errors(one, other, rtol, atol).found(types)
    if one.shape != other.shape:
        if found.verdict == "apart":
            return Comparison(verdict="kind", types=types, elements=one.numel(), why="another shape")
    elif _strides(one) != _strides(other):
        found.strides = _strides(one), _strides(other)
    return found


def _strides(value: torch.Tensor) -> list[int]:
    """The strides that count: those of dimensions with more than one element."""
    return [step if size > 1 else 0 for size, step in zip(value.shape, value.stride(), strict=True)]


class _Errors:
    """The errors between two tensors of the same dtype, gathered part by part."""

    def __init__(self, one: torch.Tensor, other: torch.Tensor, rtol: float | None, atol: float | None) -> None:
        self.shape = one.shape
        self.dtype = one.dtype
        complex_ = one.is_complex()
        self.one, self.other = (elements(torch.view_as_real(each) if complex_ else each) for each in (one, other))
        self.parts = 2 if complex_ else 1
        known = _tolerance(self.one.dtype)
        self.rtol = known[0] if rtol is None else rtol
        self.atol = known[1] if atol is None else atol
        self.differing = self.beyond = self.unwritten = 0
        self.ulp: int | None = 0
        self.absolute: float | None = 0.0
        self.relative: float | None = 0.0
        self.worst = (-1.0, 0)

    def found(self, types: tuple[str, str]) -> Comparison:
        for start in range(0, self.one.numel(), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._add(start, self.one[part], self.other[part])
        count = self.one.numel()
        verdict: Verdict = "apart" if self.beyond else "close" if self.differing else "same"
        if count and self.unwritten == count:
            verdict = "unwritten"
        comparison = Comparison(
            verdict=verdict,
            types=types,
            elements=count // self.parts,
            differing=self.differing,
            beyond=self.beyond,
            unwritten=self.unwritten // self.parts,
        )
        if self.differing:
            place = self.worst[1]
            comparison.ulp = self.ulp if self.one.is_floating_point() else None
            comparison.absolute, comparison.relative = self.absolute, self.relative
            comparison.at = _index(place // self.parts, self.shape)
            comparison.values = _number(self.one[place]), _number(self.other[place])
        return comparison

    def _add(self, start: int, one: torch.Tensor, other: torch.Tensor) -> None:
        known = ~is_unwritten(one)
        self.unwritten += int((~known).sum())
        differ = (_bits_in_order(one) != _bits_in_order(other)) & known
        if one.is_floating_point():
            differ &= ~(_is_nan(one) & _is_nan(other))
        count = int(differ.sum())
        if not count:
            return
        self.differing += count
        places = differ.nonzero().reshape(-1)
        left, right = one[places], other[places]
        if one.is_floating_point():
            self._floats(start, places, left, right)
        else:
            self._integers(start, places, left, right)

    def _floats(self, start: int, places: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
        wide, other = left.to(torch.float64), right.to(torch.float64)
        finite = wide.isfinite() & other.isfinite()
        error = (wide - other).abs()
        allowed = self.atol + self.rtol * wide.abs()
        ulps = _ulps(left, right)
        if left.dtype not in TOLERANCES:  # a float of eight bits
            excess = ulps.to(torch.float64)
        else:
            excess = error / allowed if self.atol or self.rtol else torch.full_like(error, math.inf)
        excess = torch.where(finite, excess, torch.full_like(excess, math.inf))
        self.beyond += int((excess > 1).sum())
        self._worst(start, places, excess, error)
        if not bool(finite.all()):
            self.ulp = self.absolute = self.relative = None
        if self.ulp is not None:
            self.ulp = max(self.ulp, int(ulps.max()))
        if self.absolute is not None:
            self.absolute = max(self.absolute, float(error.max()))
        if self.relative is not None:
            share = float((error / wide.abs()).max())
            self.relative = max(self.relative, share) if math.isfinite(share) else None

    def _integers(self, start: int, places: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
        self.beyond += int(places.numel())
        wide, other = left.to(torch.float64), right.to(torch.float64)
        error = (wide - other).abs()
        self._worst(start, places, error, error)
        self.absolute = max(self.absolute or 0.0, float(error.max()))
        share = float((error / wide.abs()).max())
        self.relative = max(self.relative, share) if self.relative is not None and math.isfinite(share) else None

    def _worst(self, start: int, places: torch.Tensor, excess: torch.Tensor, error: torch.Tensor) -> None:
        """Note the element that is furthest beyond tolerance; among equals, the one with the largest error."""
        top = excess.max()
        if float(top) > self.worst[0]:
            among = torch.where(excess == top, error.nan_to_num(nan=math.inf), torch.full_like(error, -1.0))
            self.worst = float(top), start + int(places[int(among.argmax())])


def _is_nan(value: torch.Tensor) -> torch.Tensor:
    return (value if value.dtype in TOLERANCES else value.to(torch.float32)).isnan()


def _tolerance(dtype: torch.dtype) -> tuple[float, float]:
    return TOLERANCES.get(dtype, (0.0, 0.0))


def _bits_in_order(value: torch.Tensor) -> torch.Tensor:
    """Integers in the order of the numbers: those of two floats differ by their distance in units in the last place."""
    if not value.is_floating_point():
        return value
    bits = value.view(_INTEGERS[value.element_size()])
    least = torch.iinfo(bits.dtype).min
    return torch.where(bits < 0, least - bits, bits)


def _ulps(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The distance of floats in units in the last place; at most 2**63 - 1."""
    one, other = _bits_in_order(left).to(torch.int64), _bits_in_order(right).to(torch.int64)
    too_far = ((one >> 1) - (other >> 1)).abs() >= 1 << 62
    return torch.where(too_far, torch.full_like(one, _MOST_ULP), (one - other).abs())


def _index(place: int, shape: torch.Size) -> list[int]:
    index: list[int] = []
    for size in reversed(shape):
        place, rest = divmod(place, size)
        index.append(rest)
    return index[::-1]


def _number(value: torch.Tensor) -> str:
    return f"{value.item():.9g}" if value.is_floating_point() else str(value.item())
