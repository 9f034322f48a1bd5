"""`cutaway compare`: what it prints, how it exits, and what it makes of bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dump_maker import DumpMaker, make_dump, make_process, manifest, piece
from syrupy.assertion import SnapshotAssertion

PAGE = Path(__file__).resolve().parents[3] / "docs" / "compare.md"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copied(source: str, name: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> str:
    """A copy of a dump of one process, each of whose events went through `change`."""
    shutil.copytree(source, name)
    (path,) = Path(name).glob("*/*/manifest.jsonl")
    events = [after for event in manifest(path.parent) if (after := change(event)) is not None]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return name


def without_a_range(event: dict[str, Any]) -> dict[str, Any] | None:
    return None if event.get("range") == "8_8" or event["compilation"] == "backbone.2" else event


def other_kernels(name: str) -> str:
    """A copy of dump `a` with another text of its kernels."""
    copied("a", name, lambda event: json.loads(json.dumps(event).replace('"digest": "', '"digest": "other ')))
    for path in Path(name).rglob("*.cpp"):
        path.write_text("void other();\n")
    return name


def one_range(name: str, sizes: str, lowered: dict[str, Any], context: dict[str, Any]) -> str:
    """A dump of two equal pieces, compiled for one range in 2.5 seconds; what a pass made of them is given."""
    process = Path(name) / "run_001" / "rank_0_dp_0"
    maker = DumpMaker(process)
    (process / "context.json").write_text(json.dumps(context))
    maker.compilation("backbone")
    for number in (0, 2):
        maker.snapshot(f"backbone/piece_{number:02d}/piece", "piece", piece(0), f"backbone/{number}")
    here = f"backbone/piece_00/range_{sizes}"
    maker.snapshot(f"{here}/before_post_grad", "before_post_grad", piece(0), "backbone/before")
    facts = {"changed": True, "pass": "LowerPass", "number": 0, "phase": "inference"}
    maker.snapshot(f"{here}/post_grad.0.LowerPass", "custom_pass", lowered, "backbone/lower", **facts)
    maker.snapshot(f"{here}/post_grad", "post_grad", lowered, "backbone/post", phase="inference")
    maker.event("metric", "backbone", kind="compile_time", values={"seconds": 2.5}, piece=None, range=None)
    maker.end("backbone")
    maker.end()
    return name


class TestText:
    def test_help(self, cutaway: Any, snapshot: SnapshotAssertion) -> None:
        assert cutaway("compare", "--help").out == snapshot

    def test_the_same(self, cutaway: Any, folder: Path, snapshot: SnapshotAssertion) -> None:
        make_dump(folder / "a")
        make_dump(folder / "b")
        ran = cutaway("compare", "a", "b")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == snapshot

    def test_more_layers(self, cutaway: Any, folder: Path, snapshot: SnapshotAssertion) -> None:
        make_dump(folder / "a")
        make_dump(folder / "b", layers=6)
        ran = cutaway("compare", "a", "b")
        assert (ran.code, ran.err) == (1, "")
        assert ran.out == snapshot

    def test_less_was_compiled(self, cutaway: Any, folder: Path, snapshot: SnapshotAssertion) -> None:
        make_dump(folder / "a")
        copied("a", "b", without_a_range)
        ran = cutaway("compare", "a", "b")
        assert (ran.code, ran.err) == (1, "")
        assert ran.out == snapshot

    @pytest.mark.parametrize("options", [(), ("--all",)], ids=["", "all"])
    def test_another_range_and_configuration(
        self, cutaway: Any, folder: Path, options: tuple[str, ...], snapshot: SnapshotAssertion
    ) -> None:
        sizes = list(range(8, 200, 8))
        a = {"versions": {"vllm": "1.0"}, "configuration": {"sizes": sizes, "cache_dir": "/a/b", "old": 1}}
        b = {"versions": {"vllm": "2.0"}, "configuration": {"sizes": [*sizes, 4], "cache_dir": "/c", "new": None}}
        one_range("a", "1_4096", lowered=piece(0), context=a)
        one_range("b", "17_4096", lowered=piece(0, lowered=True), context=b)
        ran = cutaway("compare", "a", "b", *options)
        assert (ran.code, ran.err) == (1, "")
        assert ran.out == snapshot

    def test_other_kernels(self, cutaway: Any, folder: Path, snapshot: SnapshotAssertion) -> None:
        make_dump(folder / "a")
        ran = cutaway("compare", "a", other_kernels("b"))
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == snapshot

    def test_ranks(self, cutaway: Any, folder: Path, snapshot: SnapshotAssertion) -> None:
        make_dump(folder / "a", ranks=4)
        shutil.rmtree("a/run_001/rank_2_dp_0")
        make_process(folder / "a/run_001/rank_2_dp_0", rank=2, layers=3)
        ran = cutaway("compare", "a")
        assert (ran.code, ran.err) == (1, "")
        assert ran.out == snapshot

    def test_ranks_that_are_all_the_same(self, cutaway: Any, dump: str) -> None:
        ran = cutaway("compare", dump)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == "run_001: 2 processes, all compiled the same\n  rank_0_dp_0, rank_1_dp_0\n"

    def test_ranks_of_two_runs(self, cutaway: Any, folder: Path) -> None:
        make_dump(folder / "a", ranks=2)
        make_dump(folder / "b", ranks=3)
        ran = cutaway("compare", "a", "b")
        assert ran.code == 1
        assert "The same graphs at every stage" in ran.out
        assert ran.out.endswith("only in B: rank_2_dp_0\n")


@pytest.mark.parametrize(
    ("other", "codes"),
    [
        ("same", {"graphs": 0, "kernels": 0, "count": 0, "graphs,kernels,count": 0}),
        ("kernels", {"graphs": 0, "kernels": 1, "count": 0, "graphs,count": 0, "count,kernels": 1}),
        ("idle", {"graphs": 1, "kernels": 0, "count": 1, "kernels,count": 1}),
        ("rewritten", {"graphs": 1, "kernels": 0, "count": 0, "kernels,count": 0}),
        ("fewer", {"graphs": 1, "kernels": 1, "count": 1}),
    ],
)
def test_what_must_not_differ(cutaway: Any, folder: Path, other: str, codes: dict[str, int]) -> None:
    make_dump(folder / "a")
    if other == "kernels":
        other_kernels("b")
    elif other == "fewer":
        copied("a", "b", without_a_range)
    elif other in ("idle", "rewritten"):
        shutil.rmtree("a")
        one_range("a", "1_8", lowered=piece(0, lowered=True), context={})
        table = piece(0, lowered=other == "rewritten")
        table["nodes"][-2]["args"][1] = 2e-06 if other == "rewritten" else 1e-06
        one_range("b", "1_8", lowered=table, context={})
    else:
        shutil.copytree("a", "b")
    assert cutaway("compare", "a", "b").code == codes["graphs"]
    for kinds, code in codes.items():
        assert (kinds, cutaway("compare", "a", "b", "--fail-on", kinds).code) == (kinds, code)
    several = [option for kinds in codes for option in ("--fail-on", kinds)]
    assert cutaway("compare", "a", "b", *several).code == max(codes.values())


def test_json(cutaway: Any, folder: Path) -> None:
    make_dump(folder / "a", ranks=2)
    make_dump(folder / "b", layers=6)
    shape = json.loads(cutaway("compare", "a", "b", "--json").out)
    (found,) = shape["comparisons"]
    assert found["same"] == {"graphs": False, "kernels": False, "count": False}
    assert (found["a"]["path"], found["b"]["process"]) == ("a/run_001/rank_0_dp_0", "rank_0_dp_0")
    (span,) = found["compilations"][0]["whole"]["spans"]
    assert (span["first"], span["last"], span["next"]) == ("captured", "after_split", None)
    assert "getitem +8" in span["difference"]
    ranks = json.loads(cutaway("compare", "a", "--json").out)
    assert ranks == {"comparisons": [], "ranks": [["rank_0_dp_0", "rank_1_dp_0"]]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a", "nowhere"), "no dump at 'nowhere'"),
        (("a", "b", "--fail-on", "kernls"), "Did you mean kernels"),
        (("a", "b", "--fail-on", "time"), "There are graphs, kernels, count"),
        ((), "missing argument 'A'"),
    ],
)
def test_bad_use(cutaway: Any, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    make_dump(folder / "a")
    make_dump(folder / "b")
    ran = cutaway("compare", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


class TestTheRecipeForActions:
    """The step of docs/compare.md that compares, run as a runner runs it."""

    STEPS = yaml.safe_load(re.findall(r"```yaml\n(.*?)\n```\n\n", PAGE.read_text("utf-8"), re.DOTALL)[0])["jobs"]

    @pytest.mark.parametrize(("layers", "code"), [(4, 0), (5, 1)])
    def test_compare(self, folder: Path, layers: int, code: int) -> None:
        make_dump(folder / "base")
        make_dump(folder / "head", layers=layers)
        program = folder / "head-env" / "bin" / "cutaway"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cutaway.cli "$@"\n')
        program.chmod(0o755)
        (script,) = [step["run"] for step in self.STEPS["compare"]["steps"] if step.get("name") == "Compare"]
        summary = folder / "summary.md"
        ran = subprocess.run(
            ["bash", "-e", "-c", script],
            env={**os.environ, "GITHUB_STEP_SUMMARY": str(summary)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (code, "")
        assert ran.stdout == summary.read_text()
        assert ran.stdout.startswith("```text\nA  base")
        assert ran.stdout.endswith("```\n")

    def test_record(self, cutaway: Any, folder: Path) -> None:
        """What it calls to record is called as `cutaway run` wants it."""
        lines = [line for step in self.STEPS["compare"]["steps"] for line in step.get("run", "").splitlines()]
        commands = [line.split(" -- ")[0].split()[1:] for line in lines if "cutaway run" in line]
        assert commands == [["run", "--dump", "base"], ["run", "--dump", "head"]]
        for command in commands:
            assert cutaway(*command, "--", sys.executable, "-c", "pass").code == 0


class TestBadInput:
    @pytest.fixture(autouse=True)
    def _dumps(self, folder: Path) -> None:
        make_dump(folder / "a")
        make_dump(folder / "b", layers=6)
        self.process = folder / "b" / "run_001" / "rank_0_dp_0"

    def test_a_truncated_dump(self, cutaway: Any) -> None:
        path = self.process / "manifest.jsonl"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        ran = cutaway("compare", "a", "b")
        assert ran.code == 1
        assert "note: B: incomplete" in ran.out
        assert "note: B: the last line is torn" in ran.out

    def test_a_newer_dump(self, cutaway: Any) -> None:
        path = self.process / "manifest.jsonl"
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
        ran = cutaway("compare", "a", "b")
        assert (ran.code, ran.out) == (2, "")
        assert "made by a newer Cutaway" in ran.err

    def test_one_rank_of_several_is_broken(self, cutaway: Any, folder: Path) -> None:
        make_dump(folder / "c", ranks=2)
        (folder / "c/run_001/rank_1_dp_0/manifest.jsonl").write_text("{}\n{}\n")
        ran = cutaway("compare", "c")
        assert (ran.code, ran.out) == (2, "")
        assert "manifest.jsonl is broken in line 1" in ran.err
        assert cutaway("compare", "a", "c/run_001/rank_0_dp_0").code == 0

    def test_graphs_and_texts_that_are_missing(self, cutaway: Any) -> None:
        shutil.rmtree(self.process / "nodes")
        for path in self.process.rglob("*.cpp"):
            path.unlink()
        ran = cutaway("compare", "a", "b")
        assert (ran.code, ran.err) == (1, "")
        assert "differs, but in what cannot be told" in ran.out
        assert "not in the dump: backbone/piece_02/range_1_4096/kernels/cpp_fused_norm_0" in ran.out

    def test_graphs_of_another_dump(self, cutaway: Any, folder: Path) -> None:
        foreign = [path.read_bytes() for path in sorted((folder / "a").glob("*/*/nodes/*"))]
        for path, content in zip(sorted((self.process / "nodes").iterdir()), foreign, strict=False):
            path.write_bytes(content)
        assert cutaway("compare", "a", "b").code == 1

    def test_a_file_that_leads_out(self, cutaway: Any, folder: Path) -> None:
        (folder / "secret").write_text("secret")
        context = self.process / "context.json"
        context.unlink()
        context.symlink_to(folder / "secret")
        ran = cutaway("compare", "a", "b")
        assert ran.code == 1
        assert "its configuration is unknown" in ran.out
        assert "leads out of the dump" in ran.out
