"""Two dumps in one page: what it says of them is what `cutaway compare` says, whatever they are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dump_maker import make_dump
from fused_dump import fused_dump
from report_reader import carried

from cutaway.cli import main
from cutaway.errors import DumpError, SelectorError
from cutaway.web.data import Library, shapes
from cutaway.web.report import make_report
from cutaway.web.server import make_app

RANK = "rank_0_dp_0"


@pytest.fixture(name="dumps", scope="module")
def _dumps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model twice; in the second one a fusion did not fire in one layer."""
    folder = tmp_path_factory.mktemp("two")
    fused_dump(folder / "old", layers=4)
    fused_dump(folder / "new", layers=4, odd={2: "missing"})
    return folder / "old", folder / "new"


@pytest.fixture(name="page", scope="module")
def _page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for name in ("page.js", "page.css"):
        (folder / name).write_text("")
    return folder


def said(capsys: pytest.CaptureFixture[str], a: Path, b: Path) -> Any:
    main(("compare", str(a), str(b), "--json"))
    return json.loads(capsys.readouterr().out)["comparisons"]


def test_it_says_what_the_command_says(dumps: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = dumps
    (told,) = said(capsys, old, new)
    found = Library(old, against=new).get(f"run_001/{RANK}/compare/new:run_001/{RANK}")
    assert isinstance(found, shapes.Comparison)
    assert found.equal is told["same"]["graphs"] is False
    assert main(("compare", str(old), str(new))) == 1
    assert found.summary[0] in capsys.readouterr().out
    settings = [each for each in (*told["versions"], *told["configuration"]) if not each["of_a_run"]]
    assert [each.name for each in found.settings] == [each["name"] for each in settings]
    assert [(each.name, each.a, each.b) for each in found.totals] == [
        (each["name"], each["a"], each["b"]) for each in told["totals"]
    ]
    assert [(each.a, each.b, each.same) for each in found.compilations] == [
        (each["a"], each["b"], each["same"]) for each in told["compilations"]
    ]
    assert (found.a.run, found.b.run) == ("run_001", "new:run_001")


def test_runs_of_both_are_offered_and_all_of_the_other_can_be_opened(dumps: tuple[Path, Path]) -> None:
    old, new = dumps
    library = Library(old, against=new)
    index = library.index()
    assert [run.name for run in index.runs] == ["run_001", "new:run_001"]
    assert index.against == shapes.Against("new", "new:run_001", RANK)
    alone = Library(new)
    paths = list(library.paths("new:run_001", RANK))
    assert len(paths) > 10
    for path in paths:
        found = library.get(path)
        other = alone.get(path.removeprefix("new:"))
        if isinstance(found, (shapes.Overview, shapes.Difference)):
            assert b'"new:run_001"' in msgspec.json.encode(found)
        else:
            assert found == other, path


def test_graphs_of_the_two_are_compared_node_by_node(dumps: tuple[Path, Path]) -> None:
    library = Library(dumps[0], against=dumps[1])
    step = "backbone/before_post_grad"
    found = library.get(f"run_001/{RANK}/between/{step}../new:run_001/{RANK}/{step}")
    assert isinstance(found, shapes.Difference)
    assert ((found.before.run, found.after.run), found.equal) == (("run_001", "new:run_001"), False)


def test_ranks_are_paired_by_name_as_the_command_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (make_dump(tmp_path / name, ranks=2) for name in ("a", "b"))
    manifest = b / "run_001" / "rank_1_dp_0" / "manifest.jsonl"
    rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join(row for row in rows if "VllmIRLowering" not in row) + "\n")
    library = Library(a, against=b)
    told = {name: each["same"]["graphs"] for each in said(capsys, a, b) for name in each["processes"]}
    assert set(told.values()) == {True, False}
    for name, same in told.items():
        found = library.get(f"run_001/{name}/compare/b:run_001/{name}")
        assert isinstance(found, shapes.Comparison)
        assert found.equal is same


