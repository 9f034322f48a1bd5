"""The child that measures: runs graphs of a dump again and again, apart from the process that reads it.

    python -m cutaway.replay.time_child JOB.json ANSWER.json

Everything that the files of the dump do, they do here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch

from cutaway.replay.child import problem_of
from cutaway.replay.loaded import LoadedGraph, StepError, changed_inputs, fitting
from cutaway.replay.stopwatch import measure
from cutaway.replay.time_job import How, Measured, TimeAnswer, Timee, TimeJob
from cutaway.replay.values import leaves
from cutaway.replay.watch import NodeError, Watch
from cutaway.replay.ways import Way, function_of


def main() -> None:
    """Read the job, do it, write the answer; the exit code is 0 also when it could not be done."""
    asked, answered = map(Path, sys.argv[1:])
    job = msgspec.json.decode(asked.read_bytes(), type=TimeJob)
    answered.write_bytes(msgspec.json.encode(do(job)))


def do(job: TimeJob) -> TimeAnswer:
    """Do a job in this process."""
    number: int | None = None
    try:
        loaded: list[LoadedGraph] = []
        for number, timee in enumerate(job.timees):
            loaded.append(LoadedGraph(timee.graph, number))
        inputs = _inputs(job, loaded)
    except StepError as error:
        return TimeAnswer(problem=problem_of(error.graph, error.step, None, error.__cause__))
    except NodeError as error:
        return TimeAnswer(problem=problem_of(0, "run", error.node, error.__cause__))
    except Exception as error:  # noqa: BLE001  (whatever the dump's code did)
        return TimeAnswer(problem=problem_of(number, "run", None, error))
    measured: list[Measured] = []
    ways: list[Way] = []
    counted: list[Measured] = []
    with torch.no_grad():
        for number, timee in enumerate(job.timees):
            for how in timee.ways:
                one, way = _begun(how, timee, loaded[number], inputs[number], number)
                measured.append(one)
                if way is not None:
                    ways.append(way)
                    counted.append(one)
        try:
            series = measure(ways, warmup=job.warmup, repeats=job.repeats, seconds=job.seconds)
        except Exception as error:  # noqa: BLE001  (it ran once, and does not again)
            return TimeAnswer(problem=problem_of(None, "run", None, error))
    for one, found in zip(counted, series, strict=True):
        one.calls, one.seconds = found.calls, found.seconds
    return TimeAnswer(measured=measured, devices=_devices(inputs), threads=torch.get_num_threads())


def _inputs(job: TimeJob, loaded: Sequence[LoadedGraph]) -> list[list[Any]]:
    """The inputs of each graph: its own, and what the first graph hands on."""
    found = [graph.inputs(job.seed) for graph in loaded]
    for number, timee in enumerate(job.timees[1:], 1):
        wanted = [given.value for given in timee.given if given.value is not None]
        watch = Watch(seed=job.seed, begin=timee.begin, wanted=wanted)
        if wanted:
            loaded[0].run(found[0], watch)
        taken: dict[int, Any] = {}
        for given in timee.given:
            if given.input is not None:
                taken[given.index] = found[0][given.input]
            elif given.value in watch.taken:
                taken[given.index] = watch.taken[given.value]
            else:
                raise StepError("inputs", number) from LookupError(f"the first graph did not compute {given.value!r}")
        found[number] = fitting(taken, found[number])
    return found


def _begun(how: How, timee: Timee, loaded: LoadedGraph, inputs: list[Any], number: int) -> tuple[Measured, Way | None]:
    """Run a graph in one way for the first time; None when that is not possible."""
    one = Measured(timee=number, how=how)
    begun = time.perf_counter()
    try:
        way = Way(function_of(how, timee, loaded, inputs, number), inputs)
        way.call()
        way.wait()
    except StepError as error:
        one.problem = problem_of(error.graph, error.step, None, error.__cause__)
        return one, None
    except Exception as error:  # noqa: BLE001  (whatever the dump's code did)
        one.problem = problem_of(number, "run", None, error)
        return one, None
    one.first = time.perf_counter() - begun
    way.writes = one.writes = bool(changed_inputs(inputs, way.given))
    return one, way


def _devices(inputs: Sequence[Sequence[Any]]) -> list[str]:
    """Where tensors lie, accelerators with their names."""
    found: dict[str, None] = {}
    for tensor in (leaf for values in inputs for value in values for leaf in leaves(value)):
        if isinstance(tensor, torch.Tensor):
            name = f" ({torch.cuda.get_device_name(tensor.device)})" if tensor.is_cuda else ""
            found[f"{tensor.device}{name}"] = None
    return list(found) or ["cpu"]


if __name__ == "__main__":
    main()
