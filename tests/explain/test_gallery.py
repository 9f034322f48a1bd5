"""Each planted fault of the gallery is named, and nothing else is.

Two searches run at a time; each is some processes that import torch. Four are asked with `-m slow` alone; those in the
real vLLM take minutes each, and are asked by `benchmarks/gallery.py --vllm`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from exhibits import GALLERY, LIMIT, Answer, Fault, ask, shows_the_fault

Answers = Mapping[str, Future[Answer]]

pytestmark = [pytest.mark.torch, pytest.mark.timeout(LIMIT * 4)]


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    """The searches of the faults that are asked for, begun."""
    folder = tmp_path_factory.mktemp("gallery")
    wanted = [item.callspec.params["fault"] for item in request.session.items if item.module is request.module]
    with ThreadPoolExecutor(2) as pool:
        yield {fault.name: pool.submit(ask, fault, folder / fault.name) for fault in dict.fromkeys(wanted)}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name, marks=[pytest.mark.slow] if fault.is_slow else []) for fault in GALLERY],
)
def test_the_fault_is_named(fault: Fault, answers: Answers) -> None:
    answer = answers[fault.name].result()
    assert not answer.wrong, (answer.wrong, answer.plain, answer.errors)
    assert not answer.missing, (answer.facts, answer.plain, answer.errors)
    if fault.shows:
        assert answer.reproducer is not None, answer.plain
        assert shows_the_fault(answer.reproducer)
