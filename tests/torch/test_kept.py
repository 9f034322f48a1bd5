"""What was recorded of what torch's own caches hold: a start that they serve gives the dump of the first one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import programs
import pytest
import torch
import torch._dynamo
from kept_tools import another_cache, double, index, kept_files, rewrite, said, served, start, tree
from programs import numbers
from recordings import Recorded, check
from torch import nn
from torch._dynamo.utils import counters
from torch._functorch import config as functorch_config

from cutaway.dump import load
from cutaway.dump.compare import compare
from cutaway.record.kept import file


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of Inductor's, for what a test compiles."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def infer() -> None:
    with torch.no_grad():
        net = torch.compile(programs.Net())
        net(numbers(4, 8))
        net(numbers(7, 8))  # a recompile: sizes become symbols
        torch.compile(programs.with_break)(numbers(5))


def train() -> None:
    torch.manual_seed(0)
    torch.compile(programs.Mlp(8))(numbers(4, 8)).sum().backward()


def graphs_alone() -> None:
    """AOTAutograd keeps nothing: it traces anew, and Inductor's cache serves what it made."""
    with functorch_config.patch(enable_autograd_cache=False):
        infer()


def graphs_of_training_alone() -> None:
    with functorch_config.patch(enable_autograd_cache=False):
        train()


PROGRAMS = [infer, train, graphs_alone, graphs_of_training_alone]


@dataclass
class Starts:
    """A program's first start and its second, and how often torch's caches had something in the second, or not."""

    cold: Recorded
    warm: Recorded
    hits: int
    misses: int


@pytest.fixture(scope="module", params=PROGRAMS, ids=lambda program: program.__name__)
def starts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starts]:
    path = tmp_path_factory.mktemp(request.param.__name__)
    with another_cache(path / "cache", "kept"):
        cold, warm = start(path / "cold", request.param), start(path / "warm", request.param)
        found = counters["inductor"]
        yield Starts(cold, warm, found["fxgraph_cache_hit"], found["fxgraph_cache_miss"])


class TestTheSecondStart:
    def test_has_the_tree_of_the_first(self, starts: Starts) -> None:
        cold, warm = tree(starts.cold), tree(starts.warm)
        assert list(warm) == list(cold)
        assert [name for name in cold if warm[name] != cold[name]] == []

    def test_has_its_events(self, starts: Starts) -> None:
        assert said(starts.warm) == said(starts.cold)

    def test_is_the_same_when_compared(self, starts: Starts) -> None:
        found = compare(*(load(recording.folder) for recording in (starts.cold, starts.warm)))
        assert [pair.name for pair in found.compilations if not pair.same] == []

    def test_compiled_nothing(self, starts: Starts) -> None:
        assert starts.misses == 0
        assert starts.hits == len(served(starts.warm, "load")) > 0
        assert served(starts.warm, "miss") == served(starts.warm, "store") == []

    def test_says_what_was_read_back_and_where_from(self, starts: Starts) -> None:
        loads = {event["seq"]: event for event in served(starts.warm, "load")}
        for event in starts.warm.of("snapshot", stage="post_grad") + starts.warm.of("code", kind="output_code"):
            assert event["cached"] is True
            assert loads[event["cached_from"]]["factors"]["run"] == "run_001/rank_0_dp_0"
        for event in loads.values():
            (stored,) = (other for other in served(starts.cold, "store") if other["key"] == event["key"])
            assert abs(event["factors"]["time"] - stored["time"]) < 60

    def test_says_nothing_of_what_was_recorded_now(self, starts: Starts) -> None:
        assert starts.warm.of("snapshot", stage="captured")
        for event in starts.warm.of("snapshot", stage="captured"):
            assert event["cached"] is False
            assert "cached_from" not in event

    def test_is_whole(self, starts: Starts) -> None:
        for recording in (starts.cold, starts.warm):
            check(recording.folder.parents[1])
            assert recording.of("error") == []

    def test_its_page_says_so(self, starts: Starts) -> None:
        pages = [starts.warm.read(name) for name in starts.warm.files if name.endswith("index.md")]
        line = "\n- not compiled now, but read back: all of it, recorded by run_001/rank_0_dp_0 on 20"
        assert all(line in page for page in pages)


