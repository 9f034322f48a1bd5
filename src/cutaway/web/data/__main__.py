"""`python -m cutaway.web.data DUMP [PATH]`: one resource as JSON, as the page gets it; without a path the index."""

from __future__ import annotations

import sys

import msgspec

from cutaway.errors import CutawayError
from cutaway.web.data.library import Library


def main(arguments: list[str]) -> int:
    """Print one resource; returns the exit code."""
    if len(arguments) not in (1, 2):
        sys.stderr.write(f"usage: {__doc__}\n")
        return 2
    try:
        found = Library(arguments[0]).get(arguments[1] if len(arguments) > 1 else "index")
    except CutawayError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
