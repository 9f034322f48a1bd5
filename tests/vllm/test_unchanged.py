"""Recording changes nothing of a run, and without it Cutaway is not there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from vllm_runs import Finished

from cutaway.record.kept import notes
from cutaway.record.kept.file import SUFFIX

PROGRAM = Path(__file__).with_name("vllm_program.py")
# What may be imported of Cutaway when nothing is recorded: the two entry points, and what they import.
DORMANT = {"cutaway", "cutaway.errors", "cutaway.record", "cutaway.record.autostart", "cutaway.vllm"}


@pytest.fixture(scope="module", name="untouched")
def _untouched() -> dict[str, Any]:
    """What a process that has imported torch holds when Cutaway is kept out of it."""
    code = f"import json, sys; sys.path.insert(0, {str(PROGRAM.parent)!r}); import vllm_program as program; "
    code += "print(json.dumps(program.describe_process()))"
    environment = os.environ | {"CUTAWAY": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


class TestResults:
    def test_tokens_are_the_same(self, recorded: Finished, unrecorded: Finished) -> None:
        assert recorded.result["tokens"] == unrecorded.result["tokens"]

    def test_log_probabilities_are_the_same_to_the_last_bit(self, recorded: Finished, unrecorded: Finished) -> None:
        assert recorded.result["logprobs"]
        assert recorded.result["logprobs"] == unrecorded.result["logprobs"]


class TestCompiledCode:
    """Names in the caches of vLLM and Inductor are hashes: of the configuration, of a graph, of generated code."""

    def test_has_the_same_cache_keys(self, recorded: Finished, unrecorded: Finished) -> None:
        assert keys(recorded) == keys(unrecorded)

    def test_is_the_same(self, recorded: Finished, unrecorded: Finished) -> None:
        written = code_files(recorded)
        assert len(written) > 20
        assert written == code_files(unrecorded)

    def test_of_an_unrecorded_run_is_loaded_by_a_recorded_one(self, warm_over_unrecorded: Finished) -> None:
        assert "Directly load AOT compilation" in warm_over_unrecorded.log
        (asked,) = warm_over_unrecorded.of("cache", kind="vllm_aot")
        assert asked["result"] == "hit"

    def test_of_a_recorded_run_is_loaded_by_an_unrecorded_one(
        self, recorded: Finished, unrecorded_over_recorded: Finished
    ) -> None:
        assert "Directly load AOT compilation" in unrecorded_over_recorded.log
        assert unrecorded_over_recorded.result["logprobs"] == recorded.result["logprobs"]


def keys(run: Finished) -> set[str]:
    """vLLM's key of the whole model, Inductor's keys of each graph; not what a recording keeps beside them.

    An entry's own name below its key is left out: it is a hash of the entry, which holds the time it took.
    """
    entry = re.compile(r"((?:fxgraph/\w+|aotautograd)/\w+)/\w+$")
    return {entry.sub(r"\1", name) for name in run.cache_files if not name.endswith((SUFFIX, notes.SUFFIX))}


def code_files(run: Finished) -> dict[str, bytes]:
    """Generated Python and C++ by name; names are the same when the code is, but for paths in comments."""
    names = [name for name in run.cache_files if name.endswith((".py", ".cpp"))]
    return {name: (run.cache / name).read_bytes().replace(str(run.cache).encode(), b"CACHE") for name in names}


class TestOff:
    def test_nothing_of_torch_is_patched(self, unrecorded: Finished, untouched: dict[str, Any]) -> None:
        assert unrecorded.facts["torch"] == untouched["torch"]

    def test_the_recorder_is_not_imported(self, unrecorded: Finished) -> None:
        modules = unrecorded.facts["modules"]
        assert "cutaway.vllm" in modules, "the plugin is there"
        assert set(modules) <= DORMANT

    def test_nothing_is_written(self, unrecorded: Finished) -> None:
        assert not unrecorded.dump.exists()

    def test_the_same_look_sees_what_recording_patches(self, recorded: Finished, untouched: dict[str, Any]) -> None:
        names = untouched["torch"]
        assert [name for name in names if recorded.facts["torch"][name] == names[name]] == []
        assert "cutaway.record.recorder" in recorded.facts["modules"]


class TestKeptOut:
    """CUTAWAY=0: vLLM dumps with depyf, as if Cutaway were not installed."""

    def test_the_plugin_does_nothing(self, depyf_over_recorded: Finished, untouched: dict[str, Any]) -> None:
        assert set(depyf_over_recorded.facts["modules"]) & {"cutaway.vllm.adapter", "cutaway.record.recorder"} == set()
        assert depyf_over_recorded.facts["torch"]["trace_structured"] == untouched["torch"]["trace_structured"]

    def test_depyf_dumps(self, depyf_over_recorded: Finished) -> None:
        assert "depyf" in depyf_over_recorded.facts["modules"]
        assert [path.name for path in depyf_over_recorded.dump.iterdir()] == ["rank_0_dp_0"]

    def test_tokens_are_the_same(self, recorded: Finished, depyf_over_recorded: Finished) -> None:
        assert depyf_over_recorded.result["tokens"] == recorded.result["tokens"]