@pytest.mark.parametrize("name", ["old", "a:b", "x..", "..", "o l'd", "ü\n\x1b[31m", "<b>%2f", "y" * 200])
def test_whatever_the_other_is_called(dumps: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    other = tmp_path / name if name != ".." else tmp_path / "a" / ".."
    (tmp_path / "a").mkdir()
    shutil.copytree(dumps[1], other, dirs_exist_ok=True)
    library = Library(dumps[0], against=other)
    against = library.index().against
    assert against is not None
    assert against.title != library.title
    start = f"{against.run}/{against.process}"
    assert library.get(f"{start}/overview")
    found = library.get(f"run_001/{RANK}/compare/{start}")
    assert isinstance(found, shapes.Comparison)
    assert not found.equal


def test_a_run_that_is_called_like_the_other_dump_is_still_found(dumps: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(dumps[0] / "run_001", tmp_path / "mine" / "new:run_001")
    library = Library(tmp_path / "mine", against=dumps[1])
    names = [run.name for run in library.index().runs]
    assert len(set(names)) == 2
    equal = {library.get(f"{name}/{RANK}/overview").findings == [] for name in names}  # pyright: ignore
    assert library.get(f"new:run_001/{RANK}/compare/{names[1]}/{RANK}").equal is False  # pyright: ignore
    assert equal


def test_what_is_added_to_the_other_is_read_on(dumps: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(dumps[1], tmp_path / "new")
    library = Library(dumps[0], against=tmp_path / "new")
    assert library.paths_watched == [dumps[0], tmp_path / "new"]
    before = library.names()
    shutil.copytree(tmp_path / "new" / "run_001", tmp_path / "new" / "run_002")
    assert library.names() != before
    assert [run.name for run in library.index().runs] == ["run_001", "new:run_002", "new:run_001"]
    make_app(library, "token")


def test_what_is_no_dump(dumps: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for other in ("nowhere", "empty", "file", "new/../nowhere", "\0", "x" * 5000):
        with pytest.raises((DumpError, SelectorError)):
            Library(dumps[0], against=tmp_path / other)
        out = str(tmp_path / "report.html")
        for command in (("view", str(dumps[0])), ("report", str(dumps[0]), "-o", out)):
            assert main((*command, "--against", str(tmp_path / other))) == 2
            ran = capsys.readouterr()
            assert ran.out == ""
            assert ran.err.startswith("error: ")
    assert not (tmp_path / "report.html").exists()


class TestReport:
    def test_it_holds_both_and_how_they_differ(self, dumps: tuple[Path, Path], page: Path) -> None:
        found = carried(make_report(dumps[0], against=dumps[1], page=page).html)
        library = Library(dumps[0], against=dumps[1])
        assert [run["name"] for run in found["index"]["runs"]] == ["run_001", "new:run_001"]
        assert found["index"]["against"] == {"title": "new", "run": "new:run_001", "process": RANK}
        path = f"run_001/{RANK}/compare/new:run_001/{RANK}"
        assert found[path] == json.loads(msgspec.json.encode(library.get(path)))
        steps = [
            step
            for compilation in found[path]["compilations"]
            for each in compilation["pieces"]
            for step in each["steps"]
        ]
        odd = [step for step in steps if not step["same"] and step["a"] and step["b"]]
        assert odd
        for step in odd:
            assert f"run_001/{RANK}/between/{step['a']}../new:run_001/{RANK}/{step['b']}" in found

    def test_names_of_folders_are_hidden(self, dumps: tuple[Path, Path], tmp_path: Path, page: Path) -> None:
        shutil.copytree(dumps[1], tmp_path / "secretmodel")
        html = make_report(dumps[0], against=tmp_path / "secretmodel", redact=True, page=page).html
        found = carried(html)
        assert [run["name"] for run in found["index"]["runs"]] == ["run_001", "B:run_001"]
        assert "secretmodel" not in json.dumps(found)
        assert b"secretmodel" not in html

    def test_a_part_that_only_the_first_has(self, tmp_path: Path, dumps: tuple[Path, Path], page: Path) -> None:
        first = make_dump(tmp_path / "first")
        found = carried(make_report(first, against=dumps[1], only=["piece_02"], page=page).html)
        assert found[f"new:run_001/{RANK}/overview"]["compilations"] == []
