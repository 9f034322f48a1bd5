"""The child of a replay: runs code out of a dump, apart from the process that reads it.

    python -m cutaway.replay.child JOB.json ANSWER.json

Everything that the files of the dump do, they do here.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import msgspec

from cutaway.replay.compiled import Compiled
from cutaway.replay.job import Answer, Job, Problem, Ran
from cutaway.replay.loaded import LoadedGraph, StepError, changed_inputs, ran
from cutaway.replay.pair import Pair
from cutaway.replay.watch import NodeError, Watch


def main() -> None:
    """Read the job, do it, write the answer; the exit code is 0 also when it could not be done."""
    asked, answered = map(Path, sys.argv[1:])
    job = msgspec.json.decode(asked.read_bytes(), type=Job)
    answered.write_bytes(msgspec.json.encode(do(job)))


def do(job: Job) -> Answer:
    """Do a job in this process."""
    number: int | None = None
    try:
        graphs: list[LoadedGraph] = []
        for number, graph in enumerate(job.graphs):
            graphs.append(LoadedGraph(graph, number))
        if job.compiled:
            return Compiled(job, graphs[0]).run()
        if len(graphs) == 1:
            return Answer(runs=[_alone(job, graphs[0])])
        pair = Pair(job, *graphs)
        pair.run()
        return Answer(
            runs=pair.runs, values=pair.values, left_out=pair.left_out, outputs=pair.outputs, inputs=pair.inputs
        )
    except StepError as error:
        return Answer(problem=problem_of(error.graph, error.step, None, error.__cause__))
    except NodeError as error:
        return Answer(problem=problem_of(_whose(error, job), "run", error.node, error.__cause__))
    except Exception as error:  # noqa: BLE001  (whatever the dump's code did)
        return Answer(problem=problem_of(number, "run", None, error))


def _alone(job: Job, graph: LoadedGraph) -> Ran:
    inputs = graph.inputs(job.seed)
    watch = Watch(seed=job.seed)
    found, left = graph.run(inputs, watch)
    changed = changed_inputs(inputs, left) if watch.written else []
    return ran(watch, found, changed)


def _whose(error: BaseException, job: Job) -> int | None:
    """Which graph's file an error's traceback goes through."""
    titles = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return next((number for number, graph in enumerate(job.graphs) if graph.title in titles), None)


def problem_of(graph: int | None, step: str, node: str | None, error: BaseException | None) -> Problem:
    """What the parent is told of an error: of which graph, at what step and node."""
    text = "".join(traceback.format_exception(error)) if error is not None else ""
    said = str(error).strip().splitlines() if error is not None else []
    name = type(error).__name__
    return Problem(graph=graph, step=step, node=node, error=f"{name}: {said[0]}" if said else name, traceback=text)


if __name__ == "__main__":
    main()
