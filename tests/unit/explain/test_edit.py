"""Edited code, before anything is run: how it is called, what is refused, which program it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
from dump_maker import DumpMaker

from cutaway.cli import main
from cutaway.dump import load
from cutaway.errors import ExplainError
from cutaway.explain.edit import command_of
from cutaway.explain.switches import Edit, Place, Switches

CODE = """\
class Runner:
    def call(self, args):
        arg0_1, arg1_1 = args
        args.clear()
        buf0 = arg1_1
        return (buf0, )

runner = Runner()
call = runner.call
"""


@pytest.fixture(name="dump")
def _dump(tmp_path: Path) -> Path:
    maker = DumpMaker(tmp_path / "dump" / "run_001" / "rank_0_dp_0")
    maker.compilation("backbone")
    for span in ("1_16", "17_64"):
        selector = f"backbone/piece_00/range_{span}/output_code"
        file = maker.write(f"backbone/{span}.py", CODE, "code")
        maker.event(
            "code", "backbone", selector=selector, kind="output_code", piece="piece_00", range=span, files=[file]
        )
    maker.event("end")
    return tmp_path / "dump"


def asked(dump: Path, text: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    file = dump.parent / "edited.py"
    file.write_text(text)
    code = main(["edit", str(dump), "piece_00/range_1_16", "--with", str(file), *more])
    return code, capsys.readouterr().err


class TestRefuses:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            (CODE, "nothing was changed"),
            (CODE.replace("arg0_1, arg1_1 =", "arg0_1, arg1_1, arg2_1 ="), "its signature has changed"),
            (CODE.replace("(buf0, )", "(buf0, buf0)"), "its signature has changed"),
            (CODE.replace("def call", "def other"), "no function that takes what is passed"),
            ("", "no function that takes what is passed"),
            (CODE + "\nif\n", "is no Python"),
        ],
        ids=["unchanged", "inputs", "outputs", "no-call", "empty", "syntax"],
    )
    def test_before_anything_is_run(self, dump: Path, text: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
        code, said = asked(dump, text, capsys, "--", "true")
        assert code == 2
        assert why.lower() in said.lower()
        assert "running" not in said

    def test_a_piece_with_two_ranges_without_a_range(self, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["edit", str(dump), "piece_00", "--with", "x.py"]) == 2
        assert "range_17_64" in capsys.readouterr().err

    def test_no_editor(self, dump: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("EDITOR", raising=False)
        monkeypatch.delenv("VISUAL", raising=False)
        assert main(["edit", str(dump), "piece_00/range_1_16", "--", "true"]) == 2
        assert "set editor" in capsys.readouterr().err.lower()

    def test_a_dump_that_does_not_say_its_program(self, dump: Path) -> None:
        with pytest.raises(ExplainError, match="which program"):
            command_of(load(dump))


class TestRuns:
    def test_a_program_that_never_reaches_the_piece(self, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
        changed = CODE.replace("buf0 = arg1_1", "buf0 = arg0_1")
        code, said = asked(dump, changed, capsys, "--", "true")
        assert code == 2
        assert "never ran" in said

    def test_a_function_that_is_not_split_is_told_by_its_name(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        maker = DumpMaker(tmp_path / "dump" / "run_001" / "rank_0_dp_0")
        maker.compilation("sampler")
        file = maker.write("sampler/code.py", CODE, "code")
        maker.event("code", "sampler", selector="sampler/output_code", kind="output_code", files=[file])
        maker.event("end")
        (tmp_path / "edited.py").write_text(CODE.replace("buf0 = arg1_1", "buf0 = arg0_1"))
        edited = str(tmp_path / "edited.py")
        assert main(["edit", str(tmp_path / "dump"), "sampler", "--with", edited, "--", "true"]) == 2
        assert "sampler (graph_00) never ran" in capsys.readouterr().err

    def test_an_editor_and_keeps_what_it_wrote(
        self, dump: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("VISUAL", "sed -i s/buf0/buf7/")
        kept = tmp_path / "kept"
        assert main(["edit", str(dump), "piece_00/range_1_16", "--keep", str(kept), "--", "true"]) == 2
        (file,) = kept.iterdir()
        assert "buf7" in file.read_text()


class TestSwitches:
    def test_edits_come_back(self) -> None:
        switches = Switches(edits=(Edit(Place("piece_02", "1_16"), "a.py"), Edit(Place("piece_04"), "b.py", "graph")))
        assert Switches.from_json(switches.to_json()) == switches
        assert switches.looks_at_pieces
        assert not switches.changes_compile
