"""`cutaway replay`: run a graph of a dump again, alone or against another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cutaway.cli.options import AsJson, RankName, RunName
from cutaway.cli.output import BAD_USE, FINDING, printable, write_json, write_lines
from cutaway.cli.replay_json import replay_json
from cutaway.cli.replay_text import replay_lines
from cutaway.cli.replay_time import timing_json, timing_lines
from cutaway.dump import load
from cutaway.errors import UsageError
from cutaway.record.limits import parse_bytes
from cutaway.replay import Options, Subject
from cutaway.replay import replay as replay_graph
from cutaway.replay.choose import file_of, reference_of, snapshot_of
from cutaway.replay.launch import LIMIT
from cutaway.replay.run import COMPILED, MEMORY, Compiled
from cutaway.replay.sizes import parse_sizes
from cutaway.replay.timing import REPEATS, time_graph

Target = Annotated[
    str,
    typer.Argument(metavar="FILE|DUMP", help="A raw file (or a copy of one), or a dump's folder and a SELECTOR."),
]
Selector = Annotated[
    str | None,
    typer.Argument(metavar="SELECTOR", help="In a dump: the graph, as `cutaway ls` prints it, or a part of that."),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="SELECTOR|eager|compiled",
        help="Compare: with another stage (or, for a FILE, another file); with the graph as it was captured; or with "
        "what Inductor makes of this one here.",
    ),
]
Inputs = Annotated[
    Literal["seeded", "recorded"],
    typer.Option("--inputs", help="Random inputs, or the real ones as far as they were recorded."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="For inputs and for random numbers.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="NAME=NUMBER", help="A size, such as s72=16; as often as there are. Default: few."),
]
Relative = Annotated[
    float | None, typer.Option("--rtol", metavar="X", help="Relative tolerance. Default: what suits the dtype.")
]
Absolute = Annotated[
    float | None, typer.Option("--atol", metavar="X", help="Absolute tolerance. Default: what suits the dtype.")
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="For values that wait to be compared; default 1GB. With less it runs "
                 "more often."),
]  # fmt: skip
Time = Annotated[
    bool,
    typer.Option("--time", help="Measure how long it takes instead of comparing results: as Python, compiled here, and "
                 "by the code in the dump; with --against the other graph too."),
]  # fmt: skip
Rounds = Annotated[
    int | None,
    typer.Option("--repeats", metavar="N", help=f"With --time: so many rounds; default {REPEATS}."),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Stop it after that long.")]


def replay(
    path: Target,
    selector: Selector = None,
    against: Against = None,
    inputs: Inputs = "seeded",
    seed: Seed = 0,
    sizes: Sizes = None,
    rtol: Relative = None,
    atol: Absolute = None,
    memory: Memory = None,
    time: Time = False,
    repeats: Rounds = None,
    timeout: Timeout = LIMIT,
    run: RunName = None,
    rank: RankName = None,
    as_json: AsJson = False,
) -> int:
    """Run a graph again, and find the first node that computes something else than in another stage; or measure it.

    This executes code that lies in the dump, in a process of its own: replay dumps that you trust. Exits 1 when results
    part beyond tolerance, 2 when it cannot be run or compared.
    """
    for name, number in {"--rtol": rtol, "--atol": atol}.items():
        if number is not None and not number >= 0:
            raise UsageError(f"{name} is {number:g}", "a tolerance is not negative", "give 0 or more")
    if timeout <= 0:
        raise UsageError(f"--timeout is {timeout:g}", "it is a number of seconds", "give more than 0")
    given = {"--rtol": rtol, "--atol": atol, "--memory": memory} if time else {"--repeats": repeats}
    odd = [name for name, value in given.items() if value is not None]
    if odd:
        why = "nothing is compared with --time" if time else "nothing is measured without --time"
        raise UsageError(f"{odd[0]} does not go with that", why, "leave it out")
    if repeats is not None and repeats < 1:
        raise UsageError(f"--repeats is {repeats}", "it is a number of rounds", "give 1 or more")
    held = MEMORY if memory is None else parse_bytes(memory, "--memory")
    subject = _subject(path, selector, run, rank)
    reference = reference_of(subject, against)
    _say(subject, reference)
    options = Options(inputs, seed, parse_sizes(sizes or []), rtol, atol, held, timeout)
    if time:
        timing = time_graph(subject, reference, options, REPEATS if repeats is None else repeats)
        write_json(timing_json(timing)) if as_json else write_lines(timing_lines(timing))
        return 0
    found = replay_graph(subject, reference, options)
    if as_json:
        write_json(replay_json(found))
    else:
        write_lines(replay_lines(found))
    return {"apart": FINDING, "nothing": BAD_USE}.get(found.outcome, 0)


def _subject(path: str, selector: str | None, run: str | None, rank: str | None) -> Subject:
    if Path(path).is_file():
        if selector is not None or run is not None or rank is not None:
            raise UsageError(
                f"{path!r} is a file", "a selector, a run or a rank goes with a dump", "give the dump's folder instead"
            )
        return file_of(Path(path))
    if selector is None and not Path(path).is_dir():
        raise UsageError(f"there is nothing at {path!r}", "", "give a raw file, or a dump and a selector")
    dump = load(path, run, rank)
    if selector is None:
        raise UsageError(
            f"{path!r} is a dump", "one of its graphs is replayed", "name it as well: `cutaway ls` lists them"
        )
    return snapshot_of(dump, selector)


def _say(subject: Subject, reference: Subject | Compiled | None) -> None:
    """Say before it happens that code of the dump is executed."""
    files = [subject.raw.title] + ([reference.raw.title] if isinstance(reference, Subject) else [])
    more = ", compiled by Inductor too" if reference == COMPILED else ""
    names = printable(" and ".join(dict.fromkeys(files)))
    sys.stderr.write(f"cutaway: replay executes code of the dump, in a process of its own: {names}{more}\n")
    sys.stderr.flush()
