"""What is found out by itself: only what the dump says, with the place to open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dump_maker import DumpMaker, make_dump
from table_maker import TableMaker

from cutaway.web.data import Library
from cutaway.web.data.shapes import Finding, Overview

HERE = "one/range_8_8"


def graph(*targets: str) -> dict[str, Any]:
    maker = TableMaker({"": "Model"})
    value = maker.input("x", [8, 8])
    for target in targets:
        value = maker.call(target, [value], "")
    maker.output(value)
    return maker.table()


class Dumped:
    """A dump of one compilation, and what is found in it."""

    def __init__(self, root: Path, *targets: str) -> None:
        self.root = root
        self.maker = DumpMaker(root / "run_001" / "rank_0_dp_0")
        self.maker.compilation("one")
        self.maker.snapshot("one/captured", "captured", graph(*(targets or ("aten.mm.default",))), "one/00")

    def found(self, ended: bool = True) -> list[Finding]:
        if ended:
            self.maker.end("one")
            self.maker.end()
        overview = Library(self.root).get("run_001/rank_0_dp_0/overview")
        assert isinstance(overview, Overview)
        return overview.findings

    def one(self) -> Finding:
        [finding] = self.found()
        return finding


def test_a_sound_compile_has_none(tmp_path: Path) -> None:
    dumped = Dumped(tmp_path)
    dumped.maker.event("cache", "one", kind="aot_autograd", result="miss", key="k")
    dumped.maker.ran("one/post_grad.0.FusionPass", "custom_pass", 3, counts={"matches": 2})
    assert dumped.found() == []


class TestPatterns:
    def test_nothing_matched_where_its_operators_are(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path, "vllm_ir.rms_norm.default", "aten.mm.default")
        text = "CallFunction(torch.ops.vllm_ir.rms_norm.default, KeywordArg('x'))\nCallFunction(aten.mm.default)"
        dumped.maker.code("one/patterns/FusionPass", "patterns", "one/patterns/FusionPass.py", text)
        dumped.maker.ran("one/post_grad.0.FusionPass", "custom_pass", 4, counts={"matches": 0})
        finding = dumped.one()
        assert (finding.kind, finding.severity, finding.where) == ("pattern", "warn", "one/post_grad.0.FusionPass")
        assert finding.text == "FusionPass ran on 1 graph and matched nothing, though its operators are there"
        assert finding.detail == "Operators of its patterns are there: vllm_ir.rms_norm."

    def test_nothing_to_match(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path, "aten.mm.default")
        dumped.maker.code(
            "one/patterns/FusionPass", "patterns", "one/patterns/FusionPass.py", "vllm_ir.rms_norm.default"
        )
        dumped.maker.ran("one/post_grad.0.FusionPass", "custom_pass", 3, counts={"matches": 0})
        assert dumped.found() == []

    def test_patterns_that_were_not_recorded(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        dumped.maker.ran("one/post_grad.0.FusionPass", "custom_pass", 3, counts={"matches": 0})
        finding = dumped.one()
        assert (finding.severity, finding.text) == ("info", "FusionPass ran on 1 graph and matched nothing")
        assert "does not tell" in finding.detail

    def test_one_match_anywhere_is_enough(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        dumped.maker.ran("one/post_grad.0.FusionPass", "custom_pass", 3, counts={"matches": 0})
        dumped.maker.ran("one/post_grad.1.FusionPass", "custom_pass", 3, counts={"matches": 1})
        assert dumped.found() == []

    def test_matches_that_were_left(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        notes = {"refused": {"mul_3": "another node reads the norm"}}
        dumped.maker.ran("one/post_grad.0.FusionPass", "custom_pass", 3, counts={"matches": 1}, notes=notes)
        finding = dumped.one()
        assert (finding.kind, finding.text) == ("pattern", "FusionPass left 1 match as they were")
        assert finding.detail == "mul_3: another node reads the norm"


def test_a_provider_that_was_not_expected(tmp_path: Path) -> None:
    dumped = Dumped(tmp_path)
    dumped.maker.ran(f"{HERE}/post_grad.2.LoweringPass", "custom_pass", 3)
    for node in ("norm", "norm_1"):
        values = {"kind": "provider", "pass": "LoweringPass", "node": node, "layer": "layers.0: Layer"}
        values |= {"expected": "vllm_c", "taken": "native"}
        dumped.maker.event("metric", "one", kind="finding", values=values, piece=None, range="8_8")
    finding = dumped.one()
    assert finding.text == "LoweringPass took provider native where vllm_c was expected (2 times)"
    assert (finding.kind, finding.where) == ("provider", f"{HERE}/post_grad.2.LoweringPass")
    assert finding.detail.splitlines()[0] == "norm in layers.0: Layer, range 8_8"


class TestSizes:
    TEXT = """\
Symbolic sizes (one graph serves every size in the range):
  s72 in [2, ∞], always 8, captured with 8  from L['input_ids'].size()[0]
  s80 in [2, ∞], always s72, captured with 8  from L['positions'].size()[0]

Other symbolic integers:
  s13 in [-∞, ∞], always 7, captured with 7  from L['self'].x.item()

Constraints that tracing put on the sizes, and the line that made each:
  Eq(s72, 8)    at model.py:12
  Eq(s80, s72)    at model.py:13
