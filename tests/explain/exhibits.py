"""The gallery: planted faults, what must be said of each, and how it is asked.

Each fault is a program in `faults/` that plants it from outside: a pass, a provider, an operator's generated code, a
file in a cache. Nothing of Cutaway that looks for faults is touched or told. `tests/explain/test_gallery.py` holds the
answers to what is written here; `benchmarks/gallery.py` makes the table of them for docs/debugging.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FAULTS = Path(__file__).with_name("faults")
CHECK = r"sum: (\S+)"
LIMIT = 1200.0
"""Seconds for one search, on a machine that does something else as well."""

How = Literal["isolate", "isolate in Python", "why shape", "why pattern", "why cache"]


@dataclass(frozen=True, eq=False)
class Fault:
    """A planted fault.

    Attributes:
        name: its program, `faults/NAME.py`.
        title: what is planted, for people.
        how: what is asked: `cutaway isolate`, `cutaway.explain.isolate` (called by the program itself), or a
            `cutaway why` on a recording of it.
        named: what the answer must name: a field of `facts_of` -> a regular expression.
        allowed: what it may name besides; in a field that is in neither, nothing may be named.
        fill: variables of a run that comes before, and fills the caches.
        arguments: of the command.
        shows: whether there is a reproducer, and it must show the fault.
        is_slow: it is asked only when tests that take minutes are asked for: what it shows is near to another's, or it
            has to wait, or to be repeated.
    """

    name: str
    title: str
    how: How
    named: Mapping[str, str]
    allowed: Mapping[str, str] = field(default_factory=dict[str, str])
    fill: Mapping[str, str] = field(default_factory=dict[str, str])
    arguments: Sequence[str] = ()
    shows: bool = False
    is_slow: bool = False

    @property
    def program(self) -> Path:
        """Its program."""
        return FAULTS / f"{self.name}.py"


@dataclass(frozen=True)
class Answer:
    """What was said of a fault.

    Attributes:
        fault: which.
        facts: what was named; see `facts_of`.
        plain: the command's JSON.
        seconds: how long the search took, without what filled the caches.
        errors: what was printed besides.
    """

    fault: Fault
    facts: Mapping[str, str]
    plain: Mapping[str, Any]
    seconds: float
    errors: str = ""

    @property
    def wrong(self) -> dict[str, str]:
        """What was named, and is not so."""
        known = {
            "meanwhile": "^CUTAWAY|^ir_priority",
            "range": "^1_16$",
            "sure": "",
            **self.fault.allowed,
            **self.fault.named,
        }
        return {
            name: text for name, text in self.facts.items() if name not in known or not re.search(known[name], text)
        }

    @property
    def missing(self) -> list[str]:
        """What was to be named, and was not."""
        return [name for name in self.fault.named if name not in self.facts]

    @property
    def reproducer(self) -> Path | None:
        """The file that shows the fault, if there is one."""
        path = self.plain.get("reproducer")
        return None if path is None else Path(path)


_LAYER_1 = r"^layers\.1\.mlp: Mlp"

GALLERY: Sequence[Fault] = (
    Fault(
        "wrong_pass", "a pass with a wrong rewrite, in one layer only", "isolate",
        {"part": "^passes$", "pass": "^gate_fusion$", "piece": "^piece_04$", "layer": _LAYER_1, "source": "silu"},
        {"node": r"^(abs|neg)"}, shows=True,
    ),
    Fault(
        "wrong_provider", "a provider that is wrong for large batches only", "isolate",
        {"part": "^eager$", "piece": "^piece_04$", "range": "^9_16$", "provider": "^blocked$", "op": "halved"},
        {"layer": "^Halved", "source": "halved", "node": "^(add|mul|halved)"}, shows=True, is_slow=True,
    ),
    Fault(
        "wrong_lowering", "wrong code of Inductor's for an operator of one piece", "isolate",
        {"part": "^inductor$", "piece": "^piece_04$", "node": "^(tanh|mul)", "source": "tanh"},
        {"kernel": "tanh", "layer": "^Decoder"}, shows=True, is_slow=True,
    ),
    Fault(
        "donated_input", "an input that is overwritten as if it were donated", "isolate",
        {"part": "^passes$", "kind": "^overwritten$", "piece": "^piece_02$", "pass": "^reuse_inputs$"},
        {"node": "^skip"}, shows=True, is_slow=True,
    ),
    Fault(
        "swapped_argument", "stitching that swaps two arguments of a piece", "isolate",
        {"part": "^compile$", "kind": "^arguments$", "piece": "^piece_04$", "sure": "^confirmed$"},
        {"node": "^x_2$|^skip$"}, shows=True,
    ),
    Fault(
        "stale_artifact", "a wrong artifact in the cache, under the right key", "isolate",
        {"part": "^caches$", "kind": "^stale artifact$", "piece": "^piece_04$"},
        {"source": "tanh", "node": "^(tanh|mul)"}, fill={"GALLERY_FILL": "1"}, shows=True, is_slow=True,
    ),
    Fault(
        "missing_factor", "a variable that is missing from the key of a pass", "isolate",
        {"part": "^caches$", "kind": "^stale artifact$", "piece": "^piece_04$", "factor": "^GALLERY_CAP$"},
        {"source": "tanh", "node": "^mul"}, fill={"GALLERY_CAP": "3"}, shows=True, is_slow=True,
    ),
    Fault(
        "kernel_crash", "a kernel that reads where there is no memory", "isolate",
        {"part": "^inductor$", "kind": "^crash$", "piece": "^piece_04$", "kernel": "tanh", "node": "^tanh$"},
        {"source": "tanh", "layer": "^Decoder"}, shows=True, is_slow=True,
    ),
    Fault(
        "nan_in_layer", "NaNs from one layer", "isolate",
        {"part": "^passes$", "pass": "^drop_epsilon$", "piece": "^piece_04$", "layer": r"^layers\.1\.norm_2: Norm"},
        {"node": "^(add|rsqrt|mul|mean)", "source": "epsilon"}, shows=True, is_slow=True,
    ),
    Fault(
        "slow_pass", "a slow pass", "isolate in Python",
        {"part": "^passes$", "kind": "^slow$", "pass": "^sort_nodes$"}, is_slow=True,
    ),
    Fault(
        "flaky", "a fault that comes and goes", "isolate in Python",
        {"part": "^passes$", "pass": "^fast_tanh$", "piece": "^piece_04$"}, is_slow=True,
    ),
    Fault(
        "wrong_meta", "a custom operator whose fake implementation announces other strides", "isolate",
        {"part": "^inductor$", "kind": "^announced$", "op": r"^gallery\.every_second", "source": "every_second"},
        {"piece": "^graph_00$", "layer": "^Halving", "node": "^y$", "meanwhile": "eager"}, is_slow=True,
    ),
    Fault(
        "dropped_scale", "planted by nobody: torch's addmm pattern drops the scale of an addition", "isolate",
        {"part": "^inductor$", "pass": "^pass_pattern_2$", "layer": "^Scaled", "source": "alpha=2"},
        {"piece": "^graph_00$", "node": "^addmm", "meanwhile": "^TORCHINDUCTOR_DISABLED_PASSES=PASS_PATTERN_2$"},
        shows=True, is_slow=True,
    ),
    Fault("models_own", "a fault that is the model's own", "isolate", {"outcome": "^own$"}),
    Fault(
        "batch_branch", "a branch on the batch size", "why shape",
        {"restricts": r"batch_branch\.py:14$", "leaves": "only multiples of 8"},
    ),
    Fault(
        "graph_break", "a graph break", "why shape",
        {"break": r"graph_break\.py:13$"},
        # True as well: what stands between breaks is given a hidden size, which the weights fix.
        {"restricts": r"_decoder\.py:37$", "leaves": "^only 16$"},
    ),
    Fault(
        "missed_fusion", "a fusion that does not fire in one layer", "why pattern",
        {"reason": "^constant$", "layer": r"^layers\.1\.norm_2"},
        arguments=[f"{FAULTS / 'norm_pattern.py'}:patterns"],
    ),
    Fault(
        "cold_start", "a start that misses the cache, for an option", "why cache",
        {"differs": "^option inductor.epilogue_fusion: False → True$"}, fill={"GALLERY_UNFUSED": "1"},
    ),
)  # fmt: skip


def ask(fault: Fault, folder: Path) -> Answer:
    """Plant a fault, and ask what it is.

    Args:
        fault: which.
        folder: for all that is written, the user's caches included; is made.
    """
    folder.mkdir(parents=True)
    variables = users_variables(folder)
    if fault.name == "slow_pass":
        variables["TEST_KEPT_OBJECTS"] = ""  # a g++ that keeps what it made would make the second start the quicker one
    if fault.fill:
        run([sys.executable, str(fault.program)], {**variables, **fault.fill}, folder / "fill.txt")
    began = time.monotonic()
    if fault.how == "isolate in Python":
        command = [sys.executable, str(fault.program), str(folder / "found")]
    elif fault.how == "isolate":
        command = [
            *_cutaway("isolate", "--json", "--output", str(folder / "found"), "--check", CHECK),
            *fault.arguments,
        ]
        command += ["--", sys.executable, str(fault.program)]
    else:
        run(
            _cutaway("run", "--dump", str(folder / "dump"), "--", sys.executable, str(fault.program)),
            variables,
            folder / "recorded.txt",
        )
        command = _cutaway(*fault.how.split(), str(folder / "dump"), *fault.arguments, "--json")
    text = run(command, variables, folder / "errors.txt")
    seconds = time.monotonic() - began
    errors = (folder / "errors.txt").read_text()
    plain = json.loads(text.strip().splitlines()[-1] if fault.how == "isolate in Python" else text) if text else {}
    return Answer(fault, facts_of(fault.how, plain), plain, seconds, errors)


def facts_of(how: How, plain: Mapping[str, Any]) -> dict[str, str]:
    """What an answer names, by field; what it does not name is left out."""
    read = {"why shape": _shape_facts, "why pattern": _pattern_facts, "why cache": _cache_facts}
    facts = read.get(how, _verdict_facts)(plain)
    return {name: str(value) for name, value in facts.items() if value}


_FIELDS = ("piece", "layer", "source", "op", "provider", "kernel", "node", "factor")


def _verdict_facts(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Of `isolate`. The kind is told where it says more than that numbers differ; the range, where not all have it."""
    finding = plain.get("finding") or {}
    facts = {name: finding.get(name) for name in _FIELDS}
    facts |= {
        "sure": finding.get("confidence"),
        "part": plain.get("part"),
        "pass": finding.get("pass_name"),
        "meanwhile": plain.get("workaround"),
    }
    if finding.get("kind") not in ("numbers", "unknown", "nan"):
        facts["kind"] = finding.get("kind")
    if finding and not finding["others"]:
        facts["range"] = finding["range"]
    if plain.get("outcome") != "found":
        facts["outcome"] = plain.get("outcome")
    return facts


