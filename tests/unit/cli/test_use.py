"""How commands behave: exit codes, errors, JSON, pipes, terminals."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker, manifest
from terminal import on_a_terminal

import cutaway as package
from cutaway.cli import COMMANDS
from cutaway.cli.why import QUESTIONS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lss", "dump"), "error: no such command 'lss'. Did you mean 'ls'? See `cutaway --help`."),
        (("ls",), "error: missing argument 'DUMP'. See `cutaway ls --help`."),
        (("ls", "dump", "--bogus"), "error: no such option: --bogus. See `cutaway ls --help`."),
        (("ls", "nowhere"), "error: no dump at 'nowhere'. The folder does not exist. Check the path."),
        (("ls", "dumb"), "error: no dump at 'dumb'. The folder does not exist. Did you mean 'dump'."),
        (("ls", "dump", "nothing"), "error: nothing in this dump is called 'nothing'."),
        (("show", "dump", "post_grad"), "error: 'post_grad' is ambiguous: it fits 2 selectors."),
        (("show", "dump", "backbone/captrued"), "Did you mean backbone/captured"),
        (("show", "dump", "backbone/captured", "--raw", "--code"), "--raw and --code exclude each other"),
        (("show", "dump", "backbone/captured", "--raw", "--only", "x"), "do not go with --raw"),
        (("show", "dump", "backbone/captured", "--only", "layers.9.mlp"), "no layer matches 'layers.9.mlp'"),
        (("show", "dump", "execution_code", "--nodes"), "is code, no graph"),
        (("show", "dump", "backbone.2/captured", "--code"), "no code was recorded"),
        (("ls", "dump", "--run", "run_9"), "error: no run 'run_9' in this dump."),
        (("verify", "dump/README.md"), "is a file"),
        (("run",), "error: missing argument"),
        (("why", "shape"), "error: missing argument 'DUMP'. See `cutaway why shape --help`."),
        (
            ("why", "unfused", "dump", "nothing"),
            "is called 'nothing'. Last graphs are backbone/",
        ),
        (
            ("run", "--", "./no-such-program"),
            "error: './no-such-program' cannot be run. No such file or directory.",
        ),
    ],
)
def test_bad_use(cutaway: Any, dump: str, arguments: tuple[str, ...], said: str) -> None:
    ran = cutaway(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


def test_no_command_is_answered_with_the_help(cutaway: Any) -> None:
    ran = cutaway()
    assert ran.code == 2
    assert ran.out == cutaway("--help").out


def test_version(cutaway: Any) -> None:
    assert cutaway("--version").out.startswith(f"cutaway {package.__version__}")


def test_an_unreadable_manifest_has_no_traceback(cutaway: Any, dump: str, process: Path) -> None:
    (process / "manifest.jsonl").write_text("{}\n{}\n")
    ran = cutaway("ls", dump)
    assert ran.code == 2
    assert "manifest.jsonl is broken in line 1" in ran.err


def test_ls_json(cutaway: Any, dump: str) -> None:
    shape = json.loads(cutaway("ls", dump, "--json").out)
    assert shape["processes"] == [{"name": "rank_0_dp_0", "same": ["rank_1_dp_0"]}]
    backbone = shape["compilations"][0]
    assert [piece["same"] for piece in backbone["pieces"]] == [[], ["piece_04", "piece_06"], [], []]
    steps = {(step["event"], step["selector"]): step for step in backbone["steps"]}
    lowering = steps["snapshot", "backbone/piece_02/range_1_4096/post_grad.2.VllmIRLoweringPass"]
    assert lowering["ops_delta"] == {"rms_norm": -1, "fused_norm": 1}
    assert len(backbone["steps"]) == 24


def test_ls_json_of_a_part(cutaway: Any, dump: str) -> None:
    shape = json.loads(cutaway("ls", dump, "range_8_8/post_grad", "--json").out)
    assert [[step["selector"] for step in each["steps"]] for each in shape["compilations"]] == [
        ["backbone/piece_02/range_8_8/post_grad"],
        [],
    ]


def test_show_json(cutaway: Any, dump: str) -> None:
    shape = json.loads(cutaway("show", dump, "piece_06", "--nodes", "--json").out)
    assert shape["same_as"] == "backbone/piece_02/piece"
    assert ["Qwen3Model", "layers.3: Qwen3DecoderLayer"] in shape["table"]["layers"]
    text = json.loads(cutaway("show", dump, "execution_code", "--json").out)
    assert (text["view"], text["stage"], text["text"]) == ("code", "execution_code", "def run(): ...\n")


def test_show_json_of_a_graph_is_its_node_table(cutaway: Any, dump: str, process: Path) -> None:
    shape = json.loads(cutaway("show", dump, "backbone/captured", "--nodes", "--json").out)
    assert shape["table"]["nodes"] == json.loads((process / "nodes" / f"{shape['graph']}.json").read_text())["nodes"]


def test_verify_json(cutaway: Any, dump: str, process: Path) -> None:
    (process / "backbone/00.captured.py").unlink()
    ran = cutaway("verify", dump, "--json")
    shape = json.loads(ran.out)
    assert ran.code == 1
    assert not shape["ok"]
    assert shape["processes"][0]["findings"][1] == {
        "level": "problem",
        "kind": "missing",
        "where": "backbone/00.captured.py",
        "message": "is missing",
    }
    assert shape["processes"][1]["ok"]


def test_a_raw_graph_is_printed_byte_for_byte(cutaway: Any, dump: str, process: Path) -> None:
    (process / "backbone/00.captured.py").write_text("a = '\x1b[31m'\n")
    assert cutaway("show", dump, "backbone/captured", "--raw").out == "a = '\x1b[31m'\n"


def test_a_dump_cannot_drive_the_terminal(cutaway: Any, dump: str, process: Path) -> None:
    events = manifest(process)
    events[1]["function"] = "evil\x1b]0;title\x07"
    (process / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    out = cutaway("ls", dump).out
    assert "\x1b" not in out
    assert "evil\\x1b]0;title\\x07" in out


def test_long_selectors_are_not_wrapped_in_a_pipe(dump: str) -> None:
    ran = command("ls", dump, "--all", COLUMNS="40")
    selector = "backbone/piece_02/range_1_4096/post_grad.2.VllmIRLoweringPass"
    assert any(line.strip().startswith(selector) and "\x1b" not in line for line in ran.stdout.splitlines())


def test_a_terminal_gets_colours_and_no_control_characters_from_the_dump(dump: str, process: Path) -> None:
    (process / "backbone/00.captured.py").write_text("a = '\x1b]0;title\x07'\n")
    assert "\x1b[1m" in on_a_terminal("ls", dump)
    assert "\\x1b]0;title\\x07" in on_a_terminal("show", dump, "backbone/captured", "--raw")


def test_a_reader_that_goes_away_is_no_error(dump: str) -> None:
    shell = f"{sys.executable} -m cutaway.cli ls {dump} --json | true; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("0\n", "")


EVERY = [name for name in COMMANDS if name not in ("why", "cache")]


@pytest.mark.parametrize("command", [[name] for name in EVERY] + [["why", name] for name in QUESTIONS])
def test_help_names_arguments_plainly_and_fits_a_terminal(cutaway: Any, command: list[str]) -> None:
    """No Python types, no brackets within brackets, no line that a terminal would have to break."""
    said = cutaway(*command, "--help").out
    usage = said.partition("\n\n")[0]
    assert "{" not in usage
    assert "[[" not in usage
    assert "<str>" not in said
    assert "list[" not in said
    lines = [line for line in said.splitlines() if not line.startswith("    cutaway ")]  # commands are not broken
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("arguments", [("ls",), ("ls", "--all"), ("show", "backbone/captured"), ("find", "op:mm")])
def test_a_full_disk_and_a_closed_output_have_no_traceback(dump: str, arguments: tuple[str, ...]) -> None:
    first, *rest = arguments
    line = shlex.join([sys.executable, "-m", "cutaway.cli", first, dump, *rest])
    full = subprocess.run(["bash", "-c", f"{line} > /dev/full"], capture_output=True, text=True, check=False)
    said = "error: the output cannot be written. No space left on device.\n"
    assert (full.returncode, full.stderr) == (2, said)
    closed = subprocess.run(["bash", "-c", f"{line} >&-"], capture_output=True, text=True, check=False)
    assert (closed.returncode, closed.stderr) == (0, "")


def test_a_file_that_the_system_refuses_has_no_traceback(cutaway: Any, dump: str, process: Path) -> None:
    (process / "manifest.jsonl").unlink()
    (process / "manifest.jsonl").mkdir()
    ran = cutaway("ls", dump)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("ls",), 0, "nothing was compiled, as far as was recorded"),
        (("ls", "--all"), 0, "nothing was compiled, as far as was recorded"),
        (("show", "captured"), 2, "is called 'captured'. Nothing was compiled while it was recorded."),
        (("diff", "captured"), 2, "is called 'captured'. Nothing was compiled while it was recorded."),
        (("replay", "captured"), 2, "is called 'captured'. Nothing was compiled while it was recorded."),
        (("edit", "piece_02"), 2, "is called 'piece_02'. Nothing was compiled while it was recorded."),
        (("find", "op:mm"), 1, "nothing found: op:mm"),
        (("compare",), 0, "run_001 has one process: there is nothing to compare it with"),
        (("why", "shape"), 0, "nothing was compiled while it was recorded"),
        (("why", "unfused"), 2, "error: there is no last graph in this dump."),
    ],
    ids=lambda part: "-".join(part) if isinstance(part, tuple) else "",
)
def test_an_empty_dump(cutaway: Any, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    DumpMaker(tmp_path / "empty" / "run_001" / "rank_0_dp_0").end()
    names, rest = (arguments[:2], arguments[2:]) if arguments[0] == "why" else (arguments[:1], arguments[1:])
    ran = cutaway(*names, str(tmp_path / "empty"), *rest)
    assert ran.code == code
    assert said in ran.out + ran.err
    assert not (ran.out and ran.err)


@pytest.mark.parametrize("arguments", [("ls",), ("show", "backbone/captured"), ("show", "execution"), ("verify",)])
def test_no_torch(dump: str, arguments: tuple[str, ...]) -> None:
    first, *rest = arguments
    program = f"""
        import sys
        from cutaway.cli import main
        code = main({[first, dump, *rest]!r})
        assert not [name for name in sys.modules if name.split(".")[0] == "torch"]
        sys.exit(code)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cutaway.cli", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