"""

    def test_a_size_that_became_a_number(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        dumped.maker.code("one/guards", "guards", "one/98.guards.txt", self.TEXT)
        finding = dumped.one()
        assert (finding.kind, finding.severity, finding.where) == ("specialised", "warn", "one/guards")
        assert finding.text == "the size s72 (L['input_ids'].size()[0]) is always 8: the graph serves no other"
        assert finding.detail.splitlines()[0] == "Eq(s72, 8) at model.py:12"

    def test_no_size_is_dynamic(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        text = "Symbolic sizes (one graph serves every size in the range):\n  none: every size is fixed\n"
        dumped.maker.code("one/guards", "guards", "one/98.guards.txt", text)
        finding = dumped.one()
        assert (finding.severity, finding.text) == ("info", "every size of one is fixed")


BREAK = """\
Graph break in user code at /x/y.py:1
Graph Break Reason: Encountered graph break when attempting to trace CALL: a function call, e.g. f(x, y):

Failed to trace builtin operator
  Explanation: Dynamo does not know how to trace builtin operator `print`
  Hint: Avoid calling `print`
"""
SKIPPED = """\
Graph break in user code at /x/y.py:11
Graph Break Reason: Failed to handle graph break gracefully. Skipping the function and falling back to eager. Graph \
break encountered:

Unsupported Tensor.item() call
  Developer debug context: frame skipped: forward (/x/y.py line 9)
"""


def test_breaks_and_recompiles_have_their_reasons(tmp_path: Path) -> None:
    dumped = Dumped(tmp_path)
    dumped.maker.event("metric", "one", kind="graph_break", values={"reason": BREAK}, piece=None, range=None)
    dumped.maker.end("one")
    dumped.maker.compilation("one.2", recompile=1, reason=["x.size(0) == 4"])
    dumped.maker.snapshot("one.2/captured", "captured", graph("aten.add.Tensor"), "one.2/00")
    dumped.maker.end("one.2")
    broken, again = dumped.found()
    assert (broken.kind, broken.text) == ("graph_break", "graph break at /x/y.py:1: Failed to trace builtin operator")
    assert broken.detail.splitlines()[0] == "at /x/y.py:1"
    assert broken.detail.splitlines()[-1] == "Hint: Avoid calling `print`"
    assert (again.kind, again.detail, again.where) == ("recompile", "x.size(0) == 4", "one.2/captured")


def test_what_was_not_compiled_at_all_is_told(tmp_path: Path) -> None:
    dumped = Dumped(tmp_path)
    dumped.maker.event("metric", None, kind="graph_break", values={"reason": SKIPPED}, piece=None, range=None)
    dumped.maker.end("one")
    finding = dumped.one()
    assert (finding.kind, finding.severity) == ("graph_break", "warn")
    assert finding.text == "forward (/x/y.py:9) is not compiled: it runs eagerly"
    assert finding.detail == "at /x/y.py:11\nUnsupported Tensor.item() call"


def test_errors_and_a_compile_that_failed(tmp_path: Path) -> None:
    dumped = Dumped(tmp_path)
    dumped.maker.event("error", "one", where="hook", error="ValueError: no", traceback="Traceback …")
    dumped.maker.event(
        "metric", "one", kind="pass_failed", values={"pass": "P", "changed": True}, piece=None, range=None
    )
    dumped.maker.event("end", "one", values={"failed": "RuntimeError: broken\nmore"})
    dumped.maker.event("end", None, values={})
    failed, error, failing = dumped.found(ended=False)
    assert [each.kind for each in (failed, error, failing)] == ["error"] * 3
    assert failed.text == "one failed: RuntimeError: broken"
    assert (error.text, error.detail) == ("recording failed in hook: ValueError: no", "Traceback …")
    assert failing.text == "the pass P raised an error"


def test_a_recording_that_has_not_ended(tmp_path: Path) -> None:
    found = Dumped(tmp_path).found(ended=False)
    assert [(each.kind, each.severity, each.where) for each in found] == [
        ("incomplete", "info", None),
        ("incomplete", "info", "one/captured"),
    ]


class TestCaches:
    def test_misses_of_a_warm_start(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        for kind, result in (("vllm_piece", "load"), ("aot_autograd", "miss"), ("aot_autograd", "miss")):
            dumped.maker.event("cache", "one", kind=kind, result=result, key="k")
        finding = dumped.one()
        assert (finding.kind, finding.text) == ("cache", "cache aot_autograd: 2 missed on a warm start")

    def test_graphs_that_a_cache_served(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        factors = {"reason": "it was stored before recording began", "cure": "empty the cache"}
        dumped.maker.event("cache", "one", kind="recording", result="miss", key="k", factors=factors)
        finding = dumped.one()
        assert (finding.kind, finding.severity) == ("incomplete", "warn")
        assert finding.detail == "it was stored before recording began; empty the cache"

    def test_an_entry_that_was_refused(self, tmp_path: Path) -> None:
        dumped = Dumped(tmp_path)
        factors = {"reason": "its digest is wrong"}
        dumped.maker.event("cache", "one", kind="recording", result="refused", key="k", factors=factors)
        finding = dumped.one()
        assert (finding.kind, finding.detail) == ("cache", "its digest is wrong")


def test_ranks_that_part(tmp_path: Path) -> None:
    root = make_dump(tmp_path / "dump", ranks=2)
    other = Dumped(tmp_path / "other")
    other.maker.end("one")
    other.maker.end()
    (tmp_path / "other" / "run_001" / "rank_0_dp_0").rename(root / "run_001" / "rank_2_dp_0")
    overview = Library(root).get("run_001/rank_0_dp_0/overview")
    assert isinstance(overview, Overview)
    [finding] = [each for each in overview.findings if each.kind == "ranks"]
    assert finding.text == "the processes of this run compiled in 2 ways"
    groups, words = finding.detail.splitlines()
    assert groups == "rank_0_dp_0, rank_1_dp_0 | rank_2_dp_0"
    assert words.startswith("Beside rank_2_dp_0: The graphs differ")
    assert [each.severity for each in overview.findings] == sorted(
        (each.severity for each in overview.findings), key=lambda severity: severity != "warn"
    )
