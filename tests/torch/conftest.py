"""Every test here compiles: it starts with nothing compiled, and leaves no hook behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import programs
import pytest
import torch
import torch._dynamo
import torch._inductor.compile_fx  # once: seconds
from hooks_of_torch import watched
from programs import numbers
from recordings import Recorded, recorded

import cutaway

torch.set_num_threads(1)  # what is forked here has no threads, and g++ needs the cores


@contextmanager
def nothing_compiled(tag: str) -> Iterator[None]:
    """Neither in this process nor in a cache on disk."""
    torch._dynamo.reset()
    with torch.compiler.config.patch(cache_key_tag=tag):
        yield
    torch._dynamo.reset()


@pytest.fixture(autouse=True)
def _nothing_compiled(request: pytest.FixtureRequest) -> Iterator[None]:
    with nothing_compiled(request.node.nodeid):
        yield


@pytest.fixture(autouse=True)
def _no_hook_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = watched()
    yield
    assert watched() == before


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """One recording with Inductor of a program as people write them, for many tests to look at."""
    path = tmp_path_factory.mktemp("plain")
    with nothing_compiled("plain"), cutaway.record(path), torch.no_grad():
        net = torch.compile(programs.Net())
        net(numbers(4, 8))
        net(numbers(7, 8))
        torch.compile(programs.with_break)(numbers(5))
        doubled = torch.compile(programs.doubled, dynamic=False)
        for size in (2, 3, 4):
            doubled(numbers(size))
        torch.compile(programs.squared)(numbers(3))
        torch.compile(programs.shifted)(numbers(3))
    return recorded(path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """One recording with Inductor of a forward and a backward."""
    path = tmp_path_factory.mktemp("trained")
    with nothing_compiled("trained"), cutaway.record(path):
        net = programs.Mlp(8)
        torch.compile(net)(numbers(4, 8)).sum().backward()
    return recorded(path)