class Outer(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.add_module(name, programs.Mlp(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self.children():
            x = child(x)
        return x


class TestAnEqualGraph:
    """Another function with the same graph is served by the same entry."""

    @pytest.fixture
    def both(self, tmp_path: Path) -> Recorded:
        def program() -> None:
            with torch.no_grad():
                torch.compile(Outer("one"))(numbers(4, 8))
                torch._dynamo.reset()
                torch.compile(Outer("another"))(numbers(4, 8))

        return start(tmp_path / "both", program)

    def test_has_all_its_stages(self, both: Recorded) -> None:
        first, second = both.compilations
        assert both.stages(second) == both.stages(first)

    def test_in_its_own_layers(self, both: Recorded) -> None:
        second = both.compilations[1]
        (event,) = both.of("snapshot", compilation=second, stage="post_grad")
        assert event["cached"]
        assert event["layers"] == ["another", "another.up", "another.down"]

    def test_stores_nothing_twice(self, both: Recorded) -> None:
        second = both.compilations[1]
        after = [event for event in both.of("snapshot", compilation=second) if event["cached"]]
        assert after
        assert all(event["files"] == [] and event["same_as"] for event in after)


class TestWhatIsNotUsed:
    """Whatever is wrong with what was kept: what the cache itself holds is recorded, and it is said why."""

    @pytest.fixture
    def cold(self, tmp_path: Path) -> Recorded:
        return start(tmp_path / "cold", double)

    def warm(self, tmp_path: Path) -> Recorded:
        recording = start(tmp_path / "warm", double)
        check(recording.folder.parents[1])
        assert recording.of("error") == []
        return recording

    def has_texts_and_the_reason(self, recording: Recorded, reason: str) -> None:
        kinds = [event["kind"] for event in recording.of("code", cached=True)]
        assert {"output_code", "aot_graph_text", "post_grad_text"} <= set(kinds)
        assert recording.of("snapshot", stage="post_grad") == []
        (event,) = served(recording, "miss")
        assert reason in event["factors"]["reason"]
        assert "TORCHINDUCTOR_CACHE_DIR" in event["factors"]["cure"]
        (line,) = (line for line in index(recording).splitlines() if line.startswith("- **not here**"))
        assert reason in line
        assert event["factors"]["cure"] in line

    @pytest.mark.usefixtures("cold")
    def test_none(self, tmp_path: Path, cache: Path) -> None:
        shutil.rmtree(cache / "cutaway")
        self.has_texts_and_the_reason(self.warm(tmp_path), "nothing was recorded when it was compiled")

    @pytest.mark.usefixtures("cold")
    @pytest.mark.parametrize("share", [0, 0.3, 0.99])
    def test_torn(self, tmp_path: Path, cache: Path, share: float) -> None:
        (kept,) = kept_files(cache)
        content = kept.read_bytes()
        kept.write_bytes(content[: int(share * len(content))])
        self.has_texts_and_the_reason(self.warm(tmp_path), "it is damaged")

    @pytest.mark.usefixtures("cold")
    @pytest.mark.parametrize("part", ["events.jsonl", "files/"])
    def test_edited(self, tmp_path: Path, cache: Path, part: str) -> None:
        (kept,) = kept_files(cache)
        rewrite(kept, lambda name, content: content.replace(b"mul", b"sub") if name.startswith(part) else content)
        self.has_texts_and_the_reason(self.warm(tmp_path), "it is damaged")

    @pytest.mark.usefixtures("cold")
    def test_of_other_code(self, tmp_path: Path, cache: Path) -> None:
        (kept,) = kept_files(cache)
        start(tmp_path / "other", lambda: torch.compile(programs.squared, dynamic=False)(numbers(3)))
        (other,) = (path for path in kept_files(cache) if path != kept)
        shutil.copy(other, kept)
        warm = self.warm(tmp_path)
        self.has_texts_and_the_reason(warm, "the cache has other code now")
        (refused,) = served(warm, "refused")
        assert refused["key"] == f"cutaway/{kept.name}"

    @pytest.mark.usefixtures("cold")
    def test_of_a_newer_format(self, tmp_path: Path, cache: Path) -> None:
        (kept,) = kept_files(cache)
        rewrite(kept, lambda name, content: content.replace(b'"kept": 1', b'"kept": 2'))
        self.has_texts_and_the_reason(self.warm(tmp_path), "it is of format 2, and this Cutaway reads 1")

    @pytest.mark.usefixtures("cold")
    def test_a_folder_in_its_place(self, tmp_path: Path, cache: Path) -> None:
        (kept,) = kept_files(cache)
        kept.unlink()
        kept.mkdir()
        self.has_texts_and_the_reason(self.warm(tmp_path), "it cannot be read")

    def test_larger_than_is_kept(self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file, "LONGEST", 1000)
        cold = start(tmp_path / "cold", double)
        (event,) = served(cold, "bypass")
        assert "no more than" in event["factors"]["reason"]
        assert kept_files(cache) == []
        self.has_texts_and_the_reason(self.warm(tmp_path), "nothing was recorded when it was compiled")

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path, cache: Path) -> None:
        cache.mkdir()
        (cache / "cutaway").write_text("a file where the folder would be")
        cold = start(tmp_path / "cold", double)
        assert cold.of("snapshot", stage="post_grad")
        assert cold.of("end", compilation=None)
        (event,) = served(cold, "bypass")
        assert "it cannot be written" in event["factors"]["reason"]

    def test_of_a_recording_of_a_part(self, tmp_path: Path, cache: Path) -> None:
        start(tmp_path / "cold", double, stages=["post_grad", "output_code"])
        assert kept_files(cache) == []

    @pytest.mark.usefixtures("cold")
    def test_of_which_only_a_part_is_wanted(self, tmp_path: Path) -> None:
        warm = start(tmp_path / "warm", double, stages=["post_grad", "output_code"])
        assert warm.stages("doubled") == ["post_grad"]
        assert [event["kind"] for event in warm.of("code")] == ["output_code"]
        check(warm.folder.parents[1])
