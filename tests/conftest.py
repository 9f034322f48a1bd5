"""What every test starts from: an environment without Cutaway's variables, fresh compile caches, a marker by folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "vllm"))

from kept_objects import keep_objects

pytest.register_assert_rewrite("recordings")  # it asserts for many tests

HERE = Path(__file__).parent
pytest_plugins = ("run_fixtures",)  # recordings of the real vLLM, which tests of several folders look at
NEEDS = ("torch", "vllm", "browser", "gpu")
TURNS = ("explain", "torch", "browser", "gpu", "unit", "vllm")

# A machine that is busy with something else must not fail a property.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("cutaway", PATIENT, max_examples=60)
settings.register_profile("thorough", PATIENT, max_examples=500)  # --hypothesis-profile thorough
settings.load_profile("cutaway")


def _settle_environment(caches: str) -> None:
    """No recording of the tests themselves, no cache of an earlier run, no worker pools: what is forked has no threads.

    Before torch is imported, which the conftest.py of a folder below does as soon as pytest is given that folder.
    """
    for name in list(os.environ):
        if name.startswith("CUTAWAY") or name == "VLLM_DEBUG_DUMP_PATH":
            del os.environ[name]
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{caches}/inductor"
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "0")  # no trial compiles to find out what the processor can do


CACHES = tempfile.mkdtemp(prefix="cutaway-tests-")
_settle_environment(CACHES)
keep_objects(CACHES)


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHES, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``tests/torch/...`` is marked ``torch``, and so on: folders say what a test needs.

    Long files come first, so that processes that share the tests end at one time. Tests of the real vLLM's runs come
    last: they are made while the others are tested.
    """
    items.sort(key=_turn)
    for item in items:
        folder = _folder(item)
        if folder in NEEDS:
            item.add_marker(folder)


def _turn(item: pytest.Item) -> tuple[int, bool]:
    folder = _folder(item)
    return TURNS.index(folder) if folder in TURNS else len(TURNS), "explain" not in item.path.parts


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