def _shape_facts(plain: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for found in plain.get("compilations", ()):
        for one in found["constraints"]:
            if one["kind"] == "model" and one["leaves"]:
                facts = {"restricts": one["place"], "leaves": one["leaves"], **facts}
        for one in found["breaks"]:
            facts["break"] = one["place"]
    return facts


def _pattern_facts(plain: Mapping[str, Any]) -> dict[str, Any]:
    misses = plain.get("misses", ())
    if not misses:
        return {}
    nearest = misses[0]
    return {"reason": nearest["reasons"][0]["kind"], "layer": nearest["places"][0]["layer"]}


def _cache_facts(plain: Mapping[str, Any]) -> dict[str, Any]:
    """All that is told of the nearest entries, each once."""
    words = [text for miss in plain.get("misses", ()) for text in miss["words"]]
    return {"differs": "; ".join(dict.fromkeys(words))}


def shows_the_fault(reproducer: Path) -> bool:
    """Whether a reproducer shows its fault, in a process that has no vLLM."""
    code = "import runpy, sys; sys.modules['vllm'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(reproducer)], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode not in (0, 1) or "Traceback" in done.stderr:
        raise RuntimeError(done.stderr)
    return done.returncode == 1


def users_variables(folder: Path) -> dict[str, str]:
    """Those of a user with caches of his own."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("CUTAWAY", "TORCH", "VLLM"))}
    return kept | {
        "CUTAWAY_CACHE_ROOT": str(folder / "users" / "cutaway"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "users" / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_VEC_ISA_OK": "0",  # no trial compiles to find out what the processor can do
        "OMP_NUM_THREADS": "1",
    }


def _cutaway(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cutaway.cli", *arguments]


def run(command: Sequence[str], variables: Mapping[str, str], errors: Path) -> str:
    """Run a command; returns what it prints, and leaves what it says besides in a file."""
    with errors.open("w") as file:
        done = subprocess.run(
            command, env=dict(variables), stdout=subprocess.PIPE, stderr=file, text=True, timeout=LIMIT, check=False
        )
    return done.stdout
