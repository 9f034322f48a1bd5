"""From a batch size to the function that was linked for it, in constant time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

from cutaway.compiler.build.ranges import Range, range_of
from cutaway.errors import InputError

_TABLE = 1 << 16  # half a megabyte; larger batches take longer than a search for them does

Function = Callable[..., Any]


def make_dispatch(
    ranges: Sequence[Range], functions: Sequence[Function], batch_size: int | tuple[int, int]
) -> Function:
    """A function that calls, for the batch size of its arguments, the one that was linked for its range.

    Sizes up to 65 536 are looked up in a table, larger ones searched for among the ends of the ranges.

    Args:
        ranges: batch sizes, each once; the first that holds a size wins, so single sizes come first.
        functions: one for each range, all taking the same flat arguments.
        batch_size: where among these arguments it is: the position of an int, or position and dimension of a tensor.

    Returns:
        ``(*flat_args) -> output`` of the function chosen. It raises an :class:`~cutaway.errors.InputError` for a size
        that no range holds.
    """
    assert ranges
    assert len({*ranges}) == len(functions)

    def refuse(*args: Any) -> Any:
        raise _no_range(args[batch_size] if isinstance(batch_size, int) else args[position].shape[dim], ranges)

    by_range = dict(zip(ranges, functions, strict=True))
    starts = sorted({0, *(span.start for span in ranges), *(span.end + 1 for span in ranges)})
    found = [range_of(start, ranges) for start in starts]
    chosen = [refuse if span is None else by_range[span] for span in found]
    table: list[Function] = []
    for function, end in zip(chosen, [*starts[1:], starts[-1] + 1], strict=True):
        table += [function] * (min(end, _TABLE) - len(table))

    def search(size: int) -> Function:
        return chosen[bisect_right(starts, size) - 1] if size >= 0 else refuse

    if isinstance(batch_size, int):

        def dispatch(*args: Any) -> Any:
            size = args[batch_size]
            try:
                function = table[size] if size >= 0 else refuse
            except IndexError:
                function = search(size)
            return function(*args)

        return dispatch

    position, dim = batch_size

    def dispatch_of_tensor(*args: Any) -> Any:
        size = args[position].shape[dim]
        try:
            function = table[size]
        except IndexError:
            function = search(size)
        return function(*args)

    return dispatch_of_tensor


def _no_range(size: int, ranges: Sequence[Range]) -> InputError:
    spans = ", ".join(f"[{span.start}, {span.end}]" for span in sorted(ranges))
    return InputError(
        f"the batch size {size} lies outside all ranges that the model was compiled for",
        f"they are {spans}",
        "give a smaller batch, or compile with a larger max_batch or more compile_ranges",
    )
