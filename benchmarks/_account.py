"""Runs demo/generate.py and adds up, inside the process, the time that Cutaway's own code takes.

    python _account.py OUT.json GENERATE.PY [its arguments]

All that torch and vLLM call of Cutaway goes through `Session.guarded`, through `Watcher.watch` and
`Watcher.replace`, or is the shim around a function. The first is timed here, outermost calls only; the others
do nothing but call on.
"""

from __future__ import annotations

import json
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from cutaway.record.session import Session


def main() -> None:
    out, script, *arguments = sys.argv[1:]
    spent: dict[str, list[float]] = {}
    _time_guarded(spent)
    sys.path.insert(0, str(Path(script).parent))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
    calls = {name: {"calls": len(times), "seconds": sum(times)} for name, times in sorted(spent.items())}
    Path(out).write_text(json.dumps(calls))


def _time_guarded(spent: dict[str, list[float]]) -> None:
    guarded = Session.guarded
    inside = threading.local()

    def timed(self: Session, function: Callable[..., Any]) -> Callable[..., None]:
        safe = guarded(self, function)
        times = spent.setdefault(getattr(function, "__name__", "hook"), [])

        def call(*args: Any, **kwargs: Any) -> None:
            if getattr(inside, "on", False):
                return safe(*args, **kwargs)
            inside.on = True
            started = perf_counter()
            try:
                return safe(*args, **kwargs)
            finally:
                times.append(perf_counter() - started)
                inside.on = False

        return call

    Session.guarded = timed


if __name__ == "__main__":
    main()
